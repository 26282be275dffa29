//! `thmalloc explain`: what holds a process's memory, in sentences.

mod advice;
mod verdict;
mod words;

use std::io::{self, Write};
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use thmalloc_inspect::{Detail, Snapshot, Target};

use crate::error::{Error, inspect};
use crate::size;
use words::Report;

const ABOUT: &str = "\
The process is read once a second, three times at least, and not stopped. One
verdict comes first, then what was seen, then what to do. The rules, in their
order:

  it grows      something became more all the time: by 1 MiB and a thousandth of
                itself at least, a fifth of it in each half of the time, and
                fell by a tenth of it at most in between. Live objects of a size
                class, of several, large ones, or what is not the heap's.
  little        the whole process has less than 8 MiB
  unused        fragmented, cached or free memory is a quarter of the process's:
                the largest of the three is the verdict
  who has most  live objects, the allocator's books, anonymous memory that the
                program maps itself, stacks, or files and shared memory

What grows need not be a leak: a program that fills a cache does so, too.";

const EXAMPLES: &str = "\
Examples:
  thmalloc explain 1234
  thmalloc explain $(pidof redis-server) --for 60
  thmalloc explain 1234 --json | jq .verdict";

/// Say what holds a process's memory, and what to do
#[derive(Debug, Args)]
#[command(after_help = format!("{ABOUT}\n\n{}\n\n{EXAMPLES}", inspect::HELP))]
pub struct Explain {
    /// The process
    pub pid: u32,
    /// How long it is watched
    #[arg(long = "for", value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    pub watch: Duration,
    /// Write it as JSON
    #[arg(long)]
    pub json: bool,
}

/// As long may a process be watched.
const LONGEST: f64 = 86_400.0;

fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.0..=LONGEST).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err(format!("not a number of seconds from 0 to {LONGEST}")),
    }
}

impl Explain {
    /// Watches the process and says what was seen.
    pub fn execute(self) -> Result<(), Error> {
        let mut target = Target::open(self.pid)?;
        let readings = watch(&mut target, self.watch)?;
        let files = target.files()?;
        let Some(report) = words::report(&readings, &files) else {
            return Ok(());
        };
        let text = if self.json {
            // Numbers and strings: serialising them into a string does not fail.
            serde_json::to_string_pretty(&report).unwrap_or_default() + "\n"
        } else {
            text(&report)
        };
        let mut out = io::stdout().lock();
        let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        written.map_err(|error| Error::Output {
            path: PathBuf::from("standard output"),
            error,
        })
    }
}

/// How often a process is read that is watched so long: once a second, three times
/// at least, and no more than a minute's worth.
fn readings(watch: Duration) -> u32 {
    (watch.as_secs() as u32 + 1).clamp(3, 61)
}

/// Reads the process at equal distances; the last reading has every page.
fn watch(target: &mut Target, time: Duration) -> Result<Vec<Snapshot>, Error> {
    let count = readings(time);
    let start = Instant::now();
    let mut all = Vec::new();
    for number in 0..count {
        let due = time * number / (count - 1);
        thread::sleep(due.saturating_sub(start.elapsed()));
        let detail = if number + 1 == count {
            Detail::Full
        } else {
            Detail::Summary
        };
        all.push(target.read(detail)?);
    }
    Ok(all)
}

fn text(report: &Report) -> String {
    let mut text = format!(
        "{}, process {}, read {} times in {:.1} s\n\n",
        size::line(&report.name),
        report.pid,
        report.readings,
        report.seconds
    );
    text += &textwrap::fill(&report.sentence, 78);
    text += "\n\nWhat was seen\n";
    for evidence in &report.evidence {
        text += &item(&evidence.sentence);
    }
    text += "\nWhat to do\n";
    for advice in &report.advice {
        text += &item(advice);
    }
    text
}

fn item(sentence: &str) -> String {
    let options = textwrap::Options::new(78)
        .initial_indent("  - ")
        .subsequent_indent("    ")
        .break_words(false)
        .word_splitter(textwrap::WordSplitter::NoHyphenation);
    // A figure stays with its unit, by blanks that are no place to break.
    let mut sentence = sentence.to_owned();
    for unit in ["B", "KiB", "MiB", "GiB", "TiB", "%", "s", "ms"] {
        for end in [" ", ",", ";", ".", ")", ":"] {
            let [from, to] = [" ", "\u{a0}"].map(|blank| format!("{blank}{unit}{end}"));
            sentence = sentence.replace(&from, &to);
        }
    }
    textwrap::fill(&sentence, options).replace('\u{a0}', " ") + "\n"
}

#[cfg(test)]
#[path = "explain/tests.rs"]
mod tests;
