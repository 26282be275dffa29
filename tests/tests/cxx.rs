//! operator new and delete, in C++ programs (`tests/c/cxx_*.cpp`).

use std::time::Duration;

use thmalloc_tests::{Build, Mode, compile, on_thmalloc, run};

const LIMIT: Duration = Duration::from_secs(120);

#[track_caller]
fn conforms(source: &str) {
    let program = compile(source, &["-std=c++17"]);
    for build in [Build::Release, Build::Checked] {
        for mode in Mode::ALL {
            let outcome = run(&mut on_thmalloc(build, mode, &program), LIMIT);
            outcome.expect_success(&format!("{source}, {build:?}, {mode:?}"));
            assert_eq!(outcome.stderr, "", "{source} says nothing");
        }
    }
}

#[test]
fn every_form_of_new_is_aligned_and_taken_back_by_every_delete() {
    conforms("cxx_operators.cpp");
}

#[test]
fn the_new_handler_is_called_until_it_helps_throws_or_is_gone() {
    conforms("cxx_new_handler.cpp");
}

#[test]
fn containers_threads_and_exceptions_work() {
    conforms("cxx_containers.cpp");
}

#[test]
fn a_program_that_replaces_only_plain_new_and_delete_gets_all_forms() {
    conforms("cxx_partial.cpp");
}
