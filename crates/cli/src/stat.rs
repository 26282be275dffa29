//! placeholder
use clap::Args;
use std::io::Write;
use thmalloc_inspect::{Detail, Target};
use crate::error::Error;
/// Show where a process's memory is
#[derive(Debug, Args)]
pub struct Stat {
    /// The process's number
    pid: u32,
}
impl Stat {
    /// x
    pub fn execute(self) -> Result<(), Error> {
        let t = std::time::Instant::now();
        let mut target = Target::open(self.pid)?;
        let open = t.elapsed();
        let snapshot = target.read(Detail::Full)?;
        let _ = writeln!(std::io::stdout(), "{}", serde_json::to_string_pretty(&snapshot).unwrap());
        eprintln!("open {open:?} all {:?}", t.elapsed());
        Ok(())
    }
}
