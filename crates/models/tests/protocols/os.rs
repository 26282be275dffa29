//! Stands in for `crates/core/src/os`: futexes out of a condition variable, so
//! that a wake that comes too early is lost, and loom sees who sleeps for good.

use loom::sync::{Condvar, Mutex};

use crate::in_model;
use crate::sync::atomic::{AtomicU32, forget_last_read};

mod process;

pub use process::*;

loom::lazy_static! {
    static ref QUEUE: Queue = Queue { look: Mutex::new(0), sleepers: Condvar::new() };
}

struct Queue {
    /// How often sleepers were interrupted.
    look: Mutex<usize>,
    sleepers: Condvar,
}

/// Sleeps if the word has that value. (One queue for all words: a wake of
/// another word is one of those without a reason, which futex(2) allows.)
pub fn futex_wait(word: &AtomicU32, expected: u32) {
    if !in_model() {
        return std::thread::yield_now();
    }
    let mut look = QUEUE.look.lock().expect("never poisoned");
    while word.load_now() == expected {
        let before = *look;
        look = QUEUE.sleepers.wait(look).expect("never poisoned");
        if *look == before {
            return;
        }
    }
}

/// Interrupts all sleepers: the system has them look at their words again.
pub fn interrupt() {
    let mut look = QUEUE.look.lock().expect("never poisoned");
    *look += 1;
    QUEUE.sleepers.notify_all();
}

/// Sleeps as long, if the word has that value and nobody wakes it; any time
/// will do.
pub fn futex_wait_for(_word: &AtomicU32, _expected: u32, _nanoseconds: u64) {
    forget_last_read();
    loom::thread::yield_now();
}

/// Wakes one sleeper.
pub fn futex_wake_one(_word: &AtomicU32) {
    if in_model() {
        let _look = QUEUE.look.lock().expect("never poisoned");
        QUEUE.sleepers.notify_one();
    }
}

/// Wakes all sleepers.
pub fn futex_wake_all(_word: &AtomicU32) {
    if in_model() {
        let _look = QUEUE.look.lock().expect("never poisoned");
        QUEUE.sleepers.notify_all();
    }
}

type Ranks = std::cell::Cell<u32>;

loom::thread_local! {
    static RANKS_IN_MODEL: Ranks = Ranks::new(0);
}

thread_local! {
    static RANKS: Ranks = const { Ranks::new(0) };
}

/// What each thread has for itself.
pub struct ThreadLocals {
    /// The ranks of the locks that it holds.
    pub held_ranks: HeldRanks,
}

/// Reads and writes the thread's own word.
pub struct HeldRanks;

impl HeldRanks {
    /// Reads it.
    pub fn get(&self) -> u32 {
        match in_model() {
            true => RANKS_IN_MODEL.with(Ranks::get),
            false => RANKS.get(),
        }
    }

    /// Writes it.
    pub fn set(&self, ranks: u32) {
        match in_model() {
            true => RANKS_IN_MODEL.with(|word| word.set(ranks)),
            false => RANKS.set(ranks),
        }
    }
}

/// The calling thread's.
pub fn thread_locals() -> ThreadLocals {
    ThreadLocals {
        held_ranks: HeldRanks,
    }
}
