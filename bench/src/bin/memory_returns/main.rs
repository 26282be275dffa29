//! Shows that memory comes back when the load goes: one command that runs each
//! scenario under thmalloc and its peers, holds thmalloc to its bars, and draws
//! the memory of each process over time.
//!
//! `run` runs a program and sees what it does to its memory; `services` does it
//! for real ones. `bars` holds the results against what is asked; `report`,
//! `table` and `chart` show them.

mod allocators;
mod bars;
mod build;
mod chart;
mod plan;
mod procfs;
mod report;
mod results;
mod run;
mod samples;
mod scenarios;
mod services;
mod watch;

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use thmalloc_bench::{guard, machine};

/// Shows that memory comes back when the load goes.
///
/// Ends with status 0 if every bar holds, 1 if one does not, 2 if the command
/// line is wrong or something could not be run.
#[derive(Parser)]
struct Arguments {
    /// Run these scenarios only; the names are those of the table.
    #[arg(long, value_delimiter = ',', value_name = "SCENARIO")]
    only: Vec<String>,
    /// Run under these allocators only.
    #[arg(long, value_delimiter = ',', value_name = "ALLOCATOR", value_parser = allocators::names())]
    allocators: Vec<String>,
    /// How often what depends on time is repeated.
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Fewer rounds and shorter sawteeth: for a look, not for a figure.
    #[arg(long)]
    quick: bool,
    /// Leave redis, python, postgres and nginx out.
    #[arg(long)]
    no_services: bool,
    /// Where the picture, the samples and the tables go.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Write no file, only print.
    #[arg(long)]
    no_files: bool,
    /// Measure this libthmalloc.so instead of building one.
    #[arg(long, value_name = "FILE")]
    library: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match measure(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("memory_returns: {error}");
            ExitCode::from(2)
        }
    }
}

/// Measures what was asked for; whether all bars hold.
fn measure(arguments: &Arguments) -> io::Result<bool> {
    plan::check_names(&arguments.only)?;
    let directory = match &arguments.out {
        Some(directory) => directory.clone(),
        None => thmalloc_bench::build::root().join("docs"),
    };
    if !arguments.no_files {
        std::fs::create_dir_all(&directory)?;
    }
    guard::on_signals()?;
    let built = build::all(arguments.library.clone())?;
    let (present, missing): (Vec<_>, Vec<_>) = allocators::all(&built.library)
        .into_iter()
        .filter(|a| {
            arguments.allocators.is_empty() || arguments.allocators.iter().any(|n| n == a.name)
        })
        .partition(allocators::Allocator::installed);
    for allocator in missing {
        let package = allocator.package.unwrap_or("?");
        println!("{} is left out: apt-get install {package}", allocator.name);
    }
    let named = present.iter().map(|a| (a.name.to_string(), a.version()));
    let machine = machine::describe(&named.collect::<Vec<_>>());
    for line in &machine {
        println!("{line}");
    }
    let results = plan::run(arguments, &built, &present)?;
    let rows = bars::rows(&results);
    print!("{}", report::text(&results, &rows));
    if !arguments.no_files {
        chart::draw(&results, &directory)?;
        std::fs::write(
            directory.join("memory-returns.csv"),
            samples::csv(&results.seen),
        )?;
        let report = report::markdown(&results, &rows, &machine);
        std::fs::write(directory.join("memory-returns.md"), report)?;
        println!(
            "\nThe picture, the samples and this report: {}/memory-returns.*",
            directory.display()
        );
    }
    Ok(rows.iter().all(|row| row.holds))
}
