//! What it costs a process to begin on thmalloc: small programs are won or lost
//! there.
//!
//! Page faults are counted from a fork to the end of what it runs, in a parent that
//! is on the same library: so does `LD_PRELOAD=… time -f %R /bin/true`, by which the
//! bar was set. Most are the loader's and libc's, and differ from system to system.
//! So what is held to the bar is how many more they are than without a library.
//!
//! Where they are: `perf record -e page-faults -c 1 -d`, then `perf script -F
//! addr,ip,sym,dso`.

use std::path::{Path, PathBuf};
use std::process::Command;

use object::{Object, ObjectSection};
use thmalloc_tests::{Build, compile, hang_guard, library, run};

/// The most page faults that `/bin/true` may take, where it takes so many without a
/// library.
const BAR: u64 = 80;
const WITHOUT: u64 = 67;

/// Page faults of `/bin/true`, with `preloaded` if there is one: the middle of
/// several runs. Where the loader puts things changes from run to run, and with it
/// how many pages they touch, by 5 or so; the first may have to read the files.
fn faults(preloaded: Option<&Path>) -> u64 {
    let mut command = Command::new(compile("count_faults.c", &[]));
    match preloaded {
        Some(library) => command.env("LD_PRELOAD", library),
        None => command.env_remove("LD_PRELOAD"),
    };
    let outcome = run(command.arg("/bin/true"), hang_guard(60));
    outcome.expect_success("count_faults");
    let lines = outcome.stdout.lines();
    let mut faults: Vec<u64> = lines.map(|line| line.parse().expect("a number")).collect();
    faults.sort_unstable();
    println!("page faults of /bin/true, preloaded {preloaded:?}: {faults:?}");
    faults[faults.len() / 2]
}

/// A library that does nothing.
fn empty_library() -> PathBuf {
    compile("empty_library.c", &["-shared", "-fPIC"])
}

#[test]
fn a_small_program_starts_with_few_page_faults() {
    let none = faults(None);
    let ours = faults(Some(&library(Build::Release)));
    assert!(
        ours <= none + (BAR - WITHOUT),
        "{ours} page faults, {none} without a library; {BAR} are asked for where it is {WITHOUT}"
    );
}

/// What is counted is what a library costs.
#[test]
fn a_library_is_among_what_is_counted() {
    let none = faults(None);
    let empty = faults(Some(&empty_library()));
    assert!(none > 10 && empty > none, "{none} {empty}");
}

/// What a process does not write to of the heap's variables takes no memory, as long as
/// all of them are zero in the file.
#[test]
fn the_heap_begins_as_zeros() {
    let bytes = std::fs::read(library(Build::Release)).expect("the library");
    let file = object::File::parse(&*bytes).expect("an ELF file");
    let size = |name| {
        file.section_by_name(name)
            .map_or(0, |section| section.size())
    };
    let (data, zero) = (size(".data"), size(".bss"));
    assert!(
        data < 4096 && zero > 8 * data,
        ".data has {data} bytes, .bss {zero}: a field of the heap is not zero at first"
    );
}
