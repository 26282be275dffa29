//! The results as tables.

use thmalloc_bench::latency::Latencies;

use crate::bars::{self, Row};
use crate::results::Results;
use crate::run::Seen;
use thmalloc_bench::table::Table;

/// What the document begins with.
const HEAD: &str = "# Memory comes back when the load goes

Written by `cargo run --release -p thmalloc-bench --bin memory_returns`; the
samples are in [memory-returns.csv](memory-returns.csv).

![Memory over time](memory-returns.svg)

*Memory* is the anonymous memory of the process (`RssAnon`). *Before* the load
all threads are there, their stacks and the load's own tables are touched: the
bars are held to what a process has above that. *Live* are the bytes that the
program asked for and has not freed; *its pages* are the distinct 4 KiB pages in
which they lie, each counted once. For scattered survivors the bar is taken from
these pages alone, which is less than live bytes and pages together.

An *idle* process is looked at for five seconds, ten seconds after: context switches and time on a
CPU of all its threads, as the kernel counts them. *Throughput* and *page faults*
are those of the same work with `THMALLOC_CONF=release_delay=off`; where other
programs run meanwhile, operations per CPU second remain comparable. A call's
*own time* is what it ran or, if it waited for anything, all of it; what other
threads or other virtual machines took from it is *lost*. Calls that do nothing
show what the machine adds.
";

/// Everything, for the terminal.
pub fn text(results: &Results, rows: &[Row]) -> String {
    let mut text = String::new();
    for (title, table) in tables(results, rows) {
        text += &format!("\n{title}\n\n{}", table.text());
    }
    text
}

/// Everything, as a document.
pub fn markdown(results: &Results, rows: &[Row], machine: &[String]) -> String {
    let mut text = format!("{HEAD}\n");
    for line in machine {
        text += &format!("- {line}\n");
    }
    let mut tables = tables(results, rows);
    // On a terminal what matters most stands last, in a document first.
    if !rows.is_empty() {
        tables.rotate_right(1);
    }
    for (title, table) in tables {
        text += &format!("\n## {title}\n\n{}", table.markdown());
    }
    text
}

/// All tables that have rows, each with its title.
pub fn tables(results: &Results, rows: &[Row]) -> Vec<(&'static str, Table)> {
    let mut tables = Vec::new();
    if !results.seen.is_empty() {
        tables.push((
            "Anonymous memory in MiB: before the load, at its peak, 1 s and 10 s after it was gone",
            memory(&results.seen),
        ));
        tables.push((
            "MiB above what there was before the load, 1 s / 10 s after it was gone",
            overview(&results.seen),
        ));
    }
    if !results.faults.is_empty() {
        tables.push(("Page faults of sawtooth loads", faults(results)));
    }
    if !results.steady.is_empty() {
        tables.push((
            "Steady load: million operations per second",
            steady(results),
        ));
    }
    if !results.timed.on.is_empty() {
        tables.push((
            "Calls by how long they took, in all rounds, and the slowest of each round in µs",
            latencies(results),
        ));
    }
    if !rows.is_empty() {
        tables.push(("Bars", held(rows)));
    }
    tables
}

fn mib(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / f64::from(1 << 20))
}

fn memory(all: &[Seen]) -> Table {
    let mut table = Table::new([
        "scenario",
        "allocator",
        "before",
        "peak",
        "after 1 s",
        "after 10 s",
        "live",
        "its pages",
    ]);
    let known = |bytes| {
        if bytes > 0 {
            mib(bytes)
        } else {
            "–".to_string()
        }
    };
    for seen in all {
        let peaks: Vec<String> = seen.peaks.iter().map(|bytes| mib(*bytes)).collect();
        let peak = if peaks.len() > 1 {
            peaks.join(", ")
        } else {
            mib(seen.peak)
        };
        table.row([
            seen.scenario.clone(),
            seen.allocator.clone(),
            mib(seen.start),
            peak,
            mib(seen.after_1s),
            mib(seen.after_10s),
            known(seen.live),
            known(seen.page_bytes),
        ]);
    }
    table
}

/// A row a scenario, a column an allocator.
fn overview(all: &[Seen]) -> Table {
    let distinct = |name: fn(&Seen) -> &String| {
        let mut names: Vec<&String> = Vec::new();
        for seen in all {
            if !names.contains(&name(seen)) {
                names.push(name(seen));
            }
        }
        names
    };
    let allocators = distinct(|seen| &seen.allocator);
    let head = allocators.iter().map(|name| name.as_str());
    let mut table = Table::new(["scenario"].into_iter().chain(head));
    for scenario in distinct(|seen| &seen.scenario) {
        let cell = |allocator: &&String| {
            let mut of_scenario = all.iter().filter(|seen| seen.scenario == *scenario);
            let seen = of_scenario.find(|seen| seen.allocator == **allocator);
            let above =
                |seen: &Seen, bytes: u64| (bytes as f64 - seen.start as f64) / f64::from(1 << 20);
            seen.map_or("–".to_string(), |seen| {
                let (soon, late) = (above(seen, seen.after_1s), above(seen, seen.after_10s));
                format!("{soon:.0} / {late:.0}")
            })
        };
        let cells = allocators.iter().map(cell);
        table.row([scenario.clone()].into_iter().chain(cells));
    }
    table
}

fn faults(results: &Results) -> Table {
    let mut table = Table::new(["load", "giving back", "never giving back", "ratio"]);
    for faults in &results.faults {
        for (on, off) in faults.on.iter().zip(&faults.off) {
            let ratio = *on as f64 / (*off).max(1) as f64;
            table.row([
                faults.name.clone(),
                on.to_string(),
                off.to_string(),
                format!("{ratio:.2}"),
            ]);
        }
    }
    table
}

fn steady(results: &Results) -> Table {
    let mut table = Table::new([
        "round",
        "giving back",
        "never",
        "ratio",
        "per CPU second",
        "ratio of faults",
    ]);
    for (number, round) in results.steady.iter().enumerate() {
        let speed = |phase: &thmalloc_bench::phase::Phase| {
            phase.operations as f64 * 1e3 / phase.wall_ns as f64
        };
        let faults = round.on.minor_faults as f64 / round.off.minor_faults.max(1) as f64;
        table.row([
            (number + 1).to_string(),
            format!("{:.3}", speed(&round.on)),
            format!("{:.3}", speed(&round.off)),
            format!("{:.3}", bars::speed(round)),
            format!("{:.3}", bars::economy(round)),
            format!("{faults:.2}"),
        ]);
    }
    table
}

fn latencies(results: &Results) -> Table {
    let timed = &results.timed;
    let kinds = [&timed.on, &timed.off, &timed.nothing];
    let mut table = Table::new([
        "calls of",
        "giving back",
        "never giving back",
        "calls that do nothing",
    ]);
    let count = |bucket: usize| {
        kinds.map(|kind| kind.iter().map(|round| round.buckets[bucket]).sum::<u64>())
    };
    let buckets = timed.on.first().map_or(0, |round| round.buckets.len());
    for bucket in 0..buckets {
        let counts = count(bucket);
        if counts.iter().any(|count| *count > 0) {
            let range = format!("{} to {}", time(1 << bucket), time(1 << (bucket + 1)));
            table.row(
                [range]
                    .into_iter()
                    .chain(counts.map(|count| count.to_string())),
            );
        }
    }
    for (number, _) in timed.on.iter().enumerate() {
        let slowest = |what: &str, pick: fn(&Latencies) -> u64| {
            let cells = kinds.map(|kind| {
                kind.get(number).map_or("–".to_string(), |round| {
                    format!("{:.0}", pick(round) as f64 / 1e3)
                })
            });
            [format!("round {}, most {what}", number + 1)]
                .into_iter()
                .chain(cells)
        };
        table.row(slowest("own time", Latencies::worst_ns));
        table.row(slowest("lost to the machine", Latencies::most_lost_ns));
    }
    table
}

/// A time in the unit that suits it.
fn time(ns: u64) -> String {
    match ns {
        0..1_000 => format!("{ns} ns"),
        1_000..1_000_000 => format!("{:.1} µs", ns as f64 / 1e3),
        _ => format!("{:.1} ms", ns as f64 / 1e6),
    }
}

fn held(rows: &[Row]) -> Table {
    let mut table = Table::new(["", "measured", "bar", ""]);
    for row in rows {
        let holds = if row.holds { "holds" } else { "DOES NOT HOLD" };
        table.row([&row.what, &row.measured, &row.bar, holds]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_overview_has_a_row_a_scenario_and_a_column_an_allocator() {
        let seen = |scenario: &str, allocator: &str, after_1s: u64| Seen {
            scenario: scenario.to_string(),
            allocator: allocator.to_string(),
            start: 10 << 20,
            after_1s: after_1s << 20,
            after_10s: 11 << 20,
            ..Seen::default()
        };
        let all = [
            seen("large", "thmalloc", 12),
            seen("large", "glibc", 99),
            seen("redis", "thmalloc", 9),
        ];
        let expected = "scenario  thmalloc   glibc\n\
                        large        2 / 1  89 / 1\n\
                        redis       -1 / 1       –\n";
        assert_eq!(overview(&all).text(), expected);
    }

    #[test]
    fn a_document_begins_with_the_bars_and_a_terminal_ends_with_them() {
        let results = Results {
            seen: vec![Seen::default()],
            ..Results::default()
        };
        let rows = [Row {
            what: "what".to_string(),
            measured: "measured".to_string(),
            bar: "bar".to_string(),
            holds: false,
        }];
        let document = markdown(&results, &rows, &["a machine".to_string()]);
        assert!(document.find("## Bars") < document.find("## Anonymous"));
        assert!(document.contains("- a machine\n") && document.contains("DOES NOT HOLD"));
        let terminal = text(&results, &rows);
        assert!(terminal.find("\nBars") > terminal.find("\nAnonymous"));
    }
}
