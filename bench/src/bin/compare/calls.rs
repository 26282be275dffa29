//! Counts system calls: one more run, which is not timed, under `perf stat`, with
//! the kernel's tracepoint at their entry (perf-stat(1)). A tracer that stops the
//! program at each of them would change what threads do that wait for each other.

use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

const EVENT: &str = "raw_syscalls:sys_enter";

/// `command` as one whose system calls are counted, and those of its threads and
/// children; the number is in `list` when it has ended, and no older one.
pub fn counted(command: &Command, list: &Path) -> Command {
    let _ = fs::remove_file(list);
    let mut perf = Command::new("perf");
    perf.args(["stat", "-x,", "-e", EVENT, "-o"]).arg(list);
    perf.arg("--").arg(command.get_program());
    perf.args(command.get_args());
    if let Some(directory) = command.get_current_dir() {
        perf.current_dir(directory);
    }
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => perf.env(name, value),
            None => perf.env_remove(name),
        };
    }
    perf
}

/// Runs `command` and counts.
pub fn of(command: &Command, list: &Path) -> io::Result<u64> {
    let mut perf = counted(command, list);
    perf.stdin(Stdio::null()).stdout(Stdio::null());
    // Its errors are those of the program, which ran before.
    perf.stderr(Stdio::null()).status()?;
    number(list)
}

/// The number that stands in `list`.
pub fn number(list: &Path) -> io::Result<u64> {
    let text = fs::read_to_string(list).unwrap_or_default();
    parsed(&text).ok_or_else(|| {
        io::Error::other(format!(
            "perf stat counted nothing: {}",
            text.trim().lines().last().unwrap_or("it wrote nothing")
        ))
    })
}

/// Why system calls cannot be counted here, if they cannot.
pub fn missing(list: &Path) -> Option<String> {
    let error = of(&Command::new("true"), list).err()?;
    Some(format!(
        "--calls needs perf and its tracepoint {EVENT} ({error}): apt-get install linux-perf; \
         mount -t tracefs tracefs /sys/kernel/tracing; and run it as root"
    ))
}

fn parsed(text: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.contains(EVENT))?;
    line.split(',').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;

    #[test]
    fn perfs_number_is_found() {
        let text = "# started on Mon\n\n29,,raw_syscalls:sys_enter,849553,100.00,,\n";
        assert_eq!(parsed(text), Some(29));
        let none = "<not supported>,,raw_syscalls:sys_enter,0,100.00,,\n";
        assert_eq!((parsed(none), parsed("")), (None, None));
    }

    #[test]
    fn a_command_keeps_its_words_its_place_and_its_environment() {
        let mut command = Command::new("program");
        command.arg("word").env("A", "b").env_remove("C");
        command.current_dir("/tmp");
        let perf = counted(&command, Path::new("/nowhere/list"));
        let words: Vec<_> = perf.get_args().collect();
        assert_eq!(words[words.len() - 3..], ["--", "program", "word"]);
        assert_eq!(perf.get_current_dir(), Some(Path::new("/tmp")));
        let envs: Vec<_> = perf.get_envs().collect();
        assert!(envs.contains(&(OsStr::new("A"), Some(OsStr::new("b")))));
        assert!(envs.contains(&(OsStr::new("C"), None)));
    }
}
