//! `thmalloc trim`: who serves it, and that it leaves no traces.

use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use thmalloc_tests::{Build, Mode, compile, hang_guard, on_thmalloc, thmalloc};

use crate::harness::{Running, command, number, stat, state};

/// A process that keeps what is freed.
fn keeper(conf: &str) -> Running {
    let program = compile("inside_steps.c", &[]);
    let mut command = on_thmalloc(Build::Release, Mode::Rseq, program);
    command.env("THMALLOC_CONF", conf);
    let mut running = Running::start(&mut command);
    running.step("fill");
    running
}

/// What is kept although nobody has it.
fn unused(pid: u32) -> u64 {
    let stat = stat(pid);
    let word = |name: &str| number(&stat, &format!("/bytes/{name}"));
    word("cached") + word("free") + word("fragmented")
}

fn assert_runs(running: &mut Running) {
    let pid = running.pid();
    for entry in std::fs::read_dir(format!("/proc/{pid}/task"))
        .expect("threads")
        .flatten()
    {
        let status = entry.path().join("status");
        let status = status.to_str().expect("a path");
        assert!(
            !"tT".contains(&state(status)),
            "a thread of {pid} is stopped"
        );
        let text = std::fs::read_to_string(status).unwrap_or_default();
        assert!(text.is_empty() || text.contains("TracerPid:\t0"), "{text}");
    }
    running.step("still there?");
}

#[test]
fn the_scavengers_thread_serves_a_request_out_of_its_sleep() {
    let mut running = keeper("release_delay=600000");
    running.step("thread");
    running.step("drop");
    // It starts with an allocation after the thread.
    running.step("fill");
    running.step("drop");
    let pid = running.pid();
    let before = unused(pid);
    assert!(before > 32 << 20, "{before}");
    // It says when its next turn is once the first has ended.
    let since = Instant::now();
    let waiting = loop {
        let scavenger = stat(pid)["scavenger"].clone();
        if !scavenger["next_turn_in_ms"].is_null() || since.elapsed() > hang_guard(60) {
            break scavenger;
        }
        thread::sleep(Duration::from_millis(5));
    };
    assert_eq!(waiting["state"], "waiting", "{waiting}");
    let next = number(&waiting, "/next_turn_in_ms");
    assert!((1..=600_000).contains(&next), "{waiting}");
    let outcome = command(&["trim", &pid.to_string(), "--wait", "60"]);
    outcome.expect_success("thmalloc trim");
    assert!(outcome.stdout.contains("Given back: "), "{outcome:?}");
    for line in outcome.stdout.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
    let after = unused(pid);
    assert!(after < 2 << 20, "{before} before, {after} after");
    assert_runs(&mut running);
}

#[test]
fn without_a_thread_a_slow_path_serves_it() {
    let mut running = keeper("release_delay=off");
    running.step("drop");
    let pid = running.pid();
    let before = unused(pid);
    assert!(before > 32 << 20, "{before}");
    let outcome = command(&["trim", &pid.to_string(), "--wait", "0.05"]);
    outcome.expect_success("thmalloc trim");
    assert!(outcome.stdout.contains("Nobody has served"), "{outcome:?}");
    assert!(unused(pid) > 32 << 20);
    running.step("exactly");
    let after = unused(pid);
    assert!(
        after < 8 << 20,
        "{before} before, {after} after: {}",
        stat(pid)
    );
}

#[test]
fn a_trim_that_is_killed_leaves_the_process_running() {
    let mut running = keeper("release_delay=600000");
    running.step("thread");
    running.step("drop");
    running.step("fill");
    for round in 0..40 {
        let mut trim = Command::new(thmalloc())
            .args(["trim", &running.pid().to_string()])
            .stdout(Stdio::null())
            .spawn()
            .expect("thmalloc runs");
        // At another moment each time, from before it looks to after.
        for _ in 0..round * 2000 {
            std::hint::spin_loop();
        }
        trim.kill().expect("it is ours");
        trim.wait().expect("it is ours");
        assert_runs(&mut running);
    }
}
