//! `Once` and `Mutex`: their own sources, on loom's atomics.

#[allow(dead_code)] // Fork's part of it is not modelled.
#[path = "../../../core/src/sync/mutex.rs"]
mod mutex;
#[path = "../../../core/src/sync/once.rs"]
mod once;

pub mod atomic;

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;

use crate::explore;
use mutex::{Mutex, Rank};
use once::Once;

/// Something that only one thread may write, and only those read who know that
/// it is done; loom complains of anyone else.
struct Work(UnsafeCell<u32>);

#[allow(unsafe_code)] // Looks into loom's cells.
impl Work {
    fn add(&self) {
        // SAFETY: loom checks that nobody else is here.
        self.0.with_mut(|value| unsafe { *value += 1 });
    }

    fn get(&self) -> u32 {
        // SAFETY: as above.
        self.0.with(|value| unsafe { *value })
    }
}

#[test]
fn what_is_done_once_is_seen_by_all_who_see_it_done() {
    explore(2, || {
        let shared = Arc::new((Once::new(), Work(UnsafeCell::new(0))));
        assert!(!shared.0.is_done());
        let callers: Vec<_> = (0..2)
            .map(|_| {
                let shared = Arc::clone(&shared);
                thread::spawn(move || {
                    shared.0.call(|| shared.1.add());
                    assert_eq!(shared.1.get(), 1);
                })
            })
            .collect();
        if shared.0.is_done() {
            assert_eq!(shared.1.get(), 1);
        }
        for caller in callers {
            caller.join().expect("no panic");
        }
        assert!(shared.0.is_done());
    });
}

#[test]
fn one_thread_at_a_time_has_a_lock_and_none_sleeps_for_good() {
    explore(2, || {
        let lock = Arc::new(Mutex::new(Rank::Central, Work(UnsafeCell::new(0))));
        lock.lock().add();
        let others: Vec<_> = (0..2)
            .map(|_| {
                let lock = Arc::clone(&lock);
                thread::spawn(move || lock.lock().add())
            })
            .collect();
        lock.lock().add();
        for other in others {
            other.join().expect("no panic");
        }
        assert_eq!(lock.lock().get(), 4);
    });
}

#[test]
fn a_lock_that_is_only_tried_is_not_waited_for() {
    explore(2, || {
        let lock = Arc::new(Mutex::new(Rank::CpuCache, Work(UnsafeCell::new(0))));
        lock.lock().add();
        let other = {
            let lock = Arc::clone(&lock);
            thread::spawn(move || lock.lock().add())
        };
        if let Some(work) = lock.try_lock() {
            work.add();
        }
        other.join().expect("no panic");
        assert!(lock.try_lock().is_some_and(|work| work.get() >= 2));
    });
}
