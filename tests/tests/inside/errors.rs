//! What cannot be looked into: a clear line, and an exit status for each reason.

use std::fs;
use std::process::Command;

use thmalloc_tests::{
    Build, Mode, Outcome, compile, hang_guard, installed, library, on_thmalloc, run, skip, thmalloc,
};

use crate::harness::{Running, assert_sum, command, is_root};

#[track_caller]
pub fn expect(outcome: &Outcome, status: i32, text: &str) {
    assert_eq!(outcome.status.code(), Some(status), "{outcome:#?}");
    assert!(outcome.stderr.contains(text), "{outcome:#?}");
    // What was found, and what to do.
    assert_eq!(outcome.stderr.lines().count(), 2, "{outcome:#?}");
    assert_eq!(outcome.stdout, "");
}

fn stat(pid: u32) -> Outcome {
    command(&["stat", &pid.to_string()])
}

fn steps() -> Running {
    let program = compile("inside_steps.c", &[]);
    let mut running = Running::start(&mut on_thmalloc(Build::Release, Mode::Rseq, program));
    running.step("fill");
    running
}

#[test]
fn no_such_process() {
    expect(&stat(u32::MAX), 3, "there is no process");
    expect(&stat(0), 3, "there is no process");
}

#[test]
fn a_process_on_another_malloc() {
    let cat = Running::start(&mut Command::new("cat"));
    // Until the shell has become it.
    crate::harness::wait_for_state(cat.pid(), "S");
    expect(&stat(cat.pid()), 4, "does not run on thmalloc");
}

#[test]
fn a_process_of_another_user() {
    if is_root() {
        // `users` has the same, and more.
        return;
    }
    // The first process is root's.
    expect(&stat(1), 5, "may not be read");
}

#[test]
fn a_process_that_has_ended() {
    let mut running = steps();
    running.kill();
    expect(&stat(running.pid()), 6, "ended");
}

#[test]
fn a_hostile_process() {
    let program = compile("inside_hostile.c", &["-ldl"]);
    let hostile = |args: &[&str], on_ours: bool| {
        let mut command = match on_ours {
            true => on_thmalloc(Build::Release, Mode::Rseq, &program),
            false => Command::new(&program),
        };
        let mut running = Running::start(command.args(args));
        running.until("ready");
        // No more memory than a reader needs.
        let mut reader = Command::new("sh");
        reader
            .args(["-c", "ulimit -v 2000000; exec \"$@\"", "sh"])
            .arg(thmalloc());
        reader.args(["stat", "--json", &running.pid().to_string()]);
        (run(&mut reader, hang_guard(60)), running)
    };
    expect(&hostile(&["version"], false).0, 7, "version 4711");
    // Beside one that can be read, it is said to be there.
    let outcome = hostile(&["version"], true).0;
    outcome.expect_success("a heap of another version beside one of ours");
    let json: serde_json::Value = serde_json::from_str(&outcome.stdout).expect("JSON");
    assert_eq!(json["process"]["heaps_left_out"], 1);
    assert_eq!(json["heaps"].as_array().map(Vec::len), Some(1));
    expect(&hostile(&["short"], false).0, 8, "too short");
    expect(&hostile(&["nowhere"], false).0, 8, "nonsense");
    for seed in 0..6 {
        let (outcome, _) = hostile(&["random", &seed.to_string()], false);
        expect(&outcome, 8, "nonsense");
    }
    for seed in 0..12 {
        let (outcome, mut running) = hostile(&["scribble", &seed.to_string()], true);
        match outcome.status.code() {
            Some(0) => {}
            _ => expect(&outcome, 8, "nonsense"),
        }
        assert!(!running.has_ended());
    }
}

#[test]
fn a_process_in_a_container_whose_library_is_gone() {
    let Some(allowed) = unshare().map(|mut probe| probe.arg("true").output()) else {
        return skip("a container", "unshare is not installed (util-linux)");
    };
    if !allowed.is_ok_and(|out| out.status.success()) {
        return skip("a container", "this system allows no namespaces");
    }
    let copy = std::env::temp_dir().join(format!("libthmalloc-inside-{}.so", std::process::id()));
    fs::copy(library(Build::Release), &copy).expect("a copy of the library");
    let program = compile("inside_steps.c", &[]);
    let mut container = unshare().expect("it was there");
    container
        .args(["env", &format!("LD_PRELOAD={}", copy.display())])
        .arg("THMALLOC_CONF=release_delay=600000")
        .arg(program);
    let mut running = Running::start(&mut container);
    running.step("thread");
    running.step("fill");
    running.step("drop");
    fs::remove_file(copy).expect("it is gone");
    let inner = children(running.pid());
    let [pid] = inner[..] else {
        panic!("one child: {inner:?}");
    };
    let stat = assert_sum(pid, "in a container");
    assert_eq!(stat["process"]["pid"], pid);
    // Its threads have other numbers there.
    let trim = command(&["trim", &pid.to_string(), "--wait", "60"]);
    trim.expect_success("thmalloc trim");
    assert!(trim.stdout.contains("Given back: "), "{trim:?}");
}

/// Starts what follows in namespaces of its own.
fn unshare() -> Option<Command> {
    let mut command = Command::new("unshare");
    let flags = ["--pid", "--fork", "--mount", "--mount-proc", "--kill-child"];
    command.args(flags);
    installed("unshare").then_some(command)
}

fn children(pid: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let children = children.unwrap_or_default();
    children
        .split_ascii_whitespace()
        .filter_map(|pid| pid.parse().ok())
        .collect()
}
