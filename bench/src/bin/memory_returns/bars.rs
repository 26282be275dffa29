//! The bars: what thmalloc has to reach, against what was measured.

use thmalloc_bench::latency::Latencies;

use thmalloc_bench::stats::{median, median_interval};

use crate::results::{Results, Round, Timed};
use crate::run::Seen;
use crate::scenarios::{Bar, PEAKS, SERVICES};

const MIB: f64 = (1 << 20) as f64;
/// Beside a tenth more than what is live.
const SLACK_BYTES: f64 = 4.0 * MIB;
/// Throughput with giving back, as a share of that without.
const THROUGHPUT: f64 = 0.98;
/// Page faults with giving back, as a multiple of those without.
const FAULTS: f64 = 1.1;
/// The longest that a call may wait for memory to go back.
const WAIT_NS: f64 = 200_000.0;

/// How much has to go back while calls are timed.
const RETURNED_BYTES: f64 = 400.0 * MIB;

/// A row of the table of bars.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// What is held to the bar.
    pub what: String,
    /// What was measured.
    pub measured: String,
    /// The bar.
    pub bar: String,
    /// Whether it holds.
    pub holds: bool,
}

/// All rows for which something was measured.
pub fn rows(results: &Results) -> Vec<Row> {
    let mut rows = Vec::new();
    for scenario in PEAKS.iter().chain(&SERVICES) {
        let seen = results.ours(scenario.name);
        rows.extend(seen.and_then(|seen| after_one_second(seen, scenario.bar)));
    }
    for scenario in &PEAKS {
        rows.extend(results.ours(scenario.name).and_then(idle));
    }
    rows.extend(throughput(&results.steady));
    for faults in results.faults.iter().filter(|faults| faults.barred) {
        let sum = |rounds: &[u64]| median(rounds.iter().map(|n| *n as f64));
        if let Some((on, off)) = sum(&faults.on).zip(sum(&faults.off)) {
            rows.push(Row {
                what: format!("{}, page faults against never giving back", faults.name),
                measured: format!("{on:.0} / {off:.0} = {:.2}", on / off.max(1.0)),
                bar: format!("≤ {FAULTS}"),
                holds: on <= FAULTS * off,
            });
        }
    }
    rows.extend(slowest(&results.timed));
    rows
}

fn mib(bytes: f64) -> String {
    format!("{:.1} MiB", bytes / MIB)
}

/// Memory 1 s after the load, without what was there before it: stacks, the
/// program's tables, the allocator's own start.
pub fn grown(seen: &Seen) -> f64 {
    seen.after_1s as f64 - seen.start as f64
}

fn after_one_second(seen: &Seen, bar: Bar) -> Option<Row> {
    let tenth_more = |bytes: u64| 1.10 * bytes as f64 + SLACK_BYTES;
    let (allowed, bar) = match bar {
        Bar::Live => (tenth_more(seen.live), "1.10 × live + 4 MiB"),
        Bar::Pages => (
            tenth_more(seen.page_bytes),
            "1.10 × pages of survivors + 4 MiB",
        ),
        Bar::AboveStart(slack) => (slack * MIB, "start"),
        Bar::None => return None,
    };
    Some(Row {
        what: format!("{}, memory after 1 s, above that before", seen.scenario),
        measured: mib(grown(seen)),
        bar: format!("≤ {bar} = {}", mib(allowed)).replace("start = ", ""),
        holds: grown(seen) <= allowed,
    })
}

fn idle(seen: &Seen) -> Option<Row> {
    let idle = seen.idle.as_ref()?;
    let who = if idle.names.is_empty() {
        String::new()
    } else {
        format!(" ({})", idle.names.join(", "))
    };
    Some(Row {
        what: format!("{}, idle from 10 s to 15 s after", seen.scenario),
        measured: format!(
            "{} switches, {:.3} ms of CPU time{who}",
            idle.switches,
            idle.cpu_ns as f64 / 1e6
        ),
        bar: "none".to_string(),
        holds: idle.switches == 0 && idle.cpu_ns == 0,
    })
}

/// Operations per second of `round`, on against off.
pub fn speed(round: &Round) -> f64 {
    round.off.wall_ns as f64 / round.on.wall_ns as f64
}

/// Operations per second of processor time, on against off.
pub fn economy(round: &Round) -> f64 {
    round.off.cpu_ns as f64 / round.on.cpu_ns as f64
}

/// Pairs next to each other differ by a fifth on a shared machine, whoever runs
/// in them: so the bar is missed if the median of all such pairs is below it,
/// as far as these can tell.
fn throughput(rounds: &[Round]) -> Option<Row> {
    let wall = median(rounds.iter().map(speed))?;
    let (low, high) = median_interval(rounds.iter().map(speed))?;
    let cpu = median(rounds.iter().map(economy))?;
    Some(Row {
        what: "steady, throughput with giving back against without".to_string(),
        measured: format!(
            "{wall:.3}, with 95 % between {low:.3} and {high:.3} (per CPU second {cpu:.3}), \
             median of {} pairs",
            rounds.len()
        ),
        bar: format!("≥ {THROUGHPUT}, as far as the pairs can tell"),
        holds: high >= THROUGHPUT,
    })
}

/// The middle of the rounds' slowest calls: a round has noise of its own.
pub fn worst(rounds: &[Latencies]) -> Option<f64> {
    median(rounds.iter().map(|round| round.worst_ns() as f64))
}

/// Calls whose own time was longer than the bar, in all rounds.
fn over(rounds: &[Latencies]) -> usize {
    let calls = rounds.iter().flat_map(|round| &round.slowest);
    calls.filter(|call| call.own_ns() as f64 > WAIT_NS).count()
}

/// A machine that takes more from calls which do nothing says nothing about
/// waiting: there, as many calls may be over the bar as without giving back, and
/// by how much two such counts differ anyway (twice the root: Poisson's).
fn slowest(timed: &Timed) -> Option<Row> {
    let middle = worst(&timed.on)?;
    let off = worst(&timed.off).unwrap_or(0.0);
    let machine = worst(&timed.nothing).unwrap_or(0.0);
    let counts = [&timed.on, &timed.off, &timed.nothing].map(|rounds| over(rounds));
    let without = counts[1].max(counts[2]) as f64;
    let none_more = counts[0] as f64 <= without + 2.0 * without.sqrt();
    let returned = timed
        .returned
        .iter()
        .min()
        .map_or(0.0, |bytes| *bytes as f64);
    Some(Row {
        what: "giving-back, slowest malloc or free, without what it lost to other threads"
            .to_string(),
        measured: format!(
            "{:.0} µs while {} or more went back, {:.0} µs without giving back, {:.0} µs for \
             calls that do nothing, medians of {} rounds; calls over {:.0} µs in all rounds: \
             {}, {}, {}",
            middle / 1e3,
            mib(returned),
            off / 1e3,
            machine / 1e3,
            timed.on.len(),
            WAIT_NS / 1e3,
            counts[0],
            counts[1],
            counts[2]
        ),
        bar: format!(
            "≤ {:.0} µs, or no more calls over it than without",
            WAIT_NS / 1e3
        ),
        // If the memory stays there is nothing to wait for.
        holds: (middle <= WAIT_NS || none_more) && returned >= RETURNED_BYTES,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::allocators::OURS;
    use crate::procfs::Activity;
    use crate::results::Faults;
    use thmalloc_bench::latency::Slow;
    use thmalloc_bench::phase::Phase;

    const M: u64 = 1 << 20;

    fn seen(scenario: &str, start: u64, after_1s: u64) -> Seen {
        Seen {
            scenario: scenario.to_string(),
            allocator: OURS.to_string(),
            start: start * M,
            after_1s: after_1s * M,
            live: 20 * M,
            page_bytes: 100 * M,
            idle: Some(Activity::default()),
            ..Seen::default()
        }
    }

    fn holds(results: &Results) -> Vec<bool> {
        rows(results).iter().map(|row| row.holds).collect()
    }

    #[test]
    fn memory_after_a_second_is_held_to_live_bytes_or_to_survivors_pages() {
        for (scenario, after_1s, expected) in [
            ("all-freed", 30 + 26, true),
            ("all-freed", 30 + 27, false),
            ("scattered", 30 + 114, true),
            ("scattered", 30 + 115, false),
        ] {
            let results = Results {
                seen: vec![seen(scenario, 30, after_1s)],
                ..Results::default()
            };
            assert_eq!(holds(&results), [expected, true], "{scenario} {after_1s}");
        }
    }

    #[test]
    fn other_allocators_are_not_held_to_the_bars() {
        let glibc = Seen {
            allocator: "glibc".to_string(),
            ..seen("all-freed", 30, 500)
        };
        let results = Results {
            seen: vec![glibc],
            ..Results::default()
        };
        assert!(rows(&results).is_empty());
    }

    #[test]
    fn services_are_held_to_their_start() {
        for (service, after_1s, expected) in [
            ("redis", 18, true),
            ("redis", 19, false),
            ("python", 26, true),
        ] {
            let service = Seen {
                idle: None,
                ..seen(service, 10, after_1s)
            };
            let results = Results {
                seen: vec![service],
                ..Results::default()
            };
            assert_eq!(holds(&results), [expected]);
        }
    }

    #[test]
    fn one_switch_or_a_nanosecond_is_not_idle() {
        for (switches, cpu_ns) in [(1, 0), (0, 1)] {
            let mut busy = seen("large", 0, 1);
            busy.idle = Some(Activity {
                switches,
                cpu_ns,
                names: vec!["thmalloc-scav".to_string()],
            });
            let results = Results {
                seen: vec![busy],
                ..Results::default()
            };
            assert_eq!(holds(&results), [true, false]);
            assert!(rows(&results)[1].measured.contains("thmalloc-scav"));
        }
    }

    #[test]
    fn throughput_is_the_median_of_the_rounds() {
        let round = |on, off| Round {
            on: Phase {
                wall_ns: on,
                cpu_ns: 1,
                ..Phase::default()
            },
            off: Phase {
                wall_ns: off,
                cpu_ns: 1,
                ..Phase::default()
            },
        };
        // A few slow pairs say nothing; that most are slow does.
        let with = |slow: usize, fast: usize| {
            let rounds = (0..slow).map(|_| round(100, 97));
            Results {
                steady: rounds.chain((0..fast).map(|_| round(100, 101))).collect(),
                ..Results::default()
            }
        };
        assert_eq!(holds(&with(10, 21)), [true]);
        assert_eq!(holds(&with(20, 11)), [true], "the 22nd is fast");
        assert_eq!(holds(&with(22, 9)), [false]);
    }

    #[test]
    fn faults_are_held_where_a_bar_is_and_shown_elsewhere() {
        let faults = |barred, on| Faults {
            name: "sawtooth 20 ms".to_string(),
            barred,
            on: vec![on],
            off: vec![1000],
        };
        let results = Results {
            faults: vec![faults(true, 1100), faults(true, 1101), faults(false, 9999)],
            ..Results::default()
        };
        assert_eq!(holds(&results), [true, false]);
    }

    #[test]
    fn what_a_call_lost_is_the_machines() {
        let timed = |ns, waited| {
            let mut latencies = Latencies::new("x");
            latencies.keep(Slow {
                ns,
                ran_ns: 1000,
                waited,
                ..Slow::default()
            });
            latencies
        };
        let mut results = Results::default();
        results.timed.returned = vec![512 * M];
        results.timed.on = vec![timed(9_000_000, 0), timed(200_000, 1), timed(900_000, 1)];
        assert_eq!(holds(&results), [true]);
        results.timed.on = vec![timed(200_001, 1)];
        assert_eq!(holds(&results), [false]);
        results.timed.nothing = vec![timed(300_000, 1)];
        assert_eq!(holds(&results), [true], "the machine does that");
        results.timed.on = (0..4).map(|_| timed(200_001, 1)).collect();
        assert_eq!(holds(&results), [false], "more often than the machine");
        results.timed.on = vec![timed(100, 0)];
        results.timed.returned.push(M);
        assert_eq!(holds(&results), [false], "nothing went back");
    }
}
