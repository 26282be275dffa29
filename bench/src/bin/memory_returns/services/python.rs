//! A Python process that drops 400 MB.

use std::io::{self, BufRead, BufReader, Write};
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use super::{check_mapped, command, seen};
use crate::allocators::Allocator;
use crate::run::{Tail, tail};
use crate::watch::Watch;
use thmalloc_bench::guard::Group;

/// Rows as a program has them that read a table; then nothing.
const PROGRAM: &str = "
import sys
def step(name):
    print(name, flush=True)
    sys.stdin.readline()
step('start')
rows = [{'id': n, 'name': f'name {n}', 'text': 'x' * (n * 7919 % 1000)} for n in range(470_000)]
step('peak')
del rows
step('gone')
";

/// Runs it; `python-malloc` sends every object of Python's to malloc, else the
/// small ones come from Python's own allocator.
pub fn run(name: &'static str, allocator: &Allocator) -> io::Result<Tail> {
    let mut python = command("python3")?;
    python.args(["-s", "-S", "-c", PROGRAM]);
    python.env_remove("PYTHONMALLOC");
    if name == "python-malloc" {
        python.env("PYTHONMALLOC", "malloc");
    }
    python.stdin(Stdio::piped()).stdout(Stdio::piped());
    allocator.apply(&mut python);
    let mut python = Group::start(&mut python)?;
    let mut input = python.child.stdin.take().expect("piped");
    let output = BufReader::new(python.child.stdout.take().expect("piped"));
    let mut lines = output.lines();
    let mut reached = |phase: &str| match lines.next() {
        Some(Ok(line)) if line == phase => Ok(()),
        other => Err(io::Error::other(format!(
            "python: {other:?} instead of {phase}"
        ))),
    };
    reached("start")?;
    check_mapped(python.id(), allocator)?;
    let watch = Watch::start(vec![python.id()]);
    let mut seen = seen(name, allocator);
    seen.start = watch.now();
    input.write_all(b"\n")?;
    reached("peak")?;
    seen.peaks.push(watch.now());
    thread::sleep(Duration::from_millis(300));
    input.write_all(b"\n")?;
    reached("gone")?;
    Ok(tail(seen, watch, Instant::now(), None, (python, input)))
}
