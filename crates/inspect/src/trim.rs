//! Asks a process to give back all that it can.
//!
//! The request is a word that is written to. The scavenger's thread sleeps on a
//! futex, which only the process itself can wake; so its sleep is interrupted as
//! a debugger does, and it looks again. It is let go at once; and where we die
//! between the two, the system lets it go.

use std::io::IoSlice;
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::ptrace;
use nix::sys::uio::{RemoteIoVec, process_vm_writev};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use thmalloc_format::{SCAVENGER_RUNNING, SLEEP_ASKED, SLEEP_LEAVING};

use crate::bytes::{u32_at, u64_at};
use crate::layout::Layout;
use crate::memory::{Fault, Memory};
use crate::proc;

/// The answer is looked for so often.
const PAUSE: Duration = Duration::from_millis(2);

/// Writes the request to a heap, and waits for the answer until `end`: how many bytes
/// it brought. `None`: nobody came by.
pub fn trim(
    pid: u32,
    memory: &impl Memory,
    layout: &Layout,
    end: Instant,
) -> Result<Option<u64>, Fault> {
    let part = &layout.scavenger;
    let word = |at: u32| {
        let mut bytes = [0; 4];
        memory.read(layout.heap.saturating_add(at.into()), &mut bytes)?;
        Ok(u32_at(&bytes, 0))
    };
    let wanted = word(part.request_at)?.wrapping_add(1);
    write(
        pid,
        layout.heap.saturating_add(part.request_at.into()),
        wanted,
    )?;
    if word(part.state_at)? == SCAVENGER_RUNNING {
        if word(part.sleep_at)? != SLEEP_LEAVING {
            let sleep = layout.heap.saturating_add(part.sleep_at.into());
            write(pid, sleep, SLEEP_ASKED)?;
        }
        interrupt(pid, word(part.thread_at)?);
    }
    loop {
        if word(part.served_at)? == wanted {
            let mut bytes = [0; 8];
            let at = layout.heap.saturating_add(part.served_bytes_at.into());
            memory.read(at, &mut bytes)?;
            return Ok(Some(u64_at(&bytes, 0)));
        }
        if Instant::now() >= end {
            return Ok(None);
        }
        thread::sleep(PAUSE);
    }
}

fn write(pid: u32, address: u64, word: u32) -> Result<(), Fault> {
    let bytes = word.to_le_bytes();
    let local = [IoSlice::new(&bytes)];
    let remote = [RemoteIoVec {
        base: address as usize,
        len: bytes.len(),
    }];
    match process_vm_writev(raw(pid), &local, &remote) {
        Ok(4) => Ok(()),
        Ok(_) | Err(Errno::EFAULT) => Err(Fault::Unmapped),
        Err(Errno::ESRCH) => Err(Fault::Ended),
        Err(Errno::EPERM | Errno::EACCES) => Err(Fault::NotPermitted),
        Err(error) => Err(Fault::System(error)),
    }
}

/// Interrupts the system call in which a thread sleeps. Where that cannot be
/// done, a debugger is at it perhaps, the request waits for the thread's next
/// turn.
fn interrupt(pid: u32, inner: u32) {
    // Its number is that of its own namespace; it counts as ours if a thread of
    // the process says so.
    let threads = proc::threads(pid);
    let Some(thread) = threads
        .into_iter()
        .find(|&thread| proc::inner_number(pid, thread) == Some(inner))
    else {
        return;
    };
    let thread = raw(thread);
    if ptrace::seize(thread, ptrace::Options::empty()).is_err() {
        return;
    }
    if ptrace::interrupt(thread).is_err() {
        // It has ended. Were it there, our end would let it go.
        return;
    }
    // A signal of libc's own may stop it first; it is passed on.
    let signal = match waitpid(thread, Some(WaitPidFlag::__WALL)) {
        Ok(WaitStatus::Stopped(_, signal)) => Some(signal),
        _ => None,
    };
    let _ = ptrace::detach(thread, signal);
}

fn raw(pid: u32) -> Pid {
    Pid::from_raw(i32::try_from(pid).unwrap_or(i32::MAX))
}
