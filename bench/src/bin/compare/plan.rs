//! What is run, in which order, and how long it takes.

use std::io;
use std::path::Path;
use std::time::Instant;

use thmalloc_bench::progress;

use crate::allocators::{Allocator, OURS};
use crate::calls;
use crate::catalogue::{self, Workload};
use crate::results::Results;

/// About how long one run takes, before it is known.
const RUN_S: f64 = 1.6;

/// The workloads that `only` names; all if it is empty. `synthetic`, `real` and
/// `rust` name all of their kind.
pub fn chosen(only: &[String]) -> io::Result<Vec<Workload>> {
    let all = catalogue::all();
    for name in only {
        if !all.iter().any(|w| w.name == name || w.kind.word() == name) {
            let names: Vec<&str> = all.iter().map(|workload| workload.name).collect();
            return Err(io::Error::other(format!(
                "no workload is called {name}; there are: {}; and synthetic, real, rust for all \
                 of a kind",
                names.join(", ")
            )));
        }
    }
    let wanted = |workload: &Workload| {
        only.is_empty()
            || only
                .iter()
                .any(|name| name == workload.name || name == workload.kind.word())
    };
    Ok(all.into_iter().filter(wanted).collect())
}

/// In which order so many are run in a round: another begins each time, and each
/// follows on another. What runs before leaves the machine as it used it: where one has
/// given hugepages back, the next gets some for a twentieth of what they cost else.
///
/// The multiples of a number modulo a prime are all numbers below it, and of another number
/// they are in another order. Of as many as a prime less one, in as many rounds, each so
/// follows once on each other (Williams, "Experimental designs balanced for the estimation of
/// residual effects of treatments", 1949, has the like for all even numbers).
fn turns(count: usize, round: usize) -> Vec<usize> {
    let is_prime = |number: &usize| (2..*number).all(|by| !number.is_multiple_of(by));
    let prime = (count + 1..).find(is_prime).unwrap_or(count + 1);
    let stride = 1 + round % count;
    let numbers = (1..prime).map(|turn| turn * stride % prime);
    numbers
        .filter(|&number| number <= count)
        .map(|number| number - 1)
        .collect()
}

/// Runs all: round by round, in a round workload by workload, and allocators
/// in turn.
pub fn run(
    workloads: Vec<Workload>,
    allocators: &[Allocator],
    rounds: u32,
    directory: &Path,
) -> io::Result<Results> {
    let mut results = Results {
        allocators: allocators.iter().map(|allocator| allocator.name).collect(),
        ..Results::default()
    };
    for workload in workloads {
        match workload.missing() {
            None => results.workloads.push(workload),
            Some(what) => println!("{} is left out: {what}", workload.name),
        }
    }
    let runs: usize = results
        .workloads
        .iter()
        .map(|workload| allocators.iter().filter(|a| workload.takes(a)).count())
        .sum();
    let all = runs * rounds as usize;
    println!(
        "{all} runs: {} workloads, {} allocators, {rounds} rounds; about {:.0} minutes",
        results.workloads.len(),
        allocators.len(),
        (all as f64 * RUN_S / 60.0).ceil()
    );
    let start = Instant::now();
    let mut done = 0;
    for round in 0..rounds as usize {
        for workload in &results.workloads {
            for turn in turns(allocators.len(), round) {
                let allocator = &allocators[turn];
                let key = (workload.name, allocator.name);
                let failed = results
                    .failures
                    .iter()
                    .any(|failure| (failure.0, failure.1) == key);
                if failed || !workload.takes(allocator) {
                    continue;
                }
                let pace = if done == 0 {
                    RUN_S
                } else {
                    start.elapsed().as_secs_f64() / done as f64
                };
                progress::show(&format!(
                    "round {}/{rounds} {} on {}, {:.0} s left",
                    round + 1,
                    workload.name,
                    allocator.name,
                    (all - done) as f64 * pace
                ));
                match workload.run(allocator, directory) {
                    Ok(usage) => {
                        results.rounds.entry(key).or_default().push(usage);
                        if allocator.name == OURS {
                            let build = allocator.version.clone();
                            results.builds.insert(workload.name, build);
                        }
                    }
                    Err(error) => {
                        results.rounds.remove(&key);
                        results.failures.push((key.0, key.1, error.to_string()));
                    }
                }
                done += 1;
            }
        }
    }
    progress::show("");
    Ok(results)
}

/// Counts system calls: one more run of each, which is not timed.
pub fn count_calls(
    results: &mut Results,
    allocators: &[Allocator],
    directory: &Path,
) -> io::Result<()> {
    if let Some(why) = calls::missing(&directory.join("calls")) {
        return Err(io::Error::other(why));
    }
    for workload in &results.workloads {
        for allocator in allocators.iter().filter(|a| workload.takes(a)) {
            let key = (workload.name, allocator.name);
            progress::show(&format!("system calls of {} on {}", key.0, key.1));
            if !results.failures.iter().any(|f| (f.0, f.1) == key) {
                let count = workload.calls(allocator, directory)?;
                results.calls.insert(key, count);
            }
        }
    }
    progress::show("");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_workload_is_named_with_those_that_there_are() {
        let error = chosen(&["larsen".to_string()]).expect_err("unknown");
        let text = error.to_string();
        assert!(text.contains("larsen") && text.contains("larson"), "{text}");
        assert_eq!(chosen(&["larson".to_string()]).expect("known").len(), 1);
        assert!(chosen(&["real".to_string()]).expect("a kind").len() > 5);
        assert_eq!(chosen(&[]).expect("all"), catalogue::all());
    }

    #[test]
    fn in_each_round_all_are_run_and_another_one_before_each() {
        for count in 1..=12 {
            let mut before = std::collections::BTreeSet::new();
            for round in 0..count {
                let mut order = turns(count, round);
                assert_eq!(order[0], round % count);
                let at = order.iter().position(|&turn| turn == 0).expect("is run");
                before.extend(at.checked_sub(1).map(|before| order[before]));
                let next = turns(count, round)[0];
                assert!(
                    count == 1 || order[count - 1] != next,
                    "{count} in round {round}"
                );
                order.sort_unstable();
                assert!(order.into_iter().eq(0..count), "{count} in round {round}");
            }
            if [1, 2, 4, 6, 10, 12].contains(&count) {
                assert!(before.into_iter().eq(1..count), "{count}");
            }
        }
    }
}
