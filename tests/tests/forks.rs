//! New processes from a process of many threads, by every call there is.
//!
//! Over both modes and both builds these tests fork more than 3000 times.

use thmalloc_tests::{Build, compile, passes_in_both_modes};

fn forks(build: Build, count: &str) {
    let program = compile("robust_fork.c", &[]);
    passes_in_both_modes(build, &program, &[count]);
}

#[test]
fn a_child_of_a_process_whose_threads_allocate_goes_on() {
    forks(Build::Release, "1100");
}

#[test]
fn a_child_of_a_process_whose_threads_allocate_goes_on_checked() {
    forks(Build::Checked, "450");
}

#[test]
fn vfork_posix_spawn_clone_system_and_daemons_work() {
    let program = compile("robust_spawn.c", &[]);
    passes_in_both_modes(Build::Release, &program, &[]);
    passes_in_both_modes(Build::Checked, &program, &[]);
}
