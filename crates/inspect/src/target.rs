//! A process that is looked into.

use std::time::Duration;

use crate::error::Error;
use crate::snapshot::Snapshot;

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

impl Target {
    /// Finds the heap of a process.
    pub fn open(pid: u32) -> Result<Self, Error> {
        Err(Error::NotOnThmalloc(pid))
    }

    /// Whose it is.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Reads the heap, without stopping the process.
    pub fn read(&mut self, _detail: Detail) -> Result<Snapshot, Error> {
        Err(Error::NotOnThmalloc(self.pid))
    }

    /// Asks the process to give back all that it can now, and waits that long at
    /// most for an answer.
    pub fn trim(&mut self, _patience: Duration) -> Result<Trimmed, Error> {
        Err(Error::NotOnThmalloc(self.pid))
    }
}

/// The processes on thmalloc that we may look into, in the order of their
/// numbers, and how many there are that we may not.
pub fn processes() -> Result<(Vec<u32>, usize), Error> {
    Ok((Vec::new(), 0))
}
