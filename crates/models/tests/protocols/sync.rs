//! `Once` and `Mutex`: their own sources, on loom's atomics.

#[allow(dead_code)] // Fork's part of it is not modelled.
#[path = "../../../core/src/sync/mutex.rs"]
mod mutex;
#[path = "../../../core/src/sync/once.rs"]
mod once;

/// Stands in for the core's atomics.
pub mod atomic {
    use std::sync::{Mutex, OnceLock, atomic};

    pub use loom::sync::atomic::Ordering;
    use loom::thread::ThreadId;

    use crate::in_model;

    /// A word of loom's that can stand in a `const fn`: it is made at its first
    /// use, which must come before the threads that share it. Outside of models
    /// (the sources have tests of their own) it is a plain atomic.
    pub struct AtomicU32 {
        initial: u32,
        word: OnceLock<loom::sync::atomic::AtomicU32>,
        plain: atomic::AtomicU32,
        /// Who read it last, and what, if nothing was done since.
        last_read: Mutex<Option<(ThreadId, u32)>>,
    }

    impl AtomicU32 {
        /// A word of that value.
        pub const fn new(initial: u32) -> Self {
            Self {
                initial,
                word: OnceLock::new(),
                plain: atomic::AtomicU32::new(initial),
                last_read: Mutex::new(None),
            }
        }

        fn word(&self) -> &loom::sync::atomic::AtomicU32 {
            *self.last_read.lock().expect("never poisoned") = None;
            self.real()
        }

        fn real(&self) -> &loom::sync::atomic::AtomicU32 {
            let new = || loom::sync::atomic::AtomicU32::new(self.initial);
            self.word.get_or_init(new)
        }

        /// What a futex sees.
        pub fn load_now(&self) -> u32 {
            self.real().load(Ordering::SeqCst)
        }

        /// Reads it. A relaxed read that the same thread repeats at once may
        /// see what it saw, and here does: a spinning thread is not worth a
        /// hundred steps.
        pub fn load(&self, ordering: Ordering) -> u32 {
            if !in_model() {
                return self.plain.load(ordering);
            }
            if ordering != Ordering::Relaxed {
                return self.word().load(ordering);
            }
            let me = loom::thread::current().id();
            if let Some((reader, value)) = *self.last_read.lock().expect("never poisoned")
                && reader == me
            {
                return value;
            }
            let value = self.real().load(ordering);
            *self.last_read.lock().expect("never poisoned") = Some((me, value));
            value
        }

        /// Writes it.
        pub fn store(&self, value: u32, ordering: Ordering) {
            match in_model() {
                true => self.word().store(value, ordering),
                false => self.plain.store(value, ordering),
            }
        }

        /// Exchanges it.
        pub fn swap(&self, value: u32, ordering: Ordering) -> u32 {
            match in_model() {
                true => self.word().swap(value, ordering),
                false => self.plain.swap(value, ordering),
            }
        }

        /// Exchanges it if it has that value.
        pub fn compare_exchange(
            &self,
            current: u32,
            new: u32,
            success: Ordering,
            failure: Ordering,
        ) -> Result<u32, u32> {
            match in_model() {
                true => self.word().compare_exchange(current, new, success, failure),
                false => self.plain.compare_exchange(current, new, success, failure),
            }
        }
    }
}

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
