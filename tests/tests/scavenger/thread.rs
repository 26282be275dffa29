//! The scavenger's thread: nobody notices it but `top -H`.

use thmalloc_tests::{Build, Mode, hang_guard, run, skip};

/// How long unused memory waits: as long as users have it, and not at all.
const DELAYS: [&str; 2] = ["", "release_delay=0"];

/// Runs a scenario in both modes, side by side.
#[track_caller]
fn everywhere(test: &str, build: Build, program: &str, delay: &str, args: &[&str]) {
    std::thread::scope(|scope| {
        for mode in Mode::ALL {
            scope.spawn(move || {
                let mut command = super::with_options(build, mode, delay, program);
                let outcome = run(command.args(args), hang_guard(300));
                let what = format!("{args:?}, {delay:?}, {mode:?} {build:?}");
                if outcome.status.code() == Some(super::UNABLE) {
                    skip(test, outcome.stdout.trim());
                    return;
                }
                outcome.expect_success(&what);
                assert_eq!(outcome.stderr, "", "{what}");
            });
        }
    });
}

#[track_caller]
fn thread(test: &str, args: &[&str]) {
    for delay in DELAYS {
        everywhere(test, Build::Release, "scavenger_thread.c", delay, args);
    }
}

#[track_caller]
fn process(test: &str, args: &[&str]) {
    for delay in DELAYS {
        everywhere(test, Build::Release, "scavenger_process.c", delay, args);
    }
}

#[test]
fn it_has_a_name_and_blocks_all_signals_but_those_of_libc() {
    thread(
        "it_has_a_name_and_blocks_all_signals_but_those_of_libc",
        &["name"],
    );
}

#[test]
fn a_signal_to_the_process_is_never_handled_by_it() {
    thread(
        "a_signal_to_the_process_is_never_handled_by_it",
        &["signals"],
    );
}

#[test]
fn setuid_returns_and_all_threads_have_the_new_user() {
    let test = "setuid_returns_and_all_threads_have_the_new_user";
    thread(test, &["user"]);
    thread(test, &["user-of-worker"]);
}

#[test]
fn there_is_one_only_however_many_threads_begin_at_once() {
    let test = "there_is_one_only_however_many_threads_begin_at_once";
    thread(test, &["once"]);
    let checked = Build::Checked;
    everywhere(test, checked, "scavenger_thread.c", "", &["once"]);
}

#[test]
fn a_process_whose_main_thread_ended_ends_with_the_last_of_its_own() {
    let test = "a_process_whose_main_thread_ended_ends_with_the_last_of_its_own";
    for order in ["running", "absent", "working", "racing"] {
        thread(test, &["main-ends", order]);
    }
    for _ in 0..15 {
        for order in ["absent", "working", "racing"] {
            let args = ["main-ends", order];
            everywhere(test, Build::Release, "scavenger_thread.c", DELAYS[1], &args);
        }
    }
}

#[test]
fn the_child_of_a_fork_gets_its_own_when_it_has_threads() {
    let test = "the_child_of_a_fork_gets_its_own_when_it_has_threads";
    process(test, &["fork"]);
    let program = "scavenger_process.c";
    let args = ["fork-of-worker"];
    everywhere(test, Build::Release, program, DELAYS[1], &args);
    everywhere(test, Build::Checked, program, DELAYS[1], &args);
}

#[test]
fn a_daemon_gets_its_own() {
    process("a_daemon_gets_its_own", &["daemon"]);
}

#[test]
fn a_program_run_by_exec_starts_anew() {
    let test = "a_program_run_by_exec_starts_anew";
    process(test, &["exec"]);
    process(test, &["exec-of-worker"]);
}

#[test]
fn it_needs_no_descriptor_and_no_proc() {
    let test = "it_needs_no_descriptor_and_no_proc";
    let empty = thmalloc_tests::target_dir().join("empty-root");
    std::fs::create_dir_all(&empty).expect("an empty directory");
    let empty = empty.to_str().expect("a path in UTF-8");
    process(test, &["close"]);
    process(test, &["root", empty]);
}

#[test]
fn a_child_with_one_thread_keeps_to_one() {
    process("a_child_with_one_thread_keeps_to_one", &["namespaces"]);
}

#[test]
fn a_child_does_not_keep_what_its_parent_wants_again() {
    process(
        "a_child_does_not_keep_what_its_parent_wants_again",
        &["swings"],
    );
}

#[test]
fn a_process_that_may_not_start_it_gives_back_in_line() {
    let test = "a_process_that_may_not_start_it_gives_back_in_line";
    process(test, &["refused"]);
    process(test, &["nproc"]);
}
