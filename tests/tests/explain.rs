//! `thmalloc explain` names the one illness that a process has.
//!
//! A process that keeps still is read at once. One that grows is watched until it
//! is said to grow: how much it gets done in between is the machine's matter.

mod patient;

use std::process::Command;
use std::time::Instant;

use patient::Patient;
use serde_json::Value;
use thmalloc_tests::{Mode, hang_guard, run, thmalloc};

#[track_caller]
fn explained(patient: &Patient, seconds: &str) -> Value {
    let mut command = Command::new(thmalloc());
    command.args(["explain", &patient.pid(), "--json", "--for", seconds]);
    let outcome = run(&mut command, hang_guard(120));
    outcome.expect_success("thmalloc explain");
    assert_eq!(outcome.stderr, "");
    serde_json::from_str(&outcome.stdout).expect("JSON")
}

/// What is said of a process that keeps still; in both modes.
#[track_caller]
fn still(more_conf: &str, args: &[&str]) -> Vec<Value> {
    let look = |mode| {
        let patient = Patient::new(mode, more_conf, args);
        explained(&patient, "0.1")
    };
    Mode::ALL.into_iter().map(look).collect()
}

/// What is said of a process that grows, once growth is what it is about.
#[track_caller]
fn growing(args: &[&str]) -> Value {
    let patient = Patient::new(Mode::Rseq, "", args);
    let start = Instant::now();
    loop {
        let report = explained(&patient, "1");
        let kind = report["verdict"]["kind"].as_str().expect("a kind");
        if kind.starts_with("growing") {
            return report;
        }
        assert!(start.elapsed() < hang_guard(100), "{report:#}");
    }
}

fn mebibytes(report: &Value, group: &str, word: &str) -> u64 {
    report[group][word].as_u64().expect("a number") >> 20
}

#[test]
fn a_leak_in_one_class_is_named_with_its_size() {
    let report = growing(&["leak_class"]);
    assert_eq!(report["verdict"]["kind"], "growing_class", "{report:#}");
    assert_eq!(report["verdict"]["object_bytes"], 48);
}

#[test]
fn a_leak_of_large_objects_is_named() {
    let report = growing(&["leak_large"]);
    assert_eq!(report["verdict"]["kind"], "growing_large", "{report:#}");
}

#[test]
fn fragmentation_by_survivors_is_named_with_the_class_that_pins() {
    for report in still("", &["fragmented"]) {
        assert_eq!(report["verdict"]["kind"], "fragmented", "{report:#}");
        assert!(
            mebibytes(&report, "bytes", "fragmented") >= 40,
            "{report:#}"
        );
        let evidence = report["evidence"].to_string();
        assert!(evidence.contains("Objects of 48 bytes: "), "{report:#}");
    }
}

#[test]
fn caches_are_named() {
    for report in still(",release_delay=off", &["cached"]) {
        assert_eq!(report["verdict"]["kind"], "cached", "{report:#}");
    }
}

#[test]
fn memory_that_the_program_maps_itself_is_not_the_allocators() {
    for report in still("", &["mmap"]) {
        assert_eq!(report["verdict"]["kind"], "other", "{report:#}");
        assert!(
            mebibytes(&report, "resident", "other_anonymous") >= 64,
            "{report:#}"
        );
    }
}

#[test]
fn a_mapped_file_is_not_the_allocators_and_is_named() {
    for mode in Mode::ALL {
        let name = format!("thmalloc-explain-{}-{mode:?}", std::process::id());
        let file = std::env::temp_dir().join(name);
        let path = file.to_str().expect("UTF-8");
        let patient = Patient::new(mode, "", &["file", path]);
        let report = explained(&patient, "0.1");
        drop(patient);
        let _ = std::fs::remove_file(&file);
        assert_eq!(report["verdict"]["kind"], "files", "{report:#}");
        let evidence = report["evidence"].to_string();
        assert!(evidence.contains(&format!("{path} 64.0 MiB")), "{report:#}");
    }
}

#[test]
fn stacks_are_named_with_their_threads() {
    for report in still("", &["stacks"]) {
        assert_eq!(report["verdict"]["kind"], "stacks", "{report:#}");
        assert!(mebibytes(&report, "resident", "stacks") >= 40, "{report:#}");
    }
}

#[test]
fn a_healthy_process_uses_what_it_has() {
    for report in still("", &["healthy"]) {
        assert_eq!(report["verdict"]["kind"], "live", "{report:#}");
        assert!(mebibytes(&report, "bytes", "live") >= 32, "{report:#}");
    }
}

#[test]
fn what_was_freed_and_is_kept_is_the_options_doing() {
    for report in still(",release_delay=off", &["freed"]) {
        assert_eq!(report["verdict"]["kind"], "free_kept", "{report:#}");
        let advice = report["advice"].to_string();
        assert!(advice.contains("release_delay=off"), "{report:#}");
    }
    // The same program on the defaults has nothing that would need words.
    for report in still("", &["freed"]) {
        assert_eq!(report["verdict"]["kind"], "little", "{report:#}");
    }
}

#[test]
fn the_text_begins_with_the_verdict_and_fits_a_terminal() {
    let patient = Patient::new(Mode::Rseq, "", &["fragmented"]);
    let mut command = Command::new(thmalloc());
    command.args(["explain", &patient.pid(), "--for", "0"]);
    let outcome = run(&mut command, hang_guard(120));
    outcome.expect_success("thmalloc explain");
    let lines: Vec<_> = outcome.stdout.lines().collect();
    assert!(lines[0].starts_with(&format!(
        "illness-c-, process {}, read 3 times",
        patient.pid()
    )));
    assert!(
        lines[2].starts_with("Fragmentation holds it: "),
        "{outcome:#?}"
    );
    assert!(
        lines.iter().all(|line| line.chars().count() <= 80),
        "{outcome:#?}"
    );
}

#[test]
fn a_process_without_thmalloc_is_said_to_be_so() {
    let pid = std::process::id().to_string();
    let mut command = Command::new(thmalloc());
    let outcome = run(command.args(["explain", &pid]), hang_guard(60));
    assert!(!outcome.status.success());
    assert_eq!(outcome.stdout, "");
    let said = format!("process {pid} does not run on thmalloc");
    assert!(outcome.stderr.contains(&said), "{outcome:#?}");
}
