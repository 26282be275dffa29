//! The manual's page is well-formed. What it names is held to the command by the
//! command's own tests.

use std::process::Command;

use thmalloc_tests::{hang_guard, installed, root, run, skip};

#[test]
fn groff_has_nothing_to_say_about_the_manual() {
    if !installed("groff") {
        return skip("groff on the manual", "groff is not installed");
    }
    let page = root().join("man/thmalloc.1");
    let mut groff = Command::new("groff");
    groff
        .args(["-man", "-Tutf8", "-ww", "-P-c", "-P-b", "-P-u"])
        .arg(page);
    let outcome = run(&mut groff, hang_guard(60));
    outcome.expect_success("groff");
    assert_eq!(outcome.stderr, "");
    for heading in ["NAME", "SYNOPSIS", "COMMANDS", "EXIT STATUS", "ENVIRONMENT"] {
        let found = outcome.stdout.lines().any(|line| line.trim() == heading);
        assert!(found, "{heading} in {}", outcome.stdout);
    }
}

#[test]
fn mandoc_has_nothing_to_say_about_the_manual() {
    if !installed("mandoc") {
        return skip("mandoc on the manual", "mandoc is not installed");
    }
    let page = root().join("man/thmalloc.1");
    let mut mandoc = Command::new("mandoc");
    mandoc.args(["-T", "lint", "-W", "warning"]).arg(page);
    let outcome = run(&mut mandoc, hang_guard(60));
    assert_eq!((&*outcome.stdout, &*outcome.stderr), ("", ""));
}
