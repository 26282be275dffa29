//! CPython under a good part of its own test suite.

use std::collections::HashSet;

use crate::catalogue::{PYTHON, Program};
use crate::harness::{Session, compare, skip};
use crate::shell::input;

/// Test modules for the interpreter's own allocator, which takes whole
/// arenas and large objects from malloc.
const ARENAS: &[&str] = &[
    "test_threading",
    "test_ssl",
    "test_subprocess",
    "test_ctypes",
    "test_zlib",
    "test_json",
    "test_lzma",
    "test_hashlib",
    "test_mmap",
    "test_fork1",
    "test_posix",
    "test_queue",
    "test_multiprocessing_main_handling",
];

/// Test modules with every object from malloc.
const OBJECTS: &[&str] = &[
    "test_json",
    "test_zlib",
    "test_ctypes",
    "test_dict",
    "test_list",
    "test_bytes",
    "test_unicode",
    "test_long",
    "test_re",
    "test_pickle",
    "test_gc",
    "test_weakref",
    "test_memoryio",
    "test_array",
    "test_thread",
    "test_itertools",
];

/// Does this python have the test suite?
fn has_tests(s: &Session) -> bool {
    let mut command = s.plain_command(PYTHON.path());
    command.args([
        "-c",
        "import test.libregrtest, test.test_json, test.test_ssl",
    ]);
    s.run_quietly(command).status.success()
}

/// Runs test modules, `workers` at once, and notes the outcome of every test.
/// A test that fails is run again (`-w`), since some of Python's own depend
/// on the machine's load.
fn run_tests(s: &mut Session, arguments: &[&str], modules: &[&str], malloc: &str) {
    let mut args = vec!["-m", "test", "-w", "-j3", "--timeout", "600"];
    args.extend(["--junit-xml", "results.xml"]);
    args.extend(arguments);
    args.extend(modules);
    let mut command = s.command(&PYTHON, &args);
    command.env("PYTHONMALLOC", malloc);
    let finished = s.run_quietly(command);
    let what = format!("{}\n{}", finished.stdout, finished.stderr);
    let tests = outcomes(&s.read("results.xml"));
    assert!(tests.len() > 10 * modules.len(), "few tests ran:\n{what}");
    let printed = finished.stdout.lines();
    let verdict: Vec<&str> = printed.filter(|l| l.starts_with("Tests result")).collect();
    if finished.status.success() {
        s.note("success");
    } else {
        s.note(&format!("{:?} {verdict:?}", finished.status.code()));
        println!("{what}");
    }
    s.note(&tests.join("\n"));
}

/// Name and outcome of each test in a JUnit report, in order. Of one that failed and was
/// run again, the report has both: it passed.
fn outcomes(report: &str) -> Vec<String> {
    let mut tests: Vec<String> = report
        .split("<testcase ")
        .skip(1)
        .filter_map(|case| {
            let name = case.split("name=\"").nth(1)?.split('"').next()?;
            let outcome = if case.contains("<skipped") {
                "skipped"
            } else if case.contains("<failure") || case.contains("<error") {
                "failed"
            } else {
                "passed"
            };
            Some(format!("{name} {outcome}"))
        })
        .collect();
    tests.sort();
    tests.dedup();
    let passed: HashSet<String> = tests
        .iter()
        .filter_map(|test| test.strip_suffix(" passed").map(str::to_string))
        .collect();
    tests.retain(|test| {
        let failed = test.strip_suffix(" failed");
        !failed.is_some_and(|name| passed.contains(name))
    });
    tests
}

#[track_caller]
fn python(test: &str, arguments: &[&str], modules: &[&str], malloc: &str) {
    let programs: [&Program; 1] = [&PYTHON];
    compare(test, &programs, |s| {
        if has_tests(s) {
            run_tests(s, arguments, modules, malloc);
        } else if !s.on_thmalloc() {
            skip(
                test,
                "python3 has no test suite (Debian package libpython3.11-testsuite)",
            );
        }
    });
}

#[test]
fn python_passes_its_own_tests() {
    python("python", &[], ARENAS, "pymalloc");
}

#[test]
fn python_passes_its_own_tests_with_every_object_from_malloc() {
    python("python-malloc", &[], OBJECTS, "malloc");
}

#[test]
fn python_passes_its_own_tests_of_processes() {
    let some = [
        "-m",
        "*Pool*",
        "-m",
        "*Queue*",
        "-m",
        "*SharedMemory*",
        "-m",
        "*Fork*",
    ];
    python(
        "python-processes",
        &some,
        &["test_multiprocessing_fork"],
        "malloc",
    );
}

#[test]
fn python_keeps_a_database_from_threads_and_processes() {
    compare("python-sqlite", &[&PYTHON], |s| {
        s.write("database.py", input("database.py"));
        let printed = s.run(&PYTHON, &["-X", "dev", "database.py"]);
        assert!(printed.stdout().contains("done"), "{printed:#?}");
        let mut command = s.command(&PYTHON, &["database.py"]);
        command.env("PYTHONMALLOC", "malloc");
        let printed = s.run_quietly(command);
        s.note(printed.stdout());
    });
}
