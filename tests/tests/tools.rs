//! Programs on thmalloc under the tools that people look into programs with.

use std::process::Command;

use thmalloc_tests::{Build, Mode, Outcome, compile, hang_guard, installed, library, run, skip};

/// What a tool that runs without the library sets in its program's environment.
fn preload() -> String {
    format!("LD_PRELOAD={}", library(Build::Release).display())
}

#[track_caller]
fn under_valgrind(test: &str, flags: &[&str]) {
    if !installed("valgrind") {
        skip(test, "valgrind is not installed");
        return;
    }
    // Without THMALLOC_CONF too: under valgrind the lock is chosen by itself.
    for conf in [None, Some(Mode::Rseq), Some(Mode::Lock)] {
        let mut command = Command::new("valgrind");
        command
            .args(["-q", "--error-exitcode=9", "--exit-on-first-error=no"])
            .args(flags)
            .arg(compile("robust_small.c", &[]))
            .env("LD_PRELOAD", library(Build::Release));
        if let Some(mode) = conf {
            command.env("THMALLOC_CONF", mode.conf());
        }
        let outcome = run(&mut command, hang_guard(240));
        outcome.expect_success(&format!("{flags:?} {conf:?}"));
        assert_eq!(outcome.stdout, "shown 42, cache lock\n", "{conf:?}");
        assert_eq!(outcome.stderr, "", "{conf:?}");
    }
}

#[test]
fn memcheck_finds_no_error_in_a_program_on_thmalloc() {
    under_valgrind(
        "memcheck_finds_no_error_in_a_program_on_thmalloc",
        &[
            "--tool=memcheck",
            "--soname-synonyms=somalloc=nouserintercepts",
        ],
    );
}

#[test]
fn a_program_on_thmalloc_runs_under_valgrind_without_a_tool() {
    under_valgrind(
        "a_program_on_thmalloc_runs_under_valgrind_without_a_tool",
        &["--tool=none"],
    );
}

/// gdb runs `commands` on `robust_small`.
#[track_caller]
fn gdb(mode: Mode, commands: &[String]) -> Outcome {
    let mut command = Command::new("gdb");
    command.args(["-q", "-batch", "-nx"]);
    let environment = [
        "set confirm off".to_owned(),
        "set startup-with-shell off".to_owned(),
        "set debuginfod enabled off".to_owned(),
        // Expressions are C's, also where the program stands in Rust.
        "set language c".to_owned(),
        format!("set environment {}", preload()),
        format!("set environment THMALLOC_CONF={}", mode.conf()),
    ];
    for line in environment.iter().chain(commands) {
        command.arg("-ex").arg(line);
    }
    run(command.arg(compile("robust_small.c", &[])), hang_guard(240))
}

fn lines(commands: &[&str]) -> Vec<String> {
    commands.iter().map(|&line| line.to_owned()).collect()
}

#[track_caller]
fn expect_end(outcome: &Outcome, mode: Mode) {
    outcome.expect_success("gdb");
    assert!(
        outcome.stdout.contains("exited normally"),
        "{mode:?}: {outcome:#?}"
    );
    assert!(
        outcome.stdout.contains("shown 42, cache "),
        "{mode:?}: {outcome:#?}"
    );
    assert!(!outcome.stdout.contains("cache none"), "{mode:?}");
}

#[test]
fn gdb_breaks_in_malloc_steps_over_it_and_prints() {
    if !installed("gdb") {
        skip("gdb", "gdb is not installed");
        return;
    }
    for mode in Mode::ALL {
        let outcome = gdb(
            mode,
            &lines(&[
                "break main",
                "run",
                "break run",
                "continue",
                "next",
                "next",
                "next",
                "print shown",
                "break malloc",
                "continue",
                "backtrace",
                "finish",
                "info sharedlibrary thmalloc",
                "delete",
                "continue",
            ]),
        );
        expect_end(&outcome, mode);
        assert!(outcome.stdout.contains("$1 = 42"), "{outcome:#?}");
        assert!(outcome.stdout.contains("libthmalloc.so"), "{outcome:#?}");
    }
}

#[test]
fn stepping_through_malloc_and_free_by_instruction_ends() {
    if !installed("gdb") {
        skip("gdb", "gdb is not installed");
        return;
    }
    // Steps until it is back in the caller, which proves progress: under rseq
    // every step aborts the critical section. The first call finds the cache
    // empty, later ones do not. Starting up takes 15,000, and more for each variable of
    // the environment and each word that is copied.
    const STEPS: usize = 40_000;
    let through = |function: &str| {
        vec![
            format!("tbreak *{function}"),
            "continue".to_owned(),
            "info symbol $pc".to_owned(),
            "set $caller = *(void **)$rsp".to_owned(),
            "set $steps = 0".to_owned(),
            format!(
                "while $pc != $caller && $steps < {STEPS}\nstepi\nset $steps = $steps + 1\nend"
            ),
            format!("printf \"{function}: %d steps, ended %d\\n\", $steps, $pc == $caller"),
        ]
    };
    let script_path = std::env::temp_dir().join(format!("robust-gdb-{}", std::process::id()));
    let mut script = lines(&["break main", "run"]);
    for _ in 0..4 {
        script.extend(through("malloc"));
        script.extend(through("free"));
    }
    script.extend(through("realloc"));
    script.extend(lines(&["delete", "continue"]));
    std::fs::write(&script_path, script.join("\n")).expect("a script for gdb");
    for mode in Mode::ALL {
        let outcome = gdb(mode, &[format!("source {}", script_path.display())]);
        expect_end(&outcome, mode);
        let ours =
            |line: &&str| line.contains("in section .text of") && line.contains("libthmalloc");
        assert_eq!(
            outcome.stdout.lines().filter(ours).count(),
            9,
            "{outcome:#?}"
        );
        let said = |line: &&str| line.contains(" steps, ended ");
        let ended = outcome.stdout.lines().filter(said);
        assert_eq!(ended.clone().count(), 9, "{outcome:#?}");
        for line in ended {
            assert!(line.ends_with("ended 1"), "{mode:?}: {line}");
        }
    }
    let _ = std::fs::remove_file(script_path);
}

#[test]
fn strace_follows_a_program_on_thmalloc_to_its_end() {
    if !installed("strace") {
        skip("strace", "strace is not installed");
        return;
    }
    for mode in Mode::ALL {
        let log = std::env::temp_dir().join(format!("robust-strace-{}", std::process::id()));
        let mut command = Command::new("strace");
        command.arg("-f").arg("-o").arg(&log);
        command.arg("-E").arg(preload());
        command
            .arg("-E")
            .arg(format!("THMALLOC_CONF={}", mode.conf()));
        let program = compile("robust_small.c", &[]);
        let outcome = run(command.arg(program), hang_guard(240));
        outcome.expect_success("strace");
        assert_eq!(outcome.stderr, "");
        assert!(outcome.stdout.contains("shown 42, cache "), "{outcome:?}");
        assert!(!outcome.stdout.contains("cache none"), "{outcome:?}");
        let log_text = std::fs::read_to_string(&log).expect("strace's log");
        assert!(log_text.contains("+++ exited with 0 +++"), "{log_text}");
        let _ = std::fs::remove_file(log);
    }
}
