//! Compares thmalloc with its peers: one command builds them, runs every
//! workload on each, and shows time and peak memory against the best of them.
//!
//! `peers` and `allocators` build the libraries; `catalogue`, `programs`,
//! `redis` and `globals` know what is run, `process` and `calls` how; `results` and
//! `held_out` set figures in relation; `bars`, `report` and `chart` show them.

mod allocators;
mod bars;
mod calls;
mod catalogue;
mod chart;
mod globals;
mod held_out;
mod peers;
mod plan;
mod process;
mod programs;
mod redis;
mod report;
mod results;
mod scaling;

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use thmalloc_bench::{build, guard, machine};

use catalogue::Kind;

/// Compares thmalloc with other allocators in time and peak memory.
///
/// Ends with status 0 if every bar holds, 1 if one does not, 2 if the command
/// line is wrong or something could not be run.
#[derive(Parser)]
struct Arguments {
    /// Run these workloads only; `synthetic`, `real` and `rust` name all of a kind.
    #[arg(long, value_delimiter = ',', value_name = "WORKLOAD")]
    only: Vec<String>,
    /// Run on these allocators only.
    #[arg(long, value_delimiter = ',', value_name = "ALLOCATOR", value_parser = allocators::names())]
    allocators: Vec<String>,
    /// Compare thmalloc with nine more of itself, and write no file: what the
    /// best of so many is worth by chance alone.
    #[arg(long, conflicts_with_all = ["allocators", "add", "scaling"])]
    itself: bool,
    /// How often everything is run; 0 with --calls and --add: only calls are
    /// counted.
    #[arg(long, default_value_t = 7)]
    rounds: u32,
    /// Count system calls, too: one more run of each under perf.
    #[arg(long)]
    calls: bool,
    /// Where the picture, the rounds and the tables go.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Instead of workloads: what an operation costs as threads and live memory
    /// grow.
    #[arg(long)]
    scaling: bool,
    /// Keep the rounds of all other workloads that stand in DIR already.
    #[arg(long)]
    add: bool,
    /// Write no file, only print.
    #[arg(long)]
    no_files: bool,
    /// Measure this libthmalloc.so instead of building one.
    #[arg(long, value_name = "FILE")]
    library: Option<PathBuf>,
    /// Name the workloads and end.
    #[arg(long)]
    list: bool,
    /// Build the peers and end.
    #[arg(long)]
    build: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match compare(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("compare: {error}");
            ExitCode::from(2)
        }
    }
}

/// The words of a command line without those that only say where files are.
fn meaningful(words: impl Iterator<Item = String>) -> Vec<String> {
    let mut kept = Vec::new();
    let mut words = words.peekable();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--out" | "--library" => drop(words.next()),
            _ if word.starts_with("--out=") || word.starts_with("--library=") => {}
            _ => kept.push(word),
        }
    }
    kept
}

/// The rounds that stand in a directory already: none where nothing was written yet.
fn there(out: &Path) -> io::Result<String> {
    match std::fs::read_to_string(out.join("benchmarks.csv")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        read => read,
    }
}

/// Compares what was asked for; whether all bars hold.
fn compare(arguments: &Arguments) -> io::Result<bool> {
    if arguments.rounds == 0 && !(arguments.calls && arguments.add) {
        return Err(io::Error::other(
            "no round says nothing: --rounds 1 or more, or --calls --add",
        ));
    }
    let workloads = plan::chosen(&arguments.only)?;
    if arguments.list {
        for workload in workloads {
            println!("{:<17} {}", workload.name, workload.about);
        }
        return Ok(true);
    }
    guard::on_signals()?;
    let target = build::target()?;
    build::cargo(
        build::root(),
        &target,
        &["-p", "thmalloc-bench", "--bin", "workloads"],
    )?;
    let library = arguments.library.as_deref();
    let allocators = if arguments.itself {
        allocators::itself(library)?
    } else {
        allocators::prepare(&arguments.allocators, library)?
    };
    if !arguments.scaling && workloads.iter().any(|workload| workload.kind == Kind::Rust) {
        globals::prepare()?;
    }
    let named = allocators
        .iter()
        .map(|a| (a.name.to_string(), a.version.clone()));
    let machine = machine::describe(&named.collect::<Vec<_>>());
    for line in &machine {
        println!("{line}");
    }
    if arguments.build {
        return Ok(true);
    }
    let out = match &arguments.out {
        Some(directory) => directory.clone(),
        None => build::root().join("docs"),
    };
    if arguments.scaling {
        let scaling = scaling::run(&allocators, arguments.rounds)?;
        print!("{}", scaling.text());
        if !arguments.no_files {
            std::fs::create_dir_all(&out)?;
            scaling.write(&out, &machine)?;
        }
        return Ok(scaling.rows().iter().all(|row| row.holds));
    }
    let writes = !arguments.no_files && !arguments.itself;
    if writes {
        std::fs::create_dir_all(&out)?;
    }
    let there = match arguments.add {
        true => there(&out)?,
        false => String::new(),
    };
    let directory = guard::Directory::in_memory("compare")?;
    if workloads.iter().any(|workload| workload.kind == Kind::Real) {
        programs::prepare(directory.path())?;
    }
    let mut results = plan::run(workloads, &allocators, arguments.rounds, directory.path())?;
    if arguments.calls {
        plan::count_calls(&mut results, &allocators, directory.path())?;
    }
    if arguments.add {
        results.keep(&there, &catalogue::all(), &allocators::names());
    }
    let rows = bars::rows(&results);
    print!("{}", report::text(&results, &rows));
    if writes {
        chart::draw(&results, &out)?;
        std::fs::write(out.join("benchmarks.csv"), results.csv())?;
        let words = meaningful(std::env::args().skip(1));
        let mut command = "cargo run --release -p thmalloc-bench --bin compare".to_string();
        if !words.is_empty() {
            command += &format!(" -- {}", words.join(" "));
        }
        let report = report::markdown(&results, &rows, &machine, &command);
        std::fs::write(out.join("benchmarks.md"), report)?;
        println!(
            "\nThe picture, the rounds and this report: {}/benchmarks.*",
            out.display()
        );
    }
    Ok(rows.iter().all(|row| row.holds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_can_be_added_where_nothing_was_written_yet() {
        let directory = guard::Directory::in_memory("compare-there").expect("a directory");
        assert_eq!(there(directory.path()).expect("none"), "");
        std::fs::write(directory.path().join("benchmarks.csv"), "rounds").expect("a file");
        assert_eq!(there(directory.path()).expect("some"), "rounds");
        std::fs::write(directory.path().join("benchmarks.csv"), [0xff]).expect("a file");
        assert!(there(directory.path()).is_err(), "no text");
    }
}
