//! A process that is looked into.
//!
//! Always: what is read belongs to the process that was opened: another one that
//! has got its number since is told by when it was started.

use std::cmp::Reverse;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::time::{ClockId, clock_gettime};

use crate::error::Error;
use crate::find::{self, Found, Heaps};
use crate::layout::BadBlock;
use crate::memory::{Fault, ProcessMemory};
use crate::proc::{self, Mapping, Stat};
use crate::reading::{self, Budget, Reading};
use crate::resident;
use crate::snapshot::{Consistency, HeapView, JSON_VERSION, MappedFile, Process, Snapshot};
use crate::{sum, trim};

/// How much of a process is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// All but [`Snapshot::regions`].
    Summary,
    /// Everything.
    Full,
}

/// A process on thmalloc. Where its heaps are is looked for at each reading: a
/// program loads libraries, and executes other programs.
#[derive(Debug)]
pub struct Target {
    pid: u32,
    started: u64,
    memory: ProcessMemory,
}

/// What a request to give back did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trimmed {
    /// Bytes that it brought.
    pub bytes: u64,
    /// Heaps that served it.
    pub served: u32,
    /// Heaps where nobody came by in time: without a scavenger's thread, the request
    /// is served when the process next frees or allocates on a slow path.
    pub pending: u32,
}

/// A heap that changes while it is read is read so often.
const ATTEMPTS: u32 = 3;

/// It is not begun again if it took longer, all in all.
const PATIENCE: Duration = Duration::from_millis(300);

impl Target {
    /// Finds the heaps of a process.
    pub fn open(pid: u32) -> Result<Self, Error> {
        let stat = proc::stat(pid)?;
        if stat.zombie {
            return Err(Error::Ended(pid));
        }
        let target = Self {
            pid,
            started: stat.started,
            memory: ProcessMemory::new(pid),
        };
        target.look(&proc::mappings(pid, false)?)?;
        Ok(target)
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

    /// Where its heaps are now: one at least.
    fn look(&self, mappings: &[Mapping]) -> Result<Heaps, Error> {
        match find::find(&self.memory, mappings) {
            Ok(heaps) if !heaps.found.is_empty() => Ok(heaps),
            Ok(_) | Err(BadBlock::NotRelocated) => Err(Error::NotOnThmalloc(self.pid)),
            Err(BadBlock::OtherVersion(found)) => Err(Error::OtherVersion {
                pid: self.pid,
                found,
            }),
            Err(BadBlock::Fault(fault)) => Err(explain(self.pid, fault)),
        }
    }

    fn look_again(&self) -> Result<Heaps, Error> {
        let mappings = proc::mappings(self.pid, false)?;
        // It had some, and nobody has none but who is about to end.
        if mappings.is_empty() {
            return Err(Error::Ended(self.pid));
        }
        self.look(&mappings)
    }

    /// Reads its heaps, without stopping the process.
    pub fn read(&mut self, detail: Detail) -> Result<Snapshot, Error> {
        self.stat()?;
        // What is wrong with a process that has just ended is that.
        self.read_now(detail)
            .map_err(|error| self.stat().err().unwrap_or(error))
    }

    fn read_now(&self, detail: Detail) -> Result<Snapshot, Error> {
        let mut heaps = self.look_again()?;
        let (readings, attempts) = match self.attempt(&heaps, detail) {
            Ok(read) => read,
            // It may have executed another program since.
            Err(fault) => {
                let known = heaps;
                heaps = self.look_again()?;
                if heaps.blocks().eq(known.blocks()) {
                    return Err(explain(self.pid, fault));
                }
                self.attempt(&heaps, detail)
                    .map_err(|fault| explain(self.pid, fault))?
            }
        };
        let mut views: Vec<HeapView> = (heaps.found.iter().zip(&readings))
            .map(|(found, reading)| view(found, reading))
            .collect();
        views.sort_by_key(|view| Reverse(view.bytes.resident));
        let (Some(first), Some(reading)) = (views.first(), sum::sum(readings)) else {
            return Err(Error::NotOnThmalloc(self.pid));
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
                library: first.library.clone(),
                release: first.release.clone(),
                cache_mode: first.cache_mode.clone(),
                heaps_left_out: heaps.left_out,
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
            scavenger: first.scavenger.clone(),
            regions: reading.regions,
            heaps: views,
        })
    }

    /// Reads until nothing changed meanwhile, or often enough.
    fn attempt(&self, heaps: &Heaps, detail: Detail) -> Result<(Vec<Reading>, u32), Fault> {
        let full = detail == Detail::Full;
        let begun = now();
        for attempt in 1.. {
            let time = now();
            let last =
                attempt >= ATTEMPTS || time.saturating_sub(begun) > PATIENCE.as_nanos() as u64;
            let budget = Budget::default();
            let read =
                |found: &Found| reading::read(&self.memory, &found.layout, &budget, full, time);
            let readings: Result<Vec<Reading>, Fault> = heaps.found.iter().map(read).collect();
            match readings {
                Ok(readings) if last || readings.iter().all(|reading| reading.changes == 0) => {
                    return Ok((readings, attempt));
                }
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
        let end = Instant::now() + patience;
        let mut trimmed = Trimmed::default();
        for found in &self.look_again()?.found {
            match trim::trim(self.pid, &self.memory, &found.layout, end) {
                Ok(Some(bytes)) => {
                    trimmed.served += 1;
                    trimmed.bytes = trimmed.bytes.saturating_add(bytes);
                }
                Ok(None) => trimmed.pending += 1,
                Err(fault) => {
                    self.stat()?;
                    return Err(explain(self.pid, fault));
                }
            }
        }
        Ok(trimmed)
    }
}

fn view(found: &Found, reading: &Reading) -> HeapView {
    HeapView {
        library: found.library.clone(),
        release: found.layout.release.clone(),
        cache_mode: if reading.rseq { "rseq" } else { "lock" }.into(),
        bytes: reading.words,
        scavenger: reading.scavenger.clone(),
    }
}

/// CLOCK_MONOTONIC, in nanoseconds.
fn now() -> u64 {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC).map(Duration::from);
    time.map_or(0, |time| time.as_nanos() as u64)
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
