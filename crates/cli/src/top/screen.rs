//! Takes the terminal, and gives it back as it was.
//!
//! Always: however the process ends (but by SIGKILL), or while it is stopped, the
//! terminal is in the mode that it was in, on the screen that it showed, with its
//! cursor. `panic = "abort"` runs no destructor, so a panic's hook does it, too.

use std::io::{self, IsTerminal, Stdout};
use std::sync::Once;

use crossterm::cursor::Show;
use crossterm::execute;
use crossterm::terminal::{
    Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, raise, sigaction};
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;

use super::app::App;
use super::list;
use crate::error::Error;

/// The terminal, while it is ours.
pub struct Screen {
    terminal: Terminal<CrosstermBackend<Stdout>>,
}

/// Is there a terminal that can be drawn on? Says what is missing.
pub fn check(term: Option<&str>) -> Result<(), Error> {
    let missing = match term {
        _ if !io::stdin().is_terminal() => "standard input is none, and no key can be read".into(),
        _ if !io::stdout().is_terminal() => "standard output is none".into(),
        None | Some("") => "TERM is not set, so it is not known what it can do".into(),
        Some("dumb") => "TERM is dumb, so it cannot move its cursor".into(),
        Some(_) => return Ok(()),
    };
    Err(Error::NoTerminal(missing))
}

impl Screen {
    /// Takes the terminal.
    pub fn open() -> io::Result<Screen> {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let next = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                restore();
                next(panic);
            }));
        });
        // From here on the destructor gives back what was taken.
        let screen = Screen {
            terminal: Terminal::new(CrosstermBackend::new(io::stdout()))?,
        };
        enter()?;
        Ok(screen)
    }

    /// Draws what the screen is about.
    pub fn draw(&mut self, app: &mut App) -> io::Result<()> {
        self.terminal.draw(|frame| list::draw(frame, app))?;
        Ok(())
    }

    /// The next drawing draws everything, whatever stands there.
    pub fn forget(&mut self) -> io::Result<()> {
        execute!(io::stdout(), Clear(ClearType::All))?;
        // Not by the terminal's own `clear`: it asks where the cursor is, and the
        // thread that reads the keys would take the answer.
        self.terminal = Terminal::new(CrosstermBackend::new(io::stdout()))?;
        Ok(())
    }

    /// Gives the terminal back and stops, as ^Z does; takes it again when the
    /// process goes on.
    pub fn suspend(&mut self) -> io::Result<()> {
        restore();
        let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
        // The default action, so that the system, which knows whether anybody could
        // let us go on, decides.
        #[allow(unsafe_code, reason = "to stop as a process without a handler does")]
        // SAFETY: the default action is no code; what is put back is what
        // signal-hook had installed and keeps for the process's life.
        unsafe {
            let ours = sigaction(Signal::SIGTSTP, &default)?;
            // Stops here, in this very call.
            let raised = raise(Signal::SIGTSTP);
            sigaction(Signal::SIGTSTP, &ours)?;
            raised?;
        }
        self.resume()
    }

    /// Takes the terminal again after others had it.
    pub fn resume(&mut self) -> io::Result<()> {
        // The shell may have changed its mode meanwhile: that taken first is the
        // one that is given back at the end.
        disable_raw_mode()?;
        enter()?;
        self.forget()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        restore();
    }
}

fn enter() -> io::Result<()> {
    enable_raw_mode()?;
    execute!(io::stdout(), EnterAlternateScreen)
}

/// Gives the terminal back; harmless if it was not taken.
fn restore() {
    // A terminal that is gone needs nothing back.
    let _ = execute!(io::stdout(), LeaveAlternateScreen, Show);
    let _ = disable_raw_mode();
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};
    use std::{env, fs};

    /// Set: this process is the one that panics.
    const PANICS: &str = "THMALLOC_TEST_PANIC";

    #[test]
    fn a_panic_gives_the_terminal_back_before_it_says_what_happened() {
        if env::var_os(PANICS).is_some() {
            // No destructor runs where a panic aborts, as in a release.
            std::mem::forget(Screen::open().expect("a terminal"));
            panic!("on purpose");
        }
        let directory = env::temp_dir().join(format!("thmalloc-panic-{}", std::process::id()));
        fs::create_dir_all(&directory).expect("a directory");
        let line = format!(
            "stty -a >{0}/before; {PANICS}=1 {1} --exact --nocapture {2}; stty -a >{0}/after",
            directory.display(),
            env::current_exe().expect("the test").display(),
            "top::screen::tests::a_panic_gives_the_terminal_back_before_it_says_what_happened",
        );
        let script = Command::new("script")
            .args(["-qec", &line, "/dev/null"])
            .stdin(Stdio::null())
            .output();
        let modes = ["before", "after"].map(|name| fs::read_to_string(directory.join(name)));
        let _ = fs::remove_dir_all(&directory);
        let Ok(script) = script else {
            return println!("skipped: script is not installed (Debian package bsdutils)");
        };
        let shown = String::from_utf8_lossy(&script.stdout);
        let at = |sign: &str| {
            shown
                .find(sign)
                .unwrap_or_else(|| panic!("no {sign}: {shown:?}"))
        };
        let (taken, back) = (at("\u{1b}[?1049h"), at("\u{1b}[?1049l"));
        assert!(taken < back && back < at("on purpose"), "{shown:?}");
        assert!(back < at("\u{1b}[?25h"), "{shown:?}");
        let [before, after] = modes.map(|mode| mode.expect("the terminal's mode"));
        assert!(before.contains("icanon") && !before.is_empty());
        assert_eq!(before, after);
    }
}
