//! The scavenger: who gives memory back, and when.
//!
//! A process with threads gets one more, which takes a turn (`scavenge.rs`)
//! several times in the time that unused memory waits, and sleeps without a
//! timeout where a turn left nothing to become idle. A process with one thread,
//! or without luck in starting another, gives back in the call that leaves too
//! much unused.
//!
//! # States
//! *Absent* → *starting* → *running* → *gone*; a start that fails leads back to
//! absent, and so does fork in the child. *Off* is for good.
//! - Who finds it absent, in an allocation's slow path and with no lock held,
//!   may make it *starting*, and then alone starts the thread. Never a free:
//!   libc frees while it holds the lock that pthread_create(3) takes.
//! - *Gone*: the main thread ends, and the process ends with its last thread.
//!   That must not be ours, so it returns, and the main thread waits for it.
//!
//! # Sleeping
//! The thread sets `sleep` to *asleep*, takes another turn, and only then sleeps.
//! Who frees or allocates on a slow path looks at it afterwards. The turn takes
//! every lock of the tiers: so either it comes after that section and sees what
//! was freed, or that section comes after it and its thread sees *asleep*. The
//! fast paths need not look: the turn
//! left the caches empty and without room, so that they lead to a slow path.
//! What went through slow paths counts up to [`WAKE_BYTES`] before it wakes
//! anyone.
//!
//! Lock: none; the turn takes those it needs.
#![allow(unsafe_code)] // The type of a thread's entry.

use core::ffi::c_void;
use core::ptr::null_mut;

use super::scavenge::Turns;
use super::{HEAP, Heap};
use crate::demand::TURNS;
use crate::os;
use crate::page_heap::PageHeap;
use crate::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};

const ABSENT: u32 = 0;
const STARTING: u32 = 1;
const RUNNING: u32 = 2;
const GONE: u32 = 3;
const OFF: u32 = 4;

/// The thread works, or waits for its next turn.
const AWAKE: u32 = 0;
/// It sleeps until it is woken, or is about to.
const ASLEEP: u32 = 1;
/// It has to go.
const LEAVING: u32 = 2;

/// A thread is started for a heap of at least this address space: a smaller
/// one keeps nothing that is worth it.
const START_BYTES: usize = 8 << 20;

/// After a start that failed, so many slow allocations pass before the next.
const START_PAUSE: u32 = 1 << 12;

/// The same, where there was no other thread.
const ALONE_PAUSE: u32 = 32;

/// Wakes the thread: less may stay where it is.
const WAKE_BYTES: usize = 256 << 10;

/// Without a thread, what is unused is looked at each time that so much was
/// freed: a share of what lives, but within these bounds.
const LOOK_BYTES: (usize, usize) = (256 << 10, 1 << 20);
const LOOK_SHARE: usize = 128;

/// A turn takes place at least this long after another, in nanoseconds.
const SHORTEST_TURN: u64 = 1_000_000;

/// The system may wake the thread so much later, to save a wake-up.
const SLACK_SHARE: u64 = 8;

/// The thread's name in `top -H`.
const NAME: &core::ffi::CStr = c"thmalloc-scav";

/// The state of the scavenger.
pub struct Scavenger {
    state: AtomicU32,
    sleep: AtomicU32,
    /// Bytes that went through slow paths while it slept.
    traffic: AtomicUsize,
    /// Bytes freed by slow paths since somebody looked, without a thread.
    freed: AtomicUsize,
    /// When somebody looks next; 0: nobody has yet.
    look_bytes: AtomicUsize,
    /// Slow allocations to pass before the next start.
    pause: AtomicU32,
    /// How long unused memory waits, in nanoseconds.
    delay: AtomicU64,
    /// Will the end of the main thread be noticed?
    watching: AtomicBool,
    /// The thread, while it is running.
    thread: AtomicU64,
}

impl Scavenger {
    /// Absent.
    pub const fn new() -> Self {
        Self {
            state: AtomicU32::new(ABSENT),
            sleep: AtomicU32::new(AWAKE),
            traffic: AtomicUsize::new(0),
            freed: AtomicUsize::new(0),
            look_bytes: AtomicUsize::new(0),
            pause: AtomicU32::new(0),
            delay: AtomicU64::new(0),
            watching: AtomicBool::new(false),
            thread: AtomicU64::new(0),
        }
    }

    /// Sets how long unused memory waits, in milliseconds; `None`: for good.
    pub fn configure(&self, delay: Option<u32>) {
        // Relaxed, both: start-up publishes them.
        match delay {
            Some(delay) => self
                .delay
                .store(u64::from(delay) * 1_000_000, Ordering::Relaxed),
            None => self.state.store(OFF, Ordering::Relaxed),
        }
    }

    /// Has the end of the main thread noticed, if that is the caller. Libc may
    /// allocate.
    pub fn watch_main_thread(&self) {
        extern "C" fn ended(_: *mut c_void) {
            HEAP.scavenger.leave();
        }
        if os::is_main_thread() && os::watch_main_thread(ended) {
            // Relaxed: who sees it late starts no thread meanwhile.
            self.watching.store(true, Ordering::Relaxed);
        }
    }

    /// The main thread ends: no thread of ours may keep the process alive.
    fn leave(&self) {
        if self.state.load(Ordering::Relaxed) == OFF {
            return;
        }
        // SeqCst, both: in this order, against the thread's, which writes
        // `sleep`, looks at `state`, and sleeps only on what it has written.
        let before = self.state.swap(GONE, Ordering::SeqCst);
        self.sleep.store(LEAVING, Ordering::SeqCst);
        os::futex_wake_one(&self.sleep);
        if before == RUNNING {
            // Relaxed: written before the state, which the swap has seen.
            os::join_thread(self.thread.load(Ordering::Relaxed));
        }
    }

    fn wake(&self) {
        // Relaxed: what the thread is woken for it sees under the locks.
        let woken =
            self.sleep
                .compare_exchange(ASLEEP, AWAKE, Ordering::Relaxed, Ordering::Relaxed);
        if woken.is_ok() {
            os::futex_wake_one(&self.sleep);
        }
    }

    /// In the child of a fork, where no thread is left but this one.
    pub fn reset_after_fork(&self) {
        let off = self.state.load(Ordering::Relaxed) == OFF;
        self.state
            .store(if off { OFF } else { ABSENT }, Ordering::Relaxed);
        self.sleep.store(AWAKE, Ordering::Relaxed);
        self.pause.store(0, Ordering::Relaxed);
        if self.watching.load(Ordering::Relaxed) {
            let watching = os::watch_this_thread();
            self.watching.store(watching, Ordering::Relaxed);
        }
    }

    /// Is it time to start a thread? Called by slow allocations.
    fn may_start(&self, pages: &PageHeap) -> bool {
        if os::is_single_threaded() || pages.mapped_bytes() < START_BYTES {
            return false;
        }
        // Relaxed: a pause that is a little off is none the worse.
        let pause = self.pause.load(Ordering::Relaxed);
        if pause != 0 {
            self.pause.store(pause - 1, Ordering::Relaxed);
            return false;
        }
        self.watching.load(Ordering::Relaxed)
    }

    #[cold]
    fn start(&self) {
        // Relaxed: only one is to go on from here; what it does is published by
        // starting the thread.
        let mine =
            self.state
                .compare_exchange(ABSENT, STARTING, Ordering::Relaxed, Ordering::Relaxed);
        if mine.is_err() {
            return;
        }
        // Threads that have ended do not count, nor those before a fork. The
        // first may be about to begin: it allocates for it.
        let alone = os::is_only_thread();
        let pause = if alone { ALONE_PAUSE } else { START_PAUSE };
        self.pause.store(pause, Ordering::Relaxed);
        let started = match alone {
            true => None,
            false => os::start_thread(entry),
        };
        if let Some(thread) = started {
            // Relaxed: published by the state.
            self.thread.store(thread, Ordering::Relaxed);
        }
        let next = if started.is_some() { RUNNING } else { ABSENT };
        // Release: pairs with the swap in `leave`, for `thread`, and with the
        // load in `run_scavenger`. A failure means that the main thread has
        // ended meanwhile, and found no thread to wait for.
        let late = self
            .state
            .compare_exchange(STARTING, next, Ordering::Release, Ordering::Relaxed)
            .is_err();
        os::futex_wake_all(&self.state);
        if late && let Some(thread) = started {
            os::join_thread(thread);
        }
    }

    /// Bytes went through a slow path.
    #[inline]
    fn note_traffic(&self, bytes: usize) {
        // Relaxed: see the module's header for what orders it.
        if self.sleep.load(Ordering::Relaxed) == ASLEEP {
            self.count_traffic(bytes);
        }
    }

    /// As [`Scavenger::note_traffic`], while the thread sleeps.
    #[cold]
    fn count_traffic(&self, bytes: usize) {
        // Relaxed: a sum.
        let before = self.traffic.fetch_add(bytes, Ordering::Relaxed);
        if before + bytes >= WAKE_BYTES {
            self.wake();
        }
    }
}

extern "C" fn entry(_: *mut c_void) -> *mut c_void {
    HEAP.run_scavenger();
    null_mut()
}

impl Heap {
    /// After an allocation on a slow path, with no lock held.
    #[inline]
    pub(super) fn after_allocation(&self, bytes: usize) {
        // Relaxed: a thread that just started looks for itself.
        match self.scavenger.state.load(Ordering::Relaxed) {
            RUNNING => self.scavenger.note_traffic(bytes),
            ABSENT if self.scavenger.may_start(&self.pages) => {
                self.scavenger.start();
            }
            _ => {}
        }
    }

    /// After a free on a slow path, with no lock held.
    #[inline]
    pub(super) fn after_free(&self, bytes: usize) {
        // Relaxed: as above.
        match self.scavenger.state.load(Ordering::Relaxed) {
            RUNNING => self.scavenger.note_traffic(bytes),
            OFF => {}
            _ => {
                // Relaxed: a sum, of this thread's mostly, and a bound for it.
                let freed = &self.scavenger.freed;
                let look = &self.scavenger.look_bytes;
                let sum = freed.fetch_add(bytes, Ordering::Relaxed) + bytes;
                let next = match look.load(Ordering::Relaxed) {
                    0 => LOOK_BYTES.1,
                    next => next,
                };
                if sum >= next {
                    freed.store(0, Ordering::Relaxed);
                    let live = self.release_in_line().unwrap_or(usize::MAX);
                    let next = (live / LOOK_SHARE).clamp(LOOK_BYTES.0, LOOK_BYTES.1);
                    look.store(next, Ordering::Relaxed);
                }
            }
        }
    }

    /// What the scavenger's thread does until it has to go.
    fn run_scavenger(&self) {
        let scavenger = &self.scavenger;
        // Acquire: pairs with the Release in `start`, which is not through yet.
        while scavenger.state.load(Ordering::Acquire) == STARTING {
            os::futex_wait(&scavenger.state, STARTING);
        }
        os::leave_cpus_to_main_thread();
        let delay = scavenger.delay.load(Ordering::Relaxed);
        let turn = (delay / TURNS as u64).max(SHORTEST_TURN);
        os::name_thread(NAME, (turn / SLACK_SHARE) as usize);
        let mut turns = Turns::new();
        // SeqCst, here and below: see `leave`.
        while scavenger.state.load(Ordering::SeqCst) == RUNNING {
            let mut left = self.turn(&mut turns);
            if !left {
                scavenger.traffic.store(0, Ordering::Relaxed);
                scavenger.sleep.store(ASLEEP, Ordering::SeqCst);
                left = self.turn(&mut turns);
            }
            if left {
                scavenger.sleep.store(AWAKE, Ordering::SeqCst);
            }
            if scavenger.state.load(Ordering::SeqCst) != RUNNING {
                return;
            }
            match left {
                true => os::futex_wait_for(&scavenger.sleep, AWAKE, turns.stretch(turn)),
                false => os::futex_wait(&scavenger.sleep, ASLEEP),
            }
        }
    }
}
