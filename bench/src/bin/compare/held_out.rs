//! Ratios to the best peer without what chance does to the best of many.
//!
//! The smallest of nine medians is smaller than that allocator deserves, and the more so
//! the more the rounds scatter. So here the best peer of a workload is chosen by one half of
//! the rounds, and the ratio to it is taken from the other; of all ways to halve them, the
//! geometric mean. (Model selection on held-out data: Hastie, Tibshirani and Friedman, "The
//! Elements of Statistical Learning", 7.10.)

use thmalloc_bench::stats::{geometric_mean, median};

use crate::allocators::OURS;
use crate::catalogue::Kind;
use crate::results::{Figure, Results};

/// So many rounds are halved at the most, of more the first: there are 924 ways.
const MOST_ROUNDS: usize = 12;

/// Fewer rounds cannot be halved: a choice by one says nothing.
const LEAST_ROUNDS: usize = 4;

/// All ways to choose half of so many: a bit for each that is chosen.
fn halves(count: usize) -> impl Iterator<Item = u32> {
    (0..1_u32 << count).filter(move |half| half.count_ones() as usize == count / 2)
}

/// The median of the figures that are chosen.
fn median_of(figures: &[f64], chosen: u32) -> Option<f64> {
    let numbered = figures.iter().enumerate();
    let chosen = numbered.filter(|(number, _)| chosen >> number & 1 != 0);
    median(chosen.map(|(_, figure)| *figure))
}

impl Results {
    /// An allocator's time against the peer that is best in other rounds. `None` where
    /// there are too few.
    pub fn held_out(&self, workload: &str, allocator: &str) -> Option<f64> {
        let rounds = |name: &str| {
            let mut rounds = self.figures(workload, name, Figure::Time);
            rounds.truncate(MOST_ROUNDS);
            rounds
        };
        let own = rounds(allocator);
        let count = own.len();
        if count < LEAST_ROUNDS {
            return None;
        }
        let peers = self.allocators.iter().filter(|name| **name != OURS);
        let peers: Vec<Vec<f64>> = peers
            .map(|name| rounds(name))
            .filter(|rounds| rounds.len() == count)
            .collect();
        let all = (1 << count) - 1;
        let ratio = |half: u32| {
            let choice = |peer: &&Vec<f64>| median_of(peer, half).unwrap_or(f64::MAX);
            let best = peers
                .iter()
                .min_by(|a, b| choice(a).total_cmp(&choice(b)))?;
            let rest = all & !half;
            Some(median_of(&own, rest)? / median_of(best, rest)?.max(f64::MIN_POSITIVE))
        };
        geometric_mean(halves(count).filter_map(ratio))
    }

    /// The geometric mean of an allocator's ratios of that kind.
    pub fn held_out_mean(&self, allocator: &str, kinds: &[Kind]) -> Option<f64> {
        let workloads = self.workloads.iter();
        let of_kind = workloads.filter(|workload| kinds.contains(&workload.kind));
        geometric_mean(of_kind.filter_map(|workload| self.held_out(workload.name, allocator)))
    }

    /// The workloads in which ours takes more than `bar`, the worst first.
    pub fn held_out_above(&self, bar: f64) -> Vec<(&'static str, f64)> {
        let workloads = self.workloads.iter();
        let mut above: Vec<_> = workloads
            .filter_map(|workload| Some((workload.name, self.held_out(workload.name, OURS)?)))
            .filter(|(_, ratio)| *ratio > bar)
            .collect();
        above.sort_by(|a, b| b.1.total_cmp(&a.1));
        above
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::tests::results;

    #[test]
    fn there_are_as_many_ways_to_halve_as_to_choose() {
        assert_eq!(halves(4).count(), 6);
        assert_eq!(halves(5).count(), 10);
        assert_eq!(halves(MOST_ROUNDS).count(), 924);
    }

    #[test]
    fn a_peer_that_is_better_is_chosen_in_any_half() {
        let results = results(&[
            (OURS, &[3.0; 6]),
            ("a", &[2.0; 6]),
            ("b", &[4.0; 6]),
            ("part", &[1.0; 2]),
        ]);
        let ratio = results.held_out("w", OURS).expect("measured");
        assert!((ratio - 1.5).abs() < 1e-9, "{ratio}");
        let best = results.held_out("w", "a").expect("measured");
        assert!((best - 1.0).abs() < 1e-9, "{best}");
        assert_eq!(results.held_out_above(1.05).len(), 1);
        assert_eq!(results.held_out_above(1.55), []);
    }

    #[test]
    fn who_is_best_by_chance_is_not_best_in_the_other_rounds() {
        // Each is fast once, and slow once; the mean of the ten is the same in each round.
        let rows: Vec<[f64; 10]> = (0..10)
            .map(|row| {
                std::array::from_fn(|round| match (row + round) % 10 {
                    0..=2 => 0.8,
                    3..=5 => 1.25,
                    _ => 1.0,
                })
            })
            .collect();
        let names = [OURS, "a", "b", "c", "d", "e", "f", "g", "h", "i"];
        let rounds: Vec<_> = names
            .into_iter()
            .zip(rows.iter().map(|row| &row[..]))
            .collect();
        let results = results(&rounds);
        let naive = results.ratio("w", OURS, Figure::Time).expect("measured");
        let held_out = results.held_out("w", OURS).expect("measured");
        assert!(held_out > 0.9 && held_out < 1.1, "{held_out}, {naive:?}");
    }

    #[test]
    fn few_rounds_say_nothing() {
        let results = results(&[(OURS, &[1.0; 3]), ("a", &[2.0; 3])]);
        assert_eq!(results.held_out("w", OURS), None);
        assert_eq!(results.held_out_mean(OURS, &Kind::ALL), None);
    }
}
