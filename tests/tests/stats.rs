//! What the process itself tells of its heap: the six words, and a summary at its
//! end.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::Command;

use thmalloc_tests::{
    Build, Mode, Outcome, compile, compile_linked, hang_guard, installed, on_thmalloc, run, skip,
    target_dir,
};

const BUILDS: [Build; 2] = [Build::Release, Build::Checked];

#[test]
fn the_words_add_up_to_what_the_kernel_counts() {
    for build in BUILDS {
        let program = compile_linked("stats_sum.c", build);
        for mode in Mode::ALL {
            for more in ["", ",release_delay=off", ",release_delay=0"] {
                let mut command = Command::new(&program);
                command.env("THMALLOC_CONF", format!("{}{more}", mode.conf()));
                let outcome = run(&mut command, hang_guard(120));
                outcome.expect_success(&format!("{build:?} {mode:?} {more}"));
                assert_eq!(outcome.stderr, "");
                print!("{}", outcome.stdout);
            }
        }
    }
}

/// `stats_exit WAY…`, with a summary wanted.
fn ending(build: Build, option: &str, way: &[&str]) -> Command {
    let program = compile("stats_exit.c", &[]);
    let mut command = on_thmalloc(build, Mode::Rseq, program);
    command.args(way).env("THMALLOC_CONF", option);
    command
}

#[track_caller]
fn ended(mut command: Command) -> Outcome {
    let outcome = run(&mut command, hang_guard(60));
    outcome.expect_success("stats_exit");
    outcome
}

/// The numbers of the processes that left a summary, which is whole, in order.
#[track_caller]
fn summaries(text: &str) -> Vec<&str> {
    const FIRST: &str = "thmalloc: the heap of process ";
    let mut numbers = Vec::new();
    for summary in text.split(FIRST).skip(1) {
        let (number, rest) = summary.split_once(' ').expect("a number");
        assert!(rest.starts_with("(stats_exit-c-) at its end"), "{text}");
        assert_eq!(rest.lines().count(), 5, "{text}");
        let figure = |name: &str| {
            let (_, after) = rest.split_once(&format!("{name} ")).expect(name);
            let end = after.find(|c: char| !c.is_ascii_digit());
            after[..end.unwrap_or(after.len())]
                .parse::<u64>()
                .expect("a figure")
        };
        let words = ["live", "cached", "fragmented", "free", "metadata"];
        let sum: u64 = words.map(figure).iter().sum();
        assert_eq!(sum, figure("resident"), "{text}");
        assert!(figure("live") >= 10 << 20, "{text}");
        numbers.push(number);
    }
    assert_eq!(text.lines().count(), 5 * numbers.len(), "{text}");
    numbers
}

#[test]
fn a_process_that_ends_leaves_a_summary_on_stderr() {
    for build in BUILDS {
        for way in ["return", "exit", "closed", "fork"] {
            let outcome = ended(ending(build, "stats_at_exit", &[way]));
            let expected: Vec<_> = outcome.stdout.lines().collect();
            assert!(!expected.is_empty());
            assert_eq!(summaries(&outcome.stderr), expected, "{way}");
        }
    }
}

#[test]
fn nobody_asked_or_nobody_ended_there_is_no_summary() {
    for (option, way) in [("", "return"), ("stats_at_exit", "_exit")] {
        let outcome = ended(ending(Build::Release, option, &[way]));
        assert_eq!(outcome.stderr, "");
    }
}

/// A file of this test's process, which is not there yet.
fn new_file(name: &str) -> PathBuf {
    let path = target_dir().join(format!("{name}-{}", std::process::id()));
    let _ = std::fs::remove_file(&path);
    path
}

#[test]
fn what_is_not_standard_error_any_more_is_left_alone() {
    let other = new_file("stats-other");
    let path = other.to_str().expect("UTF-8");
    let outcome = ended(ending(Build::Release, "stats_at_exit", &["reused", path]));
    assert_eq!(outcome.stderr, "");
    let text = std::fs::read_to_string(&other).expect("the file");
    assert_eq!(text, "");
    std::fs::remove_file(other).expect("removed");
}

#[test]
fn a_summary_is_added_to_the_file_that_is_named() {
    let file = new_file("stats-file");
    let option = format!("stats_at_exit={}", file.display());
    let mut expected = String::new();
    for way in ["return", "fork", "elsewhere"] {
        let outcome = ended(ending(Build::Release, &option, &[way]));
        assert_eq!(outcome.stderr, "");
        expected.push_str(&outcome.stdout);
    }
    let text = std::fs::read_to_string(&file).expect("the file");
    assert_eq!(summaries(&text), expected.lines().collect::<Vec<_>>());
    std::fs::remove_file(file).expect("removed");
}

#[test]
fn a_relative_path_is_from_where_the_process_began() {
    let file = new_file("stats-relative");
    let name = file.file_name().expect("a name").to_str().expect("UTF-8");
    let option = format!("stats_at_exit={name}");
    let mut command = ending(Build::Release, &option, &["elsewhere"]);
    command.current_dir(target_dir());
    let outcome = ended(command);
    assert_eq!(outcome.stderr, "");
    let text = std::fs::read_to_string(&file).expect("the file");
    assert_eq!(summaries(&text).len(), 1);
    std::fs::remove_file(file).expect("removed");
}

#[test]
fn a_file_that_cannot_be_written_is_named() {
    let option = "stats_at_exit=/dev/null/nowhere";
    let outcome = ended(ending(Build::Release, option, &["return"]));
    let expected = "thmalloc: stats_at_exit: cannot write to /dev/null/nowhere\n";
    assert_eq!(outcome.stderr, expected);
}

#[test]
fn a_program_with_more_rights_than_its_user_writes_no_file_that_the_user_chose() {
    let name = "a_program_with_more_rights_than_its_user";
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
    if !is_root || !installed("setpriv") {
        return skip(name, "takes root, and setpriv (util-linux)");
    }
    // Linked, since the loader preloads nothing into such a program.
    let program = compile_linked("stats_exit.c", Build::Release);
    let file = new_file("stats-secure");
    for option in [
        "stats_at_exit",
        &format!("stats_at_exit={}", file.display()),
    ] {
        let run_by = |user: &str| {
            let mut command = Command::new("setpriv");
            command.args(["--ruid", user]).arg(&program).arg("secure");
            ended_with(command, option)
        };
        // Effective root for a real nobody, as of a set-user-ID program.
        let secure = run_by("65534");
        assert_eq!((&*secure.stdout, &*secure.stderr), ("secure\n", ""));
        assert!(!file.exists());
        // The same without, where it is written.
        let other = run_by("0");
        assert_eq!(other.stdout, "not secure\n");
        assert_eq!(other.stderr.is_empty(), file.exists());
    }
    std::fs::remove_file(file).expect("removed");
}

fn ended_with(mut command: Command, option: &str) -> Outcome {
    command.env("THMALLOC_CONF", option);
    ended(command)
}
