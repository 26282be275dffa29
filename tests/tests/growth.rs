//! What a heap needs at its peak, where the sizes that a program asks for change.

use thmalloc_tests::{Build, Mode, compile, hang_guard, on_thmalloc, run};

/// So much may be resident for what the program had at the most: 3.2 where free objects in
/// caches pin spans of sizes that nobody asks for any more and their pages stay, 2.0 to
/// 2.1 where they do not, 2.5 on allocators that give nothing back.
const MOST: f64 = 2.3;

fn peak(mode: Mode, options: &str) -> f64 {
    let program = compile("growth_drift.c", &["-O2"]);
    let mut command = on_thmalloc(Build::Release, mode, program);
    if !options.is_empty() {
        command.env("THMALLOC_CONF", options);
    }
    let outcome = run(&mut command, hang_guard(120));
    outcome.expect_success("growth_drift");
    let numbers = outcome.stdout.split_whitespace();
    let numbers: Vec<f64> = numbers.filter_map(|word| word.parse().ok()).collect();
    let [live, resident] = numbers[..] else {
        panic!("{outcome:?}");
    };
    println!("{options} {mode:?}: {live} KiB live, {resident} KiB resident");
    resident / live
}

#[test]
fn sizes_that_drift_leave_little_behind() {
    for mode in Mode::ALL {
        let share = peak(mode, "");
        assert!(share < MOST, "{mode:?}: {share:.2} of what was live");
    }
}

/// What is measured is what giving back gains.
#[test]
fn more_stays_where_nothing_is_given_back() {
    let share = peak(Mode::Rseq, "release_delay=off");
    assert!(share > MOST, "{share:.2} of what was live");
}
