//! System calls refused, and processes that give up their descriptors, user,
//! root or namespaces: the allocator goes on, and says nothing.

use std::path::Path;

use thmalloc_tests::{
    Build, Mode, Outcome, compile, hang_guard, on_thmalloc, passes_in_both_modes, run, skip,
    target_dir,
};

fn program() -> std::path::PathBuf {
    compile("robust_sandbox.c", &[])
}

/// `robust_sandbox work` with system calls refused before its start, silent and
/// successful; what it says. `conf`: a THMALLOC_CONF, or none at all.
#[track_caller]
fn work_refused(build: Build, conf: Option<Mode>, refused: &[&str]) -> String {
    let launcher = compile("robust_launch.c", &["-static"]);
    let mut command = on_thmalloc(build, conf.unwrap_or(Mode::Rseq), launcher);
    if conf.is_none() {
        command.env_remove("THMALLOC_CONF");
    }
    for call in refused {
        command.arg(format!("refuse={call}"));
    }
    command.arg("--").arg(program()).arg("work");
    let outcome = run(&mut command, hang_guard(120));
    let what = format!("refused {refused:?}, {conf:?}, {build:?}");
    outcome.expect_success(&what);
    assert_eq!(outcome.stderr, "", "{what}");
    outcome.stdout
}

#[test]
fn without_rseq_the_cache_is_entered_with_a_lock_silently() {
    for build in [Build::Release, Build::Checked] {
        for refused in ["rseq:EPERM", "rseq:ENOSYS"] {
            for conf in [None, Some(Mode::Rseq), Some(Mode::Lock)] {
                let said = work_refused(build, conf, &[refused]);
                assert_eq!(said, "cache lock\n", "{refused} {conf:?}");
            }
        }
    }
}

#[test]
fn the_tunable_that_turns_rseq_off_is_respected() {
    for mode in Mode::ALL {
        let mut command = on_thmalloc(Build::Release, mode, program());
        command.env("GLIBC_TUNABLES", "glibc.pthread.rseq=0");
        let outcome = run(command.arg("work"), hang_guard(120));
        outcome.expect_success("glibc.pthread.rseq=0");
        assert_eq!(outcome.stderr, "");
        assert_eq!(outcome.stdout, "cache lock\n");
    }
}

#[test]
fn membarrier_madvise_and_the_rest_refused_go_unnoticed() {
    for refused in [
        &["membarrier:EPERM"] as &[&str],
        &["membarrier:ENOSYS"],
        &["madvise:EPERM"],
        &["madvise:ENOSYS"],
        &["mremap:ENOSYS"],
        &["sched_getaffinity:EPERM"],
        &["prctl:EPERM"],
        &["getrandom:ENOSYS", "prlimit64:EPERM"],
        &[
            "rseq:ENOSYS",
            "membarrier:ENOSYS",
            "madvise:ENOSYS",
            "mremap:ENOSYS",
            "sched_getaffinity:ENOSYS",
            "prctl:ENOSYS",
        ],
    ] {
        for conf in [None, Some(Mode::Lock)] {
            let said = work_refused(Build::Release, conf, refused);
            assert!(!said.contains("none"), "{refused:?}: {said}");
        }
        work_refused(Build::Checked, None, refused);
    }
}

#[test]
fn where_pages_cannot_be_moved_new_ones_are_taken() {
    let launcher = compile("robust_launch.c", &["-static"]);
    for build in [Build::Release, Build::Checked] {
        for refused in ["mremap:ENOSYS", "mremap:ENOMEM", "mremap:EPERM"] {
            let mut command = on_thmalloc(build, Mode::Rseq, &launcher);
            command.arg(format!("refuse={refused}")).arg("--");
            command
                .arg(compile("surface_scattered.c", &[]))
                .arg("refused");
            let outcome = run(&mut command, hang_guard(120));
            outcome.expect_success(refused);
            assert_eq!(outcome.stderr, "", "{refused}");
        }
    }
}

#[test]
fn calls_refused_to_later_threads_leave_earlier_ones_in_order() {
    for refused in [
        &["refuse", "membarrier:EPERM", "madvise:EPERM"] as &[&str],
        &["refuse", "rseq:ENOSYS"],
        &[
            "refuse",
            "rseq:EPERM",
            "membarrier:ENOSYS",
            "madvise:ENOSYS",
        ],
    ] {
        passes_in_both_modes(Build::Release, &program(), refused);
        passes_in_both_modes(Build::Checked, &program(), refused);
    }
}

#[test]
fn a_process_that_closed_every_descriptor_goes_on() {
    passes_in_both_modes(Build::Release, &program(), &["close"]);
    passes_in_both_modes(Build::Release, &program(), &["close-range"]);
}

/// Runs `args` in both modes; status 77 means that this system forbids it,
/// which is believed when it says so without the library too.
#[track_caller]
fn where_allowed(test: &str, args: &[&str]) {
    let mut plain = std::process::Command::new(program());
    let outcome: Outcome = run(plain.args(args), hang_guard(120));
    if outcome.status.code() == Some(77) {
        skip(test, outcome.stdout.trim());
        return;
    }
    outcome.expect_success("without the library");
    passes_in_both_modes(Build::Release, &program(), args);
}

#[test]
fn a_process_that_changes_its_user_goes_on() {
    let test = "a_process_that_changes_its_user_goes_on";
    where_allowed(test, &["user"]);
    where_allowed(test, &["user-threads"]);
}

#[test]
fn a_process_in_an_empty_root_goes_on() {
    let empty: &Path = &target_dir().join("empty-root");
    std::fs::create_dir_all(empty).expect("an empty directory");
    let empty = empty.to_str().expect("a path in UTF-8");
    where_allowed("a_process_in_an_empty_root_goes_on", &["root", empty]);
}

#[test]
fn namespaces_that_insist_on_one_thread_find_one() {
    where_allowed(
        "namespaces_that_insist_on_one_thread_find_one",
        &["namespaces"],
    );
}
