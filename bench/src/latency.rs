//! How long calls took: a histogram by powers of two, and the slowest calls.

use serde::{Deserialize, Serialize};

/// Buckets of a histogram: up to 2^39 ns, nine minutes.
pub const BUCKETS: usize = 40;
/// How many of the slowest calls are kept.
pub const SLOWEST: usize = 20;

/// A call that was among the slowest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slow {
    /// How long it took.
    pub ns: u64,
    /// How much of it the thread ran on a CPU. The rest it waited, or another
    /// thread had the CPU, or another virtual machine.
    pub ran_ns: u64,
    /// How often the kernel gave the CPU to another thread during the call.
    pub preempted: u32,
    /// How often the call itself gave the CPU away: it waited for something.
    pub waited: u32,
    /// Page faults during the call.
    pub faults: u32,
    /// Whether it was a free (else a malloc).
    pub free: bool,
}

impl Slow {
    /// The time that is the call's own doing: all of it if it waited for
    /// anything, else what it ran.
    pub fn own_ns(&self) -> u64 {
        if self.waited > 0 {
            self.ns
        } else {
            self.ran_ns
        }
    }

    /// The time that the machine took from it.
    pub fn lost_ns(&self) -> u64 {
        self.ns - self.own_ns()
    }
}

/// The latencies of many calls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latencies {
    /// What was measured.
    pub latencies: String,
    /// Calls in bucket n took at least 2^n ns and less than 2^(n+1).
    pub buckets: Vec<u64>,
    /// The slowest calls by their own time, slowest first.
    pub slowest: Vec<Slow>,
    /// The calls from which the machine took most, most first.
    pub disturbed: Vec<Slow>,
}

impl Latencies {
    /// No calls yet; allocates all that it will need.
    pub fn new(name: &str) -> Latencies {
        Latencies {
            latencies: name.to_string(),
            buckets: vec![0; BUCKETS],
            slowest: Vec::with_capacity(SLOWEST + 1),
            disturbed: Vec::with_capacity(SLOWEST + 1),
        }
    }

    /// Counts a call of `ns`.
    pub fn count(&mut self, ns: u64) {
        let bucket = ns.max(1).ilog2() as usize;
        self.buckets[bucket.min(BUCKETS - 1)] += 1;
    }

    /// Keeps a call, which has been counted, if it is among the slowest.
    pub fn keep(&mut self, slow: Slow) {
        keep_in(&mut self.slowest, slow, Slow::own_ns);
        keep_in(&mut self.disturbed, slow, Slow::lost_ns);
    }

    /// Adds what another thread measured.
    pub fn add(&mut self, other: &Latencies) {
        for (sum, count) in self.buckets.iter_mut().zip(&other.buckets) {
            *sum += count;
        }
        for slow in &other.slowest {
            keep_in(&mut self.slowest, *slow, Slow::own_ns);
        }
        for slow in &other.disturbed {
            keep_in(&mut self.disturbed, *slow, Slow::lost_ns);
        }
    }

    /// Calls in total.
    pub fn calls(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// The own time of the slowest call.
    pub fn worst_ns(&self) -> u64 {
        self.slowest.first().map_or(0, Slow::own_ns)
    }

    /// The most that the machine took from a call.
    pub fn most_lost_ns(&self) -> u64 {
        self.disturbed.first().map_or(0, Slow::lost_ns)
    }
}

/// Puts a call into a list that is sorted by `key`, largest first.
fn keep_in(list: &mut Vec<Slow>, slow: Slow, key: fn(&Slow) -> u64) {
    let place = list.partition_point(|other| key(other) >= key(&slow));
    if place < SLOWEST {
        list.insert(place, slow);
        list.truncate(SLOWEST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn a_call_that_waited_owns_all_of_its_time_and_another_what_it_ran() {
        let mut slow = Slow {
            ns: 900,
            ran_ns: 100,
            preempted: 1,
            ..Slow::default()
        };
        assert_eq!((slow.own_ns(), slow.lost_ns()), (100, 800));
        slow.waited = 1;
        assert_eq!((slow.own_ns(), slow.lost_ns()), (900, 0));
    }

    #[test]
    fn the_slowest_calls_are_kept_in_order_by_own_and_by_lost_time() {
        let call = |ns, ran_ns| Slow {
            ns,
            ran_ns,
            ..Slow::default()
        };
        let mut one = Latencies::new("one");
        let mut two = Latencies::new("two");
        for n in 0..100 {
            one.keep(call(n * 2, n * 2));
            two.keep(call(n * 2 + 1000, n * 2 + 1));
        }
        one.add(&two);
        assert_eq!((one.slowest.len(), one.disturbed.len()), (SLOWEST, SLOWEST));
        assert_eq!((one.worst_ns(), one.most_lost_ns()), (199, 999));
        assert!(
            one.slowest
                .is_sorted_by_key(|slow| u64::MAX - slow.own_ns())
        );
    }
}
