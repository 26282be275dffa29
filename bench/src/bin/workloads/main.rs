//! Loads that an allocator is measured with: one process each, from the
//! published descriptions of the field's benchmarks.
//!
//! Always: a load does a fixed amount of work, not as much as fits in a time,
//! and two runs of it do the same calls (threads may interleave otherwise).
//! All blocks come from the process's `malloc`, whoever serves that.
//!
//! `workloads NAME` runs one, `workloads NAME PERCENT` less or more of it.

mod aging;
mod batches;
mod block;
mod false_sharing;
mod glibc;
mod growth;
mod probe;
mod random;
mod scaling;
mod server;
mod stress;
mod tables;

use std::process::ExitCode;

/// A load: its name, what it does, and with how much work.
type Load = (&'static str, fn(u64), u64);

/// Every load. The amount of work takes a modern allocator 1 to 3 s on a
/// machine of 2024.
const LOADS: [Load; 25] = [
    ("larson", server::larson, 600),
    ("threadtest", server::threadtest, 12_000),
    ("xmalloc", server::xmalloc, 240_000),
    ("thread-start", server::thread_start, 24_000),
    ("sh6bench", batches::sh6bench, 450),
    ("sh6bench-threads", batches::sh6bench_threads, 600),
    ("sh8bench", batches::sh8bench, 480),
    ("glibc-simple", glibc::simple, 400_000),
    ("glibc-thread", glibc::thread, 112_000_000),
    ("mstress", stress::mstress, 160),
    ("rptest", stress::rptest, 1000),
    ("rptest-mixed", stress::rptest_mixed, 2000),
    ("alloc-test-1", tables::alloc_test_1, 10_000_000),
    ("alloc-test", tables::alloc_test, 10_000_000),
    ("cache-scratch-1", false_sharing::scratch_1, 250),
    ("cache-scratch", false_sharing::scratch, 400),
    ("cache-thrash", false_sharing::thrash, 400),
    ("large", growth::large, 1500),
    ("large-threads", growth::large_threads, 3600),
    ("realloc", growth::realloc, 25),
    ("realloc-many", growth::realloc_many, 11),
    ("aging", aging::aging, 20),
    ("fragmentation", aging::fragmentation, 4),
    ("calloc", growth::calloc, 20_000),
    ("strings", tables::strings, 110),
];

/// A name, and what runs with a number of threads or MiB.
type Series = (&'static str, fn(u32));

/// What `compare --scaling` runs.
const SCALING: [Series; 4] = [
    ("threads", scaling::threads),
    ("live", scaling::live),
    ("walk", scaling::walk),
    ("list", scaling::list),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["probe", library] => return probe::probe(library),
        [] => {
            for load in LOADS {
                println!("{}", load.0);
            }
            return ExitCode::SUCCESS;
        }
        _ => {}
    }
    if let [name, number] = words[..]
        && let Some((_, run)) = SCALING.iter().find(|series| name == series.0)
        && let Ok(number) = number.parse()
    {
        run(number);
        return ExitCode::SUCCESS;
    }
    let load = LOADS.iter().find(|load| words[0] == load.0);
    let percent = match words.get(1) {
        None => Some(100),
        Some(percent) => percent.parse::<u64>().ok(),
    };
    let Some(((_, run, work), percent)) = load.zip(percent).filter(|_| words.len() <= 2) else {
        eprintln!("workloads: there is no load like that; without arguments, all are listed");
        return ExitCode::from(2);
    };
    run((work * percent / 100).max(1));
    ExitCode::SUCCESS
}
