//! `thmalloc stat`: where a process's memory is.

pub mod text;
mod wait;

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use thmalloc_inspect::{Detail, Snapshot, Target};

use crate::error::{Error, inspect};
use text::Look;
use wait::Stop;

const ABOUT: &str = "\
Memory is in one of six words:
  live        handed out to the program
  cached      free objects in the caches of CPUs, and between them
  fragmented  free objects in spans that hold others
  free        whole spans that wait to be used again
  metadata    the allocator's own books
  released    address space only: given back, or never touched
The first five are what is resident. The process is not stopped, and does nothing
for it.";

/// Show where a process's memory is
#[derive(Debug, Args)]
#[command(after_help = format!("{ABOUT}\n\n{}\n\n{EXAMPLES}", inspect::HELP))]
pub struct Stat {
    /// The process
    pub pid: u32,
    /// Print JSON, one object a line; docs/stat-json.md says what is in it
    #[arg(long)]
    pub json: bool,
    /// Repeat each second, or as often as that, with what has changed
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "1", value_parser = seconds)]
    pub watch: Option<Duration>,
}

const EXAMPLES: &str = "\
Examples:
  thmalloc stat 1234
  thmalloc stat 1234 --watch=0.5
  thmalloc stat 1234 --json | jq .bytes.live";

/// Seconds, with a fraction or without.
pub fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    match Duration::try_from_secs_f64(seconds) {
        Ok(time) if time >= Duration::from_millis(10) && time.as_secs() < 1 << 31 => Ok(time),
        _ => Err("not between 0.01 and 2147483647".into()),
    }
}

impl Stat {
    /// Prints one reading, or one after the other until the process or the user
    /// ends it.
    pub fn execute(self) -> Result<(), Error> {
        let mut target = Target::open(self.pid)?;
        let stop = self.watch.map(|_| Stop::new()).transpose();
        let stop = stop.map_err(|error| failed("signals", error))?;
        let look = Look::of_stdout();
        let mut before = None;
        loop {
            let snapshot = match target.read(Detail::Summary) {
                Ok(snapshot) => snapshot,
                Err(thmalloc_inspect::Error::Ended(pid)) if before.is_some() => {
                    let _ = writeln!(io::stderr(), "thmalloc: process {pid} has ended");
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            };
            self.print(&look, &snapshot, before.as_ref())?;
            let (Some(stop), Some(time)) = (&stop, self.watch) else {
                return Ok(());
            };
            before = Some(snapshot);
            if stop.wait(time) {
                return Ok(());
            }
        }
    }

    fn print(&self, look: &Look, now: &Snapshot, before: Option<&Snapshot>) -> Result<(), Error> {
        let mut out = if self.json {
            serde_json::to_string(now).map_err(|error| failed("standard output", error.into()))?
        } else {
            text::stat(look, now, before)
        };
        if self.json {
            out.push('\n');
        } else if before.is_some() {
            out.insert(0, '\n');
        }
        print(&out)
    }
}

/// Writes to standard output at once.
pub fn print(text: &str) -> Result<(), Error> {
    let mut out = io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    written.map_err(|error| failed("standard output", error))
}

fn failed(what: &str, error: io::Error) -> Error {
    Error::Output {
        path: PathBuf::from(what),
        error,
    }
}
