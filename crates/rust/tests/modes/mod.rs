//! The same tests in the other modes of the CPU caches: it is chosen at a
//! process's first allocation, so they run again in processes of their own.

use std::process::Command;

use thmalloc_core::config::CacheMode;
use thmalloc_core::heap::HEAP;

const OPTIONS: &str = "THMALLOC_CONF";
const LOCK: &str = "cache=lock";
const BY_CPU: &str = "cache=cpu";

/// Runs this executable's tests in lock mode, and by the CPU's number; in those runs,
/// sees that the first is in lock mode.
pub fn run_all_in_other_modes() {
    match std::env::var(OPTIONS).as_deref() {
        Ok(LOCK) => assert_eq!(HEAP.cache_mode(), CacheMode::Lock),
        Ok(BY_CPU) => {}
        _ => {
            run_all_with(LOCK);
            run_all_with(BY_CPU);
        }
    }
}

fn run_all_with(options: &str) {
    let this = std::env::current_exe().expect("the path of this executable");
    let run = Command::new(this)
        .env(OPTIONS, options)
        .output()
        .expect("this executable starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        run.status.success(),
        "{}\n{}\n{}",
        run.status,
        text(&run.stdout),
        text(&run.stderr)
    );
}
