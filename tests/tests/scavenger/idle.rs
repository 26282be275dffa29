//! When the scavenger sleeps, when it wakes, and who never gets one.

use std::thread;

use thmalloc_tests::{Build, Mode, hang_guard, run, skip};

const PROGRAM: &str = "scavenger_idle.c";

/// Runs a scenario that mostly waits: both modes side by side.
#[track_caller]
fn idle(build: Build, options: &str, args: &[&str]) {
    thread::scope(|scope| {
        for mode in Mode::ALL {
            scope.spawn(move || super::passes(build, mode, options, PROGRAM, args));
        }
    });
}

#[test]
fn with_nothing_to_do_it_neither_wakes_nor_takes_time() {
    idle(Build::Release, "", &["sleeps"]);
}

#[test]
fn it_wakes_for_every_load_also_when_just_falling_asleep() {
    idle(Build::Release, "release_delay=0", &["wakes"]);
    idle(Build::Checked, "release_delay=0", &["wakes"]);
}

#[test]
fn a_little_heap_never_gets_it() {
    idle(Build::Release, "", &["little"]);
    idle(Build::Release, "release_delay=0", &["little"]);
}

#[test]
fn a_process_with_one_thread_never_gets_it() {
    for delay in ["", "release_delay=0"] {
        idle(Build::Release, delay, &["alone"]);
        idle(Build::Release, delay, &["forked-alone"]);
        idle(Build::Release, delay, &["joined"]);
    }
}

#[test]
fn locked_memory_is_left_alone_and_not_tried_for_ever() {
    let test = "locked_memory_is_left_alone_and_not_tried_for_ever";
    thread::scope(|scope| {
        for mode in Mode::ALL {
            scope.spawn(move || {
                let mut command = super::with_options(Build::Release, mode, "", PROGRAM);
                let outcome = run(command.arg("locked"), hang_guard(300));
                if outcome.status.code() == Some(super::UNABLE) {
                    skip(test, outcome.stdout.trim());
                    return;
                }
                outcome.expect_success(&format!("locked {mode:?}"));
                assert_eq!(outcome.stderr, "");
            });
        }
    });
}

#[test]
fn release_delay_off_gives_nothing_back_but_to_who_asks() {
    idle(Build::Release, "release_delay=off", &["off"]);
}

/// The scenario needs the scavenger: what is not understood must not have
/// switched it off.
#[test]
fn a_misspelt_option_is_named_and_ignored() {
    for option in [
        "release_dely=off",
        "release_delay=never",
        "release_delay=-1",
        "release_delay=1e3",
        "release_delay=99999999999",
    ] {
        for mode in Mode::ALL {
            let mut command =
                super::with_options(Build::Release, mode, option, "scavenger_thread.c");
            let outcome = run(command.arg("once"), hang_guard(120));
            outcome.expect_success(option);
            let lines: Vec<&str> = outcome.stderr.lines().collect();
            assert!(
                matches!(lines[..], [line] if line.contains(&format!("\"{option}\""))),
                "{option}: {outcome:?}"
            );
        }
    }
}

/// Page faults of a load that comes every so many milliseconds.
fn faults(mode: Mode, options: &str, load: &[&str]) -> u64 {
    let outcome = super::passes(Build::Release, mode, options, "scavenger_sawtooth.c", load);
    outcome
        .stdout
        .split([' ', ','])
        .nth(1)
        .and_then(|number| number.parse().ok())
        .unwrap_or_else(|| panic!("{outcome:?}"))
}

/// On a busy machine a burst may come so late that it is right to have given
/// back; and who overtakes whom decides how many pages the first bursts touch.
/// So one of five runs has to do.
#[test]
fn what_a_sawtooth_wants_again_soon_is_not_given_back() {
    for load in [["20", "100", "1000"], ["100", "25", "2000"]] {
        for mode in Mode::ALL {
            let mut runs = Vec::new();
            let good = (0..5).any(|_| {
                let never = faults(mode, "release_delay=off", &load);
                let on = faults(mode, "", &load);
                runs.push((on, never));
                on * 4 <= never * 5
            });
            assert!(good, "{load:?} {mode:?}: with it, without: {runs:?}");
        }
    }
}

#[test]
fn trim_and_purge_give_back_what_all_cpus_hold_and_say_so() {
    for build in [Build::Release, Build::Checked] {
        for mode in Mode::ALL {
            super::passes(build, mode, "release_delay=off", "scavenger_purge.c", &[]);
        }
    }
}
