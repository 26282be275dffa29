//! fork at the moments when somebody else has a lock that it must wait for.

use std::process::Command;

use thmalloc_tests::{Build, Mode, compile, hang_guard, library, on_thmalloc, run, target_dir};

#[test]
fn fork_waits_for_no_thread_that_waits_for_a_stream() {
    let program = compile("fork_streams.c", &[]);
    for mode in Mode::ALL {
        let lines = target_dir().join(format!("lines-{}-{mode:?}", std::process::id()));
        let mut command = on_thmalloc(Build::Release, mode, &program);
        command.arg(lines).arg("100");
        // libc's locks are unfair: beside four busy processes it took up to 35 s, with and
        // without the library.
        run(&mut command, hang_guard(900)).expect_success("fork beside streams");
    }
}

#[test]
fn a_cache_that_is_set_up_during_fork_works_in_the_child() {
    let program = compile("fork_opening.c", &[]);
    for mode in Mode::ALL {
        for turn in 0..60 {
            let mut command = on_thmalloc(Build::Release, mode, &program);
            command.arg((turn * 1543 % 60_000).to_string());
            run(&mut command, hang_guard(300)).expect_success("fork beside start-up");
        }
    }
}

#[test]
fn a_heap_that_begins_during_fork_is_begun_in_the_child() {
    let program = compile("fork_starting.c", &[]);
    for mode in Mode::ALL {
        for turn in 0..200 {
            let mut command = Command::new(&program);
            command
                .arg(library(Build::Release))
                .arg((turn * 101 % 20_000).to_string())
                .env("THMALLOC_CONF", mode.conf());
            run(&mut command, hang_guard(300)).expect_success("fork beside a first use");
        }
    }
}

#[test]
fn handlers_registered_before_the_first_allocation_may_allocate() {
    let handlers = compile("fork_handlers.c", &["-shared", "-fPIC"]);
    let program = compile("fork_opening.c", &[]);
    let thmalloc = library(Build::Release);
    for mode in Mode::ALL {
        for (first, second) in [(&thmalloc, &handlers), (&handlers, &thmalloc)] {
            let mut command = on_thmalloc(Build::Release, mode, &program);
            let preload = format!("{}:{}", first.display(), second.display());
            command.env("LD_PRELOAD", preload).arg("1000");
            run(&mut command, hang_guard(300)).expect_success("handlers of fork");
        }
    }
}
