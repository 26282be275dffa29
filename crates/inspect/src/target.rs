//! A process that is looked into.
//!
//! Always: what is read belongs to the process that was opened: another one that
//! has got its number since is told by when it was started.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::time::{ClockId, clock_gettime};

use crate::error::Error;
use crate::find::{self, Found};
use crate::layout::BadBlock;
use crate::memory::{Fault, ProcessMemory};
use crate::proc::{self, Mapping, Stat};
use crate::reading::{self, Reading};
use crate::resident;
use crate::snapshot::{Consistency, JSON_VERSION, MappedFile, Process, Snapshot};
use crate::trim;

/// How much of a process is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// All but [`Snapshot::regions`].
    Summary,
    /// Everything.
    Full,
}

/// A process on thmalloc. Between two readings it is only remembered where its
/// block is.
#[derive(Debug)]
pub struct Target {
    pid: u32,
    started: u64,
    memory: ProcessMemory,
    found: Found,
}

/// What a request to give back did.
#[derive(Clone, Copy, Debug)]
pub enum Trimmed {
    /// It was served, and brought so many bytes.
    Served(u64),
    /// Nobody came by in time: the process has no scavenger's thread, and will
    /// serve the request when it next frees or allocates on a slow path.
    Pending,
}

/// A heap that changes while it is read is read so often.
const ATTEMPTS: u32 = 3;

/// It is not begun again if it took longer, all in all.
const PATIENCE: Duration = Duration::from_millis(300);

impl Target {
    /// Finds the heap of a process.
    pub fn open(pid: u32) -> Result<Self, Error> {
        let stat = proc::stat(pid)?;
        if stat.zombie {
            return Err(Error::Ended(pid));
        }
        let memory = ProcessMemory::new(pid);
        let mappings = proc::mappings(pid, false)?;
        let found = look(pid, &memory, &mappings)?;
        Ok(Self {
            pid,
            started: stat.started,
            memory,
            found,
        })
    }

    /// Whose it is.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Is it still the process that was opened?
    fn stat(&self) -> Result<Stat, Error> {
        match proc::stat(self.pid) {
            Ok(stat) if stat.started == self.started && !stat.zombie => Ok(stat),
            Ok(_) | Err(Error::NoSuchProcess(_)) => Err(Error::Ended(self.pid)),
            Err(error) => Err(error),
        }
    }

    /// Reads the heap, without stopping the process.
    pub fn read(&mut self, detail: Detail) -> Result<Snapshot, Error> {
        self.stat()?;
        // What is wrong with a process that has just ended is that.
        self.read_now(detail)
            .map_err(|error| self.stat().err().unwrap_or(error))
    }

    fn read_now(&mut self, detail: Detail) -> Result<Snapshot, Error> {
        let (reading, attempts) = match self.attempt(detail) {
            Ok(read) => read,
            // It may have executed another program since.
            Err(fault) => {
                let stat = self.stat()?;
                let mappings = proc::mappings(self.pid, false)?;
                // It had some, and nobody has none but who is about to end.
                if mappings.is_empty() {
                    return Err(Error::Ended(self.pid));
                }
                let found = look(self.pid, &self.memory, &mappings)?;
                if found.block == self.found.block {
                    return Err(explain(self.pid, fault));
                }
                self.found = found;
                self.started = stat.started;
                self.attempt(detail)
                    .map_err(|fault| explain(self.pid, fault))?
            }
        };
        let resident = resident::read(self.pid, &reading.ranges, self.stat()?.minor_faults)?;
        let stat = self.stat()?;
        let (name, command) = proc::names(self.pid);
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        Ok(Snapshot {
            version: JSON_VERSION,
            process: Process {
                pid: self.pid,
                name,
                command,
                threads: stat.threads,
                library: self.found.library.clone(),
                release: self.found.layout.release.clone(),
                cache_mode: if reading.rseq { "rseq" } else { "lock" }.into(),
            },
            time_ms: since.map_or(0, |since| since.as_millis() as u64),
            consistency: Consistency {
                exact: reading.changes == 0,
                attempts,
                changes: reading.changes,
                by_page: reading.by_page,
            },
            bytes: reading.words,
            resident,
            totals: reading.totals,
            size_classes: reading.classes,
            cpu_caches: reading.cpu_caches,
            large: reading.large,
            scavenger: reading.scavenger,
            regions: reading.regions,
        })
    }

    /// Reads until nothing changed meanwhile, or often enough.
    fn attempt(&self, detail: Detail) -> Result<(Reading, u32), Fault> {
        let layout = &self.found.layout;
        let begun = now();
        for attempt in 1.. {
            let full = detail == Detail::Full;
            let time = now();
            let last =
                attempt >= ATTEMPTS || time.saturating_sub(begun) > PATIENCE.as_nanos() as u64;
            match reading::read(&self.memory, layout, full, time) {
                Ok(reading) if reading.changes == 0 || last => return Ok((reading, attempt)),
                // Books that change may lead nowhere, once.
                Err(Fault::Unmapped | Fault::Corrupt(_)) if !last => {}
                Err(fault) => return Err(fault),
                Ok(_) => {}
            }
        }
        Err(Fault::Corrupt("it changes faster than it is read"))
    }

    /// The files and the shared memory that it has mapped, those with most memory
    /// first.
    pub fn files(&self) -> Result<Vec<MappedFile>, Error> {
        self.stat()?;
        resident::files(self.pid)
    }

    /// Asks the process to give back all that it can now, and waits that long at
    /// most for an answer.
    pub fn trim(&mut self, patience: Duration) -> Result<Trimmed, Error> {
        self.stat()?;
        let served = trim::trim(self.pid, &self.memory, &self.found.layout, patience);
        match served {
            Ok(trimmed) => Ok(trimmed),
            Err(fault) => {
                self.stat()?;
                Err(explain(self.pid, fault))
            }
        }
    }
}

/// CLOCK_MONOTONIC, in nanoseconds.
fn now() -> u64 {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC).map(Duration::from);
    time.map_or(0, |time| time.as_nanos() as u64)
}

/// Finds the block of a process.
fn look(pid: u32, memory: &ProcessMemory, mappings: &[Mapping]) -> Result<Found, Error> {
    match find::find(memory, mappings) {
        Ok(Some(found)) => Ok(found),
        Ok(None) => Err(Error::NotOnThmalloc(pid)),
        Err(BadBlock::OtherVersion(found)) => Err(Error::OtherVersion { pid, found }),
        Err(BadBlock::Fault(fault)) => Err(explain(pid, fault)),
    }
}

fn explain(pid: u32, fault: Fault) -> Error {
    match fault {
        Fault::Unmapped => Error::Corrupt {
            pid,
            what: "its books lead to where no memory is",
        },
        Fault::Corrupt(what) => Error::Corrupt { pid, what },
        Fault::Ended => Error::Ended(pid),
        Fault::NotPermitted => Error::NotPermitted(pid),
        Fault::System(errno) => Error::System {
            doing: "to read its memory",
            error: errno.into(),
        },
    }
}

/// The processes on thmalloc that we may look into, in the order of their
/// numbers, and how many there are that we may not.
pub fn processes() -> Result<(Vec<u32>, usize), Error> {
    let mut ours = Vec::new();
    let mut hidden = 0;
    for pid in proc::numbers("/proc", usize::MAX) {
        match Target::open(pid) {
            Ok(_) => ours.push(pid),
            Err(Error::NotPermitted(_)) => hidden += 1,
            // Ended meanwhile, on another malloc, or not to be made sense of.
            Err(_) => {}
        }
    }
    Ok((ours, hidden))
}
