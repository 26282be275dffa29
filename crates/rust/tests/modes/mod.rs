//! The same tests in the other mode of the CPU caches: it is chosen at a
//! process's first allocation, so they run again in a process of their own.

use std::process::Command;

use thmalloc_core::config::CacheMode;
use thmalloc_core::heap::HEAP;

const OPTIONS: &str = "THMALLOC_CONF";
const LOCK: &str = "cache=lock";

/// Runs this executable's tests in lock mode; in that run, sees that it is.
pub fn run_all_in_lock_mode() {
    if std::env::var(OPTIONS).as_deref() == Ok(LOCK) {
        assert_eq!(HEAP.cache_mode(), CacheMode::Lock);
        return;
    }
    let this = std::env::current_exe().expect("the path of this executable");
    let run = Command::new(this)
        .env(OPTIONS, LOCK)
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
