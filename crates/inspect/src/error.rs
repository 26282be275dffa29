//! What can go wrong when a process is looked into.

use std::fmt;

/// Why a process could not be read.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// There is no process of that number.
    NoSuchProcess(u32),
    /// It does not run on thmalloc.
    NotOnThmalloc(u32),
    /// The system does not let us read it.
    NotPermitted(u32),
    /// It ended while it was read.
    Ended(u32),
    /// It runs on a thmalloc whose block has another version.
    OtherVersion {
        /// Which process.
        pid: u32,
        /// The version that it has.
        found: u32,
    },
    /// What it shows cannot be right.
    Corrupt {
        /// Which process.
        pid: u32,
        /// What is wrong.
        what: &'static str,
    },
    /// A system call failed in another way.
    System {
        /// What we were about to do.
        doing: &'static str,
        /// The system's answer.
        error: std::io::Error,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::NoSuchProcess(pid) => write!(out, "there is no process {pid}"),
            Error::NotOnThmalloc(pid) => write!(out, "process {pid} does not run on thmalloc"),
            Error::NotPermitted(pid) => write!(out, "process {pid} may not be read"),
            Error::Ended(pid) => write!(out, "process {pid} ended while it was read"),
            Error::OtherVersion { pid, found } => write!(
                out,
                "process {pid} runs on a thmalloc whose statistics have version {found}"
            ),
            Error::Corrupt { pid, what } => write!(out, "process {pid} shows nonsense: {what}"),
            Error::System { doing, error } => write!(out, "{doing}: {error}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::System { error, .. } => Some(error),
            _ => None,
        }
    }
}
