//! Colours and signs, and what stands for them where a terminal has none.

use ratatui::style::{Color, Modifier, Style};

use crate::words::Word;

/// What the terminal can show.
#[derive(Clone, Copy, Debug)]
pub struct Theme {
    /// Are there colours?
    pub color: bool,
    /// Are there more letters than ASCII's?
    pub unicode: bool,
}

impl Theme {
    /// By the environment: NO_COLOR, TERM, and the locale.
    pub fn of(variable: impl Fn(&str) -> Option<String>) -> Theme {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        let term = set("TERM").unwrap_or_default();
        let plain = term.starts_with("vt") || term.ends_with("-m") || term.ends_with("-mono");
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(set);
        let locale = locale.unwrap_or_default().to_lowercase();
        Theme {
            color: set("NO_COLOR").is_none() && !plain,
            unicode: locale.contains("utf-8") || locale.contains("utf8"),
        }
    }

    /// The colour of a word.
    pub fn color(self, word: Word) -> Color {
        if !self.color {
            return Color::Reset;
        }
        match word {
            Word::Live => Color::Green,
            Word::Cached => Color::Cyan,
            Word::Fragmented => Color::Yellow,
            Word::Free => Color::Blue,
            Word::Metadata => Color::Magenta,
            Word::Released => Color::DarkGray,
        }
    }

    /// The sign of a word in bars, graphs and legends: those of `stat`, where there
    /// are neither colours nor blocks.
    pub fn sign(self, word: Word) -> &'static str {
        match (self.unicode, self.color) {
            (true, true) => "█",
            (true, false) => match word {
                Word::Live => "█",
                Word::Cached => "▓",
                Word::Fragmented => "▒",
                Word::Free => "░",
                Word::Metadata => "=",
                Word::Released => "-",
            },
            (false, _) => match word {
                Word::Live => "#",
                Word::Cached => "+",
                Word::Fragmented => ":",
                Word::Free => ".",
                Word::Metadata => "=",
                Word::Released => "-",
            },
        }
    }

    /// The style of a word.
    pub fn style(self, word: Word) -> Style {
        Style::new().fg(self.color(word))
    }

    /// The line above the rows, and the selected row.
    pub fn reversed(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    /// What is to be seen first.
    pub fn strong(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    /// The head that the rows are sorted by.
    pub fn sorted(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD | Modifier::UNDERLINED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn theme(variables: &[(&str, &str)]) -> Theme {
        Theme::of(|name| {
            let found = variables.iter().find(|variable| variable.0 == name);
            found.map(|variable| variable.1.to_owned())
        })
    }

    #[test]
    fn colours_are_there_unless_they_are_refused() {
        assert!(theme(&[("TERM", "xterm")]).color);
        assert!(theme(&[("TERM", "xterm"), ("NO_COLOR", "")]).color);
        assert!(!theme(&[("TERM", "xterm"), ("NO_COLOR", "1")]).color);
        assert!(!theme(&[("TERM", "vt100")]).color);
    }

    #[test]
    fn the_locale_says_which_letters_there_are() {
        assert!(theme(&[("LANG", "C.UTF-8")]).unicode);
        assert!(theme(&[("LC_CTYPE", "de_DE.utf8"), ("LANG", "C")]).unicode);
        assert!(!theme(&[("LC_ALL", "C"), ("LANG", "C.UTF-8")]).unicode);
        assert!(!theme(&[]).unicode);
    }

    #[test]
    fn without_colour_each_word_has_its_own_sign() {
        for unicode in [false, true] {
            let theme = Theme {
                color: false,
                unicode,
            };
            let mut signs: Vec<_> = Word::ALL.map(|word| theme.sign(word)).to_vec();
            signs.sort_unstable();
            signs.dedup();
            assert_eq!(signs.len(), 6);
        }
    }
}
