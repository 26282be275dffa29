//! `thmalloc top` on a terminal of tmux: what it shows, how it obeys its keys, and
//! that the terminal is afterwards what it was, however it ends.

mod patient;

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use patient::Patient;
use thmalloc_tests::{Mode, hang_guard, installed, run, skip, thmalloc};

/// A terminal in a tmux server of its own, with an empty directory.
struct Terminal {
    directory: PathBuf,
}

impl Terminal {
    /// Runs a script of the shell in it.
    fn new(width: u16, height: u16, script: &str) -> Terminal {
        // Relaxed: only the number has to be unique.
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("thmalloc-top-{}-{count}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        fs::create_dir_all(&directory).expect("a directory");
        let terminal = Terminal { directory };
        fs::write(terminal.directory.join("script"), script).expect("a file");
        let (width, height) = (width.to_string(), height.to_string());
        let size = ["-x", &width, "-y", &height];
        let start = ["-f", "/dev/null", "new-session", "-d"];
        terminal.tmux(&[&start[..], &size, &["sh", "script"]].concat());
        terminal
    }

    /// Runs `thmalloc top`, its arguments after its environment, between two looks
    /// at the terminal's mode.
    fn of_top(width: u16, height: u16, environment: &str, arguments: &str) -> Terminal {
        let top = format!("env {environment} {} top {arguments}", thmalloc().display());
        let script = format!(
            "stty -a >before; echo first line; {top} 2>stderr; echo $? >status
             stty -a >after; echo last line; cat"
        );
        Terminal::new(width, height, &script)
    }

    fn tmux(&self, args: &[&str]) -> String {
        let out = Command::new("tmux")
            .current_dir(&self.directory)
            .env("TERM", "xterm-256color")
            .env("LANG", "C.UTF-8")
            .env("SHELL", "/bin/sh")
            .env_remove("LC_ALL")
            .env_remove("NO_COLOR")
            .env_remove("TMUX")
            .args(["-u", "-S", "tmux"])
            .args(args)
            .output()
            .expect("tmux runs");
        String::from_utf8_lossy(&out.stdout).into_owned()
    }

    fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p"])
    }

    fn send(&self, key: &str) {
        self.tmux(&["send-keys", key]);
    }

    /// Waits until the screen is as wanted; gives it.
    #[track_caller]
    fn until(&self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let end = Instant::now() + hang_guard(120);
        loop {
            let screen = self.screen();
            if wanted(&screen) {
                return screen;
            }
            let stderr = self.read("stderr").unwrap_or_default();
            assert!(Instant::now() < end, "no {what}:\n{screen}\n{stderr}");
            thread::sleep(Duration::from_millis(50));
        }
    }

    #[track_caller]
    fn shows(&self, sign: &str) -> String {
        self.until(sign, |screen| screen.contains(sign))
    }

    /// Presses a key and waits for what it leads to. A screen arrives in pieces: what
    /// the key before it removes has to go first.
    #[track_caller]
    fn press(&self, key: &str, sign: &str) -> String {
        let gone = format!("moment without {sign:?} before {key}");
        self.until(&gone, |screen| !screen.contains(sign));
        self.send(key);
        self.shows(sign)
    }

    /// What a file of the directory holds, once it is there and whole.
    fn read(&self, name: &str) -> Option<String> {
        let text = fs::read_to_string(self.directory.join(name)).ok();
        text.filter(|text| text.ends_with('\n'))
    }

    /// The process of `thmalloc top`: what the shell runs.
    fn top(&self) -> String {
        let shell = self.tmux(&["display-message", "-p", "#{pane_pid}"]);
        let shell = shell.trim();
        let children = format!("/proc/{shell}/task/{shell}/children");
        let children = fs::read_to_string(children).expect("the shell's children");
        children.split_whitespace().next().expect("top").to_owned()
    }

    /// Top has ended with a status, and the terminal is as it was.
    #[track_caller]
    fn is_given_back(&self, status: &str) {
        let screen = self.shows("last line");
        assert!(screen.starts_with("first line\n"), "{screen}");
        assert!(!screen.contains("thmalloc top"), "{screen}");
        assert_eq!(self.read("status"), Some(format!("{status}\n")));
        // A shell may say there what signal it saw.
        let stderr = self.read("stderr").unwrap_or_default();
        assert!(!stderr.contains("thmalloc"), "{stderr}");
        let modes = (self.read("before"), self.read("after"));
        assert!(modes.0.is_some());
        assert_eq!(modes.0, modes.1);
        let flags = ["display-message", "-p", "#{alternate_on} #{cursor_flag}"];
        assert_eq!(self.tmux(&flags), "0 1\n");
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.tmux(&["kill-server"]);
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Is there a tmux? Says so if there is none.
fn tmux(test: &str) -> bool {
    let there = installed("tmux");
    if !there {
        skip(test, "tmux is not installed (Debian package tmux)");
    }
    there
}

/// Does a graph on the screen begin a second ago, or earlier?
fn begins_earlier(screen: &str) -> bool {
    let mut words = screen.split_whitespace();
    words.any(|word| {
        let seconds = word
            .strip_prefix('-')
            .and_then(|word| word.strip_suffix('s'));
        seconds.is_some_and(|seconds| seconds.parse().is_ok_and(|seconds: u32| seconds > 0))
    })
}

#[test]
fn a_process_is_listed_and_opened() {
    if !tmux("a_process_is_listed_and_opened") {
        return;
    }
    for mode in Mode::ALL {
        let patient = Patient::new(mode, "", &["leak_large"]);
        let pid = patient.pid();
        let terminal = Terminal::of_top(80, 24, "", &format!("-d 0.2 -p {pid}"));
        let row = |screen: &str| -> Option<Vec<String>> {
            let row = screen.lines().find(|l| l.trim_start().starts_with(&pid))?;
            Some(row.split_whitespace().map(str::to_owned).collect())
        };
        // PID, seven figures, the rate, the command; it allocates all the time.
        let growing = |screen: &str| {
            let row = row(screen).unwrap_or_default();
            row.len() == 10 && row[8].ends_with('M') && row[9].starts_with("illness")
        };
        let screen = terminal.until("a row with a rate", growing);
        assert!(
            screen.contains("  1 process  by resident  0.2 s"),
            "{screen}"
        );
        for word in [
            "live",
            "cached",
            "fragmented",
            "free",
            "metadata",
            "released",
        ] {
            assert!(screen.contains(&format!("█ {word}")), "{screen}");
        }
        // Its arguments begin with its path.
        terminal.send("c");
        terminal.until("a path", |screen| {
            row(screen).is_some_and(|row| row[9].starts_with('/'))
        });
        terminal.press("N", "by number");
        terminal.press("P", "by rate");
        terminal.press("R", "inverted");
        terminal.press("/", "Filter: ");
        terminal.press("x", "No command contains \"x\"");
        terminal.press("Escape", &pid);
        let one = terminal.press("Enter", "OBJECTS");
        assert!(one.starts_with(&format!("{pid}  ")), "{one}");
        assert!(one.contains("large "), "{one}");
        // The graph, once there are readings that differ.
        terminal.until("a graph", begins_earlier);
        terminal.press("h", "this help");
        terminal.press("h", "OBJECTS");
        drop(patient);
        terminal.shows("has ended");
        terminal.press("Escape", "No process on thmalloc.");
        terminal.send("q");
        terminal.is_given_back("0");
    }
}

#[test]
fn a_terminal_of_another_size_is_drawn_anew() {
    if !tmux("a_terminal_of_another_size_is_drawn_anew") {
        return;
    }
    let patient = Patient::new(Mode::Rseq, "", &["healthy"]);
    let terminal = Terminal::of_top(80, 24, "", &format!("-d 0.5 -p {}", patient.pid()));
    let head = |screen: &str| -> Option<String> {
        screen
            .lines()
            .find(|l| l.contains("COMMAND"))
            .map(Into::into)
    };
    terminal.shows("CACHED");
    for (width, dropped) in [("40", "CACHED"), ("20", "LIVE"), ("4", "COMMAND")] {
        terminal.tmux(&["resize-window", "-x", width, "-y", "15"]);
        terminal.until("fewer columns", |screen| {
            head(screen).is_none_or(|head| !head.contains(dropped))
        });
    }
    terminal.tmux(&["resize-window", "-x", "120", "-y", "30"]);
    terminal.until("all columns", |screen| {
        head(screen).is_some_and(|head| head.contains("DRAWN"))
    });
    terminal.tmux(&["resize-window", "-x", "80", "-y", "24"]);
    terminal.until("fewer columns", |screen| {
        head(screen).is_some_and(|head| !head.contains("DRAWN"))
    });
    terminal.send("C-c");
    terminal.is_given_back("0");
}

#[test]
fn signals_that_end_it_end_it_and_the_terminal_is_as_it_was() {
    if !tmux("signals_that_end_it_end_it_and_the_terminal_is_as_it_was") {
        return;
    }
    for (signal, number) in [("TERM", 15), ("INT", 2), ("HUP", 1), ("QUIT", 3)] {
        let terminal = Terminal::of_top(80, 24, "", "-d 0.2");
        terminal.shows("thmalloc top - ");
        let killed = Command::new("kill")
            .args(["-s", signal, &terminal.top()])
            .status();
        assert!(killed.is_ok_and(|status| status.success()));
        terminal.is_given_back(&(128 + number).to_string());
    }
}

#[test]
fn it_ends_after_as_many_readings_as_it_is_told() {
    if !tmux("it_ends_after_as_many_readings_as_it_is_told") {
        return;
    }
    Terminal::of_top(80, 24, "", "-d 0.1 -n 2").is_given_back("0");
}

#[test]
fn stopped_it_gives_the_terminal_back_and_takes_it_again() {
    if !tmux("stopped_it_gives_the_terminal_back_and_takes_it_again") {
        return;
    }
    let script = "PS1='ready> ' exec bash --norc --noprofile -i";
    let terminal = Terminal::new(80, 24, script);
    let modes = |name: &str| {
        terminal.tmux(&[
            "send-keys",
            &format!("clear; stty -a >{name}; echo wrote-{name}"),
            "Enter",
        ]);
        let written = format!("wrote-{name}");
        terminal.until(&written, |screen| {
            screen.lines().any(|line| line == written)
        });
        terminal.read(name).expect("a mode")
    };
    terminal.shows("ready>");
    let before = modes("before");
    let top = format!("clear; {} top -d 0.2", thmalloc().display());
    terminal.tmux(&["send-keys", &top, "Enter"]);
    terminal.shows("thmalloc top - ");
    for turn in 0..2 {
        // By its key, and by a signal from elsewhere.
        match turn {
            0 => terminal.send("C-z"),
            _ => {
                let pid = terminal.tmux(&["display-message", "-p", "#{pane_pid}"]);
                let pid = pid.trim();
                let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
                let children = children.expect("the shell's children");
                let status = Command::new("kill")
                    .args(["-s", "TSTP", children.trim()])
                    .status();
                assert!(status.is_ok_and(|status| status.success()));
            }
        }
        terminal.shows("Stopped");
        assert_eq!(modes(&format!("stopped{turn}")), before);
        terminal.tmux(&["send-keys", "fg", "Enter"]);
        terminal.shows("thmalloc top - ");
    }
    terminal.send("q");
    terminal.shows("ready>");
    assert_eq!(modes("after"), before);
}

#[test]
fn no_colour_is_used_where_none_is_wanted() {
    if !tmux("no_colour_is_used_where_none_is_wanted") {
        return;
    }
    let patient = Patient::new(Mode::Rseq, "", &["healthy"]);
    for (environment, colored) in [("NO_COLOR=", true), ("NO_COLOR=1", false)] {
        let arguments = format!("-d 0.5 -p {}", patient.pid());
        let terminal = Terminal::of_top(80, 24, environment, &arguments);
        terminal.shows("illness");
        let styled = terminal.tmux(&["capture-pane", "-pe"]);
        // Green, of 16 colours or of 256, for what lives.
        let green = styled.contains("[32m") || styled.contains("38;5;2m");
        assert_eq!(green, colored, "{styled:?}");
        let plain = styled.replace("[39m", "").replace("[49m", "");
        let any = plain.contains("[3") || plain.contains("[4") || plain.contains("[9");
        assert!(colored || !any, "{styled:?}");
        terminal.send("q");
        terminal.is_given_back("0");
    }
    let terminal = Terminal::of_top(80, 24, "LC_ALL=C NO_COLOR=1", "-d 0.5");
    let screen = terminal.shows("thmalloc top - ");
    assert!(screen.is_ascii(), "{screen}");
}

#[test]
fn where_there_is_no_terminal_it_says_what_is_needed() {
    let mut command = Command::new(thmalloc());
    let outcome = run(command.arg("top"), hang_guard(60));
    assert_eq!(outcome.status.code(), Some(125), "{outcome:?}");
    assert!(
        outcome
            .stderr
            .starts_with("thmalloc: top needs a terminal: ")
    );
    assert!(outcome.stderr.contains("thmalloc top -b"), "{outcome:?}");
    if !tmux("where_there_is_no_terminal_it_says_what_is_needed") {
        return;
    }
    let terminal = Terminal::of_top(80, 24, "TERM=dumb", "");
    terminal.shows("last line");
    assert_eq!(terminal.read("status"), Some("125\n".into()));
    let stderr = terminal.read("stderr").expect("a reason");
    assert!(stderr.contains("TERM is dumb"), "{stderr}");
    assert_eq!(terminal.read("before"), terminal.read("after"));
}

#[test]
fn plain_text_is_printed_for_files_and_a_process_that_is_not_there_is_named() {
    let patient = Patient::new(Mode::Rseq, "", &["healthy"]);
    let pid = patient.pid();
    let mut command = Command::new(thmalloc());
    let arguments = ["top", "-b", "-n", "2", "-d", "0.1", "-p", &pid];
    let outcome = run(command.args(arguments), hang_guard(60));
    outcome.expect_success("thmalloc top -b");
    let rows: Vec<_> = outcome
        .stdout
        .lines()
        .filter(|line| line.trim_start().starts_with(&pid))
        .collect();
    assert_eq!(rows.len(), 2, "{outcome:?}");
    assert!(
        rows[1].contains("illness") && rows[1].ends_with(" healthy"),
        "{outcome:?}"
    );
    assert!(!outcome.stdout.contains('\u{1b}'), "{outcome:?}");

    // Above any number that Linux gives.
    let mut command = Command::new(thmalloc());
    let outcome = run(command.args(["top", "-b", "-p", "5000000"]), hang_guard(60));
    assert!(!outcome.status.success());
    assert!(
        outcome.stderr.contains("there is no process 5000000"),
        "{outcome:?}"
    );
}
