//! The scavenger: what it gives back, when it sleeps, and that nobody else
//! notices its thread.
//!
//! Figures of memory are exact, and so are counts of switches and faults. What
//! takes time is awaited, with a limit that only ends what hangs.

use std::process::Command;

use thmalloc_tests::{Build, Mode, Outcome, compile, hang_guard, on_thmalloc, run};

mod fire;
mod idle;
mod memory;
mod thread;

/// The status of a program that finds what it tests forbidden here.
const UNABLE: i32 = 77;

/// A command that runs the program on the library with more options than the
/// mode (`release_delay=0`).
fn with_options(build: Build, mode: Mode, options: &str, program: &str) -> Command {
    let mut command = on_thmalloc(build, mode, compile(program, &[]));
    command.env("THMALLOC_CONF", format!("{},{options}", mode.conf()));
    command
}

/// Runs the program with `args`; it ends with status 0 and nothing on stderr.
#[track_caller]
fn passes(build: Build, mode: Mode, options: &str, program: &str, args: &[&str]) -> Outcome {
    let mut command = with_options(build, mode, options, program);
    let outcome = run(command.args(args), hang_guard(300));
    let what = format!("{program} {args:?}, {options:?}, {mode:?} {build:?}");
    outcome.expect_success(&what);
    assert_eq!(outcome.stderr, "", "{what}");
    outcome
}
