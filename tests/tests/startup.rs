//! What it costs a process to begin on thmalloc: small programs are won or lost
//! there.

use std::path::Path;
use std::process::Command;

use thmalloc_tests::{Build, compile, hang_guard, library, run};

/// The most page faults that `/bin/true` may take.
const BAR: u64 = 80;

/// Page faults of `/bin/true` with `library` preloaded, several times, sorted.
fn faults(library: &Path) -> Vec<u64> {
    let program = compile("count_faults.c", &[]);
    let mut command = Command::new(program);
    command.env_remove("LD_PRELOAD");
    let outcome = run(command.arg(library).arg("/bin/true"), hang_guard(60));
    outcome.expect_success("count_faults");
    let mut faults: Vec<u64> = outcome
        .stdout
        .lines()
        .map(|line| line.parse().expect("a number"))
        .collect();
    faults.sort_unstable();
    faults
}

/// Where the loader puts things changes from run to run, and with it how many
/// pages they touch: by 5 or so. The first run may have to read the files, which
/// takes some more. So it is the middle that is held to the bar.
#[test]
fn a_small_program_starts_with_few_page_faults() {
    let faults = faults(&library(Build::Release));
    println!("page faults of /bin/true on thmalloc: {faults:?}");
    let middle = faults[faults.len() / 2];
    assert!(
        middle <= BAR,
        "{middle} page faults, {BAR} are asked for: {faults:?}"
    );
}

/// What is counted is what the library costs, and not nothing.
#[test]
fn the_library_is_among_what_is_counted() {
    let ours = faults(&library(Build::Release));
    let none = faults(Path::new(""));
    println!("page faults of /bin/true without a library: {none:?}");
    assert!(none[0] > 10, "{none:?}");
    assert!(ours[0] > none[none.len() / 2], "{ours:?} {none:?}");
}
