//! top and htop, on a terminal and as a filter.

use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::catalogue::{HTOP, Program, TMUX, TOP};
use crate::harness::{Session, assert_mapped, assert_silent, compare};
use crate::normal;

/// A terminal of 120 columns and 300 lines in a tmux server of its own, which runs one
/// program; the server ends with it.
struct Terminal<'a> {
    session: &'a Session<'a>,
}

impl<'a> Terminal<'a> {
    /// Starts a program there. `exec` keeps the pane's process the program,
    /// and the shell writes the exit status only after that.
    fn new(session: &'a Session<'a>, program: &Program, args: &str) -> Terminal<'a> {
        let terminal = Terminal { session };
        let preload: String = session
            .preload()
            .iter()
            .map(|(name, value)| format!("{name}={value} "))
            .collect();
        let run = format!(
            "env {preload}{} {args} 2>stderr; echo $? >status",
            program.path().display()
        );
        terminal.tmux(&[
            "-f",
            "/dev/null",
            "new-session",
            "-d",
            "-x",
            "120",
            "-y",
            "300",
            &run,
        ]);
        terminal
    }

    fn tmux(&self, args: &[&str]) -> String {
        let mut command = self.session.plain_command(TMUX.path());
        command.env("TERM", "xterm-256color");
        command.args(["-S", "terminal"]).args(args);
        let out = command.output().expect("tmux runs");
        String::from_utf8_lossy(&out.stdout).into_owned()
    }

    fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p"])
    }

    fn send(&self, key: &str) {
        self.tmux(&["send-keys", key]);
    }

    /// Presses a key until the screen shows `sign`, which it did not before.
    /// Again and again, since top drops keys that reach it two at a time.
    ///
    /// A screen is drawn in pieces, and one that the key before has changed may
    /// still show `sign` in a line that is not drawn anew yet: it has to go first.
    #[track_caller]
    fn press(&self, key: &str, sign: &str) -> String {
        let gone = format!("moment without {sign:?} before {key}");
        self.patiently(&gone, || self.screen_where(|s| !s.contains(sign)));
        self.patiently(&format!("{sign:?} after {key}"), || {
            self.send(key);
            self.shows(sign)
        })
    }

    /// Waits until the screen shows `sign`; gives the screen.
    #[track_caller]
    fn until(&self, sign: &str) -> String {
        self.patiently(&format!("{sign:?}"), || self.shows(sign))
    }

    fn shows(&self, sign: &str) -> Option<String> {
        self.screen_where(|screen| screen.contains(sign))
    }

    /// The screen, if it is as asked within some seconds.
    fn screen_where(&self, as_asked: impl Fn(&str) -> bool) -> Option<String> {
        let end = Instant::now() + Duration::from_secs(10);
        while Instant::now() < end {
            let screen = self.screen();
            if as_asked(&screen) {
                return Some(screen);
            }
            thread::sleep(Duration::from_millis(100));
        }
        None
    }

    /// Tries for as long as a busy machine may need.
    #[track_caller]
    fn patiently(&self, what: &str, attempt: impl Fn() -> Option<String>) -> String {
        for _ in 0..10 {
            if let Some(result) = attempt() {
                return result;
            }
        }
        let stderr = std::fs::read_to_string(self.session.file("stderr")).unwrap_or_default();
        panic!("no {what} on the screen:\n{}\n{stderr}", self.screen());
    }

    /// The program's process: the child of the pane's shell.
    fn program(&self) -> u32 {
        let shell = self.tmux(&["display-message", "-p", "#{pane_pid}"]);
        let shell = shell.trim();
        let children = format!("/proc/{shell}/task/{shell}/children");
        let children = std::fs::read_to_string(children).expect("the shell's children");
        let child = children.split_whitespace().next();
        child.and_then(|pid| pid.parse().ok()).expect("the program")
    }

    /// Presses `key`, which ends the program, and waits for its exit status.
    #[track_caller]
    fn end(&self, key: &str) -> String {
        let status = self.patiently("end", || {
            self.send(key);
            let end = Instant::now() + Duration::from_secs(10);
            while Instant::now() < end {
                let status = std::fs::read_to_string(self.session.file("status"));
                if let Some(status) = status.ok().filter(|s| s.ends_with('\n')) {
                    return Some(status);
                }
                thread::sleep(Duration::from_millis(100));
            }
            None
        });
        let stderr = self.session.read("stderr");
        assert_silent(&stderr, "the program on the terminal");
        assert_eq!(status, "0\n", "its exit status; it said:\n{stderr}");
        format!("status {status}{stderr}")
    }
}

impl Drop for Terminal<'_> {
    fn drop(&mut self) {
        self.tmux(&["kill-server"]);
    }
}

/// The first line of a screen that contains `sign`, blanks squeezed.
fn line<'a>(screen: &'a str, sign: &str) -> Vec<&'a str> {
    let line = screen.lines().find(|line| line.contains(sign));
    line.unwrap_or_default().split_whitespace().collect()
}

#[test]
fn top_prints_every_process_three_times() {
    compare("top-batch", &[&TOP], |s| {
        let finished = s.run_quietly(s.command(&TOP, &["-bn3", "-d0.2", "-w200"]));
        let printed = finished.stdout();
        let own = printed.lines().filter(|l| l.trim_end().ends_with(" top"));
        assert!(own.count() >= 3, "top lists itself each time:\n{printed}");
        let frames = normal::numbers(&normal::lines(printed, |line| {
            line.contains(" PID ") || line.starts_with("MiB Mem") || line.starts_with("Tasks:")
        }));
        s.note(&frames);
        s.note(&finished.stderr);
    });
}

#[test]
fn top_obeys_its_keys_on_a_terminal() {
    compare("top", &[&TMUX, &TOP], |s| {
        let mut seen = Vec::new();
        {
            let terminal = Terminal::new(s, &TOP, "-d 0.3 -o RES");
            let screen = terminal.until("COMMAND");
            assert_mapped(terminal.program(), s.on_thmalloc());
            seen.push(line(&screen, "COMMAND").join(" "));
            // Threads, command lines, forest, fields, help, each CPU.
            seen.push(line(&terminal.press("H", "Threads:"), "Threads:")[0].to_string());
            terminal.press("H", "Tasks:");
            terminal.press("c", "top -d 0.3");
            terminal.press("V", "`-");
            terminal.press("f", "Fields Management");
            terminal.press("Escape", "Tasks:");
            let help = terminal.press("h", "Help for");
            seen.push(line(&help, "Help for")[0].to_string());
            terminal.press("Escape", "Tasks:");
            terminal.press("1", "%Cpu0");
            seen.push(terminal.end("q"));
        }
        s.note(&seen.join("\n"));
    });
}

#[test]
fn htop_obeys_its_keys_on_a_terminal() {
    compare("htop", &[&TMUX, &HTOP], |s| {
        // A process that htop can be told to look for.
        let mut sleeper = Command::new("sleep").arg("600").spawn().expect("sleep");
        let mut seen = Vec::new();
        {
            let terminal = Terminal::new(s, &HTOP, "--delay=3");
            let screen = terminal.until("F10Quit");
            assert_mapped(terminal.program(), s.on_thmalloc());
            seen.push(line(&screen, "F10Quit").join(" "));
            seen.push(line(&screen, "VIRT").join(" "));
            // Tree, setup and back, help and back, order, filter.
            let tree = terminal.press("F5", "F5List");
            seen.push(line(&tree, "F5List").join(" "));
            terminal.press("F5", "F5Tree");
            let setup = terminal.press("F2", "Display options");
            // Behind these words the row may be one that is not drawn anew yet.
            seen.push(line(&setup, "Display options")[..3].join(" "));
            terminal.press("F10", "F5Tree");
            terminal.press("F1", "Press any key to return");
            terminal.press("Space", "F5Tree");
            terminal.press("F6", "EscCancel");
            terminal.until("Sort by");
            terminal.press("Escape", "F5Tree");
            terminal.press("F4", "Filter:");
            terminal.send("sleep 600");
            terminal.until("Filter: sleep 600");
            terminal.press("Enter", "F5Tree");
            terminal.until("sleep 600");
            seen.push(terminal.end("F10"));
        }
        let _ = sleeper.kill();
        let _ = sleeper.wait();
        s.note(&seen.join("\n"));
    });
}
