//! When the scavenger's thread starts, sleeps and leaves: its own source, on
//! loom's atomics, a futex of condition variables and threads that may be
//! refused. The heap below it is two counts under two locks.
//!
//! A thread that sleeps for good, or waits for one that does, is a deadlock,
//! which loom finds.

#[allow(dead_code)] // Fork's part of it: the threads of a model do not vanish.
#[path = "../../../core/src/heap/scavenger.rs"]
mod source;

use loom::sync::{Condvar, Mutex};

use crate::explore;
use crate::os::{self, spawn};
use crate::sync::atomic::{Fences, forget_last_read, set_fences};
use demand::{FIRST_LOOK, Look};
use source::Scavenger;

/// Stands in for `heap/scavenge.rs`.
mod scavenge {
    /// What the thread remembers.
    pub struct Turns;

    impl Turns {
        /// Nothing.
        pub const fn new() -> Self {
            Self
        }

        /// A time as it is to be waited.
        pub const fn stretch(&self, time: u64) -> u64 {
            time
        }
    }

    /// What readers outside see.
    pub struct Schedule;

    impl Schedule {
        /// Nothing that a model sees.
        pub const fn note_sleep(&self, _wait: Option<u64>) {}
    }
}

/// Stands in for `crates/core/src/demand.rs`.
pub mod demand {
    /// Turns in which something must have been unused.
    pub const TURNS: usize = 4;

    /// When to look next.
    pub struct Look {
        pub bytes: usize,
        pub objects: usize,
    }

    /// The first look.
    pub const FIRST_LOOK: Look = Look {
        bytes: 1 << 20,
        objects: 1 << 14,
    };
}

/// Stands in for `crates/core/src/region.rs`.
pub mod region {
    /// A region.
    pub const REGION_BYTES: usize = 2 << 20;
}

/// Stands in for `crates/core/src/page_heap`.
pub mod page_heap {
    /// One that is large enough for a thread.
    pub struct PageHeap;

    impl PageHeap {
        /// So large.
        pub const fn mapped_bytes(&self) -> usize {
            1 << 30
        }
    }
}

/// What wakes the thread; `WAKE_BYTES` in the source.
const ENOUGH: usize = 256 << 10;

loom::lazy_static! {
    static ref HEAP: Heap = Heap {
        scavenger: Scavenger::new(),
        schedule: scavenge::Schedule,
        pages: page_heap::PageHeap,
        central: Mutex::new(Central { unused: 0, idle: 0 }),
        given_back: Condvar::new(),
        cache: Mutex::new(Cache { objects: 0, room: true }),
        trims: Mutex::new(0),
        trimmed: Condvar::new(),
    };
}

struct Heap {
    scavenger: Scavenger,
    schedule: scavenge::Schedule,
    pages: page_heap::PageHeap,
    central: Mutex<Central>,
    given_back: Condvar,
    cache: Mutex<Cache>,
    /// How often everything was given back at once.
    trims: Mutex<usize>,
    trimmed: Condvar,
}

struct Central {
    /// Bytes that could be given back.
    unused: usize,
    /// Those of them that were so at the last turn.
    idle: usize,
}

struct Cache {
    /// Bytes that the fast path put there.
    objects: usize,
    room: bool,
}

/// Takes a lock. It stands for the core's, which has a model of its own.
fn lock<T>(lock: &Mutex<T>) -> loom::sync::MutexGuard<'_, T> {
    forget_last_read();
    lock.lock().expect("never poisoned")
}

impl Heap {
    /// `Heap::turn`: what was unused at the last one is given back; the cache
    /// comes down, after the tier below it, and has no room from then on.
    fn turn(&self, _turns: &mut scavenge::Turns) -> bool {
        let mut left = {
            let mut central = lock(&self.central);
            central.unused -= central.idle;
            central.idle = central.unused;
            self.given_back.notify_all();
            central.unused != 0
        };
        let objects = {
            let mut cache = lock(&self.cache);
            cache.room = false;
            std::mem::take(&mut cache.objects)
        };
        if objects != 0 {
            lock(&self.central).unused += objects;
            left = true;
        }
        left
    }

    /// `Heap::keep_inherited`: no protocol of its own.
    fn keep_inherited(&self) {}

    /// `Heap::trim`.
    fn trim(&self) -> usize {
        *lock(&self.trims) += 1;
        self.trimmed.notify_all();
        0
    }

    /// Waits until everything was given back so often.
    fn wait_until_trimmed(&self, count: usize) {
        let mut trims = lock(&self.trims);
        while *trims < count {
            trims = self.trimmed.wait(trims).expect("never poisoned");
        }
    }

    /// `Heap::release_in_line`, by whoever frees.
    fn release_in_line(&self, _freed: usize) -> Look {
        let mut central = lock(&self.central);
        (central.unused, central.idle) = (0, 0);
        self.given_back.notify_all();
        FIRST_LOOK
    }

    /// A free: into the cache, and where that has no room below it.
    fn free(&self, bytes: usize) {
        {
            let mut cache = lock(&self.cache);
            if cache.room {
                cache.objects += bytes;
                return;
            }
        }
        self.free_large(bytes);
    }

    /// A free on the slow path.
    fn free_large(&self, bytes: usize) {
        lock(&self.central).unused += bytes;
        self.after_free(bytes, 1);
    }

    /// An allocation on the slow path, as far as it matters here.
    fn allocate(&self) {
        self.after_allocation(1);
    }

    /// Waits until less is unused than wakes the thread.
    fn wait_until_given_back(&self) {
        let mut central = lock(&self.central);
        while central.unused + lock(&self.cache).objects >= ENOUGH {
            central = self.given_back.wait(central).expect("never poisoned");
        }
    }
}

/// Explores what a process does, whose main thread runs `main`: with `SeqCst` as
/// it is compiled for some processors, and as for the others.
fn explore_process(preemptions: usize, main: impl Fn() + Copy + Send + Sync + 'static) {
    for fences in [Fences::Leading, Fences::Trailing] {
        set_fences(fences);
        explore(preemptions, move || {
            HEAP.scavenger.configure(Some(1));
            HEAP.scavenger.watch_main_thread();
            main();
            os::wait_for_all();
        });
    }
}

/// Runs `others` beside a scavenger that was just started; then nobody calls
/// any more, until what they freed was given back.
fn explore_frees<const N: usize>(preemptions: usize, others: [fn(); N]) {
    explore_process(preemptions, move || {
        os::have_an_idle_thread();
        HEAP.allocate();
        assert_eq!(os::started_count(), 1);
        for other in others.map(spawn) {
            other.join().expect("no panic");
        }
        HEAP.wait_until_given_back();
        os::end_main_thread();
        assert_eq!(os::running_count(), 0);
    });
}

#[test]
fn what_is_freed_is_given_back_though_nobody_calls_again() {
    explore_frees(3, [|| HEAP.free_large(ENOUGH)]);
}

#[test]
fn what_two_threads_free_adds_up() {
    explore_frees(2, [|| HEAP.free_large(ENOUGH / 2); 2]);
}

#[test]
fn the_fast_path_need_not_look_whether_the_thread_sleeps() {
    explore_frees(
        2,
        [|| {
            HEAP.free(ENOUGH / 2);
            HEAP.free(ENOUGH / 2);
        }],
    );
}

#[test]
fn the_main_thread_ends_at_any_time_and_waits_for_the_scavenger() {
    explore_process(2, || {
        let other = spawn(|| {
            HEAP.free_large(ENOUGH);
            HEAP.free_large(ENOUGH);
        });
        HEAP.allocate();
        os::end_main_thread();
        assert_eq!(os::running_count(), 0);
        other.join().expect("no panic");
    });
}

/// Two threads find the scavenger absent while the main thread ends.
fn explore_starts_at_the_end(preemptions: usize, then: fn()) {
    explore_process(preemptions, move || {
        let others = [(); 2].map(|()| spawn(|| HEAP.allocate()));
        os::end_main_thread();
        for other in others {
            other.join().expect("no panic");
        }
        os::wait_for_all();
        then();
    });
}

#[test]
fn two_threads_start_one_and_the_main_thread_ends_meanwhile() {
    explore_starts_at_the_end(3, || assert!(os::started_count() <= 1));
}

#[test]
fn the_last_thread_of_a_process_is_its_own() {
    explore_starts_at_the_end(2, || assert!(!os::outlived_the_program()));
}

#[test]
fn two_threads_start_one_where_a_start_fails() {
    explore_process(2, || {
        os::refuse_threads(1);
        let other = spawn(|| HEAP.allocate());
        HEAP.allocate();
        other.join().expect("no panic");
        assert!(os::started_count() <= 1);
        os::end_main_thread();
        assert_eq!(os::running_count(), 0);
    });
}

#[test]
fn the_main_thread_ends_while_a_start_fails() {
    explore_process(3, || {
        os::refuse_threads(1);
        let other = spawn(|| HEAP.allocate());
        os::end_main_thread();
        other.join().expect("no panic");
        assert_eq!(os::started_count(), 0);
    });
}

#[test]
fn after_a_start_that_failed_comes_another() {
    explore_process(1, || {
        HEAP.allocate();
        assert_eq!(os::started_count(), 0, "with one thread");
        os::have_an_idle_thread();
        for _ in 0..40 {
            HEAP.allocate();
        }
        assert_eq!(os::started_count(), 1);
        os::end_main_thread();
        assert_eq!(os::running_count(), 0);
    });
}

/// Another process asks for everything to be given back.
fn ask() {
    HEAP.scavenger.ask();
    os::interrupt();
}

#[test]
fn a_request_is_served_by_a_thread_that_sleeps_or_is_about_to() {
    explore_process(3, || {
        os::have_an_idle_thread();
        HEAP.allocate();
        ask();
        HEAP.wait_until_trimmed(1);
        os::end_main_thread();
        assert_eq!(os::running_count(), 0);
    });
}

#[test]
fn a_request_that_gets_no_further_than_its_words_loses_no_wake() {
    explore_process(2, || {
        os::have_an_idle_thread();
        HEAP.allocate();
        HEAP.scavenger.ask();
        HEAP.free_large(ENOUGH);
        HEAP.wait_until_given_back();
        os::end_main_thread();
        assert_eq!(os::running_count(), 0);
    });
}

#[test]
fn without_a_thread_a_request_is_served_once_by_whoever_comes_by() {
    explore_process(3, || {
        ask();
        let other = spawn(|| HEAP.free_large(1));
        HEAP.free_large(1);
        other.join().expect("no panic");
        assert_eq!(*lock(&HEAP.trims), 1);
        ask();
        HEAP.free_large(1);
        assert_eq!(*lock(&HEAP.trims), 2);
        os::end_main_thread();
    });
}

#[test]
fn off_is_for_good() {
    explore_process(3, || {
        HEAP.scavenger.configure(None);
        let other = spawn(|| HEAP.allocate());
        HEAP.allocate();
        os::end_main_thread();
        other.join().expect("no panic");
        assert_eq!(os::started_count(), 0);
    });
}
