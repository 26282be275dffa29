//! `Once` and `Mutex`: their own sources, on loom's atomics.

#[allow(dead_code)] // Fork's part of it is not modelled.
#[path = "../../../core/src/sync/mutex.rs"]
mod mutex;
#[allow(dead_code)] // Nor is who reads it from outside.
#[path = "../../../core/src/sync/once.rs"]
mod once;

pub mod atomic;

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::Ordering;
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

/// Two words that are the same whenever nobody has the lock.
struct Pair(atomic::AtomicU64, atomic::AtomicU64);

type Shared = Mutex<Pair>;

/// What a reader outside the process does, which has only addresses: two words, if
/// they are of one moment.
#[allow(unsafe_code)] // Looks beside a lock.
fn copy(lock: &Shared) -> Option<(u64, u64)> {
    let start = std::ptr::from_ref(lock).cast::<u8>();
    // SAFETY: what stands there in a lock, all of it atomic.
    let (generation, pair) = unsafe {
        let generation = start.add(Shared::GENERATION_AT);
        let pair = start.add(Shared::VALUE_AT);
        (
            &*generation.cast::<atomic::AtomicU32>(),
            &*pair.cast::<Pair>(),
        )
    };
    let before = generation.load(Ordering::Acquire);
    if before % 2 != 0 {
        return None;
    }
    let words = (
        pair.0.load(Ordering::Relaxed),
        pair.1.load(Ordering::Relaxed),
    );
    atomic::fence(Ordering::Acquire);
    (generation.load(Ordering::Relaxed) == before).then_some(words)
}

#[test]
fn a_copy_between_two_equal_even_generations_is_of_one_moment() {
    static SEEN: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    explore(3, || {
        let pair = Pair(atomic::AtomicU64::new(0), atomic::AtomicU64::new(0));
        let lock = Arc::new(Shared::new(Rank::Central, pair));
        // Loom wants its words to be there before the threads.
        assert_eq!(copy(&lock), Some((0, 0)));
        drop(lock.lock());
        let reader = {
            let lock = Arc::clone(&lock);
            thread::spawn(move || {
                if let Some((first, second)) = copy(&lock) {
                    assert_eq!(first, second);
                    SEEN.fetch_or(1 << first, std::sync::atomic::Ordering::Relaxed);
                }
            })
        };
        for next in 1..=2 {
            let pair = lock.lock();
            pair.0.store(next, Ordering::Relaxed);
            pair.1.store(next, Ordering::Relaxed);
        }
        reader.join().expect("no panic");
        assert_eq!(copy(&lock), Some((2, 2)), "nobody has the lock");
    });
    let seen = SEEN.load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!(seen, 0b111, "readers come before, between and after");
}

#[test]
fn a_fork_leaves_the_generation_even() {
    explore(2, || {
        let pair = Pair(atomic::AtomicU64::new(0), atomic::AtomicU64::new(0));
        let lock = Shared::new(Rank::Central, pair);
        lock.lock_for_fork();
        assert_eq!(copy(&lock), None);
        unlock_after_fork(&lock);
        assert_eq!(copy(&lock), Some((0, 0)));
    });
}

#[allow(unsafe_code)] // Passes a contract on.
fn unlock_after_fork(lock: &Shared) {
    // SAFETY: the caller has locked it for a fork.
    unsafe { lock.unlock_after_fork() };
}
