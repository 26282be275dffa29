//! The library in a program that loads it late and closes it.

use std::process::Command;
use std::time::Duration;

use thmalloc_tests::{Build, Mode, compile, library, run};

#[test]
fn a_library_that_was_closed_stays_where_it_is() {
    let program = compile("surface_unloaded.c", &[]);
    for mode in Mode::ALL {
        let mut command = Command::new(&program);
        command
            .arg(library(Build::Release))
            .env("THMALLOC_CONF", mode.conf());
        run(&mut command, Duration::from_secs(120)).expect_success("dlopen and dlclose");
    }
}
