//! The bars: what thmalloc is to reach, against what was measured.

use thmalloc_bench::table::Table;

use crate::allocators::OURS;
use crate::catalogue::Kind;
use crate::results::{Figure, Results};

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

/// Bars for means: what, of which figure and kinds, and the bar.
const MEANS: [(&str, Figure, &[Kind], f64); 3] = [
    (
        "time, geometric mean over the suite",
        Figure::Time,
        &[Kind::Synthetic, Kind::Real],
        0.95,
    ),
    (
        "time, geometric mean over real programs",
        Figure::Time,
        &[Kind::Real],
        1.00,
    ),
    (
        "peak memory, geometric mean over the suite",
        Figure::Peak,
        &[Kind::Synthetic, Kind::Real],
        1.05,
    ),
];

/// Bars for every single workload.
const EACH: [(&str, Figure, f64); 2] = [
    ("time, any workload", Figure::Time, 1.05),
    ("peak memory, any workload", Figure::Peak, 1.30),
];

/// The rows as a table.
pub fn table(rows: &[Row]) -> Table {
    let mut table = Table::new(["bar", "measured", "asked", "holds"]);
    for row in rows {
        let holds = if row.holds { "yes" } else { "no" };
        table.row([&row.what, &row.measured, &row.bar, holds]);
    }
    table
}

/// All rows for which something was measured.
pub fn rows(results: &Results) -> Vec<Row> {
    let mut rows = Vec::new();
    for (what, figure, kinds, bar) in MEANS {
        rows.extend(results.mean(OURS, figure, kinds).map(|(mean, count)| Row {
            what: what.to_string(),
            measured: format!("{mean:.3} ({count} workloads)"),
            bar: format!("≤ {bar:.2}"),
            holds: mean <= bar,
        }));
    }
    for (what, figure, bar) in EACH {
        rows.extend(each(results, what, figure, bar));
    }
    rows
}

/// Workloads of ours above `bar`, the worst first: name, ratio, whether the
/// rounds allow to call it a difference.
pub fn above(results: &Results, figure: Figure, bar: f64) -> Vec<(&'static str, f64, bool)> {
    let mut above: Vec<_> = results
        .workloads
        .iter()
        .filter_map(|workload| {
            let ratio = results.ratio(workload.name, OURS, figure)?;
            (ratio.ratio > bar).then_some((workload.name, ratio.ratio, ratio.differs))
        })
        .collect();
    above.sort_by(|a, b| b.1.total_cmp(&a.1));
    above
}

fn each(results: &Results, what: &str, figure: Figure, bar: f64) -> Option<Row> {
    let count = results
        .workloads
        .iter()
        .filter(|workload| results.ratio(workload.name, OURS, figure).is_some())
        .count();
    if count == 0 {
        return None;
    }
    let above = above(results, figure, bar);
    let list: Vec<String> = above
        .iter()
        .map(|(name, ratio, differs)| {
            format!("{name} {ratio:.2}{}", if *differs { "" } else { "?" })
        })
        .collect();
    Some(Row {
        what: what.to_string(),
        measured: if above.is_empty() {
            format!("none of {count} above")
        } else {
            format!("{} of {count} above: {}", above.len(), list.join(", "))
        },
        bar: format!("≤ {bar:.2}"),
        holds: above.is_empty(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::tests::results;

    fn holds(ours: &[f64]) -> Vec<bool> {
        let results = results(&[(OURS, ours), ("a", &[1.0, 1.0, 1.0])]);
        rows(&results).iter().map(|row| row.holds).collect()
    }

    #[test]
    fn means_and_every_workload_are_held_to_their_bars() {
        // Mean time and memory of the suite, then time and memory of each.
        assert_eq!(holds(&[0.9, 0.9, 0.9]), [true, true, true, true]);
        assert_eq!(holds(&[1.0, 1.0, 1.0]), [false, true, true, true]);
        assert_eq!(holds(&[1.2, 1.2, 1.2]), [false, false, false, true]);
        assert_eq!(holds(&[1.4, 1.4, 1.4]), [false, false, false, false]);
    }

    #[test]
    fn what_the_rounds_do_not_bear_is_marked() {
        let results = results(&[(OURS, &[1.1, 1.4, 0.8]), ("a", &[1.0, 1.0, 1.0])]);
        let row = rows(&results)
            .into_iter()
            .find(|row| row.what == "time, any workload");
        assert_eq!(row.expect("measured").measured, "1 of 1 above: w 1.10?");
    }
}
