//! What was measured, and how allocators stand to the best of the peers.

use std::collections::BTreeMap;

use thmalloc_bench::stats::{differ, geometric_mean, median};

use crate::allocators::OURS;
use crate::catalogue::{Kind, Workload};
use crate::process::Usage;

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Figure {
    /// Seconds from start to end, on a machine as fast in one round as in the other.
    Time,
    /// Most resident memory.
    Peak,
    /// Page faults.
    Faults,
    /// System calls.
    Calls,
}

/// All rounds.
#[derive(Default)]
pub struct Results {
    /// The workloads, in order.
    pub workloads: Vec<Workload>,
    /// The allocators' names, in order.
    pub allocators: Vec<&'static str>,
    /// What each round took, by workload and allocator.
    pub rounds: BTreeMap<(&'static str, &'static str), Vec<Usage>>,
    /// System calls, where they were counted.
    pub calls: BTreeMap<(&'static str, &'static str), u64>,
    /// The build of thmalloc that each workload ran on.
    pub builds: BTreeMap<&'static str, String>,
    /// What did not run: workload, allocator, why.
    pub failures: Vec<(&'static str, &'static str, String)>,
}

/// An allocator against the best peer.
#[derive(Clone, Debug, PartialEq)]
pub struct Ratio {
    /// Its median divided by the best peer's.
    pub ratio: f64,
    /// Whether the rounds allow to call it a difference.
    pub differs: bool,
    /// The best peer.
    pub best: &'static str,
}

impl Results {
    /// The rounds of one figure.
    pub fn figures(&self, workload: &str, allocator: &str, figure: Figure) -> Vec<f64> {
        if figure == Figure::Calls {
            let count = self.calls.get(&(workload, allocator));
            return count.map(|count| *count as f64).into_iter().collect();
        }
        let rounds = self.of(workload, allocator);
        match figure {
            Figure::Time => rounds
                .iter()
                .zip(self.paces(workload))
                .map(|(usage, pace)| usage.wall_s / pace)
                .collect(),
            Figure::Peak => rounds.iter().map(|usage| usage.peak_bytes as f64).collect(),
            _ => rounds.iter().map(|usage| usage.faults as f64).collect(),
        }
    }

    fn of(&self, workload: &str, allocator: &str) -> &[Usage] {
        let found = self
            .rounds
            .iter()
            .find(|(key, _)| **key == (workload, allocator));
        found.map_or(&[], |(_, rounds)| rounds)
    }

    /// How slow the machine was in each round of `workload`, 1 in the mean: the
    /// geometric mean over the allocators that ran in all of them, one after the
    /// other, against that of all rounds. (Rounds are blocks: what they differ by is
    /// taken out, as in Box, Hunter and Hunter, "Statistics for Experimenters", 4.2.)
    fn paces(&self, workload: &str) -> Vec<f64> {
        let series = self.allocators.iter().map(|name| self.of(workload, name));
        let count = series.clone().map(<[Usage]>::len).max().unwrap_or(0);
        let whole: Vec<&[Usage]> = series.filter(|rounds| rounds.len() == count).collect();
        let mean = |round: usize| {
            let seconds = whole.iter().map(|rounds| rounds[round].wall_s);
            geometric_mean(seconds.map(|s| s.max(f64::MIN_POSITIVE))).unwrap_or(1.0)
        };
        let means: Vec<f64> = (0..count).map(mean).collect();
        let all = geometric_mean(means.iter().copied()).unwrap_or(1.0);
        means.iter().map(|mean| mean / all).collect()
    }

    /// The median of one figure.
    pub fn median(&self, workload: &str, allocator: &str, figure: Figure) -> Option<f64> {
        median(self.figures(workload, allocator, figure))
    }

    /// The peer with the smallest median, and that.
    pub fn best(&self, workload: &str, figure: Figure) -> Option<(&'static str, f64)> {
        self.allocators
            .iter()
            .filter(|name| **name != OURS)
            .filter_map(|name| Some((*name, self.median(workload, name, figure)?)))
            .min_by(|a, b| a.1.total_cmp(&b.1))
    }

    /// `allocator` against the best peer of `workload`.
    pub fn ratio(&self, workload: &str, allocator: &str, figure: Figure) -> Option<Ratio> {
        let (best, least) = self.best(workload, figure)?;
        let own = self.median(workload, allocator, figure)?;
        let rounds = |name: &str| self.figures(workload, name, figure);
        Some(Ratio {
            ratio: own / least.max(f64::MIN_POSITIVE),
            differs: differ(&rounds(allocator), &rounds(best)),
            best,
        })
    }

    /// The geometric mean of an allocator's ratios, and of how many.
    pub fn mean(&self, allocator: &str, figure: Figure, kinds: &[Kind]) -> Option<(f64, usize)> {
        let ratios: Vec<f64> = self
            .workloads
            .iter()
            .filter(|workload| kinds.contains(&workload.kind))
            .filter_map(|workload| self.ratio(workload.name, allocator, figure))
            .map(|ratio| ratio.ratio)
            .collect();
        Some((geometric_mean(ratios.iter().copied())?, ratios.len()))
    }

    /// Takes the rounds of workloads that have none here out of a table that
    /// [`Results::csv`] wrote; everything is in the order of `workloads` and
    /// `allocators` then.
    pub fn keep(&mut self, csv: &str, workloads: &[Workload], allocators: &[&'static str]) {
        let listed: Vec<&str> = self.workloads.iter().map(|w| w.name).collect();
        let measured: Vec<&str> = self.rounds.keys().map(|key| key.0).collect();
        let mut kept: Vec<&'static str> = Vec::new();
        for line in csv.lines().skip(1) {
            let cells: Vec<&str> = line.split(',').collect();
            let [
                name,
                _,
                allocator,
                _,
                wall_s,
                cpu_s,
                peak_kib,
                faults,
                calls,
                build,
            ] = cells[..]
            else {
                continue;
            };
            let workload = workloads.iter().find(|workload| workload.name == name);
            let allocator = allocators.iter().find(|known| **known == allocator);
            let Some((workload, allocator)) = workload.zip(allocator) else {
                continue;
            };
            if measured.contains(&workload.name) {
                continue;
            }
            let key = (workload.name, *allocator);
            self.rounds.entry(key).or_default().push(Usage {
                wall_s: wall_s.parse().unwrap_or(0.0),
                cpu_s: cpu_s.parse().unwrap_or(0.0),
                peak_bytes: peak_kib.parse::<u64>().unwrap_or(0) << 10,
                faults: faults.parse().unwrap_or(0),
            });
            if let Ok(calls) = calls.parse() {
                self.calls.entry(key).or_insert(calls);
            }
            self.builds.insert(workload.name, build.to_string());
            kept.push(workload.name);
            if !self.allocators.contains(allocator) {
                self.allocators.push(allocator);
            }
        }
        let all = workloads.iter().cloned();
        self.workloads = all
            .filter(|workload| listed.contains(&workload.name) || kept.contains(&workload.name))
            .collect();
        self.allocators
            .sort_by_key(|name| allocators.iter().position(|known| known == name));
    }

    /// Every round as a line of a table, separated by commas.
    pub fn csv(&self) -> String {
        let mut text = String::from(
            "workload,kind,allocator,round,wall_s,cpu_s,peak_kib,page_faults,system_calls,thmalloc\n",
        );
        for workload in &self.workloads {
            let build = self.builds.get(workload.name).map_or("", String::as_str);
            for allocator in &self.allocators {
                let key = (workload.name, *allocator);
                let calls = self.calls.get(&key).map_or(String::new(), u64::to_string);
                for (round, usage) in self.rounds.get(&key).into_iter().flatten().enumerate() {
                    text += &format!(
                        "{},{},{allocator},{},{:.4},{:.3},{},{},{calls},{build}\n",
                        workload.name,
                        workload.kind.word(),
                        round + 1,
                        usage.wall_s,
                        usage.cpu_s,
                        usage.peak_bytes >> 10,
                        usage.faults,
                    );
                }
            }
        }
        text
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// One workload with the given rounds of time.
    pub fn results(times: &[(&'static str, &[f64])]) -> Results {
        let mut results = Results {
            workloads: vec![Workload {
                name: "w",
                kind: Kind::Synthetic,
                about: "",
            }],
            ..Results::default()
        };
        for (name, rounds) in times {
            results.allocators.push(name);
            let usage = |wall_s: &f64| Usage {
                wall_s: *wall_s,
                peak_bytes: (*wall_s * 1024.0) as u64,
                ..Usage::default()
            };
            results
                .rounds
                .insert(("w", name), rounds.iter().map(usage).collect());
        }
        results
    }

    #[test]
    fn the_best_is_a_peer_and_ours_may_be_better() {
        let results = results(&[
            (OURS, &[1.0, 1.0, 1.0]),
            ("a", &[2.0, 2.0, 2.0]),
            ("b", &[4.0, 4.0, 4.0]),
        ]);
        let of = |name| results.ratio("w", name, Figure::Time).expect("measured");
        assert_eq!(
            of(OURS),
            Ratio {
                ratio: 0.5,
                differs: true,
                best: "a"
            }
        );
        assert_eq!(of("a").ratio, 1.0);
        assert_eq!(of("b").ratio, 2.0);
        assert!(!of("a").differs);
        let mean = results.mean(OURS, Figure::Time, &Kind::ALL).expect("one");
        assert!((mean.0 - 0.5).abs() < 1e-12 && mean.1 == 1);
        assert_eq!(results.mean(OURS, Figure::Time, &[Kind::Real]), None);
    }

    #[test]
    fn a_round_in_which_all_are_slow_says_nothing_of_any() {
        let results = results(&[
            (OURS, &[1.0, 2.0, 8.0]),
            ("a", &[2.0, 4.0, 16.0]),
            ("failed", &[]),
            ("part", &[5.0]),
        ]);
        let of = |name| results.figures("w", name, Figure::Time);
        let (ours, peer) = (of(OURS), of("a"));
        for (own, other) in ours.iter().zip(&peer) {
            assert!((own - ours[0]).abs() < 1e-9, "{ours:?}");
            assert!((other / own - 2.0).abs() < 1e-9, "{peer:?}");
        }
        // Seconds stay seconds: the machine's mean pace is 1.
        assert!((ours[0] - 16_f64.powf(1.0 / 3.0)).abs() < 1e-9, "{ours:?}");
        assert_eq!(results.figures("w", OURS, Figure::Peak)[2], 8192.0);
        assert_eq!((of("failed").len(), of("part").len()), (0, 1));
    }

    #[test]
    fn what_was_written_is_kept_for_other_workloads() {
        let mut old = results(&[(OURS, &[1.0]), ("b", &[2.0, 3.0])]);
        old.builds.insert("w", "1 (abc)".to_string());
        let other = Workload {
            name: "v",
            kind: Kind::Real,
            about: "",
        };
        let known = [other.clone(), old.workloads[0].clone()];
        let mut new = Results {
            workloads: vec![other],
            allocators: vec!["b"],
            ..Results::default()
        };
        new.keep(&old.csv(), &known, &[OURS, "b"]);
        assert_eq!(new.rounds, old.rounds);
        assert_eq!(new.builds, old.builds);
        assert_eq!(new.workloads, known);
        assert_eq!(new.allocators, [OURS, "b"]);
        // What is measured anew replaces what was there.
        let mut again = results(&[("b", &[9.0])]);
        again.keep(&old.csv(), &known, &[OURS, "b"]);
        assert_eq!(again.csv().lines().count(), 2);
        // Calls that were counted without a round join the rounds that are there.
        let mut counted = results(&[]);
        counted.calls.insert((old.workloads[0].name, "b"), 7);
        counted.keep(&old.csv(), &known, &[OURS, "b"]);
        assert_eq!(counted.rounds, old.rounds);
        assert_eq!(counted.csv().matches(",7,1 (abc)\n").count(), 2);
    }

    #[test]
    fn a_line_stands_for_each_round() {
        let csv = results(&[("a", &[2.0, 3.0])]).csv();
        let lines: Vec<&str> = csv.lines().collect();
        assert_eq!(lines.len(), 3);
        assert_eq!(lines[2], "w,synthetic,a,2,3.0000,0.000,3,0,,");
    }
}
