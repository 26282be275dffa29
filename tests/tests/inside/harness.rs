//! A program that takes steps, and what the command says of it.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use thmalloc_tests::{Outcome, hang_guard, run, thmalloc};

/// A running program; it is killed when the test is over.
pub struct Running {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Running {
    pub fn start(command: &mut Command) -> Running {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Running {
            stdin: child.stdin.take(),
            stdout: BufReader::new(child.stdout.take().expect("its output")),
            child,
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The next line that it prints.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("a line");
        assert!(!line.is_empty(), "it has ended");
        line.trim_end().to_owned()
    }

    /// Reads lines up to one.
    pub fn until(&mut self, expected: &str) {
        while self.line() != expected {}
    }

    /// Has it take a step; what it answers.
    pub fn step(&mut self, step: &str) -> String {
        self.say(step);
        self.line()
    }

    pub fn say(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("its input");
        writeln!(stdin, "{line}").expect("it listens");
        stdin.flush().expect("it listens");
    }

    pub fn signal(&self, name: &str) {
        signal(self.pid(), name);
    }

    /// Kills it, and leaves it a zombie.
    pub fn kill(&mut self) {
        self.child.kill().expect("it is ours");
        wait_for_state(self.pid(), "Z");
    }

    /// Has it ended by itself?
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("it is ours").is_some()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn signal(pid: u32, name: &str) {
    let status = Command::new("kill")
        .args([format!("-{name}"), pid.to_string()])
        .status();
    assert!(status.expect("kill runs").success());
}

/// The letter of a thread's state.
pub fn state(status: &str) -> String {
    let status = fs::read_to_string(status).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("State:"));
    line.unwrap_or("?").trim().chars().take(1).collect()
}

/// Waits until a process is in one of these states.
pub fn wait_for_state(pid: u32, states: &str) {
    let begun = Instant::now();
    while !states.contains(&state(&format!("/proc/{pid}/status"))) {
        assert!(
            begun.elapsed() < hang_guard(60),
            "{pid} does not get to {states}"
        );
        thread::sleep(Duration::from_millis(2));
    }
}

/// Runs the command, without colours of its own.
pub fn command(args: &[&str]) -> Outcome {
    run(Command::new(thmalloc()).args(args), hang_guard(120))
}

/// What `stat --json` says.
#[track_caller]
pub fn stat(pid: u32) -> Value {
    let outcome = command(&["stat", "--json", &pid.to_string()]);
    outcome.expect_success("thmalloc stat");
    serde_json::from_str(&outcome.stdout).expect("JSON")
}

/// A number of it, by its path.
#[track_caller]
pub fn number(value: &Value, path: &str) -> u64 {
    let found = value.pointer(path).and_then(Value::as_u64);
    found.unwrap_or_else(|| panic!("no {path} in {value}"))
}

/// The sum rule: the words add up, and agree with what the kernel counts. Where the
/// scavenger is at work meanwhile, with something between what it counts before and
/// after.
#[track_caller]
pub fn assert_sum(pid: u32, what: &str) -> Value {
    let overcommit = fs::read_to_string("/proc/sys/vm/overcommit_memory");
    let is_told = overcommit.is_ok_and(|mode| mode.trim() != "2");
    let before = is_told.then(|| without_reserve(pid));
    let stat = stat(pid);
    let word = |name: &str| number(&stat, &format!("/bytes/{name}"));
    let words = ["live", "cached", "fragmented", "free", "metadata"];
    let sum: u64 = words.iter().map(|name| word(name)).sum();
    assert_eq!(sum, word("resident"), "{what}: {stat}");
    assert_eq!(
        stat.pointer("/consistency/by_page"),
        Some(&Value::Bool(true))
    );
    let close = |kernel: u64, whose: &str| {
        let before = before.unwrap_or(kernel);
        let (least, most) = (kernel.min(before), kernel.max(before));
        let allowed = |kernel: u64| kernel / 50 + (1 << 20);
        assert!(
            sum + allowed(least) >= least && sum <= most + allowed(most),
            "{what}: {sum} by the words, {kernel} by {whose}, {before} before: {stat}"
        );
    };
    close(
        number(&stat, "/resident/heap"),
        "the kernel, of the heap's mappings",
    );
    if is_told {
        close(
            without_reserve(pid),
            "the kernel, of mappings without reserve",
        );
    }
    stat
}

/// What smaps counts of mappings with the flag `nr` (MAP_NORESERVE), which are the
/// heap's: programs under test have no others.
fn without_reserve(pid: u32) -> u64 {
    let smaps = fs::read_to_string(format!("/proc/{pid}/smaps")).expect("smaps");
    let (mut sum, mut bytes) = (0, 0);
    for line in smaps.lines() {
        let mut fields = line.split_ascii_whitespace();
        let kilobytes = |mut fields: std::str::SplitAsciiWhitespace<'_>| {
            fields
                .next()
                .and_then(|k| k.parse::<u64>().ok())
                .unwrap_or(0)
                << 10
        };
        match fields.next() {
            Some("Rss:") => bytes = kilobytes(fields),
            Some("Swap:") => bytes += kilobytes(fields),
            Some("VmFlags:") => {
                sum += if fields.any(|flag| flag == "nr") {
                    bytes
                } else {
                    0
                }
            }
            _ => {}
        }
    }
    sum
}

/// Is this root?
pub fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}
