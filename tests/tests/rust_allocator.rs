//! Rust programs on thmalloc: as their global allocator, and from outside. The
//! crate's own tests (`crates/rust/tests`) have what an allocator must do.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use object::{Object, ObjectSymbol};
use thmalloc_tests::{Build, Mode, hang_guard, library, root, run, target_dir, thmalloc};

/// What the example has and a program on the system's allocator has not.
const GLOBAL_ALLOCATOR: &str =
    "#[global_allocator]\nstatic GLOBAL: thmalloc::ThMalloc = thmalloc::ThMalloc;\n";

/// What a library says at its first allocation where this is `THMALLOC_CONF`:
/// by that it is seen whether a process runs on thmalloc.
const UNKNOWN_OPTION: &str = "no-such-option";

fn tool(variable: &str, default: &str) -> Command {
    Command::new(std::env::var_os(variable).unwrap_or_else(|| default.into()))
}

/// A file of ours, made by `make` at the path it is given. Tests may run in
/// processes of their own, side by side: each makes its own and renames it.
fn made(name: &str, make: impl Fn(&Path)) -> PathBuf {
    let directory = target_dir().join("rust");
    std::fs::create_dir_all(&directory).expect("a directory for what tests make");
    let unique = directory.join(format!("{name}-{}", std::process::id()));
    make(&unique);
    let path = directory.join(name);
    std::fs::rename(&unique, &path).expect("the new file takes its place");
    path
}

/// The example `words`, on thmalloc by itself.
fn words() -> PathBuf {
    static BUILT: OnceLock<()> = OnceLock::new();
    BUILT.get_or_init(|| {
        let mut cargo = tool("CARGO", "cargo");
        cargo
            .current_dir(root())
            .args(["build", "--quiet", "--release"])
            .args(["-p", "thmalloc", "--example", "words"]);
        run(&mut cargo, hang_guard(600)).expect_success("the example words");
    });
    target_dir().join("release/examples/words")
}

/// The same program without the allocator: on the system's.
fn plain_words() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let source = made("plain-words.rs", |path| {
            let source = std::fs::read_to_string(root().join("crates/rust/examples/words.rs"))
                .expect("the example's source");
            let plain = source.replacen(GLOBAL_ALLOCATOR, "", 1);
            assert_ne!(plain, source, "the example declares its allocator");
            std::fs::write(path, plain).expect("the source without the allocator");
        });
        made("plain-words", |path| {
            let mut rustc = tool("RUSTC", "rustc");
            rustc
                .args(["--edition", "2024", "-O", "-o"])
                .args([path, &source]);
            run(&mut rustc, hang_guard(600)).expect_success("words without the allocator");
        })
    })
}

/// A text of many words, some often, some long.
fn text() -> &'static Path {
    static WRITTEN: OnceLock<PathBuf> = OnceLock::new();
    WRITTEN.get_or_init(|| {
        let mut text = String::new();
        let mut state = 1_u64;
        for _ in 0..200_000 {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1);
            let draw = state >> 33;
            // Small numbers come more often than large ones.
            let word = (draw % 1000) * (draw / 1000 % 1000) / 1000;
            text.push_str(&format!("Word{word:x} "));
            if draw.is_multiple_of(997) {
                text.push_str(&"long".repeat(500));
                text.push('\n');
            }
        }
        made("text", |path| {
            std::fs::write(path, &text).expect("the text");
        })
    })
}

/// Runs a program on the text: what it says on stdout.
#[track_caller]
fn output(command: &mut Command) -> String {
    let outcome = run(command.arg(text()), hang_guard(120));
    outcome.expect_success("words");
    assert_eq!(outcome.stderr, "");
    assert_eq!(outcome.stdout.lines().count(), 20);
    outcome.stdout
}

/// Does the program allocate from thmalloc?
#[track_caller]
fn is_on_thmalloc(command: &mut Command) -> bool {
    command.env("THMALLOC_CONF", UNKNOWN_OPTION).arg(text());
    let outcome = run(command, hang_guard(120));
    outcome.expect_success("words");
    outcome.stderr.contains(UNKNOWN_OPTION)
}

fn under_thmalloc_run(program: &Path) -> Command {
    let mut command = Command::new(thmalloc());
    command.args([OsStr::new("run"), OsStr::new("--"), program.as_os_str()]);
    command
}

#[test]
fn the_allocator_of_each_program_is_the_one_it_was_given() {
    assert!(is_on_thmalloc(&mut Command::new(words())));
    assert!(!is_on_thmalloc(&mut Command::new(plain_words())));
    assert!(is_on_thmalloc(&mut under_thmalloc_run(plain_words())));
}

#[test]
fn the_example_and_a_plain_program_under_thmalloc_run_agree_in_both_modes() {
    let expected = output(&mut Command::new(plain_words()));
    for mode in Mode::ALL {
        let conf = ("THMALLOC_CONF", mode.conf());
        let mut own = Command::new(words());
        assert_eq!(output(own.env(conf.0, conf.1)), expected, "{mode:?}");
        let mut under = under_thmalloc_run(plain_words());
        assert_eq!(output(under.env(conf.0, conf.1)), expected, "{mode:?}");
        // Both in one process: the program's heap and the library's are two.
        let mut both = under_thmalloc_run(&words());
        assert_eq!(output(both.env(conf.0, conf.1)), expected, "{mode:?}");
    }
}

/// The names that libthmalloc.so exports, as reviewed.
fn exported_by_the_library() -> BTreeSet<String> {
    let list = root().join("tests/symbols/exported.txt");
    let names: BTreeSet<_> = std::fs::read_to_string(list)
        .expect("the reviewed list")
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(str::to_owned)
        .collect();
    assert!(names.contains("malloc") && names.contains("_Znwm"));
    names
}

/// All that a file defines: what it exports, and what stays inside.
fn defined(file: &Path) -> BTreeSet<String> {
    let bytes = std::fs::read(file).expect("a file");
    let file = object::File::parse(&*bytes).expect("an ELF file");
    file.symbols()
        .chain(file.dynamic_symbols())
        .filter(|symbol| symbol.is_definition())
        .filter_map(|symbol| symbol.name().ok().map(str::to_owned))
        .collect()
}

#[test]
fn a_program_with_the_rust_allocator_defines_no_symbol_of_malloc() {
    let names = exported_by_the_library();
    let defined_there = defined(&words());
    assert!(
        defined_there.contains("main"),
        "the symbols are not stripped"
    );
    let ours: Vec<_> = defined_there.intersection(&names).collect();
    assert!(ours.is_empty(), "{ours:?}");
    // What registers the handlers of fork as the program begins is there, though nothing
    // calls it.
    let constructor = |name: &&String| name.contains("thmalloc") && name.contains("constructor");
    assert!(defined_there.iter().find(constructor).is_some());
    // The same look at the library finds them all.
    let in_the_library = defined(&library(Build::Release));
    assert!(in_the_library.is_superset(&names));
}
