//! What it costs a process to be looked into: the same work, alone and read ten
//! times a second, in turn.
//!
//! `cargo build --release && cargo run --release -p thmalloc-bench --bin watched`.
//! The work is this program again, on the library: a thread that allocates and
//! frees at random, 64 MiB live.

use std::hint::black_box;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

/// Objects that live at once.
const OBJECTS: usize = 1 << 17;

/// Frees and allocations of one run.
const STEPS: usize = 60_000_000;

/// Runs of each kind.
const PAIRS: usize = 12;

/// What a run took, in seconds.
#[derive(Clone, Copy, Debug)]
struct Took {
    wall: f64,
    cpu: f64,
}

fn main() -> io::Result<()> {
    if std::env::args().nth(1).as_deref() == Some("work") {
        return work();
    }
    let program = std::env::current_exe()?;
    let directory = program.parent().expect("a file has a directory");
    let mut ratios = Vec::new();
    println!("run   alone: wall, CPU   watched: wall, CPU   CPU watched / alone");
    for pair in 0..PAIRS {
        // Whatever else changes with time falls on both.
        let first = pair % 2 == 1;
        let a = run(&program, directory, first)?;
        let b = run(&program, directory, !first)?;
        let (alone, watched) = if first { (b, a) } else { (a, b) };
        let ratio = watched.cpu / alone.cpu;
        println!(
            "{pair:>3}   {:>6.3} s {:>6.3} s    {:>6.3} s {:>6.3} s    {ratio:.4}",
            alone.wall, alone.cpu, watched.wall, watched.cpu
        );
        ratios.push(ratio);
    }
    ratios.sort_by(f64::total_cmp);
    println!(
        "median {:.4}, quartiles {:.4} and {:.4}",
        ratios[PAIRS / 2],
        ratios[PAIRS / 4],
        ratios[PAIRS * 3 / 4]
    );
    Ok(())
}

fn run(program: &Path, directory: &Path, watched: bool) -> io::Result<Took> {
    let mut worker = Command::new(program)
        .arg("work")
        .env("LD_PRELOAD", directory.join("libthmalloc.so"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut out = BufReader::new(worker.stdout.take().expect("its output"));
    let mut line = String::new();
    out.read_line(&mut line)?;
    let watcher = watched.then(|| {
        Command::new(directory.join("thmalloc"))
            .args(["stat", "--json", "--watch=0.1", &worker.id().to_string()])
            .stdout(Stdio::null())
            .spawn()
    });
    let watcher = watcher.transpose()?;
    writeln!(worker.stdin.take().expect("its input"), "go")?;
    line.clear();
    out.read_line(&mut line)?;
    worker.wait()?;
    if let Some(mut watcher) = watcher {
        watcher.kill()?;
        watcher.wait()?;
    }
    let mut numbers = line
        .split_ascii_whitespace()
        .filter_map(|word| word.parse().ok());
    match (numbers.next(), numbers.next()) {
        (Some(wall), Some(cpu)) => Ok(Took { wall, cpu }),
        _ => Err(io::Error::other("the work did not say how long it took")),
    }
}

/// The work: its own time, from the line on its input on.
fn work() -> io::Result<()> {
    let mut random = 1_u64;
    let mut next = move || {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (random >> 33) as usize
    };
    let mut objects: Vec<Vec<u8>> = (0..OBJECTS).map(|_| vec![1; 1 + next() % 1000]).collect();
    println!("ready");
    io::stdin().lock().read_line(&mut String::new())?;
    let (begun, cpu) = (Instant::now(), cpu_seconds());
    for _ in 0..STEPS {
        let place = next() % OBJECTS;
        objects[place] = Vec::with_capacity(1 + next() % 1000);
        black_box(&objects[place]);
    }
    println!("{} {}", begun.elapsed().as_secs_f64(), cpu_seconds() - cpu);
    Ok(())
}

/// What this process has used of all CPUs, by itself and by the system for it.
fn cpu_seconds() -> f64 {
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("our own usage");
    let sum = usage.user_time() + usage.system_time();
    sum.num_microseconds() as f64 / 1e6
}
