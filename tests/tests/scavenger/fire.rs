//! Reclaim under fire.

use thmalloc_tests::{Build, Mode};

/// At the scavenger's highest rate.
#[track_caller]
fn fire(build: Build, args: &[&str]) {
    for mode in Mode::ALL {
        super::passes(build, mode, "release_delay=0", "scavenger_fire.c", args);
    }
}

/// The same where caches are numbered by the CPU.
#[track_caller]
fn by_cpu(args: &[&str]) {
    let options = "release_delay=0";
    super::passes(Build::Release, Mode::Cpu, options, "scavenger_fire.c", args);
}

#[test]
fn pages_given_back_under_sixteen_threads_lose_and_share_nothing() {
    fire(Build::Release, &["plain", "16", "6000"]);
    by_cpu(&["plain", "16", "6000"]);
    fire(Build::Checked, &["plain", "16", "3000"]);
}

#[test]
fn trimming_in_a_loop_under_sixteen_threads_loses_and_shares_nothing() {
    fire(Build::Release, &["trim", "16", "6000"]);
    fire(Build::Checked, &["trim", "16", "3000"]);
}

#[test]
fn children_forked_under_fire_inherit_every_object_intact() {
    fire(Build::Release, &["fork", "16", "2000"]);
    by_cpu(&["fork", "16", "2000"]);
    fire(Build::Checked, &["fork", "16", "1000"]);
}
