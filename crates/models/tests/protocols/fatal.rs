//! Stands in for `crates/core/src/fatal.rs`.

/// A process with one thread waits for itself.
pub fn waits_for_itself() -> ! {
    panic!("waits for itself");
}

/// The books do not agree.
pub fn inconsistent(what: &str, place: usize) -> ! {
    panic!("{what} {place}");
}
