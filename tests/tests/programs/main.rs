//! Real programs run on thmalloc as they run without it.
//!
//! Each test is a scenario: a program, or a server with its clients, at work
//! in an empty directory. It runs without the library and then on it, with
//! the CPU caches entered either way, and must behave the same: same output,
//! same exit status, nothing said by the library. That the program really
//! calls our `malloc` is read from the dynamic loader first.
//!
//! What is not installed is skipped with a line that says so; `.ci/run`
//! installs `.ci/packages` beforehand.

mod catalogue;
mod compilers;
mod databases;
mod desktop;
mod harness;
mod languages;
mod normal;
mod python;
mod shell;
mod terminal;
mod web;

#[test]
fn continuous_integration_installs_every_program() {
    let list = thmalloc_tests::root().join(".ci/packages");
    let list = std::fs::read_to_string(list).expect(".ci/packages");
    let listed: Vec<&str> = list
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default().trim())
        .collect();
    for program in catalogue::ALL {
        assert!(
            program.package.is_empty() || listed.contains(&program.package),
            "{} needs {}, which .ci/packages does not list",
            program.name(),
            program.package
        );
    }
}
