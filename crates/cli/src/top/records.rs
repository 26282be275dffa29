//! What was read until now: the last snapshot of each process, its rate, and its
//! history.
//!
//! Always: a process's history is that of one process, and at most [`HISTORY`]
//! readings long; who has ended is gone, but for the one that is looked at.

use std::collections::{BTreeMap, VecDeque};

use thmalloc_inspect::Snapshot;
use thmalloc_inspect::snapshot::Words;

use crate::survey::{Reading, Unread};
use crate::words::Word;

/// Readings that are remembered: an hour and eight minutes, one each two seconds.
pub const HISTORY: usize = 2048;

/// A process.
#[derive(Clone, Debug)]
pub struct Process {
    /// As it was read last.
    pub snapshot: Snapshot,
    /// Bytes a second that it drew between the last two readings.
    pub rate: Option<u64>,
    /// Its words at each reading, the oldest first, with the time in milliseconds.
    pub history: VecDeque<(u64, Words)>,
    /// Is it gone?
    pub ended: bool,
}

/// All processes.
#[derive(Clone, Debug, Default)]
pub struct Records {
    processes: BTreeMap<u32, Process>,
    /// Those that could not be read.
    pub unread: Unread,
    /// When they were read, in milliseconds since 1970.
    pub time_ms: u64,
}

impl Records {
    /// Takes a reading in, made at a time. The process of number `kept` stays when
    /// it has ended.
    pub fn take(&mut self, reading: Reading, time_ms: u64, kept: Option<u32>) {
        self.unread = reading.unread;
        self.time_ms = time_ms;
        let mut before = std::mem::take(&mut self.processes);
        for snapshot in reading.snapshots {
            let pid = snapshot.process.pid;
            let process = Process::next(before.remove(&pid), snapshot);
            self.processes.insert(pid, process);
        }
        if let Some((pid, mut process)) = kept.and_then(|pid| before.remove_entry(&pid)) {
            process.ended = true;
            self.processes.insert(pid, process);
        }
    }

    /// Those that are there, by their numbers.
    pub fn alive(&self) -> impl Iterator<Item = &Process> {
        self.processes.values().filter(|process| !process.ended)
    }

    /// The process of a number.
    pub fn get(&self, pid: u32) -> Option<&Process> {
        self.processes.get(&pid)
    }

    /// The words of all together.
    pub fn sum(&self) -> Words {
        let mut sum = Words::default();
        for process in self.alive() {
            let words = &process.snapshot.bytes;
            // Whatever a hostile process claims must not overflow.
            for (all, one) in [
                (&mut sum.live, words.live),
                (&mut sum.cached, words.cached),
                (&mut sum.fragmented, words.fragmented),
                (&mut sum.free, words.free),
                (&mut sum.metadata, words.metadata),
                (&mut sum.released, words.released),
                (&mut sum.untouched, words.untouched),
                (&mut sum.resident, words.resident),
            ] {
                *all = all.saturating_add(one);
            }
        }
        sum
    }
}

impl Process {
    /// What a process has become, from what it was.
    fn next(before: Option<Process>, snapshot: Snapshot) -> Process {
        let same = before.filter(|before| before.is(&snapshot));
        let rate = same
            .as_ref()
            .and_then(|before| rate(&before.snapshot, &snapshot));
        let mut history = same.map_or_else(VecDeque::new, |before| before.history);
        if history.len() == HISTORY {
            history.pop_front();
        }
        history.push_back((snapshot.time_ms, snapshot.bytes));
        Process {
            snapshot,
            rate,
            history,
            ended: false,
        }
    }

    /// Is that snapshot of the same process, or of another that has its number?
    fn is(&self, snapshot: &Snapshot) -> bool {
        let (old, new) = (&self.snapshot, snapshot);
        !self.ended
            && old.process.library == new.process.library
            && old.totals.drawn <= new.totals.drawn
            && old.time_ms <= new.time_ms
    }

    /// The share of a word in what is resident, in percent.
    pub fn percent(words: &Words, word: Word) -> u64 {
        let sum: u128 = Word::RESIDENT
            .iter()
            .map(|part| u128::from(part.of(words)))
            .sum();
        // At most 100 of a word that is part of the sum.
        (u128::from(word.of(words)) * 100 + sum / 2)
            .checked_div(sum)
            .map_or(0, |percent| percent as u64)
    }
}

/// Bytes a second between two snapshots; `None` if no time has passed.
fn rate(old: &Snapshot, new: &Snapshot) -> Option<u64> {
    let drawn = u128::from(new.totals.drawn - old.totals.drawn);
    let bytes = (drawn * 1000).checked_div(u128::from(new.time_ms - old.time_ms))?;
    Some(u64::try_from(bytes).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::survey::made_up::{MIB, snapshot};

    fn take(records: &mut Records, snapshots: &[Snapshot], kept: Option<u32>) {
        let reading = Reading {
            snapshots: snapshots.to_vec(),
            unread: Unread::default(),
        };
        records.take(reading, 0, kept);
    }

    #[test]
    fn the_rate_is_what_was_drawn_over_the_time_between_two_readings() {
        let mut records = Records::default();
        let mut one = snapshot(7, "one", 10);
        take(&mut records, &[one.clone()], None);
        assert_eq!(records.get(7).map(|p| p.rate), Some(None));
        one.time_ms += 500;
        one.totals.drawn += 3 * MIB;
        take(&mut records, &[one.clone()], None);
        assert_eq!(records.get(7).and_then(|p| p.rate), Some(6 * MIB));
        // Read twice in a millisecond.
        take(&mut records, &[one], None);
        assert_eq!(records.get(7).and_then(|p| p.rate), None);
        assert_eq!(records.get(7).map(|p| p.history.len()), Some(3));
    }

    #[test]
    fn a_number_that_is_used_again_begins_anew() {
        let mut records = Records::default();
        let mut one = snapshot(7, "one", 10);
        take(&mut records, &[one.clone()], None);
        one.totals.drawn -= 1;
        take(&mut records, &[one], None);
        assert_eq!(records.get(7).and_then(|p| p.rate), None);
        assert_eq!(records.get(7).map(|p| p.history.len()), Some(1));
    }

    #[test]
    fn who_ended_goes_unless_it_is_looked_at() {
        let mut records = Records::default();
        take(
            &mut records,
            &[snapshot(7, "a", 1), snapshot(8, "b", 1)],
            None,
        );
        take(&mut records, &[], Some(8));
        assert!(records.get(7).is_none());
        assert!(records.get(8).is_some_and(|process| process.ended));
        assert_eq!(records.alive().count(), 0);
        assert_eq!(records.sum(), Words::default());
        take(&mut records, &[], None);
        assert!(records.get(8).is_none());
    }

    #[test]
    fn history_has_an_end() {
        let mut records = Records::default();
        let mut one = snapshot(7, "one", 10);
        for _ in 0..HISTORY + 5 {
            one.time_ms += 1;
            take(&mut records, &[one.clone()], None);
        }
        let history = records.get(7).map(|p| &p.history).expect("it is there");
        assert_eq!(history.len(), HISTORY);
        assert_eq!(history.back().map(|h| h.0), Some(one.time_ms));
    }

    #[test]
    fn sums_of_what_cannot_be_do_not_overflow() {
        let mut records = Records::default();
        let mut one = snapshot(7, "one", 10);
        one.bytes.live = u64::MAX;
        let mut other = one.clone();
        other.process.pid = 8;
        take(&mut records, &[one, other], None);
        assert_eq!(records.sum().live, u64::MAX);
        let percent = Process::percent(&records.sum(), Word::Live);
        assert_eq!(percent, 100);
        assert_eq!(Process::percent(&Words::default(), Word::Live), 0);
    }
}
