//! `thmalloc run`: what the program executed sees, and where the library is
//! found. What is refused, and how, stands in `command/errors.rs`.

#[path = "command/errors.rs"]
mod errors;
#[path = "command/tree.rs"]
mod tree;

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use thmalloc_tests::{Build, Outcome, compile, installed, library, run, skip, thmalloc};
use tree::{LIMIT, Tree};

/// A user with no rights, and a group.
const NOBODY: u32 = 65534;

fn is_root() -> bool {
    Path::new("/proc/self").metadata().expect("/proc").uid() == 0
}

fn thmalloc_run() -> Command {
    let mut command = Command::new(thmalloc());
    command.arg("run").env_remove("LD_PRELOAD");
    command
}

fn shell(script: &str) -> Command {
    let mut command = thmalloc_run();
    command.args(["sh", "-c", script]);
    command
}

#[track_caller]
fn runs(command: &mut Command) -> Outcome {
    let outcome = run(command, LIMIT);
    outcome.expect_success("thmalloc run");
    assert_eq!(outcome.stderr, "");
    outcome
}

/// The library that `thmalloc` preloads, by the path that it finds.
fn our_library() -> PathBuf {
    library(Build::Release).canonicalize().expect("the library")
}

/// The library that a program started by `thmalloc` has mapped.
#[track_caller]
fn mapped(thmalloc: &Path) -> PathBuf {
    let outcome = runs(Command::new(thmalloc).args(["run", "cat", "/proc/self/maps"]));
    let mut paths = outcome.stdout.lines().filter_map(|line| {
        let path = &line[line.find('/')?..];
        path.ends_with("/libthmalloc.so")
            .then(|| PathBuf::from(path))
    });
    paths.next().expect("libthmalloc.so is mapped")
}

#[test]
fn the_library_beside_the_command_is_preloaded() {
    assert_eq!(mapped(&thmalloc()), our_library());
}

#[test]
fn the_library_is_found_in_the_lib_directories_next_to_bin() {
    for lib in ["bin", "lib", "lib64", "lib/x86_64-linux-gnu"] {
        let tree = Tree::new("lib");
        let thmalloc = tree.install(&thmalloc(), "bin/thmalloc", 0o755);
        let library = our_library();
        let library = tree.install(&library, &format!("{lib}/libthmalloc.so"), 0o644);
        assert_eq!(mapped(&thmalloc), library);
    }
}

#[test]
fn the_library_beside_the_command_comes_before_the_one_in_lib() {
    let tree = Tree::new("both");
    let thmalloc = tree.install(&thmalloc(), "bin/thmalloc", 0o755);
    let library = our_library();
    tree.install(&library, "lib/libthmalloc.so", 0o644);
    let beside = tree.install(&library, "bin/libthmalloc.so", 0o644);
    assert_eq!(mapped(&thmalloc), beside);
}

#[test]
fn the_library_is_found_through_a_symbolic_link_to_the_command() {
    let tree = Tree::new("link");
    let link = tree.path("elsewhere/any-name");
    symlink(thmalloc(), &link).expect("a symbolic link");
    assert_eq!(mapped(&link), our_library());
}

#[test]
fn the_library_is_found_from_any_directory_by_a_relative_path_and_through_path() {
    let tree = Tree::new("relative");
    tree.install(&thmalloc(), "opt/bin/thmalloc", 0o755);
    tree.install(&our_library(), "opt/lib/libthmalloc.so", 0o644);
    let bin = tree.path("opt/bin");

    let grep = [
        "run",
        "grep",
        "-c",
        "/opt/lib/libthmalloc.so$",
        "/proc/self/maps",
    ];
    let script = r#"cd "$1" && shift && "$@""#;
    for (directory, name) in [(tree.root(), "opt/bin/thmalloc"), (&*bin, "./thmalloc")] {
        let mut command = Command::new("sh");
        command.args(["-c", script, "sh"]).arg(directory).arg(name);
        runs(command.args(grep));
    }
    let mut path = OsString::from(&bin);
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh", "/", "thmalloc"]);
    runs(command.args(grep).env("PATH", path));
}

#[test]
fn the_exit_status_is_that_of_the_command() {
    for status in [0, 1, 2, 77, 125, 126, 127, 255] {
        let outcome = run(&mut shell(&format!("exit {status}")), LIMIT);
        assert_eq!(outcome.status.code(), Some(status));
        assert_eq!(outcome.stderr, "");
    }
}

#[test]
fn a_signal_that_ends_the_command_is_passed_on() {
    for (name, number) in [("KILL", 9), ("TERM", 15), ("PIPE", 13), ("ALRM", 14)] {
        let outcome = run(&mut shell(&format!("kill -{name} $$")), LIMIT);
        assert_eq!(outcome.signal(), Some(number));
    }
}

#[test]
fn the_command_has_the_process_id_of_thmalloc() {
    // `exec` in the shell: then thmalloc has the shell's.
    let mut command = Command::new("sh");
    command.args(["-c", r#"echo $$; exec "$0" run sh -c 'echo $$'"#]);
    let outcome = runs(command.arg(thmalloc()));
    let ids: Vec<_> = outcome.stdout.lines().collect();
    assert_eq!(ids.len(), 2);
    assert_eq!(ids[0], ids[1]);
}

/// The arguments that the program saw, the name it was started by included.
fn arguments(outcome: &Outcome) -> Vec<OsString> {
    let hex = |line: &str| {
        let pairs = line.as_bytes().chunks(2).map(|pair| {
            let pair = std::str::from_utf8(pair).expect("hex digits");
            u8::from_str_radix(pair, 16).expect("hex digits")
        });
        OsString::from_vec(pairs.collect())
    };
    let lines = outcome.stdout.lines();
    lines
        .filter_map(|l| l.strip_prefix("argument "))
        .map(hex)
        .collect()
}

#[test]
fn arguments_pass_verbatim() {
    let program = compile("cli_report.c", &[]);
    let arguments_given: Vec<OsString> = [
        &b"--"[..],
        b"-x",
        b"--help",
        b"--version",
        b"run",
        b"",
        b" a  b ",
        b"a\nb",
        b"--",
        b"*",
        b"$HOME",
        b"\xff\xfe=\xe9",
        b"-\x80",
    ]
    .map(|bytes| OsStr::from_bytes(bytes).to_owned())
    .into();
    for separator in [&[][..], &["--"]] {
        let mut command = thmalloc_run();
        command.args(separator).arg(&program).args(&arguments_given);
        let seen = arguments(&runs(&mut command));
        assert_eq!(seen[0], program);
        assert_eq!(seen[1..], arguments_given);
    }
}

#[test]
fn the_command_is_found_on_path_and_keeps_the_name_that_was_typed() {
    let tree = Tree::new("path");
    let program = compile("cli_report.c", &[]);
    tree.write("first/report", b"not executable", 0o644);
    tree.write("second/report/directory", b"", 0o644);
    tree.install(&program, "third/report", 0o755);
    let path = [tree.path("first"), tree.path("second"), tree.path("third")];
    let path = std::env::join_paths(path).expect("no colon in them");
    let outcome = runs(thmalloc_run().arg("report").env("PATH", &path));
    assert_eq!(arguments(&outcome), ["report"]);

    // An empty entry of PATH is the working directory.
    let mut command = thmalloc_run();
    command.arg("report").current_dir(tree.path("third"));
    assert_eq!(arguments(&runs(command.env("PATH", ""))), ["report"]);
}

#[test]
fn signals_descriptors_and_directory_are_those_without_thmalloc() {
    let program = compile("cli_report.c", &[]);
    let script = [
        r#"exec "$@""#,
        r#"trap '' PIPE INT USR1; exec "$@""#,
        r#"exec 0<&- 2>&- 7</dev/null; exec "$@""#,
        r#"cd /; exec "$@""#,
    ];
    for script in script {
        let state = |prefix: &[&OsStr]| {
            let mut command = Command::new("sh");
            command
                .args(["-c", script, "sh"])
                .args(prefix)
                .arg(&program);
            runs(command.env_remove("LD_PRELOAD")).stdout
        };
        let thmalloc = thmalloc();
        let without = state(&[]);
        assert!(without.contains("directory /"), "{without}");
        assert_eq!(state(&[thmalloc.as_os_str(), "run".as_ref()]), without);
    }
}

#[test]
fn the_environment_is_kept_but_for_ld_preload() {
    let state = |command: &mut Command| {
        command
            .env("LANG", "C")
            .env("EMPTY", "")
            .env("EQUALS", "a=b=c");
        command.env("LATIN1", OsStr::from_bytes(b"\xe9"));
        command.env_remove("LD_PRELOAD");
        let lines = runs(command).stdout;
        let kept = lines
            .lines()
            .filter(|line| !line.starts_with("LD_PRELOAD="));
        kept.map(str::to_owned).collect::<Vec<_>>()
    };
    let without = state(&mut Command::new("env"));
    assert!(without.contains(&"EQUALS=a=b=c".to_owned()));
    assert_eq!(state(thmalloc_run().arg("env")), without);
}

#[test]
fn what_ld_preload_has_is_kept_behind_the_library() {
    let other = compile("cli_library.c", &["-shared", "-fPIC"]);
    let library = our_library();
    let mut command = shell("echo $LD_PRELOAD; cat /proc/self/maps");
    let outcome = runs(command.env("LD_PRELOAD", &other));
    let (first, maps) = outcome.stdout.split_once('\n').expect("a first line");
    assert_eq!(first, format!("{}:{}", library.display(), other.display()));
    for path in [&library, &other] {
        assert!(maps.contains(&path.display().to_string()), "{maps}");
    }
}

#[test]
fn the_library_is_preloaded_once_when_thmalloc_runs_thmalloc() {
    let mut command = thmalloc_run();
    command.arg(thmalloc()).args(["run", "--"]).arg(thmalloc());
    let outcome = runs(command.args(["run", "sh", "-c", "echo $LD_PRELOAD"]));
    let library = our_library();
    assert_eq!(outcome.stdout, format!("{}\n", library.display()));
}

#[test]
fn a_script_runs_with_its_interpreter_preloaded() {
    let tree = Tree::new("script");
    for first_line in [
        "#!/bin/sh\n",
        "#! /usr/bin/env sh\n",
        "#!/usr/bin/env -S sh -e\n",
        "",
    ] {
        let body = format!("{first_line}echo \"$1\"; echo $LD_PRELOAD; exit 0\n");
        let script = tree.write("script", body.as_bytes(), 0o755);
        let outcome = runs(thmalloc_run().arg(script).arg("an argument"));
        let library = our_library();
        assert_eq!(
            outcome.stdout,
            format!("an argument\n{}\n", library.display())
        );
    }
}

#[test]
fn a_program_that_may_be_executed_and_not_read_runs() {
    let tree = Tree::new("unreadable");
    let program = tree.install(&compile("cli_report.c", &[]), "program", 0o111);
    let thmalloc = tree.install(&thmalloc(), "thmalloc", 0o755);
    tree.install(&our_library(), "libthmalloc.so", 0o644);
    let mut command = Command::new(thmalloc);
    command.arg("run").arg(&program).env_remove("LD_PRELOAD");
    if is_root() {
        // Root may read everything.
        command.uid(NOBODY).gid(NOBODY).current_dir("/");
    }
    assert_eq!(arguments(&runs(&mut command)), [program]);
}

#[test]
fn the_loader_of_glibc_runs_as_a_program() {
    let program = compile("cli_report.c", &[]);
    let mut command = thmalloc_run();
    command.arg("/lib64/ld-linux-x86-64.so.2").arg(&program);
    assert_eq!(arguments(&runs(&mut command)), [program]);
}

#[test]
fn top_prints_its_screens() {
    if !installed("top") {
        return skip("top_prints_its_screens", "top is not installed (procps)");
    }
    let outcome = runs(thmalloc_run().args(["--", "top", "-bn3", "-d0.1"]));
    let screens = outcome.stdout.matches("load average:").count();
    assert_eq!(screens, 3, "{}", outcome.stdout);
    assert!(outcome.stdout.contains("PID"), "{}", outcome.stdout);
}

#[test]
fn help_and_version_are_printed_on_stdout() {
    let out = |args: &[&str]| runs(Command::new(thmalloc()).args(args)).stdout;
    assert_eq!(
        out(&["--version"]),
        concat!("thmalloc ", env!("CARGO_PKG_VERSION"), "\n")
    );
    assert!(out(&["--help"]).contains("Run a program on thmalloc"));
    for args in [["run", "--help"], ["help", "run"]] {
        let help = out(&args);
        assert!(
            help.contains("Usage: thmalloc run [--] COMMAND [ARG]..."),
            "{help}"
        );
        assert!(help.contains("Exit status:"), "{help}");
    }
}
