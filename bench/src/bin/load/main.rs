//! A load that comes and goes, as a service has it, in one process.
//!
//! Its objects come from `malloc` of the C ABI, so `LD_PRELOAD` decides which
//! allocator serves it; its books stand in memory of their own. It knows what
//! is live, and prints a line of JSON at each phase. Whoever watches the
//! process compares that with what the process holds.
//!
//! `crew` has the workers and the steps that they take, `scenario` the order of
//! the steps, `giving_back` the latency of calls while memory goes back.

mod books;
mod crew;
mod giving_back;
mod object;
mod random;
mod scenario;
mod telling;

use clap::{Parser, Subcommand};

/// A load that comes and goes; prints what is live at each phase.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    scenario: Scenario,
    /// Wait for a line on standard input at `start`, at `peak`, and at the end.
    #[arg(long, global = true)]
    driven: bool,
    /// How many workers allocate.
    #[arg(long, global = true, default_value_t = 16)]
    workers: usize,
    /// Create no thread: the main thread is the only worker.
    #[arg(long, global = true)]
    single_threaded: bool,
    /// Bytes that are live at the peak, in MiB.
    #[arg(long, global = true, default_value_t = 512)]
    peak_mib: usize,
}

/// What the load does.
#[derive(Subcommand, Clone, Copy)]
enum Scenario {
    /// All of the load is freed, then every thread blocks.
    AllFreed,
    /// One object in fifty survives, at random.
    Scattered,
    /// All is freed and the workers exit.
    Exited,
    /// Objects of 256 KiB to 4 MiB, and two of 64 MiB.
    Large,
    /// One worker, besides the main thread.
    OneWorker,
    /// 200 workers.
    #[command(name = "workers-200")]
    Workers200,
    /// The process has one thread.
    SingleThreaded,
    /// First small objects are live at the peak, then large ones.
    Shift,
    /// Bursts: fill, free, pause.
    Sawtooth {
        /// From one burst to the next.
        #[arg(long, default_value_t = 100)]
        period_ms: u64,
        /// For how long.
        #[arg(long, default_value_t = 10)]
        seconds: u64,
    },
    /// Fixed work: objects are replaced at random.
    Steady {
        /// Replacements by each worker.
        #[arg(long, default_value_t = 1_000_000)]
        operations: usize,
    },
    /// Times each malloc and free while another thread's memory goes back.
    GivingBack {
        /// Time calls that do nothing: what is slow then is the machine.
        #[arg(long)]
        nothing: bool,
        /// How many threads time their calls.
        #[arg(long, default_value_t = 1)]
        threads: usize,
        /// For how long, from the moment when the memory is freed.
        #[arg(long, default_value_t = 3000)]
        after_ms: u64,
    },
}

fn main() {
    let arguments = Arguments::parse();
    scenario::run(&arguments);
}
