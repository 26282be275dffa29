//! A lock over a value: one word, no allocation, sleeps on a futex.
//!
//! Always: a thread takes only a lock whose [`Rank`] is above that of every
//! lock it holds; builds with debug assertions check it. The word is 0
//! (unlocked), 1 (locked) or 2 (locked, and somebody may sleep): Drepper,
//! "Futexes Are Tricky", mutex 3.
//!
//! # The generation
//! Beside the word stands a count that is odd while somebody holds the lock, and
//! another each time. Only the holder writes it: odd before it writes anything
//! that the lock guards, even after that and before it lets the lock go. So
//! whoever copies what is guarded without the lock, from another process, knows
//! that its copy is of one moment if it finds the same even number before and
//! after. (Boehm, "Can Seqlocks Get Along With Programming Language Memory
//! Models?", 2012.) Fork takes locks and lets them go like anybody, so the
//! numbers are right in the child, too.
#![allow(unsafe_code)] // A lock hands out references to what it guards.

use core::cell::UnsafeCell;
use core::mem::offset_of;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::compiler_fence;

use super::atomic::{AtomicU32, Ordering, fence};
use crate::{fatal, os};

/// The order in which locks are taken, first to last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Rank {
    /// One piece that is given back, or counted; checking; fork.
    Heap = 1,
    /// A CPU cache is set up.
    CacheOpening = 2,
    /// A CPU cache's slow path.
    CpuCache = 3,
    /// A size class's transfer cache.
    TransferCache = 4,
    /// A size class's central free list.
    Central = 5,
    /// The page heap.
    PageHeap = 6,
    /// The page map's growth.
    PageMap = 7,
    /// The metadata arena.
    Metadata = 8,
}

/// A value that one thread uses at a time.
pub struct Mutex<T> {
    word: AtomicU32,
    generation: AtomicU32,
    /// Only where it is checked: elsewhere a new lock over zeros is all zero.
    #[cfg(debug_assertions)]
    rank: Rank,
    value: UnsafeCell<T>,
}

// SAFETY: the value is reached only through a guard, and there is one guard at
// a time, so it moves between threads but is never shared.
unsafe impl<T: Send> Sync for Mutex<T> {}

/// How often a thread looks again before it sleeps: about the time of a batch
/// under a central lock.
const SPINS: u32 = 100;

impl<T> Mutex<T> {
    /// Where the generation stands, in bytes from the start: a `u32`.
    pub const GENERATION_AT: usize = offset_of!(Self, generation);

    /// Where the value begins, in bytes from the start.
    pub const VALUE_AT: usize = offset_of!(Self, value);

    /// An unlocked lock.
    #[cfg_attr(not(debug_assertions), expect(unused_variables))]
    pub const fn new(rank: Rank, value: T) -> Self {
        Self {
            word: AtomicU32::new(0),
            generation: AtomicU32::new(0),
            #[cfg(debug_assertions)]
            rank,
            value: UnsafeCell::new(value),
        }
    }

    /// Waits for the lock.
    #[inline]
    pub fn lock(&self) -> MutexGuard<'_, T> {
        self.enter();
        if !self.take_free() {
            self.lock_contended();
        }
        self.begin_change();
        MutexGuard { lock: self }
    }

    /// Takes the lock if nobody has it.
    #[inline]
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        if !self.take_free() {
            return None;
        }
        self.enter();
        self.begin_change();
        Some(MutexGuard { lock: self })
    }

    /// Makes a free lock the caller's; false where it is not free.
    #[inline]
    fn take_free(&self) -> bool {
        if os::is_single_threaded() {
            // Relaxed: nobody else is there but a handler of a signal, which leaves the
            // word as it found it. The fence keeps the compiler from moving what the
            // lock guards before this.
            let free = self.word.load(Ordering::Relaxed) == 0;
            if free {
                self.word.store(1, Ordering::Relaxed);
                compiler_fence(Ordering::SeqCst);
            }
            return free;
        }
        // Acquire: pairs with the Release in `unlock`; what the last holder
        // wrote is seen.
        let free = self
            .word
            .compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed);
        free.is_ok()
    }

    /// The caller has the lock, and is about to change what it guards.
    #[inline]
    fn begin_change(&self) {
        // Relaxed: only the lock's holder writes it.
        let even = self.generation.load(Ordering::Relaxed);
        self.generation
            .store(even.wrapping_add(1), Ordering::Relaxed);
        // Release: pairs with the Acquire fence of a reader, between its copy
        // and its second look: if it has copied a word that we write from here
        // on, it finds this number, or a later one.
        fence(Ordering::Release);
    }

    /// The caller has changed all that it wanted to.
    #[inline]
    fn end_change(&self) {
        // Relaxed: as above.
        let odd = self.generation.load(Ordering::Relaxed);
        // Release: pairs with the Acquire of a reader's first look: who sees this
        // number sees what was written before.
        self.generation
            .store(odd.wrapping_add(1), Ordering::Release);
    }

    /// Checks the order in which this thread takes locks.
    #[inline]
    fn enter(&self) {
        #[cfg(debug_assertions)]
        ranks::enter(self.rank);
    }

    /// The guard's owner is about to give the lock up.
    #[inline]
    fn leave(&self) {
        #[cfg(debug_assertions)]
        ranks::leave(self.rank);
    }

    #[cold]
    fn lock_contended(&self) {
        if os::is_single_threaded() {
            fatal::waits_for_itself();
        }
        for _ in 0..SPINS {
            // Relaxed: only a hint when to try.
            if self.word.load(Ordering::Relaxed) == 0 && self.take_free() {
                return;
            }
            core::hint::spin_loop();
        }
        // Acquire: as in `take_free`. From here on the word says 2, also where no
        // one else sleeps: the price is one wake too many.
        while self.word.swap(2, Ordering::Acquire) != 0 {
            os::futex_wait(&self.word, 2);
        }
    }

    #[inline]
    fn unlock(&self) {
        self.end_change();
        if os::is_single_threaded() {
            // Release: orders what the lock guards before this, for a handler of a
            // signal. Nobody sleeps on the word.
            self.word.store(0, Ordering::Release);
            return;
        }
        // Release: pairs with the Acquire in `take_free`.
        if self.word.swap(0, Ordering::Release) == 2 {
            os::futex_wake_one(&self.word);
        }
    }

    /// Locks without a guard and outside the order of ranks: for fork, which
    /// takes every lock of the heap in an order of its own that agrees with it.
    pub fn lock_for_fork(&self) {
        if !self.take_free() {
            self.lock_contended();
        }
        self.begin_change();
    }

    /// Unlocks what [`Mutex::lock_for_fork`] locked, in the parent or in the
    /// child, where no other thread is left that could sleep on it.
    ///
    /// # Safety
    /// This process, or the one it was forked from, called `lock_for_fork` and
    /// has not unlocked since.
    pub unsafe fn unlock_after_fork(&self) {
        self.unlock();
    }

    /// The value, where the caller holds the lock by `lock_for_fork`.
    ///
    /// # Safety
    /// The lock is held by `lock_for_fork` for as long as the reference lives,
    /// and no other reference to the value exists.
    #[expect(clippy::mut_from_ref, reason = "the lock is held without a guard")]
    pub unsafe fn value_during_fork(&self) -> &mut T {
        // SAFETY: by contract nobody else reaches the value.
        unsafe { &mut *self.value.get() }
    }
}

/// The right to use a [`Mutex`]'s value; ends when dropped.
pub struct MutexGuard<'a, T> {
    lock: &'a Mutex<T>,
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the guard's owner holds the lock, so nobody else reaches the
        // value.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as in `deref`.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T> Drop for MutexGuard<'_, T> {
    fn drop(&mut self) {
        self.lock.leave();
        self.lock.unlock();
    }
}

#[cfg(debug_assertions)]
mod ranks {
    use super::Rank;
    use crate::{fatal, os};

    pub fn enter(rank: Rank) {
        let held = &os::thread_locals().held_ranks;
        if held.get() >> (rank as u8) != 0 {
            fatal::inconsistent("a lock was taken out of order", rank as usize);
        }
        held.set(held.get() | 1 << rank as u8);
    }

    pub fn leave(rank: Rank) {
        let held = &os::thread_locals().held_ranks;
        held.set(held.get() & !(1 << rank as u8));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_thread_at_a_time_has_the_value() {
        static COUNTER: Mutex<u64> = Mutex::new(Rank::Central, 0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..20_000 {
                        *COUNTER.lock() += 1;
                    }
                });
            }
        });
        assert_eq!(*COUNTER.lock(), 160_000);
    }

    #[test]
    fn a_lock_that_is_held_is_not_taken_again() {
        let lock = Mutex::new(Rank::Central, ());
        let guard = lock.try_lock();
        assert!(guard.is_some());
        assert!(lock.try_lock().is_none());
        drop(guard);
        assert!(lock.try_lock().is_some());
    }
}
