//! Hugepages help where memory is in dense use, and never keep what was given
//! back.

use thmalloc_tests::{Build, Mode, compile, hang_guard, on_thmalloc, run, skip};

const SYSTEM: &str = "/sys/kernel/mm/transparent_hugepage/enabled";

/// Runs the program; the figures that it printed, in KiB.
fn figures(test: &str, mib: &str, what: &str) -> Option<Vec<i64>> {
    let system = std::fs::read_to_string(SYSTEM).unwrap_or_default();
    if !system.contains("[madvise]") {
        skip(test, "the system does not have hugepages on madvise");
        return None;
    }
    let program = compile("hugepages.c", &[]);
    let mut command = on_thmalloc(Build::Release, Mode::Rseq, program);
    let outcome = run(command.args([mib, what]), hang_guard(180));
    outcome.expect_success(what);
    let numbers = outcome.stdout.split_whitespace();
    let numbers: Vec<i64> = numbers.filter_map(|word| word.parse().ok()).collect();
    assert_eq!(numbers.len(), 4, "{outcome:?}");
    eprintln!("{what}: {}", outcome.stdout);
    Some(numbers)
}

/// How many KiB of 80 MiB the system makes hugepages for a program that asks for all.
fn possible(test: &str) -> i64 {
    figures(test, "80", "possible").map_or(0, |figures| figures[0])
}

#[test]
fn a_dense_heap_becomes_hugepages_which_keep_nothing_that_is_given_back() {
    let test = "a_dense_heap_becomes_hugepages_which_keep_nothing_that_is_given_back";
    let Some(figures) = figures(test, "80", "dense") else {
        return;
    };
    let [huge, before, after, left] = figures[..] else {
        unreachable!("counted above");
    };
    if huge < 0 {
        skip(test, "smaps_rollup is not there");
        return;
    }
    if huge < 40 << 10 && possible(test) < 80 << 10 {
        skip(
            test,
            "the system refuses hugepages, its memory is in pieces",
        );
        return;
    }
    assert!(huge >= 40 << 10, "no hugepages: {huge} KiB");
    assert!(before >= 80 << 10);
    assert_eq!(left, 0, "hugepages that hold what was given back");
    assert!(after < before / 4, "{after} of {before} KiB stay");
}

#[test]
fn a_sparse_heap_does_not_become_hugepages() {
    let test = "a_sparse_heap_does_not_become_hugepages";
    let Some(figures) = figures(test, "80", "sparse") else {
        return;
    };
    assert!(figures[0] <= 0, "hugepages: {} KiB", figures[0]);
}

/// No hugepage comes of what is done with so many MiB, and less than `most` MiB of memory.
#[track_caller]
fn stays_as_it_is(test: &str, mib: &str, what: &str, most: i64) {
    let Some(figures) = figures(test, mib, what) else {
        return;
    };
    let [huge, before, after, _] = figures[..] else {
        unreachable!("counted above");
    };
    assert!(huge <= 0, "hugepages: {huge} KiB");
    assert!(after - before < most << 10, "{before} to {after} KiB");
}

#[test]
fn what_the_program_has_not_touched_becomes_no_hugepage() {
    let test = "what_the_program_has_not_touched_becomes_no_hugepage";
    stays_as_it_is(test, "256", "untouched", 16);
}

#[test]
fn pages_that_were_given_back_do_not_return_by_a_collapse() {
    let test = "pages_that_were_given_back_do_not_return_by_a_collapse";
    stays_as_it_is(test, "80", "marked", 8);
}

#[test]
fn a_child_does_not_copy_what_it_shares_with_its_parent() {
    let test = "a_child_does_not_copy_what_it_shares_with_its_parent";
    stays_as_it_is(test, "80", "forked", 8);
}

#[test]
fn nor_does_a_parent_what_it_shares_with_a_new_child() {
    let test = "nor_does_a_parent_what_it_shares_with_a_new_child";
    stays_as_it_is(test, "80", "parent", 8);
}
