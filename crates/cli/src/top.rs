//! `thmalloc top`: all processes on thmalloc, live.
//!
//! `records` keeps what was read, `app` what the screen is about and what a key
//! changes, `list` and `one` draw it (with `chart`, `help` and `theme`); these
//! know nothing of a terminal. `screen` takes the terminal and gives it back,
//! `live` runs it all, and `batch` prints the same as plain text.

mod app;
mod batch;
mod chart;
mod column;
mod help;
mod list;
mod live;
mod one;
mod records;
mod screen;
mod theme;

use std::time::Duration;

use clap::Args;
use thmalloc_inspect::Target;

use crate::error::Error;
use crate::survey::Survey;
use column::Column;

const AFTER_HELP: &str = "\
ALLOC/s is the rate of allocation: bytes a second that went from spans and
transfer caches into CPU caches, and to the program as large objects, between two
readings. What a CPU cache serves by itself is not in it: a program that frees
what it allocates, again and again, on one CPU, shows little.

Keys: h shows them. q quits, Enter opens a process, Esc goes back.

Processes of other users are shown if thmalloc may read them (as root). With
NO_COLOR set, no colour is used.

Exit status: 125 if there is no terminal. If none of the processes of -p can be
read, it is that of thmalloc stat for the first of them (3 to 8).

Examples:
  thmalloc top
  thmalloc top -d 0.5 -p 1234
  thmalloc top -b -n 3 -o live";

/// Watch all processes on thmalloc
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct Top {
    /// Read the processes each so many seconds
    #[arg(short, long, value_name = "SECONDS", default_value = "2", value_parser = delay)]
    delay: Duration,

    /// End after so many readings
    #[arg(short = 'n', long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    iterations: Option<u64>,

    /// Print plain text, for files and other programs
    #[arg(short, long)]
    batch: bool,

    /// Only these processes
    #[arg(short, long = "pid", value_name = "PID", value_delimiter = ',')]
    pids: Vec<u32>,

    /// Sort by this column
    #[arg(short = 'o', long, value_name = "COLUMN", value_enum, default_value_t = Column::Resident)]
    sort: Column,
}

impl Top {
    /// Shows the processes until the user has seen enough.
    pub fn execute(self) -> Result<(), Error> {
        // Of what was asked for by name, one at least must be there.
        let mut failed = None;
        let mut any = self.pids.is_empty();
        for &pid in &self.pids {
            match Target::open(pid) {
                Ok(_) => any = true,
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        if let (false, Some(error)) = (any, failed) {
            return Err(Error::Inspect(error));
        }
        let app = app::App::new(self.sort, self.delay);
        let survey = Survey::new(self.pids);
        if self.batch {
            batch::print(survey, app, self.iterations)
        } else {
            live::show(survey, app, self.iterations)
        }
    }
}

/// Seconds between two readings, as a user writes them.
fn delay(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.trim().parse().map_err(|_| "not a number".to_owned())?;
    if (0.1..=86400.0).contains(&seconds) {
        Ok(Duration::from_secs_f64(seconds))
    } else {
        Err("must be between 0.1 and 86400 seconds".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delay_is_a_number_of_seconds_within_reason() {
        assert_eq!(delay("0.5"), Ok(Duration::from_millis(500)));
        assert_eq!(delay(" 3 "), Ok(Duration::from_secs(3)));
        for wrong in ["", "x", "0", "-1", "NaN", "inf", "1e9"] {
            assert!(delay(wrong).is_err(), "{wrong}");
        }
    }
}
