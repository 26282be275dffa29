//! What interrupts a thread inside malloc and free: signals every 100
//! microseconds, moves to another CPU, and another thread that empties the
//! caches of all CPUs.

use std::thread::available_parallelism;

use thmalloc_tests::{Build, compile, passes_in_both_modes, skip};

fn storm(test: &str, kind: &str) {
    let cpus = available_parallelism().map_or(1, usize::from);
    if ["migration", "all"].contains(&kind) && cpus < 2 {
        skip(test, "this process may use one CPU only");
        return;
    }
    let program = compile("robust_storm.c", &[]);
    passes_in_both_modes(Build::Release, &program, &[kind, "2500"]);
    passes_in_both_modes(Build::Checked, &program, &[kind, "1000"]);
}

#[test]
fn signals_every_100_microseconds_lose_nothing() {
    storm("signals_every_100_microseconds_lose_nothing", "signals");
}

#[test]
fn forced_migration_between_cpus_loses_nothing() {
    storm("forced_migration_between_cpus_loses_nothing", "migration");
}

#[test]
fn caches_emptied_by_malloc_trim_meanwhile_lose_nothing() {
    storm(
        "caches_emptied_by_malloc_trim_meanwhile_lose_nothing",
        "trim",
    );
}

#[test]
fn signals_migration_and_malloc_trim_together_lose_nothing() {
    storm(
        "signals_migration_and_malloc_trim_together_lose_nothing",
        "all",
    );
}
