//! What was measured, as text and as Markdown.

use thmalloc_bench::table::Table;

use crate::allocators::OURS;
use crate::bars::{self, Row, above};
use crate::catalogue::{Kind, Workload};
use crate::results::{Figure, Results};

/// The tables that are written: a figure, its title, and the unit of the best.
const TABLES: [(Figure, &str); 4] = [
    (Figure::Time, "Time"),
    (Figure::Peak, "Peak memory"),
    (Figure::Faults, "Page faults"),
    (Figure::Calls, "System calls"),
];

/// How a median is written.
fn amount(figure: Figure, value: f64) -> String {
    match figure {
        Figure::Time => format!("{value:.2} s"),
        Figure::Peak => format!("{:.1} MiB", value / f64::from(1 << 20)),
        Figure::Faults | Figure::Calls => format!("{value:.0}"),
    }
}

fn ratios(results: &Results, figure: Figure, kind: Kind) -> Option<Table> {
    let workloads: Vec<_> = results
        .workloads
        .iter()
        .filter(|workload| workload.kind == kind)
        .filter(|workload| results.best(workload.name, figure).is_some())
        .collect();
    if workloads.is_empty() {
        return None;
    }
    let mut head = vec!["workload".to_string()];
    head.extend(results.allocators.iter().map(ToString::to_string));
    head.push("best peer".to_string());
    let mut table = Table::new(head);
    for workload in workloads {
        let mut row = vec![workload.name.to_string()];
        for allocator in &results.allocators {
            let cell = results.ratio(workload.name, allocator, figure);
            row.push(cell.map_or("–".to_string(), |ratio| {
                let close = (ratio.ratio - 1.0).abs() < 0.005;
                // Page faults and calls have no scatter worth a mark.
                let plain =
                    ratio.differs || close || matches!(figure, Figure::Faults | Figure::Calls);
                format!("{:.2}{}", ratio.ratio, if plain { "" } else { "?" })
            }));
        }
        let best = results.best(workload.name, figure);
        row.push(best.map_or(String::new(), |(name, value)| {
            format!("{name} {}", amount(figure, value))
        }));
        table.row(row);
    }
    let mut row = vec!["geometric mean".to_string()];
    for allocator in &results.allocators {
        let mean = results.mean(allocator, figure, &[kind]);
        row.push(mean.map_or("–".to_string(), |(mean, _)| format!("{mean:.2}")));
    }
    row.push(String::new());
    table.row(row);
    Some(table)
}

fn overview(results: &Results) -> Table {
    let mut table = Table::new([
        "allocator",
        "time",
        "peak memory",
        "time, synthetic",
        "time, real",
        "memory, synthetic",
        "memory, real",
    ]);
    let suite = [Kind::Synthetic, Kind::Real];
    for allocator in &results.allocators {
        let mean = |figure, kinds: &[Kind]| {
            let mean = results.mean(allocator, figure, kinds);
            mean.map_or("–".to_string(), |(mean, _)| format!("{mean:.2}"))
        };
        table.row([
            (*allocator).to_string(),
            mean(Figure::Time, &suite),
            mean(Figure::Peak, &suite),
            mean(Figure::Time, &[Kind::Synthetic]),
            mean(Figure::Time, &[Kind::Real]),
            mean(Figure::Peak, &[Kind::Synthetic]),
            mean(Figure::Peak, &[Kind::Real]),
        ]);
    }
    table
}

/// Times against peers that were the best in other rounds.
fn held_out(results: &Results) -> Option<Table> {
    let mut table = Table::new(["allocator", "suite", "synthetic", "real", "rust"]);
    results.held_out_mean(OURS, &Kind::ALL)?;
    for allocator in &results.allocators {
        let mean = |kinds: &[Kind]| {
            let mean = results.held_out_mean(allocator, kinds);
            mean.map_or("–".to_string(), |mean| format!("{mean:.3}"))
        };
        table.row([
            (*allocator).to_string(),
            mean(&[Kind::Synthetic, Kind::Real]),
            mean(&[Kind::Synthetic]),
            mean(&[Kind::Real]),
            mean(&[Kind::Rust]),
        ]);
    }
    Some(table)
}

/// How these are to be read, and which workloads of ours stay above 1.05.
fn held_out_reading(results: &Results) -> String {
    let above = results.held_out_above(1.05);
    let list: Vec<String> = above
        .iter()
        .map(|(name, ratio)| format!("{name} {ratio:.2}"))
        .collect();
    format!(
        "The smallest of many medians is smaller than it deserves. Here the best peer of each \
         workload is chosen by half of the rounds, and the ratio is taken from the others; the \
         geometric mean over all halves. thmalloc takes more than 1.05 so in: {}.",
        listed(&list)
    )
}

/// Names in a sentence.
fn listed(names: &[String]) -> String {
    match names {
        [] => "none".to_string(),
        names => names.join(", "),
    }
}

/// How the figures are to be read.
const READING: &str = "A figure is the median of the rounds, divided by the smallest median among \
    the peers; times are divided before by how slow the machine was in the round, which is the \
    geometric mean of all allocators' times in it: 1.00 is the best peer, below 1.00 is better \
    than every peer. `?`: no difference from the best peer is shown, since the rounds of one of the two scatter more than their \
    medians differ (half the distance from the smallest round to the largest; of five rounds and \
    more, without the outermost two; fewer than three show nothing). A failure counts for no mean.";

fn losses(results: &Results) -> Vec<String> {
    [
        (
            Figure::Time,
            1.05,
            "thmalloc takes more than 1.05 of the best peer's time in",
        ),
        (
            Figure::Peak,
            1.30,
            "thmalloc takes more than 1.30 of the best peer's memory in",
        ),
    ]
    .into_iter()
    .map(|(figure, bar, text)| {
        let list: Vec<String> = above(results, figure, bar)
            .iter()
            .map(|(name, ratio, differs)| {
                let mark = if *differs { "" } else { "?" };
                let best = results.best(name, figure).map_or("", |best| best.0);
                format!("{name} ({ratio:.2}{mark}, {best})")
            })
            .collect();
        format!("{text}: {}.", listed(&list))
    })
    .collect()
}

/// Which workloads ran on which build of thmalloc, if not all ran on the same.
fn builds(results: &Results) -> Option<String> {
    let of = |workload: &Workload| results.builds.get(workload.name).map_or("", String::as_str);
    let mut builds: Vec<&str> = results.workloads.iter().map(of).collect();
    builds.sort_unstable();
    builds.dedup();
    let ran = |build: &&str| {
        let on = results.workloads.iter().filter(|w| of(w) == *build);
        let names: Vec<&str> = on.map(|workload| workload.name).collect();
        format!("{build}: {}", names.join(", "))
    };
    let parts: Vec<String> = builds.iter().map(ran).collect();
    (parts.len() > 1).then(|| format!("Made in parts, on builds {}", parts.join("; ")))
}

/// For the terminal.
pub fn text(results: &Results, rows: &[Row]) -> String {
    let mut text = String::new();
    for (figure, title) in TABLES {
        for kind in Kind::ALL {
            if let Some(table) = ratios(results, figure, kind) {
                text += &format!("\n{title}. {}\n\n{}", kind.title(), table.text());
            }
        }
    }
    text += &format!("\nGeometric means\n\n{}", overview(results).text());
    if let Some(table) = held_out(results) {
        let reading = held_out_reading(results);
        text += &format!(
            "\nTime, against the best peer of other rounds\n\n{reading}\n\n{}",
            table.text()
        );
    }
    text += &format!("\n{}\n", bars::table(rows).text());
    for (workload, allocator, why) in &results.failures {
        text += &format!("{workload} did not run on {allocator}: {why}\n");
    }
    text
}

/// For the repository.
pub fn markdown(results: &Results, rows: &[Row], machine: &[String], command: &str) -> String {
    let mut text = format!(
        "# Time and memory against other allocators\n\n\
         Written by `{command}`; [BENCHMARKS.md](../BENCHMARKS.md) says what is run.\n\n"
    );
    for line in machine {
        text += &format!("{line}\n\n");
    }
    if let Some(builds) = builds(results) {
        text += &format!("{builds}\n\n");
    }
    text += &format!("{READING}\n\n![Every workload and allocator](benchmarks.svg)\n\n");
    text += &format!("## Bars\n\n{}\n", bars::table(rows).markdown());
    text += &format!("## Losses\n\n{}\n\n", losses(results).join("\n\n"));
    text += &format!("## Geometric means\n\n{}\n", overview(results).markdown());
    if let Some(table) = held_out(results) {
        let reading = held_out_reading(results);
        text += &format!(
            "## Time, against the best peer of other rounds\n\n{reading}\n\n{}\n",
            table.markdown()
        );
    }
    for (figure, title) in TABLES {
        for kind in Kind::ALL {
            if let Some(table) = ratios(results, figure, kind) {
                text += &format!("## {title}. {}\n\n{}\n", kind.title(), table.markdown());
            }
        }
    }
    if !results.failures.is_empty() {
        text += "## What did not run\n\n";
        for (workload, allocator, why) in &results.failures {
            text += &format!("- {workload} on {allocator}: {why}\n");
        }
    }
    text
}
