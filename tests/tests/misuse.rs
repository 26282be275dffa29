//! Misuse is named: one line on stderr that says what was found, then SIGABRT
//! from inside the failing call.
//!
//! Each misuse is a C program of some lines (`tests/c/misuse_*.c`); the tables
//! below say what is said about it.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use thmalloc_tests::{
    Build, Mode, Outcome, compile, installed, library, on_thmalloc, root, run, skip,
};

const LIMIT: Duration = Duration::from_secs(60);
const SIGABRT: i32 = 6;

/// Stands for an address in an expected text.
const AN_ADDRESS: &str = "<address>";

fn foreign(function: &str) -> String {
    format!(
        "thmalloc: {function} of <address>: not from thmalloc (a stack or static address, another allocator's, or a corrupted pointer)"
    )
}

fn no_address(function: &str) -> String {
    format!(
        "thmalloc: {function} of <address>: not an address of this process (corrupted pointer, or freed memory was read)"
    )
}

fn interior(function: &str, offset: u64, size: u64) -> String {
    format!(
        "thmalloc: {function} of <address>: {offset} bytes into an object of {size} bytes at <address> (pass the address that malloc returned)"
    )
}

fn already_free(function: &str) -> String {
    format!(
        "thmalloc: {function} of <address>: already free (double free, or use of an old pointer)"
    )
}

fn wrong_size(function: &str, given: u64, size: u64) -> String {
    format!(
        "thmalloc: {function} of <address>: the size given is {given} bytes, the object has {size} (wrong size, or wrong pointer)"
    )
}

fn interrupted() -> String {
    "thmalloc: a call of malloc or free would wait for ever for one that a signal handler interrupted (handlers must not allocate, nor leave one by longjmp or exit)".to_owned()
}

/// The addresses in `line`, where it is `expected` with addresses put in.
fn addresses(line: &str, expected: &str) -> Option<Vec<u64>> {
    let mut parts = expected.split(AN_ADDRESS);
    let mut rest = line.strip_prefix(parts.next()?)?;
    let mut found = Vec::new();
    for part in parts {
        let digits = rest.strip_prefix("0x")?;
        let end = digits
            .find(|c: char| !matches!(c, '0'..='9' | 'a'..='f'))
            .unwrap_or(digits.len());
        found.push(u64::from_str_radix(&digits[..end], 16).ok()?);
        rest = digits[end..].strip_prefix(part)?;
    }
    rest.is_empty().then_some(found)
}

/// Panics unless the process said exactly the expected line and was aborted;
/// returns the addresses in it.
#[track_caller]
fn expect_abort(outcome: &Outcome, expected: &str) -> Vec<u64> {
    assert_eq!(outcome.signal(), Some(SIGABRT), "{expected}\n{outcome:#?}");
    assert_eq!(outcome.stdout, "", "{outcome:#?}");
    outcome
        .stderr
        .strip_suffix('\n')
        .and_then(|line| addresses(line, expected))
        .unwrap_or_else(|| panic!("expected: {expected}\nfound:    {}", outcome.stderr))
}

/// Runs `tests/c/misuse_NAME.c` in both modes; returns the addresses it named.
#[track_caller]
fn aborts(name: &str, flags: &[&str], expected: &str) -> Vec<u64> {
    let program = compile(&format!("misuse_{name}.c"), flags);
    let mut found = Vec::new();
    for mode in Mode::ALL {
        let outcome = run(&mut on_thmalloc(Build::Release, mode, &program), LIMIT);
        found = expect_abort(&outcome, expected);
    }
    found
}

/// One test for each program: its rule, its name, what is said.
macro_rules! misuses {
    ($($rule:ident: $name:literal $(with $flag:literal)? => $expected:expr;)*) => {
        $(
            #[test]
            fn $rule() {
                aborts($name, &[$($flag)?], &$expected);
            }
        )*
        /// The programs that a test runs.
        const TESTED: &[&str] = &[$($name,)* "interior_small", "interior_large", "interior_huge", "interior_straddling"];
    };
}

misuses! {
    free_of_a_stack_address: "free_stack" => foreign("free");
    free_of_a_static_address: "free_static" => foreign("free");
    free_of_a_string_literal: "free_literal" => foreign("free");
    free_of_a_function: "free_function" => foreign("free");
    free_of_mapped_pages: "free_mmapped" => foreign("free");
    free_of_the_program_break: "free_brk" => foreign("free");
    free_of_another_allocators_object: "free_other_allocator" => foreign("free");
    free_of_the_loaders_object: "free_loader" => foreign("free");
    free_of_an_environment_string: "free_environment" => foreign("free");
    free_of_the_address_one: "free_one" => foreign("free");
    free_of_an_offset_of_null: "free_offset_of_null" => foreign("free");
    free_of_an_integer: "free_integer" => foreign("free");

    free_of_a_poison_pattern: "free_poison" => no_address("free");
    free_of_a_pointer_with_its_high_bit_set: "free_high_bit" => no_address("free");
    free_of_a_tagged_pointer: "free_tagged" => no_address("free");
    free_of_overwritten_text: "free_text" => no_address("free");
    free_of_map_failed: "free_minus_one" => no_address("free");
    free_of_a_kernel_address: "free_kernel" => no_address("free");
    free_of_the_first_address_above_user_space: "free_above_user_space" => no_address("free");

    realloc_inside_a_small_object: "interior_realloc" => interior("realloc", 16, 64);
    realloc_inside_a_huge_object: "interior_realloc_huge" => interior("realloc", 2 << 20, 64 << 20);
    usable_size_inside_an_object: "interior_usable_size" => interior("malloc_usable_size", 24, 64);
    free_inside_the_second_of_many: "interior_second_object" => interior("free", 40, 48);
    free_inside_an_aligned_object: "interior_aligned" => interior("free", 4096, 8192);

    second_free_of_a_small_object: "twice_small" => already_free("free");
    second_free_of_a_small_object_in_its_span: "twice_small_later" => already_free("free");
    second_free_of_a_lone_small_object: "twice_small_alone" => already_free("free");
    second_free_by_another_thread: "twice_two_threads" => already_free("free");
    second_free_of_a_large_object: "twice_large" => already_free("free");
    second_free_of_a_merged_large_object: "twice_large_merged" => already_free("free");
    second_free_of_a_released_large_object: "twice_large_trimmed" => already_free("free");
    second_free_of_a_huge_object: "twice_huge" => already_free("free");
    free_after_realloc_to_zero: "twice_after_realloc_to_zero" => already_free("free");
    free_of_the_address_before_realloc: "twice_old_address" => already_free("free");
    realloc_of_a_freed_small_object: "realloc_freed" => already_free("realloc");
    realloc_of_a_freed_large_object: "realloc_freed_large" => already_free("realloc");
    realloc_of_a_freed_huge_object: "realloc_freed_huge" => already_free("realloc");
    usable_size_of_a_freed_small_object: "usable_size_freed" => already_free("malloc_usable_size");
    usable_size_of_a_freed_large_object: "usable_size_freed_large" => already_free("malloc_usable_size");

    realloc_of_a_stack_address: "realloc_stack" => foreign("realloc");
    realloc_of_a_stack_address_to_zero: "realloc_stack_to_zero" => foreign("realloc");
    realloc_of_a_poison_pattern: "realloc_poison" => no_address("realloc");
    reallocarray_of_a_static_address: "reallocarray_static" => foreign("realloc");
    usable_size_of_a_stack_address: "usable_size_stack" => foreign("malloc_usable_size");
    usable_size_of_a_poison_pattern: "usable_size_poison" => no_address("malloc_usable_size");
    free_sized_of_a_stack_address: "free_sized_stack" => foreign("free_sized");
    free_sized_with_too_large_a_size: "free_sized_too_large" => wrong_size("free_sized", 100, 64);
    free_sized_with_too_small_a_size: "free_sized_too_small" => wrong_size("free_sized", 10, 64);
    free_sized_of_a_large_object_with_a_wrong_size: "free_sized_large" => wrong_size("free_sized", 2 << 20, 1 << 20);
    free_sized_of_a_huge_object_with_a_wrong_size: "free_sized_huge" => wrong_size("free_sized", 100, 64 << 20);
    free_aligned_sized_of_a_stack_address: "free_aligned_sized_stack" => foreign("free_aligned_sized");
    free_aligned_sized_with_a_wrong_size: "free_aligned_sized_wrong" => wrong_size("free_aligned_sized", 4096, 256);

    a_handler_that_leaves_malloc_by_longjmp: "left_by_longjmp" => interrupted();

    delete_of_a_stack_address: "delete_stack" with "-lstdc++" => foreign("free");
    delete_array_of_a_stack_address: "delete_array_stack" with "-lstdc++" => foreign("free");
    delete_of_a_poison_pattern: "delete_poison" with "-lstdc++" => no_address("free");
    delete_inside_an_object: "delete_interior" with "-lstdc++" => interior("free", 16, 64);
    second_delete_of_a_large_object: "delete_twice" with "-lstdc++" => already_free("free");
}

/// Frees an address inside an object; the line names both addresses.
#[track_caller]
fn free_inside(name: &str, offset: u64, size: u64) {
    let flag = format!("-DOFFSET={offset}");
    let found = aborts(name, &[&flag], &interior("free", offset, size));
    assert_eq!(found[0] - found[1], offset, "{found:x?}");
}

#[test]
fn free_inside_a_small_object() {
    for offset in [1, 8, 16, 24, 63] {
        free_inside("interior_small", offset, 64);
    }
}

/// Six objects to a span of two granules: the fourth straddles them.
#[test]
fn free_inside_an_object_that_straddles_granules() {
    for object in [2, 3, 4, 9, 10] {
        for offset in [16_u64, 1024, 4096, 16384, 20464] {
            let flags = [format!("-DOBJECT={object}"), format!("-DOFFSET={offset}")];
            let flags = flags.each_ref().map(String::as_str);
            let expected = interior("free", offset, 20480);
            let found = aborts("interior_straddling", &flags, &expected);
            assert_eq!(found[0] - found[1], offset, "{found:x?}");
        }
    }
}

#[test]
fn free_inside_a_large_object() {
    for offset in [16, 4096, 512 << 10, (1 << 20) - 1] {
        free_inside("interior_large", offset, 1 << 20);
    }
}

#[test]
fn free_inside_a_huge_object() {
    for offset in [16, 4096, 2 << 20, 63 << 20] {
        free_inside("interior_huge", offset, 64 << 20);
    }
}

#[test]
fn every_misuse_program_is_tested() {
    let directory = std::fs::read_dir(root().join("tests/c")).expect("tests/c");
    let programs: BTreeSet<String> = directory
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter_map(|name| Some(name.strip_prefix("misuse_")?.strip_suffix(".c")?.to_owned()))
        .collect();
    let tested: BTreeSet<String> = TESTED.iter().map(|&name| name.to_owned()).collect();
    assert_eq!(programs, tested);
}

#[test]
fn a_debugger_shows_the_failing_call() {
    if !installed("gdb") {
        return skip("a_debugger_shows_the_failing_call", "gdb is not installed");
    }
    let program = compile("misuse_free_stack.c", &[]);
    for mode in Mode::ALL {
        let preload = library(Build::Release);
        let mut gdb = Command::new("gdb");
        gdb.args(["-nx", "-batch", "-ex", "set startup-with-shell off"])
            .args(["-ex", "set debuginfod enabled off"])
            .arg("-ex")
            .arg(format!("set environment LD_PRELOAD {}", preload.display()))
            .arg("-ex")
            .arg(format!("set environment THMALLOC_CONF {}", mode.conf()))
            .args(["-ex", "run", "-ex", "backtrace"])
            .arg(&program);
        let outcome = run(&mut gdb, LIMIT);
        let said = &outcome.stdout;
        if said.contains("ptrace: Operation not permitted") || outcome.stderr.contains("ptrace:") {
            return skip("a_debugger_shows_the_failing_call", "ptrace is not allowed");
        }
        assert!(said.contains("SIGABRT"), "{outcome:#?}");
        let frames: Vec<&str> = said.lines().filter(|line| line.starts_with('#')).collect();
        let frame = |function: &str| {
            frames.iter().position(|frame| {
                frame.contains(&format!(" {function} ("))
                    || frame.contains(&format!(" in {function} ("))
            })
        };
        let (Some(free), Some(main)) = (frame("free"), frame("main")) else {
            panic!("no frames of free and main, {mode:?}:\n{said}");
        };
        assert!(free < main, "{said}");
    }
}

/// What a program that does nothing wrong says under a THMALLOC_CONF.
#[track_caller]
fn said_under(conf: &str) -> String {
    let program = compile("surface_mallopt.c", &[]);
    let mut command = on_thmalloc(Build::Release, Mode::Rseq, program);
    let outcome = run(command.env("THMALLOC_CONF", conf), LIMIT);
    outcome.expect_success(conf);
    assert_eq!(outcome.stdout, "");
    outcome.stderr
}

fn unknown_option(option: &str) -> String {
    format!(
        "thmalloc: THMALLOC_CONF: unknown option \"{option}\", ignored (known: cache=rseq|cpu|lock, release_delay=MS|off, stats_at_exit[=FILE])\n"
    )
}

#[test]
fn a_misspelt_option_is_named_and_the_program_goes_on() {
    for option in [
        "cahce=lock",
        "cache=locks",
        "cache",
        "cache=",
        "verbose",
        "CACHE=lock",
    ] {
        assert_eq!(said_under(option), unknown_option(option));
    }
}

#[test]
fn a_known_option_is_taken_silently() {
    for conf in ["", "cache=rseq", "cache=cpu", "cache=lock"] {
        assert_eq!(said_under(conf), "", "{conf}");
    }
}
