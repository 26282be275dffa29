//! A Rust program with thmalloc in it, alone, and with the library preloaded: then
//! there are two heaps in one process.

use std::path::Path;
use std::process::Command;

use serde_json::Value;
use thmalloc_tests::{Build, Mode, library};

use crate::harness::{Running, assert_sum, command, number, stat};

const PROGRAM: &str = env!("CARGO_BIN_EXE_rust_steps");

/// The program, which keeps what it frees; with the library under it or without.
fn start(mode: Mode, preloaded: bool) -> Running {
    let mut command = Command::new(PROGRAM);
    command.env(
        "THMALLOC_CONF",
        format!("{},release_delay=off", mode.conf()),
    );
    if preloaded {
        command.env("LD_PRELOAD", library(Build::Release));
    }
    let mut running = Running::start(&mut command);
    running.step("fill");
    running.step("c");
    running
}

/// What a command prints of the process.
#[track_caller]
fn said(what: &str, pid: u32, more: &[&str]) -> String {
    let pid = pid.to_string();
    let outcome = command(&[&[what, &pid], more].concat());
    outcome.expect_success(what);
    outcome.stdout
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

/// A picture of the process.
fn map(pid: u32) -> String {
    said("map", pid, &["--format", "svg", "-o", "-"])
}

/// The lines of a text as one, with single blanks.
fn joined(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn a_rust_program_is_looked_into_by_every_command() {
    for mode in Mode::ALL {
        let mut running = start(mode, false);
        let pid = running.pid();
        let full = assert_sum(pid, "a Rust program");
        let live = number(&full, "/bytes/live");
        // C's objects are glibc's.
        assert!((32 << 20..36 << 20).contains(&live), "{live}");
        assert_eq!(full["process"]["library"], PROGRAM);
        assert_eq!(full["process"]["cache_mode"], mode.conf()["cache=".len()..]);
        assert!(!said("stat", pid, &[]).contains("heaps"));

        running.step("thin");
        let explained = json(&said("explain", pid, &["--for", "0.1", "--json"]));
        assert_eq!(explained["verdict"]["kind"], "fragmented", "{explained}");
        let map = map(pid);
        assert!(map.starts_with("<svg") && map.contains("rust_steps, process"));
        let top = command(&["top", "-b", "-n", "1", "-p", &pid.to_string()]);
        assert!(top.stdout.contains("rust_steps"), "{top:?}");

        running.step("drop");
        let trim = said("trim", pid, &["--wait", "0.05"]);
        assert!(trim.contains("Nobody has served"), "{trim}");
        let unused = |stat: &Value| number(stat, "/bytes/resident") - number(stat, "/bytes/live");
        let before = unused(&stat(pid));
        running.step("fill");
        running.step("drop");
        let after = unused(&stat(pid));
        assert!(before > 24 << 20 && number(&stat(pid), "/totals/released") > 24 << 20);
        assert!(after > 24 << 20, "what it dropped since is kept: {after}");
    }
}

#[test]
fn two_heaps_of_a_process_are_added_up_and_named() {
    for mode in Mode::ALL {
        let mut running = start(mode, true);
        let pid = running.pid();
        let full = assert_sum(pid, "a Rust program, preloaded");
        let heaps = full["heaps"].as_array().expect("heaps");
        let files: Vec<_> = heaps
            .iter()
            .filter_map(|heap| heap["library"].as_str())
            .collect();
        let library = library(Build::Release);
        let library = library.to_str().expect("its path");
        assert_eq!(files, [PROGRAM, library], "that with most memory first");
        for word in [
            "live",
            "cached",
            "fragmented",
            "free",
            "metadata",
            "released",
            "untouched",
            "resident",
        ] {
            let path = format!("/bytes/{word}");
            let sum: u64 = heaps.iter().map(|heap| number(heap, &path)).sum();
            assert_eq!(sum, number(&full, &path), "{word}: {full}");
        }
        let live: Vec<_> = heaps
            .iter()
            .map(|heap| number(heap, "/bytes/live"))
            .collect();
        assert!((32 << 20..36 << 20).contains(&live[0]), "{live:?}");
        assert!((16 << 20..18 << 20).contains(&live[1]), "{live:?}");
        // Objects of both are in one class.
        let classes = full["size_classes"].as_array().expect("classes");
        let class = classes.iter().find(|class| class["bytes"] == 1024);
        let objects = number(class.expect("a class"), "/live");
        assert!((50_400..50_600).contains(&objects), "{full}");

        let named = "The process has 2 heaps of thmalloc, and the figures are their sums:";
        let text = joined(&said("stat", pid, &[]));
        assert!(text.contains(named), "{text}");
        let name = |path: &str| Path::new(path).file_name().map(|n| n.display().to_string());
        for file in files {
            let file = name(file).expect("a name");
            assert_eq!(
                text.matches(&file).count(),
                2 + usize::from(file == "rust_steps")
            );
        }
        let explained = joined(&said("explain", pid, &["--for", "0.1"]));
        assert!(explained.contains(named), "{explained}");
        assert!(map(pid).contains(named));
        let top = command(&["top", "-b", "-n", "1", "-p", &pid.to_string()]);
        let row = top.stdout.lines().find(|line| line.contains("rust_steps"));
        let live = row.and_then(|row| row.split_whitespace().nth(2));
        let live = live.and_then(|live| live.strip_suffix('M'));
        let live: f64 = live.and_then(|live| live.parse().ok()).expect("mebibytes");
        assert!((48.0..54.0).contains(&live), "{top:?}");

        running.step("drop");
        let trim = said("trim", pid, &["--wait", "0.05"]);
        assert!(trim.contains("Nobody has served"), "{trim}");
        let released = |stat: &Value| number(stat, "/totals/released");
        let before = released(&stat(pid));
        running.step("c");
        let c = released(&stat(pid)) - before;
        assert!(c > 12 << 20, "C's heap has served it: {c}");
        running.step("fill");
        let both = released(&stat(pid)) - before;
        assert!(both > 36 << 20, "and Rust's: {both}");
    }
}
