//! Locks, and the atomics that everything above uses.

pub mod field;
pub mod mutex;
pub mod once;

pub use field::{Field, Link, Linked, List};
pub use mutex::{Mutex, MutexGuard, Rank};
pub use once::Once;

/// The atomics in use.
pub mod atomic {
    pub use core::sync::atomic::{
        AtomicBool, AtomicPtr, AtomicU8, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Ordering,
        fence,
    };
}
