//! Samples the anonymous memory of processes while something else happens.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::procfs::anonymous_bytes;

const EVERY: Duration = Duration::from_millis(20);

/// A moment and the bytes that were resident then.
type Sample = (Instant, u64);

/// Looks at processes every 20 ms, until it is stopped.
pub struct Watch {
    pids: Arc<Mutex<Vec<i32>>>,
    stopped: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Sample>>,
}

impl Watch {
    /// Starts with `pids`, whose memory is summed.
    pub fn start(pids: Vec<i32>) -> Watch {
        let pids = Arc::new(Mutex::new(pids));
        let stopped = Arc::new(AtomicBool::new(false));
        let (watched, stop) = (pids.clone(), stopped.clone());
        let thread = thread::spawn(move || {
            let mut samples = Vec::new();
            let mut next = Instant::now();
            // Relaxed: the samples are handed over by the join.
            while !stop.load(Ordering::Relaxed) {
                let pids = watched.lock().expect("no panic").clone();
                let bytes = anonymous_bytes(&pids);
                samples.push((Instant::now(), bytes));
                next += EVERY;
                thread::sleep(next.saturating_duration_since(Instant::now()));
            }
            samples
        });
        Watch {
            pids,
            stopped,
            thread,
        }
    }

    /// The memory at this moment.
    pub fn now(&self) -> u64 {
        anonymous_bytes(&self.pids.lock().expect("no panic"))
    }

    /// The samples, in ms relative to `zero`.
    pub fn stop(self, zero: Instant) -> Vec<(i64, u64)> {
        self.stopped.store(true, Ordering::Relaxed);
        let samples = self.thread.join().expect("no panic");
        samples
            .into_iter()
            .map(|(at, bytes)| (milliseconds(at, zero), bytes))
            .collect()
    }
}

/// From `zero` to `at`, negative if it came before.
fn milliseconds(at: Instant, zero: Instant) -> i64 {
    match at.checked_duration_since(zero) {
        Some(after) => after.as_millis() as i64,
        None => -((zero - at).as_millis() as i64),
    }
}
