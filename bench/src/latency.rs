//! How long calls took: a histogram by powers of two, and the slowest calls.

use serde::{Deserialize, Serialize};

/// Buckets of a histogram: up to 2^39 ns, nine minutes.
pub const BUCKETS: usize = 40;
/// How many of the slowest calls are kept.
pub const SLOWEST: usize = 20;

/// A call that was among the slowest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slow {
    /// How long it took.
    pub ns: u64,
    /// How often the kernel gave the CPU to another thread during the call.
    pub preempted: u32,
    /// How often the call itself gave the CPU away: it waited for something.
    pub waited: u32,
    /// Page faults during the call.
    pub faults: u32,
    /// Whether it was a free (else a malloc).
    pub free: bool,
}

/// The latencies of many calls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latencies {
    /// What was measured.
    pub latencies: String,
    /// Calls in bucket n took at least 2^n ns and less than 2^(n+1).
    pub buckets: Vec<u64>,
    /// The slowest calls in which the thread was not preempted, slowest first.
    pub slowest: Vec<Slow>,
    /// The slowest calls in which it was: what the machine's noise costs.
    pub preempted: Vec<Slow>,
}

impl Latencies {
    /// No calls yet; allocates all that it will need.
    pub fn new(name: &str) -> Latencies {
        Latencies {
            latencies: name.to_string(),
            buckets: vec![0; BUCKETS],
            slowest: Vec::with_capacity(SLOWEST + 1),
            preempted: Vec::with_capacity(SLOWEST + 1),
        }
    }

    /// Counts a call of `ns`.
    pub fn count(&mut self, ns: u64) {
        let bucket = ns.max(1).ilog2() as usize;
        self.buckets[bucket.min(BUCKETS - 1)] += 1;
    }

    /// Keeps a call, which has been counted, if it is among the slowest.
    pub fn keep(&mut self, slow: Slow) {
        let list = if slow.preempted > 0 {
            &mut self.preempted
        } else {
            &mut self.slowest
        };
        let place = list.partition_point(|other| other.ns >= slow.ns);
        if place < SLOWEST {
            list.insert(place, slow);
            list.truncate(SLOWEST);
        }
    }

    /// Adds what another thread measured.
    pub fn add(&mut self, other: &Latencies) {
        for (sum, count) in self.buckets.iter_mut().zip(&other.buckets) {
            *sum += count;
        }
        for slow in other.slowest.iter().chain(&other.preempted) {
            self.keep(*slow);
        }
    }

    /// Calls in total.
    pub fn calls(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// The slowest call in which the thread was not preempted.
    pub fn worst_ns(&self) -> u64 {
        self.slowest.first().map_or(0, |slow| slow.ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slow(ns: u64, preempted: u32) -> Slow {
        Slow {
            ns,
            preempted,
            waited: 0,
            faults: 0,
            free: false,
        }
    }

    #[test]
    fn a_call_is_counted_by_its_power_of_two() {
        let mut latencies = Latencies::new("x");
        for ns in [0, 1, 2, 3, 4, 1023, 1024, u64::MAX] {
            latencies.count(ns);
        }
        assert_eq!(latencies.buckets[..3], [2, 2, 1]);
        assert_eq!((latencies.buckets[9], latencies.buckets[10]), (1, 1));
        assert_eq!(latencies.buckets[BUCKETS - 1], 1);
        assert_eq!(latencies.calls(), 8);
    }

    #[test]
    fn the_slowest_calls_are_kept_in_order_and_apart_from_preempted_ones() {
        let mut one = Latencies::new("one");
        let mut two = Latencies::new("two");
        for n in 0..100 {
            one.keep(slow(n * 2, 0));
            two.keep(slow(n * 2 + 1, u32::from(n % 2 == 0)));
        }
        one.add(&two);
        assert_eq!(one.slowest.len(), SLOWEST);
        assert_eq!(one.worst_ns(), 199);
        assert!(one.slowest.is_sorted_by(|a, b| a.ns >= b.ns));
        assert_eq!(one.preempted[0].ns, 197);
    }
}
