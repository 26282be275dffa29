//! What is run: every workload by its name, in order.

use std::io;
use std::path::Path;
use std::process::Command;

use crate::allocators::{self, Allocator};
use crate::calls;
use crate::globals;
use crate::process::{self, Usage};
use crate::programs;
use crate::redis;

/// What kind of workload it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A load of the program `workloads`.
    Synthetic,
    /// A program that people run.
    Real,
    /// A Rust program that has the allocator as GlobalAlloc.
    Rust,
}

impl Kind {
    /// Every kind, in the order of the tables.
    pub const ALL: [Kind; 3] = [Kind::Synthetic, Kind::Real, Kind::Rust];

    /// What it is called in the tables.
    pub fn title(self) -> &'static str {
        match self {
            Kind::Synthetic => "Synthetic loads",
            Kind::Real => "Real programs",
            Kind::Rust => "Rust programs, each with the allocator as GlobalAlloc",
        }
    }

    /// What it is called in the files.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Synthetic => "synthetic",
            Kind::Real => "real",
            Kind::Rust => "rust",
        }
    }
}

/// A workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    /// Its name in tables and after `--only`.
    pub name: &'static str,
    /// Its kind.
    pub kind: Kind,
    /// What it does.
    pub about: &'static str,
}

const SYNTHETIC: [(&str, &str); 25] = [
    (
        "larson",
        "servers: blocks of 8 to 1000 bytes replaced at random; their threads end, their blocks live on",
    ),
    (
        "threadtest",
        "each thread allocates 64-byte blocks and frees them, round by round",
    ),
    ("xmalloc", "half of the threads allocate, half free"),
    (
        "thread-start",
        "threads that start, allocate a little, and end",
    ),
    (
        "sh6bench",
        "batches of mixed sizes held over rounds, one thread",
    ),
    ("sh6bench-threads", "the same in each thread"),
    (
        "sh8bench",
        "batches that another thread frees, every other block first",
    ),
    (
        "glibc-simple",
        "25 to 1600 blocks of one size, freed in order",
    ),
    (
        "glibc-thread",
        "random replacing in a small table, sizes to 32 KiB",
    ),
    (
        "mstress",
        "random lives, blocks that change threads, threads that end",
    ),
    (
        "rptest",
        "16 bytes to 16 KiB, parts of the table handed to other threads",
    ),
    (
        "rptest-mixed",
        "the same to 1000 bytes, small ones more often",
    ),
    ("alloc-test-1", "random replacing in a table of a million"),
    ("alloc-test", "the same, half a million in each thread"),
    ("cache-scratch-1", "writes to one small block, one thread"),
    (
        "cache-scratch",
        "the same in each thread, after freeing blocks that lay side by side",
    ),
    (
        "cache-thrash",
        "each thread writes to small blocks of its own",
    ),
    (
        "large",
        "twenty blocks of 5 to 25 MiB replaced at random, each page written",
    ),
    ("large-threads", "the same in each thread"),
    (
        "realloc",
        "one buffer grows by half up to 64 MiB, again and again",
    ),
    (
        "realloc-many",
        "2000 buffers grow by a quarter in turn, up to 64 KiB",
    ),
    ("calloc", "zeroed tables of 1 KiB to 4 MiB"),
    ("aging", "a population whose sizes drift"),
    (
        "fragmentation",
        "an eighth survives scattered, then other sizes are asked for",
    ),
    ("strings", "short blocks written whole, most gone soon"),
];

/// All workloads, in the order in which they are run.
pub fn all() -> Vec<Workload> {
    let of =
        |kind| move |(name, about): &(&'static str, &'static str)| Workload { name, kind, about };
    SYNTHETIC
        .iter()
        .map(of(Kind::Synthetic))
        .chain(programs::ALL.iter().map(of(Kind::Real)))
        .chain(globals::ALL.iter().map(of(Kind::Rust)))
        .collect()
}

impl Workload {
    /// Why it cannot be run here, if it cannot.
    pub fn missing(&self) -> Option<String> {
        match self.kind {
            Kind::Real => programs::missing(self.name),
            _ => None,
        }
    }

    /// Whether it can be run on `allocator`.
    pub fn takes(&self, allocator: &Allocator) -> bool {
        self.kind != Kind::Rust || allocator.global.is_some()
    }

    /// Runs it once; its files are in `directory`.
    pub fn run(&self, allocator: &Allocator, directory: &Path) -> io::Result<Usage> {
        if self.name == redis::NAME {
            return redis::run(allocator, directory, None);
        }
        let mut command = self.command(allocator, directory)?;
        process::run(
            &mut command,
            programs::codes(self.name),
            &directory.join("errors"),
        )
    }

    /// How many system calls it makes in one more run.
    pub fn calls(&self, allocator: &Allocator, directory: &Path) -> io::Result<u64> {
        let list = directory.join("calls");
        if self.name == redis::NAME {
            redis::run(allocator, directory, Some(&list))?;
            return calls::number(&list);
        }
        calls::of(&self.command(allocator, directory)?, &list)
    }

    /// The command that runs it.
    fn command(&self, allocator: &Allocator, directory: &Path) -> io::Result<Command> {
        let mut command = match self.kind {
            Kind::Synthetic => {
                let mut command = Command::new(allocators::workloads()?);
                command.arg(self.name);
                command
            }
            Kind::Real => programs::command(self.name, directory),
            Kind::Rust => return globals::command(self.name, allocator),
        };
        command.current_dir(directory);
        allocator.apply(&mut command);
        Ok(command)
    }
}
