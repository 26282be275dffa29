//! Stands in for `crates/core/src/fatal.rs`.

/// The books do not agree.
pub fn inconsistent(what: &str, place: usize) -> ! {
    panic!("{what} {place}");
}
