//! A line that the load prints when it reaches a phase.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// The name of the phase before the load: threads and tables are there.
pub const START: &str = "start";
/// The name of the phase in which most memory is live.
pub const PEAK: &str = "peak";
/// The name of the phase after which no thread calls malloc or free again.
pub const GONE: &str = "gone";
/// The name of the line that counts the pages of the live objects.
pub const PAGES: &str = "pages";
/// The name of the line after fixed work, with what it took.
pub const DONE: &str = "done";

/// A phase of the load, with what the program knows exactly.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Phase {
    /// The phase's name.
    pub phase: Cow<'static, str>,
    /// Milliseconds since the program started.
    pub t_ms: u64,
    /// Bytes of the live objects, as they were asked for.
    pub live_bytes: u64,
    /// The same by `malloc_usable_size`.
    pub usable_bytes: u64,
    /// Live objects.
    pub objects: u64,
    /// Page faults of the process that took no disk.
    pub minor_faults: u64,
    /// Bytes of the program's own tables, all touched before [`START`].
    #[serde(default, skip_serializing_if = "is_zero")]
    pub table_bytes: u64,
    /// Bytes of the 4 KiB pages that hold a live object ([`PAGES`]).
    #[serde(default, skip_serializing_if = "is_zero")]
    pub page_bytes: u64,
    /// What was done ([`DONE`]): operations.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub operations: u64,
    /// The time that it took.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub wall_ns: u64,
    /// The processor time that it took, of all threads.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub cpu_ns: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Phase {
    /// Writes the line, without allocating: a phase is told in a process whose
    /// allocator has to be left alone.
    pub fn line<'b>(&self, buffer: &'b mut [u8; 512]) -> &'b [u8] {
        let mut rest = &mut buffer[..];
        let room = rest.len();
        serde_json::to_writer(&mut rest, self).expect("a phase fits into its buffer");
        let written = room - rest.len();
        buffer[written] = b'\n';
        &buffer[..=written]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phase_is_read_as_it_was_written() {
        let largest = Phase {
            phase: GONE.into(),
            t_ms: u64::MAX,
            live_bytes: u64::MAX,
            usable_bytes: u64::MAX,
            objects: u64::MAX,
            minor_faults: u64::MAX,
            table_bytes: u64::MAX,
            page_bytes: u64::MAX,
            operations: u64::MAX,
            wall_ns: u64::MAX,
            cpu_ns: u64::MAX,
        };
        for phase in [largest, Phase::default()] {
            let mut buffer = [0; 512];
            let line = phase.line(&mut buffer);
            assert_eq!(line.last(), Some(&b'\n'));
            let read: Phase = serde_json::from_slice(line).expect("JSON");
            assert_eq!(read, phase);
        }
    }
}
