//! What the load says, and how it waits for who watches it.

use std::io::{Read, Write};
use std::time::Instant;

use nix::sys::resource::{UsageWho, getrusage};
use thmalloc_bench::phase::Phase;

use crate::object::Account;

/// The line to the driver: phases out, permission to go on in.
pub struct Telling {
    started: Instant,
    driven: bool,
}

impl Telling {
    /// With `driven`, somebody answers each phase that waits with a line.
    pub fn new(driven: bool) -> Telling {
        Telling {
            started: Instant::now(),
            driven,
        }
    }

    /// A phase with what is known now.
    pub fn phase(&self, name: &'static str, account: Account) -> Phase {
        Phase {
            phase: name.into(),
            t_ms: self.started.elapsed().as_millis() as u64,
            live_bytes: account.live as u64,
            usable_bytes: account.usable as u64,
            objects: account.objects as u64,
            minor_faults: minor_faults(),
            ..Phase::default()
        }
    }

    /// Prints a phase. Allocates nothing.
    pub fn tell(&self, phase: &Phase) {
        let mut buffer = [0; 512];
        print(phase.line(&mut buffer));
    }

    /// Prints a phase, and waits until the driver has measured it.
    pub fn tell_and_wait(&self, phase: &Phase) {
        self.tell(phase);
        if self.driven {
            self.wait();
        }
    }

    /// Blocks until the input ends; allocates nothing.
    pub fn wait_for_the_end(&self) {
        if self.driven {
            loop {
                self.wait();
            }
        }
    }

    /// Waits for a line; the end of the input ends the program.
    pub fn wait(&self) {
        let mut byte = [0];
        while byte[0] != b'\n' {
            match std::io::stdin().lock().read(&mut byte) {
                Ok(1..) => {}
                _ => std::process::exit(0),
            }
        }
    }
}

/// Prints `bytes`; whoever watches may be gone, and then so is the load.
pub fn print(bytes: &[u8]) {
    let mut out = std::io::stdout().lock();
    if out.write_all(bytes).and_then(|()| out.flush()).is_err() {
        std::process::exit(1);
    }
}

/// Page faults of this process that took no disk.
pub fn minor_faults() -> u64 {
    getrusage(UsageWho::RUSAGE_SELF).map_or(0, |usage| usage.minor_page_faults() as u64)
}

/// Processor time of this process in ns, all threads, user and system.
pub fn cpu_ns() -> u64 {
    getrusage(UsageWho::RUSAGE_SELF).map_or(0, |usage| {
        [usage.user_time(), usage.system_time()]
            .iter()
            .map(|time| (time.tv_sec() * 1_000_000 + time.tv_usec()) as u64 * 1000)
            .sum()
    })
}
