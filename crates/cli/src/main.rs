//! The `thmalloc` command.
//!
//! `cli` declares what can be typed; each subcommand has a module of its own
//! (`run`, `stat`, `map`, ...); whatever goes wrong is an `error::Error` with its
//! advice and its exit status.

// std's own `main` ignores SIGPIPE and opens closed standard descriptors, and
// a program that we execute would inherit both.
#![cfg_attr(not(test), no_main)]

mod cli;
mod error;
mod explain;
mod export;
mod heaps;
#[cfg(test)]
mod man;
mod map;
mod run;
mod size;
mod stat;
mod survey;
mod top;
mod trim;
mod words;

/// The C entry point: std's is left out, see the top of this file.
///
/// `std::env::args_os` works without it: glibc hands the arguments to std's
/// initialiser, whichever `main` follows.
#[allow(unsafe_code, reason = "C's start-up code calls the symbol `main`")]
#[cfg_attr(not(test), unsafe(no_mangle))]
extern "C" fn main() -> std::ffi::c_int {
    // `exit` and not `return`: it also flushes std's stdout.
    std::process::exit(cli::main())
}
