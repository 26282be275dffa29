//! Waiting for a time, or for the user to say that it is enough.

use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// The signals that end a command in the middle; they are only noticed here, so
/// that what is printed is whole.
pub struct Stop {
    signals: SignalFd,
}

impl Stop {
    /// From now on they are noticed.
    pub fn new() -> io::Result<Self> {
        let mut set = SigSet::empty();
        for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
            set.add(signal);
        }
        set.thread_block()?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let signals = SignalFd::with_flags(&set, flags)?;
        Ok(Self { signals })
    }

    /// Waits so long; true: no longer, since one of them came.
    pub fn wait(&self, time: Duration) -> bool {
        let end = Instant::now() + time;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            // Rounded up, so that it does not come back in a hurry.
            let milliseconds = left.as_micros().div_ceil(1000).min(1 << 30) as u32;
            let timeout = PollTimeout::try_from(milliseconds).unwrap_or(PollTimeout::MAX);
            let mut fds = [PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
            if let Ok(1..) = poll(&mut fds, timeout) {
                return true;
            }
            if Instant::now() >= end {
                return false;
            }
        }
    }
}
