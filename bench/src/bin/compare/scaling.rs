//! What an operation costs as threads and live memory grow.
//!
//! Threads: processor time, since more threads than CPUs wait for one another.
//! Live memory: held against the same accesses to a plain array of the same size,
//! which the hardware's caches slow down as well.
//!
//! A machine that others use has phases in which memory takes twice as long, so growth is
//! taken within each round, in which all run one after the other, point by point; the
//! median is of these ratios.

use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use thmalloc_bench::progress;
use thmalloc_bench::stats::median;
use thmalloc_bench::table::Table;

use crate::allocators::{self, Allocator, OURS};
use crate::bars::{self, Row};

/// Threads of a process.
const THREADS: [u64; 7] = [1, 2, 4, 8, 16, 32, 64];
/// MiB of live memory.
const LIVE: [u64; 4] = [10, 100, 1000, 10_240];
/// How much more than the first an operation may cost.
const BAR: f64 = 1.15;
/// What a walk is called among the allocators.
const WALK: &str = "array";
/// And the least that an allocator does.
const LIST: &str = "list";

/// A row of what was measured.
struct Series {
    /// `threads` or `live`.
    what: &'static str,
    /// The allocator, or [`WALK`].
    name: &'static str,
    /// How many threads or MiB, and nanoseconds in each round.
    points: Vec<(u64, Vec<f64>)>,
}

impl Series {
    fn medians(&self) -> Vec<f64> {
        let of = |rounds: &Vec<f64>| median(rounds.iter().copied()).unwrap_or(f64::NAN);
        self.points.iter().map(|(_, rounds)| of(rounds)).collect()
    }

    /// What a point took of the first one's time in a round; NaN of a round that it has not.
    fn grown(&self, nth: usize, round: usize) -> f64 {
        let of = |nth: usize| self.points[nth].1.get(round).copied().unwrap_or(f64::NAN);
        of(nth) / of(0)
    }
}

/// All series.
pub struct Scaling(Vec<Series>);

/// The sizes that this machine has memory for.
fn sizes() -> Vec<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let available = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))
        .and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok())
        .unwrap_or(0)
        / 1024;
    let (fit, not): (Vec<u64>, Vec<u64>) = LIVE.iter().partition(|mib| **mib * 3 / 2 < available);
    for mib in not {
        println!("{mib} MiB live are left out: {available} MiB are available");
    }
    fit
}

/// One run; the nanoseconds that it prints.
fn once(arguments: [&str; 2], allocator: Option<&Allocator>) -> io::Result<f64> {
    let mut command = Command::new(allocators::workloads()?);
    match allocator {
        Some(allocator) => allocator.apply(&mut command),
        None => allocators::clean(&mut command),
    }
    command.args(arguments).stdin(Stdio::null());
    let out = command.output()?;
    let text = String::from_utf8_lossy(&out.stdout);
    text.trim()
        .parse()
        .map_err(|_| io::Error::other(format!("workloads {arguments:?} failed: {}", out.status)))
}

/// Runs all series, round by round.
pub fn run(allocators: &[Allocator], rounds: u32) -> io::Result<Scaling> {
    let sizes = sizes();
    let empty = |points: &[u64]| points.iter().map(|point| (*point, Vec::new())).collect();
    let kinds = [("threads", &THREADS[..]), ("live", &sizes[..])];
    let mut all: Vec<(Series, &str, Option<&Allocator>)> = Vec::new();
    for allocator in allocators {
        for (what, points) in kinds {
            let series = Series {
                what,
                name: allocator.name,
                points: empty(points),
            };
            all.push((series, what, Some(allocator)));
        }
    }
    for (name, command) in [(WALK, "walk"), (LIST, "list")] {
        let series = Series {
            what: "live",
            name,
            points: empty(&sizes),
        };
        all.push((series, command, None));
    }
    // Point by point: what is divided by one another runs side by side.
    for round in 1..=rounds {
        for (kind, points) in kinds {
            for (nth, point) in points.iter().enumerate() {
                let of_kind = all.iter_mut().filter(|(series, ..)| series.what == kind);
                for (series, command, allocator) in of_kind {
                    let name = series.name;
                    progress::show(&format!("round {round}/{rounds} {kind} {point} on {name}"));
                    let ns = once([command, &point.to_string()], *allocator)?;
                    series.points[nth].1.push(ns);
                }
            }
        }
    }
    progress::show("");
    Ok(Scaling(
        all.into_iter().map(|(series, ..)| series).collect(),
    ))
}

impl Scaling {
    fn find(&self, what: &str, name: &str) -> Option<&Series> {
        self.0
            .iter()
            .find(|series| series.what == what && series.name == name)
    }

    /// How much the cost grows from the first point to each, by the median of the rounds: of
    /// live memory, beyond what the array's grows in the same round.
    fn growth(&self, series: &Series) -> Vec<f64> {
        let walk = match self.find("live", WALK) {
            Some(walk) if series.what == "live" => Some(walk),
            _ => None,
        };
        let at = |nth: usize| {
            let rounds = 0..series.points[nth].1.len();
            let of = |round| {
                let beyond = walk.map_or(1.0, |walk| walk.grown(nth, round));
                series.grown(nth, round) / beyond
            };
            median(rounds.map(of)).unwrap_or(f64::NAN)
        };
        (0..series.points.len()).map(at).collect()
    }

    /// The bars of ours.
    pub fn rows(&self) -> Vec<Row> {
        let texts = [
            ("threads", "cost of an operation from 1 to 64 threads"),
            (
                "live",
                "cost of an operation from 10 MiB to 10 GiB live, beyond a plain array's",
            ),
        ];
        let row = |(what, text): (&str, &str)| {
            let growth = self.growth(self.find(what, OURS)?);
            let worst = growth.into_iter().fold(0.0, f64::max);
            Some(Row {
                what: text.to_string(),
                measured: format!("{worst:.2} times the first"),
                bar: format!("≤ {BAR:.2}"),
                holds: worst <= BAR,
            })
        };
        texts.into_iter().filter_map(row).collect()
    }

    fn table(&self, what: &str, unit: &str) -> Table {
        let series: Vec<&Series> = self.0.iter().filter(|s| s.what == what).collect();
        let mut head = vec!["allocator".to_string()];
        let points = series.first().map_or(&[][..], |series| &series.points);
        head.extend(points.iter().map(|(point, _)| format!("{point} {unit}")));
        head.push("growth".to_string());
        let mut table = Table::new(head);
        for series in series {
            let mut row = vec![series.name.to_string()];
            row.extend(series.medians().iter().map(|ns| format!("{ns:.1}")));
            let growth = self.growth(series).into_iter().fold(0.0, f64::max);
            row.push(format!("{growth:.2}"));
            table.row(row);
        }
        table
    }

    /// Both tables and the bars, for the terminal.
    pub fn text(&self) -> String {
        format!(
            "\nNanoseconds of an operation by threads\n\n{}\nby MiB live\n\n{}\n{}",
            self.table("threads", "threads").text(),
            self.table("live", "MiB").text(),
            bars::table(&self.rows()).text()
        )
    }

    /// Writes `scaling.md` and `scaling.csv`.
    pub fn write(&self, directory: &Path, machine: &[String]) -> io::Result<()> {
        let mut csv = String::from("what,allocator,point,round,ns\n");
        for series in &self.0 {
            for (point, rounds) in &series.points {
                for (round, ns) in rounds.iter().enumerate() {
                    let (what, name) = (series.what, series.name);
                    csv += &format!("{what},{name},{point},{},{ns}\n", round + 1);
                }
            }
        }
        std::fs::write(directory.join("scaling.csv"), csv)?;
        let text = format!(
            "# What an operation costs as a program grows\n\n\
             Written by `compare --scaling`. A free and a malloc of a random object, in \
             nanoseconds; medians of the rounds.\n\n{}\n\n{}\n\
             ## By threads\n\n\
             Processor time; tables of 1000 blocks of 16 to 256 bytes in each thread. Growth: \
             the most against one thread, by the median of the rounds' ratios.\n\n{}\n\
             ## By live memory\n\n\
             Blocks of 1016 bytes. `{WALK}`: the same random reads and writes without an \
             allocator. `{LIST}`: these, and a list of free blocks, nothing else. Growth: the most \
             against 10 MiB, divided by the array's in the same round, by the median of the \
             rounds' ratios.\n\n{}",
            machine.join("\n\n"),
            bars::table(&self.rows()).markdown(),
            self.table("threads", "threads").markdown(),
            self.table("live", "MiB").markdown()
        );
        std::fs::write(directory.join("scaling.md"), text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of two points, with their rounds.
    fn series<const N: usize>(
        what: &'static str,
        name: &'static str,
        rounds: [[f64; N]; 2],
    ) -> Series {
        let point = |(n, rounds): (usize, [f64; N])| (n as u64, rounds.to_vec());
        Series {
            what,
            name,
            points: rounds.into_iter().enumerate().map(point).collect(),
        }
    }

    fn holds(scaling: &Scaling) -> Vec<bool> {
        scaling.rows().iter().map(|row| row.holds).collect()
    }

    #[test]
    fn live_memory_may_cost_what_it_costs_an_array() {
        let scaling = Scaling(vec![
            series("threads", OURS, [[10.0], [12.0]]),
            series("live", OURS, [[10.0], [33.0]]),
            series("live", WALK, [[2.0], [6.0]]),
        ]);
        // 1.2 times with threads; 3.3 times where the array has 3.
        assert_eq!(holds(&scaling), [false, true]);
    }

    #[test]
    fn a_phase_of_the_machine_is_no_growth() {
        // All of the second round takes twice as long, and one run of the third. The medians of
        // the points alone would say 6 times for 3.
        let scaling = Scaling(vec![
            series("live", OURS, [[10.0, 20.0, 10.0], [30.0, 60.0, 60.0]]),
            series("live", WALK, [[2.0, 4.0, 2.0], [6.0, 12.0, 6.0]]),
        ]);
        assert_eq!(holds(&scaling), [true]);
    }
}
