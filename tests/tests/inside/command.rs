//! What `thmalloc stat` prints.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use serde_json::Value;
use thmalloc_tests::{Build, Mode, compile, hang_guard, on_thmalloc, run, thmalloc};

use crate::harness::{Running, command, number, signal};

fn steps() -> Running {
    let program = compile("inside_steps.c", &[]);
    let mut running = Running::start(&mut on_thmalloc(Build::Release, Mode::Rseq, program));
    running.step("fill");
    running
}

#[test]
fn text_names_the_words_in_lines_of_80_columns() {
    let running = steps();
    let outcome = command(&["stat", &running.pid().to_string()]);
    outcome.expect_success("thmalloc stat");
    for text in [
        "live",
        "cached",
        "fragmented",
        "free",
        "metadata",
        "released",
        "resident",
        "occupied",
        "CPU cache",
        "120 large objects",
        "the 10 largest",
        "Giving back",
        "wanted again",
    ] {
        assert!(outcome.stdout.contains(text), "{text}: {}", outcome.stdout);
    }
    for line in outcome.stdout.lines().skip(1) {
        assert!(line.chars().count() <= 80, "{line}");
    }
    let bar = outcome.stdout.lines().find(|line| line.starts_with("##"));
    assert_eq!(bar.map(str::len), Some(80));
    assert!(
        !outcome.stdout.contains('\u{1b}'),
        "colour where no terminal is"
    );
}

#[test]
fn colour_is_for_terminals_unless_no_color_is_set() {
    if !thmalloc_tests::installed("script") {
        return thmalloc_tests::skip(
            "colour",
            "script is not installed (Debian package bsdutils)",
        );
    }
    let running = steps();
    let line = format!("{} stat {}", thmalloc().display(), running.pid());
    let on_terminal = |no_color: &str| {
        let mut script = Command::new("script");
        script.args(["-qec", &line, "/dev/null"]);
        script.env("TERM", "xterm").env("NO_COLOR", no_color);
        run(&mut script, hang_guard(60)).stdout
    };
    assert!(on_terminal("").contains("\u{1b}["));
    assert!(!on_terminal("1").contains('\u{1b}'));
}

#[test]
fn the_json_has_every_field_that_its_page_names_and_no_other() {
    let running = steps();
    let outcome = command(&["stat", "--json", &running.pid().to_string()]);
    outcome.expect_success("thmalloc stat");
    let json: Value = serde_json::from_str(&outcome.stdout).expect("JSON");
    let mut found = Vec::new();
    paths(&json, "", &mut found);
    found.sort();
    found.dedup();
    let page = thmalloc_tests::root().join("docs/stat-json.md");
    let page = std::fs::read_to_string(page).expect("its page");
    let mut named: Vec<String> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .filter_map(|line| Some(line.split_once('`')?.0.to_owned()))
        .collect();
    named.sort();
    assert_eq!(found, named);
    assert_eq!(number(&json, "/version"), 1);
}

/// The paths of all values that have none inside: `large.largest[].bytes`.
fn paths(value: &Value, at: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let dot = if at.is_empty() { "" } else { "." };
                paths(value, &format!("{at}{dot}{name}"), found);
            }
        }
        Value::Array(values) => {
            for value in values {
                paths(value, &format!("{at}[]"), found);
            }
        }
        _ => found.push(at.to_owned()),
    }
}

/// `thmalloc stat --watch`, and its lines.
fn watch(pid: u32, args: &[&str]) -> (std::process::Child, impl Iterator<Item = String>) {
    let mut watch = Command::new(thmalloc())
        .args(["stat", "--watch=0.05", &pid.to_string()])
        .args(args)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("thmalloc runs");
    let lines = BufReader::new(watch.stdout.take().expect("its output")).lines();
    (watch, lines.map_while(Result::ok))
}

#[test]
fn a_watch_repeats_until_it_is_interrupted() {
    let running = steps();
    let (mut child, mut lines) = watch(running.pid(), &["--json"]);
    for _ in 0..3 {
        let line = lines.next().expect("a reading");
        let json: Value = serde_json::from_str(&line).expect("JSON, one object a line");
        assert_eq!(json["process"]["pid"], running.pid());
    }
    signal(child.id(), "INT");
    // What was begun is whole.
    for line in lines {
        assert!(serde_json::from_str::<Value>(&line).is_ok(), "{line}");
    }
    assert_eq!(child.wait().expect("it is ours").code(), Some(0));
}

#[test]
fn a_watch_says_what_has_changed() {
    let mut running = steps();
    let (mut child, mut lines) = watch(running.pid(), &[]);
    let mut live = || {
        lines
            .find(|line| line.starts_with("# live"))
            .expect("a reading")
    };
    assert!(!live().contains('='), "nothing is before the first");
    live();
    running.step("drop");
    let mut looks = 0;
    while !live().contains(" -") {
        looks += 1;
        assert!(looks < 200, "nothing has changed");
    }
    signal(child.id(), "TERM");
    assert_eq!(child.wait().expect("it is ours").code(), Some(0));
}

#[test]
fn a_watch_ends_with_the_process() {
    let mut running = steps();
    let (child, mut lines) = watch(running.pid(), &["--json"]);
    lines.next().expect("a reading");
    running.kill();
    let rest = lines.count();
    assert!(rest < 1000);
    let outcome = child.wait_with_output().expect("it is ours");
    assert_eq!(outcome.status.code(), Some(0));
    let said = String::from_utf8_lossy(&outcome.stderr).into_owned();
    assert!(said.contains("has ended"), "{said}");
}
