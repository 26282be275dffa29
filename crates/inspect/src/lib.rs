//! Reads the heap of a running process on thmalloc, from outside.
//!
//! The process is not stopped, asked, or trusted: what it shows may be corrupt,
//! hostile, of another version, or change while it is read.
//!
//! Bottom to top: `bytes`, `scan` and `memory` copy, `layout` and `find` check the
//! block, `source` bounds what one reading does, `span`, `caches` and `walk`
//! count, `reading` puts it together, and `sum` several heaps; `proc` and `resident`
//! are what the kernel says; `target` is for everybody else.

mod bytes;
mod caches;
pub mod error;
pub mod find;
pub mod layout;
pub mod memory;
pub mod proc;
pub mod reading;
mod resident;
#[cfg(feature = "sample")]
pub mod sample;
mod scan;
pub mod snapshot;
mod source;
mod span;
mod sum;
pub mod target;
mod trim;
mod walk;

pub use error::Error;
pub use snapshot::Snapshot;
pub use target::{Detail, Target, Trimmed, processes};
