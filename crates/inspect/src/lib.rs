//! Reads the heap of a running process on thmalloc, from outside.
//!
//! The process is not stopped, asked, or trusted: what it shows may be corrupt,
//! hostile, of another version, or change while it is read.

pub mod error;
#[cfg(feature = "sample")]
pub mod sample;
pub mod snapshot;
pub mod target;

pub use error::Error;
pub use snapshot::Snapshot;
pub use target::{Detail, Target, Trimmed, processes};
