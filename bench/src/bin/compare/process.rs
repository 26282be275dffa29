//! Runs one process to its end, and says what it took.
//!
//! The process is traced, for two stops only: when its program begins, and when
//! it is about to end and its memory is still there. So time, page faults and
//! peak memory are the program's own, without what this driver's process left in
//! the fork, and without the time to load and end it.
#![allow(
    unsafe_code,
    reason = "a child asks to be traced before it is replaced"
)]

use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::ptrace::{self, Options};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::{Signal, kill};
use nix::sys::time::TimeValLike;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;
use thmalloc_bench::guard::Group;

/// Only ends what hangs.
const HANGS: Duration = Duration::from_secs(120);

/// What a process took.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// From the program's first instruction to its end.
    pub wall_s: f64,
    /// Processor time of all its threads and children.
    pub cpu_s: f64,
    /// The most memory that was resident at a time.
    pub peak_bytes: u64,
    /// Page faults, without those before the program began.
    pub faults: u64,
}

/// Runs `command`, which must end with one of `codes`; its errors go to `errors`.
pub fn run(command: &mut Command, codes: &[i32], errors: &Path) -> io::Result<Usage> {
    command.stderr(fs::File::create(errors)?);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    // SAFETY: between fork and exec there is one system call, and no allocation.
    unsafe { command.pre_exec(|| Ok(ptrace::traceme()?)) };
    let cpu = cpu_s();
    let group = Group::start(command)?;
    let pid = Pid::from_raw(group.id());
    let (done, watched) = channel::<()>();
    let watch = thread::spawn(move || {
        let late = watched.recv_timeout(HANGS) == Err(RecvTimeoutError::Timeout);
        if late {
            let _ = kill(pid, Signal::SIGKILL);
        }
        late
    });
    let ended = follow(pid);
    drop(done);
    let late = watch.join().expect("it does not panic");
    drop(group);
    if late {
        return Err(io::Error::other(format!("it took more than {HANGS:?}")));
    }
    match ended {
        Ok((usage, code)) if codes.contains(&code) => Ok(Usage {
            cpu_s: cpu_s() - cpu,
            ..usage
        }),
        Ok((_, code)) => Err(failure(&format!("it failed with status {code}"), errors)),
        Err(error) => Err(failure(&error.to_string(), errors)),
    }
}

fn failure(what: &str, errors: &Path) -> io::Error {
    let said = fs::read_to_string(errors).unwrap_or_default();
    let last = said.trim().lines().last().unwrap_or("it said nothing");
    io::Error::other(format!("{what}: {last}"))
}

/// Follows a process that is traced; what it took, and its exit status.
fn follow(pid: Pid) -> io::Result<(Usage, i32)> {
    // The stop at exec.
    match waitpid(pid, None)? {
        WaitStatus::Stopped(_, Signal::SIGTRAP) => {}
        other => return Err(io::Error::other(format!("it did not start: {other:?}"))),
    }
    ptrace::setoptions(
        pid,
        Options::PTRACE_O_TRACEEXIT | Options::PTRACE_O_TRACEEXEC | Options::PTRACE_O_EXITKILL,
    )?;
    let before = faults(pid.as_raw());
    let start = Instant::now();
    ptrace::cont(pid, None)?;
    let mut usage = Usage::default();
    loop {
        match waitpid(pid, None)? {
            WaitStatus::PtraceEvent(_, _, event) => {
                if event == nix::libc::PTRACE_EVENT_EXIT {
                    usage.wall_s = start.elapsed().as_secs_f64();
                    usage.peak_bytes = peak_bytes(pid.as_raw());
                    usage.faults = faults(pid.as_raw()).saturating_sub(before);
                }
                ptrace::cont(pid, None)?;
            }
            WaitStatus::Stopped(_, signal) => ptrace::cont(pid, signal)?,
            WaitStatus::Exited(_, code) => return Ok((usage, code)),
            WaitStatus::Signaled(_, signal, _) => {
                return Err(io::Error::other(format!("it was ended by {signal}")));
            }
            _ => {}
        }
    }
}

/// Processor time of all children that have ended.
fn cpu_s() -> f64 {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).expect("the kernel knows this process");
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    micros as f64 / 1e6
}

/// The most that was resident of a live process.
pub fn peak_bytes(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok())
        .unwrap_or(0)
        * 1024
}

/// Page faults of a live process, without those that read from a disk.
pub fn faults(pid: i32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name in brackets may have spaces; the tenth field is counted from it.
    stat.rsplit_once(") ")
        .and_then(|(_, rest)| rest.split(' ').nth(7)?.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_seen_from_its_start_to_its_end() {
        let errors = std::env::temp_dir().join(format!("process-{}", std::process::id()));
        let usage = run(&mut Command::new("true"), &[0], &errors).expect("it runs");
        assert!(usage.peak_bytes > 100 << 10, "{usage:?}");
        assert!(usage.faults > 10, "{usage:?}");
        let error = run(&mut Command::new("false"), &[0], &errors).expect_err("it fails");
        assert!(error.to_string().contains("failed"), "{error}");
        let mut missing = Command::new("/nowhere/at/all");
        assert!(run(&mut missing, &[0], &errors).is_err());
        std::fs::remove_file(&errors).expect("it was written");
    }
}
