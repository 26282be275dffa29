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
//! # Requests from outside
//! Another process that may write to this one's memory asks for everything to be
//! given back: it writes `request`, then *asked* to `sleep`, and has the system
//! restart the thread's wait, which then finds another word than it sleeps on. The
//! thread looks at `request` after it has written `sleep`, so it does not sleep
//! over one. Where there is no thread, whoever next comes through a slow path
//! serves it. `claimed` says who: one caller for each request.
//!
//! Lock: none; the turn takes those it needs.
#![allow(unsafe_code)] // The type of a thread's entry.

use core::ffi::c_void;
use core::mem::offset_of;
use core::ptr::null_mut;

use thmalloc_format::{self as format, ScavengerLayout};

use super::scavenge::Turns;
use super::{HEAP, Heap};
use crate::demand::{FIRST_LOOK, Look, TURNS};
use crate::os;
use crate::page_heap::PageHeap;
use crate::region::REGION_BYTES;
use crate::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};

const ABSENT: u32 = format::SCAVENGER_ABSENT;
const STARTING: u32 = format::SCAVENGER_STARTING;
const RUNNING: u32 = format::SCAVENGER_RUNNING;
const GONE: u32 = format::SCAVENGER_GONE;
const OFF: u32 = format::SCAVENGER_OFF;

/// The thread works, or waits for its next turn.
const AWAKE: u32 = format::SLEEP_AWAKE;
/// It sleeps until it is woken, or is about to.
const ASLEEP: u32 = format::SLEEP_ASLEEP;
/// It has to go.
const LEAVING: u32 = format::SLEEP_LEAVING;
/// Somebody outside has written a request. Only they write this.
const ASKED: u32 = format::SLEEP_ASKED;

/// A process with threads has its memory given back from this address space on:
/// a heap of two regions keeps no more than 4 MiB.
const START_BYTES: usize = 3 * REGION_BYTES;

/// After a start that failed, so many slow allocations pass before the next.
const START_PAUSE: u32 = 1 << 12;

/// The same, where there was no other thread.
const ALONE_PAUSE: u32 = 32;

/// Wakes the thread: less may stay where it is.
const WAKE_BYTES: usize = 256 << 10;

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
    /// Bytes and objects freed by slow paths since somebody looked, without a
    /// thread.
    freed_bytes: AtomicUsize,
    freed_objects: AtomicUsize,
    /// How many of either pass until somebody looks next; 0: nobody has yet.
    look_bytes: AtomicUsize,
    look_objects: AtomicUsize,
    /// What is remembered of looks is the parent's.
    inherits: AtomicBool,
    /// Slow allocations to pass before the next start.
    pause: AtomicU32,
    /// How long unused memory waits, in nanoseconds.
    delay: AtomicU64,
    /// Will the end of the main thread be noticed?
    watching: AtomicBool,
    /// The thread, while it is running.
    thread: AtomicU64,
    /// Its number in the system; 0: there is none.
    number: AtomicU32,
    /// The last request from outside; the last that somebody set out to serve, and
    /// the last that was served, with what it brought in bytes.
    request: AtomicU32,
    claimed: AtomicU32,
    served: AtomicU32,
    served_bytes: AtomicU64,
}

impl Scavenger {
    /// Where a reader finds its words; 0 for those that stand elsewhere.
    pub const LAYOUT: ScavengerLayout = ScavengerLayout {
        state_at: offset_of!(Self, state) as u32,
        sleep_at: offset_of!(Self, sleep) as u32,
        delay_at: offset_of!(Self, delay) as u32,
        turn_ended_at: 0,
        next_turn_at: 0,
        released_at: 0,
        released_when_at: 0,
        refaulted_at: 0,
        request_at: offset_of!(Self, request) as u32,
        served_at: offset_of!(Self, served) as u32,
        served_bytes_at: offset_of!(Self, served_bytes) as u32,
        thread_at: offset_of!(Self, number) as u32,
    };

    /// Absent.
    pub const fn new() -> Self {
        Self {
            state: AtomicU32::new(ABSENT),
            sleep: AtomicU32::new(AWAKE),
            traffic: AtomicUsize::new(0),
            freed_bytes: AtomicUsize::new(0),
            freed_objects: AtomicUsize::new(0),
            look_bytes: AtomicUsize::new(0),
            look_objects: AtomicUsize::new(0),
            inherits: AtomicBool::new(false),
            pause: AtomicU32::new(0),
            delay: AtomicU64::new(0),
            watching: AtomicBool::new(false),
            thread: AtomicU64::new(0),
            number: AtomicU32::new(0),
            request: AtomicU32::new(0),
            claimed: AtomicU32::new(0),
            served: AtomicU32::new(0),
            served_bytes: AtomicU64::new(0),
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
        // Who has asked may not have got as far as the thread's wait.
        for word in [ASLEEP, ASKED] {
            // Relaxed: what the thread is woken for it sees under the locks.
            let woken =
                self.sleep
                    .compare_exchange(word, AWAKE, Ordering::Relaxed, Ordering::Relaxed);
            if woken.is_ok() {
                return os::futex_wake_one(&self.sleep);
            }
        }
    }

    /// Is memory to be given back at all?
    pub(super) fn may_release(&self) -> bool {
        // Relaxed: set once, at start-up.
        self.state.load(Ordering::Relaxed) != OFF
    }

    /// Is there a request that nobody serves?
    fn is_asked(&self) -> bool {
        // SeqCst: the thread has written `sleep` before, as in `leave`; whoever
        // asks writes in the other order. Relaxed: a number that only grows.
        self.request.load(Ordering::SeqCst) != self.claimed.load(Ordering::Relaxed)
    }

    /// Takes it on oneself to serve the last request, if there is one that nobody
    /// serves: its number.
    #[must_use]
    fn claim(&self) -> Option<u32> {
        // Relaxed, all: the caller wins or loses by this word alone, and needs
        // nothing else of whoever asked.
        let asked = self.request.load(Ordering::Relaxed);
        let before = self.claimed.load(Ordering::Relaxed);
        let mine = asked != before
            && self
                .claimed
                .compare_exchange(before, asked, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        mine.then_some(asked)
    }

    /// The request of that number brought so many bytes.
    fn note_served(&self, request: u32, bytes: usize) {
        // Relaxed: published by the next store.
        self.served_bytes.store(bytes as u64, Ordering::Relaxed);
        // Release: pairs with the read of whoever asked, who looks at the bytes
        // after it.
        self.served.store(request, Ordering::Release);
    }

    /// What another process writes that asks for everything to be given back.
    #[cfg(test)]
    #[allow(dead_code, reason = "the models call it")]
    pub fn ask(&self) {
        let request = self.request.load(Ordering::Relaxed);
        // SeqCst, both: other processes write by system calls.
        self.request.store(request + 1, Ordering::SeqCst);
        self.sleep.store(ASKED, Ordering::SeqCst);
    }

    /// In the child of a fork, where no thread is left but this one.
    pub fn reset_after_fork(&self) {
        let off = self.state.load(Ordering::Relaxed) == OFF;
        self.state
            .store(if off { OFF } else { ABSENT }, Ordering::Relaxed);
        self.sleep.store(AWAKE, Ordering::Relaxed);
        self.pause.store(0, Ordering::Relaxed);
        self.number.store(0, Ordering::Relaxed);
        // Whoever was at a request is not here.
        let served = self.served.load(Ordering::Relaxed);
        self.claimed.store(served, Ordering::Relaxed);
        if self.watching.load(Ordering::Relaxed) {
            let watching = os::watch_this_thread();
            self.watching.store(watching, Ordering::Relaxed);
        }
    }

    /// In the child of a fork: what its parent's load wants again says nothing of its
    /// own. Takes no lock: a handler of a signal may have forked amid a look.
    pub fn forget_load(&self) {
        // Relaxed, all: one thread is left.
        if self.look_bytes.load(Ordering::Relaxed) != 0 {
            self.freed_bytes.store(0, Ordering::Relaxed);
            self.freed_objects.store(0, Ordering::Relaxed);
            self.look_bytes.store(0, Ordering::Relaxed);
            self.inherits.store(true, Ordering::Relaxed);
        }
    }

    /// Is what is remembered of looks the parent's? It is so once: the caller forgets
    /// it, and has the lock that it stands in.
    pub(super) fn takes_over(&self) -> bool {
        // Relaxed, both: set before there was a second thread.
        let inherits = self.inherits.load(Ordering::Relaxed);
        if inherits {
            self.inherits.store(false, Ordering::Relaxed);
        }
        inherits
    }

    /// Is it time to start a thread? Called by slow allocations.
    fn may_start(&self, pages: &PageHeap) -> bool {
        if os::is_single_threaded() || is_small(pages) {
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
        if self.sleep.load(Ordering::Relaxed) != AWAKE {
            self.count_traffic(bytes);
        }
    }

    /// Counts what was freed where there is no thread. Returns how many objects
    /// were, if it is time to look at what is unused.
    #[inline]
    fn note_freed(&self, bytes: usize, objects: usize) -> Option<usize> {
        // Relaxed, all: sums, of one thread's mostly, and bounds for them.
        let sum = |sum: &AtomicUsize, more| sum.fetch_add(more, Ordering::Relaxed) + more;
        let bytes = sum(&self.freed_bytes, bytes);
        let objects = sum(&self.freed_objects, objects);
        let (look_bytes, look_objects) = match self.look_bytes.load(Ordering::Relaxed) {
            0 => (FIRST_LOOK.bytes, FIRST_LOOK.objects),
            bytes => (bytes, self.look_objects.load(Ordering::Relaxed)),
        };
        if bytes < look_bytes && objects < look_objects {
            return None;
        }
        self.freed_bytes.store(0, Ordering::Relaxed);
        self.freed_objects.store(0, Ordering::Relaxed);
        Some(objects)
    }

    /// Sets when somebody looks next.
    fn set_look(&self, look: Look) {
        // Relaxed: as above.
        self.look_bytes.store(look.bytes, Ordering::Relaxed);
        self.look_objects.store(look.objects, Ordering::Relaxed);
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

/// Is the heap too small for a thread?
fn is_small(pages: &PageHeap) -> bool {
    pages.mapped_bytes() < START_BYTES
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
            _ => self.serve_request(),
        }
    }

    /// Gives everything back if somebody outside asks for it.
    #[inline]
    fn serve_request(&self) {
        if self.scavenger.is_asked() {
            self.serve_claimed();
        }
    }

    #[cold]
    fn serve_claimed(&self) {
        if let Some(request) = self.scavenger.claim() {
            let bytes = self.trim();
            self.scavenger.note_served(request, bytes);
        }
    }

    /// After a free of so many objects, and bytes, on a slow path, with no lock
    /// held.
    #[inline]
    pub(super) fn after_free(&self, bytes: usize, objects: usize) {
        // Relaxed: as above.
        match self.scavenger.state.load(Ordering::Relaxed) {
            RUNNING => self.scavenger.note_traffic(bytes),
            OFF => self.serve_request(),
            _ => {
                self.serve_request();
                if let Some(freed) = self.scavenger.note_freed(bytes, objects)
                    && (os::is_single_threaded() || !is_small(&self.pages))
                {
                    // From here on, a child has something to forget.
                    self.scavenger.set_look(FIRST_LOOK);
                    let next = self.release_in_line(freed);
                    self.scavenger.set_look(next);
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
        // Relaxed: for readers outside.
        scavenger
            .number
            .store(os::thread_number(), Ordering::Relaxed);
        self.keep_inherited();
        let mut turns = Turns::new();
        // SeqCst, here and below: see `leave`.
        while scavenger.state.load(Ordering::SeqCst) == RUNNING {
            self.serve_request();
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
                break;
            }
            if scavenger.is_asked() {
                continue;
            }
            let wait = turns.stretch(turn);
            self.schedule.note_sleep(left.then_some(wait));
            match left {
                true => os::futex_wait_for(&scavenger.sleep, AWAKE, wait),
                false => os::futex_wait(&scavenger.sleep, ASLEEP),
            }
        }
        // Relaxed: as above.
        scavenger.number.store(0, Ordering::Relaxed);
    }
}
