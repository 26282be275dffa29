//! All processes on thmalloc, read one after the other, again and again.
//!
//! Always: a process that cannot be read is counted, and holds up no other; one
//! that has ended is forgotten. Between two readings only where each heap is
//! stays in mind.

use std::collections::BTreeMap;

use thmalloc_inspect::{Detail, Error, Snapshot, Target, processes};

/// Reads all processes, or some that were named.
#[derive(Debug, Default)]
pub struct Survey {
    /// Those that were found until now.
    targets: BTreeMap<u32, Target>,
    /// Only these; all where there are none.
    only: Vec<u32>,
}

/// One reading of all processes.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// Those that were read, in the order of their numbers.
    pub snapshots: Vec<Snapshot>,
    /// Those that were not.
    pub unread: Unread,
}

/// Processes that are there and were not read, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unread {
    /// The system does not let us.
    pub not_permitted: usize,
    /// They run on another version of thmalloc.
    pub other_version: usize,
    /// What they show makes no sense.
    pub corrupt: usize,
    /// Anything else.
    pub failed: usize,
}

impl Unread {
    /// How many there are for each reason, with its name.
    pub fn by_reason(self) -> [(&'static str, usize); 4] {
        [
            ("not_permitted", self.not_permitted),
            ("other_version", self.other_version),
            ("corrupt", self.corrupt),
            ("failed", self.failed),
        ]
    }

    fn count(&mut self, error: &Error) {
        match error {
            // Nothing is there that could have been read.
            Error::NoSuchProcess(_) | Error::Ended(_) | Error::NotOnThmalloc(_) => {}
            Error::NotPermitted(_) => self.not_permitted += 1,
            Error::OtherVersion { .. } => self.other_version += 1,
            Error::Corrupt { .. } => self.corrupt += 1,
            _ => self.failed += 1,
        }
    }
}

impl Survey {
    /// Of the processes of these numbers; of all, if there are none.
    pub fn new(only: Vec<u32>) -> Self {
        Self {
            targets: BTreeMap::new(),
            only,
        }
    }

    /// Reads each process once. Fails only where no process can be found at all.
    pub fn read(&mut self) -> Result<Reading, Error> {
        let mut reading = Reading::default();
        let found = if self.only.is_empty() {
            let (found, not_permitted) = processes()?;
            reading.unread.not_permitted = not_permitted;
            found
        } else {
            self.only.clone()
        };
        self.targets.retain(|pid, _| found.contains(pid));
        for pid in found {
            match self.snapshot(pid) {
                Ok(snapshot) => reading.snapshots.push(snapshot),
                Err(error) => {
                    // Whatever comes next under that number is looked for anew.
                    self.targets.remove(&pid);
                    reading.unread.count(&error);
                }
            }
        }
        Ok(reading)
    }

    fn snapshot(&mut self, pid: u32) -> Result<Snapshot, Error> {
        let target = match self.targets.entry(pid) {
            std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::btree_map::Entry::Vacant(entry) => entry.insert(Target::open(pid)?),
        };
        target.read(Detail::Summary)
    }
}

/// Snapshots for tests, made up.
#[cfg(test)]
pub mod made_up {
    use thmalloc_inspect::snapshot::*;

    pub const MIB: u64 = 1 << 20;

    /// A size class with that many live and free objects of a number of bytes.
    pub fn class(class: u32, bytes: u64, live: u64, free: u64) -> ClassView {
        let span_objects = 65536 / bytes;
        let spans = (live + free).div_ceil(span_objects);
        ClassView {
            class,
            bytes,
            live,
            cached: 0,
            free,
            spans,
            span_bytes: 65536,
            span_objects,
            released_pages: 0,
            fragmented: free * bytes,
            resident: spans * 65536,
            waste_at_most: 0,
        }
    }

    /// A process of whose memory `live` MiB live.
    pub fn snapshot(pid: u32, name: &str, live: u64) -> Snapshot {
        let mut bytes = Words {
            live: live * MIB,
            cached: 2 * MIB,
            fragmented: live * MIB / 8,
            free: 5 * MIB,
            metadata: MIB / 2,
            released: 7 * MIB,
            untouched: MIB,
            resident: 0,
        };
        bytes.resident = bytes.live + bytes.cached + bytes.fragmented + bytes.free + bytes.metadata;
        Snapshot {
            version: JSON_VERSION,
            process: Process {
                pid,
                name: name.into(),
                command: format!("/usr/bin/{name} --serve"),
                threads: 4,
                library: "/usr/lib/libthmalloc.so".into(),
                release: "0.1.0".into(),
                cache_mode: "rseq".into(),
                heaps_left_out: 0,
            },
            time_ms: 1_700_000_000_000,
            consistency: Consistency {
                exact: true,
                attempts: 1,
                changes: 0,
                by_page: true,
            },
            heaps: Vec::new(),
            bytes,
            resident: Resident {
                total: bytes.resident + 9 * MIB,
                anonymous: bytes.resident + 3 * MIB,
                file_and_shared: 6 * MIB,
                heap: bytes.resident,
                stacks: MIB,
                other_anonymous: 2 * MIB,
                swapped: 0,
                minor_faults: 12345,
            },
            totals: Totals {
                drawn: 100 * MIB,
                released: 30 * MIB,
                refaulted: 4 * MIB,
            },
            size_classes: vec![
                class(1, 16, 1000, 24),
                class(3, 48, 90_000, 10_000),
                class(20, 1024, 4000, 96),
            ],
            cpu_caches: vec![CpuCacheView {
                slot: 0,
                objects: 100,
                bytes: 6400,
            }],
            large: Large {
                count: 2,
                bytes: 3 * MIB,
                resident: 2 * MIB,
                largest: vec![LargeObject {
                    address: 0x7f00_0000_0000,
                    bytes: 2 * MIB,
                    resident: MIB,
                }],
            },
            scavenger: Scavenger {
                state: ScavengerState::Waiting,
                delay_ms: 300,
                last_turn_ago_ms: Some(40),
                next_turn_in_ms: Some(35),
                last_release_ago_ms: Some(1500),
            },
            regions: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_ended_or_has_no_heap_is_not_counted_and_others_are_by_reason() {
        let mut unread = Unread::default();
        for error in [
            Error::NoSuchProcess(1),
            Error::Ended(1),
            Error::NotOnThmalloc(1),
        ] {
            unread.count(&error);
        }
        assert_eq!(unread, Unread::default());
        unread.count(&Error::NotPermitted(1));
        unread.count(&Error::OtherVersion { pid: 1, found: 9 });
        unread.count(&Error::Corrupt { pid: 1, what: "x" });
        let error = std::io::Error::other("x");
        unread.count(&Error::System { doing: "x", error });
        assert!(unread.by_reason().iter().all(|&(_, count)| count == 1));
    }

    #[test]
    fn a_process_that_is_not_there_is_passed_over() {
        // Above any number that Linux gives (2^22).
        let mut survey = Survey::new(vec![5_000_000]);
        let reading = survey.read().expect("a reading");
        assert!(reading.snapshots.is_empty());
        assert_eq!(reading.unread, Unread::default());
    }
}
