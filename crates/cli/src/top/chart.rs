//! Words as pictures: a bar, its legend, and their history as a stack.

use std::collections::VecDeque;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;
use thmalloc_inspect::snapshot::Words;

use super::records::Process;
use super::theme::Theme;
use crate::words::{Word, short};

/// The resident words as a bar of a width.
pub fn bar(words: &Words, theme: Theme, width: u16) -> Line<'static> {
    let width = u128::from(width);
    let sum: u128 = Word::RESIDENT.iter().map(|w| u128::from(w.of(words))).sum();
    let mut spans = Vec::new();
    let (mut seen, mut drawn) = (0, 0);
    for word in Word::RESIDENT {
        seen += u128::from(word.of(words));
        // Each ends where its share of the whole ends, so that the parts fill it.
        let end = (seen * width).checked_div(sum).unwrap_or(0);
        let signs = theme.sign(word).repeat((end - drawn) as usize);
        spans.push(Span::styled(signs, theme.style(word)));
        drawn = end;
    }
    Line::from(spans)
}

/// What the signs of a bar mean, and the figures: `width` columns in as many lines
/// as are needed.
pub fn legend(words: &Words, theme: Theme, width: u16) -> Vec<Line<'static>> {
    let wide = width >= 75;
    let room = if wide { 25 } else { 19 };
    let per_line = usize::from((width / room).clamp(1, 3));
    let entry = |word: Word| {
        let figures = format!(" {:<10} {:>5}", word.name(), short(word.of(words)));
        let share = match (wide, Word::RESIDENT.contains(&word)) {
            (false, _) => " ".to_owned(),
            (true, true) => format!(" {:>3} %  ", Process::percent(words, word)),
            (true, false) => " ".repeat(8),
        };
        [
            Span::styled(theme.sign(word), theme.style(word)),
            Span::raw(figures + &share),
        ]
    };
    Word::ALL
        .chunks(per_line)
        .map(|line| line.iter().flat_map(|&word| entry(word)).collect())
        .collect()
}

/// The words over time, stacked, the newest at the right.
pub struct Stack<'a> {
    /// The readings, the oldest first.
    pub history: &'a VecDeque<(u64, Words)>,
    /// Readings to a column.
    pub zoom: usize,
    /// How it looks.
    pub theme: Theme,
}

/// The axis at the left: five letters and a blank.
const AXIS: u16 = 6;

impl Widget for Stack<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let area = area.intersection(buffer.area);
        if area.width <= AXIS + 1 || area.height < 2 {
            return;
        }
        let (width, rows) = (area.width - AXIS, area.height - 1);
        let columns = self.columns(usize::from(width));
        let most = columns.iter().map(|(_, words)| top(words)).max();
        let scale = nice(most.unwrap_or(0));
        self.axis(area, scale, buffer);
        self.times(area, &columns, buffer);
        let first = area.right() - columns.len() as u16;
        for (x, (_, words)) in (first..).zip(&columns) {
            for row in 0..rows {
                let (sign, style) = self.cell(words, scale, rows, row);
                buffer.set_string(x, area.y + rows - 1 - row, sign, style);
            }
        }
    }
}

impl Stack<'_> {
    /// One reading for each column, at most `width`.
    fn columns(&self, width: usize) -> Vec<(u64, Words)> {
        let last = self.history.iter().rev().step_by(self.zoom.max(1));
        let mut columns: Vec<_> = last.take(width).copied().collect();
        columns.reverse();
        columns
    }

    /// What stands in a cell, counted from the bottom: the word in its middle, or,
    /// with colours, as many eighths of the lower word as it fills.
    fn cell(&self, words: &Words, scale: u64, rows: u16, row: u16) -> (&'static str, Style) {
        // In eighths of a cell; a cell begins at `8 * row`.
        let height = |bytes: u128| (bytes * u128::from(rows) * 8) / u128::from(scale);
        let start = u128::from(row) * 8;
        let at = |eighth: u128| {
            let mut below = 0;
            Word::RESIDENT.into_iter().find(|word| {
                below += u128::from(word.of(words));
                height(below) > start + eighth
            })
        };
        if !(self.theme.color && self.theme.unicode) {
            let sign = at(4).map_or(" ", |word| self.theme.sign(word));
            let style = at(4).map_or(Style::new(), |word| self.theme.style(word));
            return (sign, style);
        }
        let Some(lower) = at(0) else {
            return (" ", Style::new());
        };
        let same = (0..8).filter(|&eighth| at(eighth) == Some(lower)).count();
        // Of what stands above it, what has most of the cell.
        let above: Vec<_> = (same as u128..8).map(at).collect();
        let most = above
            .iter()
            .max_by_key(|word| above.iter().filter(|other| other == word).count());
        let upper = most.copied().flatten();
        let upper = upper.map_or(Color::Reset, |word| self.theme.color(word));
        let style = Style::new().fg(self.theme.color(lower)).bg(upper);
        (["▁", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"][same], style)
    }

    fn axis(&self, area: Rect, scale: u64, buffer: &mut Buffer) {
        let rows = area.height - 1;
        let mut label = |row: u16, bytes: u64| {
            let text = format!("{:>5}", short(bytes));
            buffer.set_string(area.x, area.y + row, text, Style::new());
        };
        label(0, scale);
        if rows >= 5 {
            label(rows / 2, scale / 2);
        }
        if rows >= 2 {
            label(rows - 1, 0);
        }
    }

    /// The line below: how long ago it begins.
    fn times(&self, area: Rect, columns: &[(u64, Words)], buffer: &mut Buffer) {
        let y = area.bottom() - 1;
        let (Some(first), Some(last)) = (columns.first(), columns.last()) else {
            return;
        };
        let x = area.right() - columns.len() as u16;
        let begins = ago(last.0.saturating_sub(first.0) / 1000);
        let room = usize::from(area.right() - x);
        if room >= begins.len() + 5 {
            buffer.set_string(x, y, begins, Style::new());
        }
        buffer.set_string(area.right() - 3, y, "now", Style::new());
    }
}

/// The height of a stack.
fn top(words: &Words) -> u64 {
    let parts = Word::RESIDENT.iter().map(|word| word.of(words));
    parts.fold(0, u64::saturating_add)
}

/// A round number of bytes, not below `bytes`, for an axis; never 0.
fn nice(bytes: u64) -> u64 {
    let below = bytes.max(4096).checked_ilog2().unwrap_or(0);
    let power = 1u64 << below;
    // 1, 1¼, 1½, 1¾ and 2 times a power of two.
    (4..=8)
        .map(|quarters| (power / 4).saturating_mul(quarters))
        .find(|&scale| scale >= bytes)
        .unwrap_or(u64::MAX)
}

/// That many seconds ago.
fn ago(seconds: u64) -> String {
    match seconds {
        0..60 => format!("-{seconds}s"),
        60..3600 => format!("-{}m{:02}s", seconds / 60, seconds % 60),
        _ => format!("-{}h{:02}m", seconds / 3600, seconds / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(live: u64, cached: u64, free: u64) -> Words {
        Words {
            live,
            cached,
            free,
            ..Words::default()
        }
    }

    const PLAIN: Theme = Theme {
        color: false,
        unicode: false,
    };

    fn drawn(history: &[Words], theme: Theme, width: u16, height: u16, zoom: usize) -> Buffer {
        let history = history
            .iter()
            .enumerate()
            .map(|(index, words)| (index as u64 * 1000, *words))
            .collect();
        let area = Rect::new(0, 0, width, height);
        let mut buffer = Buffer::empty(area);
        let stack = Stack {
            history: &history,
            zoom,
            theme,
        };
        stack.render(area, &mut buffer);
        buffer
    }

    #[test]
    fn a_bar_is_filled_by_its_parts() {
        let line = bar(&words(50, 25, 25), PLAIN, 8);
        assert_eq!(line.to_string(), "####++..");
        assert_eq!(bar(&Words::default(), PLAIN, 8).to_string(), "");
        let huge = words(u64::MAX, u64::MAX, u64::MAX);
        assert_eq!(bar(&huge, PLAIN, 9).to_string(), "###+++...");
    }

    #[test]
    fn the_stack_shows_each_word_at_its_height() {
        let (half, full) = (words(32768, 0, 0), words(32768, 16384, 16384));
        let buffer = drawn(&[half, half, full], PLAIN, 12, 5, 1);
        let expected = Buffer::with_lines([
            "  64K      .",
            "           +",
            "         ###",
            "    0    ###",
            "         now",
        ]);
        assert_eq!(buffer, expected);
    }

    #[test]
    fn zoomed_out_a_column_stands_for_several_readings() {
        let (low, high) = (words(16384, 0, 0), words(65536, 0, 0));
        // The first, the third and the last.
        let half = words(32768, 0, 0);
        let shown = drawn(&[high, low, half, low, high], PLAIN, 12, 3, 2);
        let expected = Buffer::with_lines(["  64K    # #", "    0    ###", "         now"]);
        assert_eq!(shown, expected);
    }

    #[test]
    fn with_colours_a_cell_is_parted_by_eighths() {
        let theme = Theme {
            color: true,
            unicode: true,
        };
        // Two cells of 32 KiB: live fills three eighths of the upper one.
        let buffer = drawn(&[words(32768 + 12288, 20480, 0)], theme, 9, 3, 1);
        let cell = &buffer[(8, 0)];
        assert_eq!(
            (cell.symbol(), cell.fg, cell.bg),
            ("▃", Color::Green, Color::Cyan)
        );
        let cell = &buffer[(8, 1)];
        assert_eq!((cell.symbol(), cell.fg), ("█", Color::Green));
    }

    #[test]
    fn no_size_and_no_figure_breaks_it() {
        let huge = words(u64::MAX, u64::MAX, u64::MAX);
        for width in 0..20 {
            for height in 0..6 {
                drawn(&[huge, Words::default()], PLAIN, width, height, 1);
                drawn(&[], PLAIN, width, height, 0);
            }
            legend(&huge, PLAIN, width);
        }
    }

    #[test]
    fn an_axis_ends_at_a_round_number() {
        for (bytes, scale) in [
            (0, 4096),
            (5000, 5120),
            (65536, 65536),
            (65537, 81920),
            (1 << 63, 1 << 63),
            (u64::MAX, u64::MAX),
        ] {
            assert_eq!(nice(bytes), scale, "{bytes}");
        }
        assert_eq!([ago(59), ago(61), ago(7261)], ["-59s", "-1m01s", "-2h01m"]);
    }
}
