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
        print(&answer(&trimmed, self.wait))
    }
}

/// What came of the request.
fn answer(trimmed: &Trimmed, wait: Duration) -> String {
    let mut answer = String::new();
    if trimmed.served > 0 {
        answer = format!("Given back: {}.\n", size::bytes(trimmed.bytes));
    }
    let nobody = match (trimmed.pending, trimmed.served) {
        (0, _) => return answer,
        (_, 0) => "Nobody has served the request".to_owned(),
        (1, _) => "Another of its heaps has not served the request".to_owned(),
        (more, _) => format!("{more} more of its heaps have not served the request"),
    };
    let sentence = format!(
        "{nobody} in {}: it stands, and will be served when the process next allocates or \
         frees more than its caches serve.",
        text::milliseconds(wait.as_millis() as u64)
    );
    answer + &textwrap::fill(&sentence, 80) + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_says_what_came_back_and_who_has_not_answered() {
        let of = |bytes, served, pending| {
            let trimmed = Trimmed {
                bytes,
                served,
                pending,
            };
            answer(&trimmed, Duration::from_secs(2))
        };
        assert_eq!(of(5 << 20, 1, 0), "Given back: 5.0 MiB.\n");
        let pending = of(0, 0, 1);
        assert!(pending.starts_with("Nobody has served the request in 2.0 s: it stands"));
        assert!(pending.lines().all(|line| line.len() <= 80), "{pending}");
        let both = of(5 << 20, 1, 1);
        assert!(both.starts_with("Given back: 5.0 MiB.\nAnother of its heaps has not"));
    }
}
