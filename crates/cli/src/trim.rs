//! `thmalloc trim`: asks a process to give back what it can, and shows what that
//! has brought.

use std::time::Duration;

use clap::Args;
use thmalloc_inspect::{Detail, Target, Trimmed};

use crate::error::{Error, inspect};
use crate::size;
use crate::stat::text::{self, Look};
use crate::stat::{print, seconds};

const ABOUT: &str = "\
The process's own scavenger does it, a thread that threaded processes have, as it
would after a while. A process without that thread does it when it next
allocates or frees more than its caches serve, also after this command has ended.
The process is not stopped.";

/// Ask a process to give back all the memory that it can
#[derive(Debug, Args)]
#[command(after_help = format!("{ABOUT}\n\n{}", inspect::HELP))]
pub struct Trim {
    /// The process
    pub pid: u32,
    /// How long to wait for it
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = seconds)]
    pub wait: Duration,
}

impl Trim {
    /// Asks, waits, and prints both readings.
    pub fn execute(self) -> Result<(), Error> {
        let look = Look::of_stdout();
        let mut target = Target::open(self.pid)?;
        let before = target.read(Detail::Summary)?;
        let trimmed = target.trim(self.wait)?;
        let after = target.read(Detail::Summary)?;
        print(&text::words(look, &after.bytes, Some(&before.bytes)))?;
        print(&match trimmed {
            Trimmed::Served(bytes) => format!("Given back: {}.\n", size::bytes(bytes)),
            Trimmed::Pending => format!(
                "Nobody has served the request in {:?}: it stands, and will be served when the\n\
                 process next allocates or frees more than its caches serve.\n",
                self.wait
            ),
        })
    }
}
