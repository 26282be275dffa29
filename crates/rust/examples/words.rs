//! Counts the words of a text, on thmalloc: how often each occurs, the most
//! frequent first.
//!
//! `cargo run --release -p thmalloc --example words -- README.md`

use std::collections::BTreeMap;
use std::io::Write;
use std::process::ExitCode;

#[global_allocator]
static GLOBAL: thmalloc::ThMalloc = thmalloc::ThMalloc;

fn main() -> ExitCode {
    let Some(path) = std::env::args_os().nth(1) else {
        eprintln!("usage: words FILE");
        return ExitCode::from(2);
    };
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) => {
            eprintln!("words: {}: {error}", path.display());
            return ExitCode::FAILURE;
        }
    };
    let mut counts = BTreeMap::new();
    for word in text.split(|c: char| !c.is_alphanumeric()) {
        if !word.is_empty() {
            *counts.entry(word.to_lowercase()).or_insert(0_u64) += 1;
        }
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by(|(a, m), (b, n)| n.cmp(m).then(a.cmp(b)));
    let mut out = std::io::stdout().lock();
    for (word, count) in counts.iter().take(20) {
        if writeln!(out, "{count:7} {word}").is_err() {
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
