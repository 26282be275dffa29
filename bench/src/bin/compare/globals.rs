//! The same Rust programs, each with the allocator as its GlobalAlloc.

use std::io;
use std::process::Command;

use thmalloc_bench::build;

use crate::allocators::{Allocator, clean};
use crate::peers;

/// Every load of `peer-globals`: its name and what it does.
pub const ALL: [(&str, &str); 6] = [
    ("rust-boxes", "binary trees of boxes, two threads"),
    ("rust-vectors", "two thousand vectors that grow"),
    ("rust-strings", "words put together, split and joined"),
    (
        "rust-btree",
        "a BTreeMap of strings whose entries come and go",
    ),
    ("rust-syn", "the parser syn over ten thousand lines of Rust"),
    ("rust-json", "serde_json: text to values and back"),
];

/// Builds the programs.
pub fn prepare() -> io::Result<()> {
    let target = build::target()?.join("peers/cargo");
    build::cargo(&peers::workspace(), &target, &["-p", "peer-globals"])
}

/// The command that runs `name` on `allocator`.
pub fn command(name: &str, allocator: &Allocator) -> io::Result<Command> {
    let program = allocator
        .global
        .ok_or_else(|| io::Error::other(format!("{} is no GlobalAlloc here", allocator.name)))?;
    let directory = build::target()?.join("peers/cargo/release");
    let mut command = Command::new(directory.join(format!("global-{program}")));
    // `peer-globals` knows them without what tells them from other kinds here.
    command.arg(name.trim_start_matches("rust-"));
    clean(&mut command);
    Ok(command)
}
