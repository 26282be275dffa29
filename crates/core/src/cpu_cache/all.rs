//! What concerns the caches of all CPUs at once: giving back, looking inside, fork.
//!
//! Lock: each slot's, one at a time but for fork, which takes all.
#![allow(unsafe_code)] // Holds locks over a fork.

use super::layout::SLOT_BYTES;
use super::slot::Slot;
use super::{CpuCaches, Tiers};
use crate::os;
use crate::size_class::{MAX_BATCH, SizeClass};
use crate::sync::Mutex;
use crate::sync::atomic::Ordering;

impl CpuCaches {
    fn each_slot(&self) -> impl Iterator<Item = &'static Mutex<Slot>> {
        (0..self.count.load(Ordering::Relaxed)).filter_map(|number| self.slot(number))
    }

    /// Sends the objects of all caches, those of other CPUs included, and of
    /// the transfer caches down to their spans. A cache that cannot be stopped,
    /// because the system refuses the barrier, stays as it is.
    pub fn drain(&self, tiers: Tiers<'_>) {
        for slot in self.each_slot() {
            slot.lock().drain(tiers);
        }
        for class in SizeClass::all() {
            move_oldest(tiers, class, usize::MAX);
        }
    }

    /// Ends a turn of the scavenger in all caches and transfer caches: what
    /// nobody has needed lately goes down. Returns whether they hold anything
    /// still.
    pub fn turn(&self, tiers: Tiers<'_>) -> bool {
        let mut holds = false;
        for slot in self.each_slot() {
            holds |= slot.lock().turn(tiers);
        }
        for class in SizeClass::all() {
            let transfer = &tiers.transfer[class.number()];
            move_oldest(tiers, class, transfer.turn());
            holds |= !transfer.is_empty();
        }
        holds
    }

    /// The heap grows: the older half of what this thread's cache holds goes down to the
    /// spans, and all that transfer caches hold; of a process with one thread, half of
    /// what any cache holds.
    pub fn halve(&self, tiers: Tiers<'_>) {
        if os::is_single_threaded() {
            for mut slot in self.each_slot().filter_map(Mutex::try_lock) {
                slot.halve(tiers, self.classes_drawn());
            }
        } else if let Some(mut slot) = self.enter(tiers.below.metadata) {
            slot.halve(tiers, self.classes_drawn());
        }
        for class in self.classes_drawn() {
            // As many as there are: others may put more in meanwhile.
            move_oldest(tiers, class, tiers.transfer[class.number()].len());
        }
    }

    /// Slots that were ever used.
    pub fn slots_opened(&self) -> usize {
        // Relaxed: as in `open_slot`.
        self.opened.load(Ordering::Relaxed)
    }

    /// Objects of the class in all caches, about.
    pub fn count(&self, class: SizeClass) -> usize {
        self.each_slot().map(|slot| slot.lock().count(class)).sum()
    }

    /// Calls `visit` with objects of the class in all caches, some at a time: as
    /// they are at about that moment.
    pub fn each_object(&self, class: SizeClass, mut visit: impl FnMut(&[usize])) {
        for slot in self.each_slot() {
            let mut first = 0;
            loop {
                let mut objects = [0; MAX_BATCH];
                let count = slot.lock().copy(class, first, &mut objects);
                if count == 0 {
                    break;
                }
                visit(&objects[..count]);
                first += count;
            }
        }
    }

    /// Calls `visit` with the memory of each slot that was ever used, as first byte
    /// and length.
    pub fn each_own_range(&self, mut visit: impl FnMut(usize, usize)) {
        let memory = self.memory.load(Ordering::Relaxed).addr();
        for number in 0..self.count.load(Ordering::Relaxed) {
            if self.slot(number).is_some() {
                visit(memory + number * SLOT_BYTES, SLOT_BYTES);
            }
        }
    }

    /// Calls `visit` with each class of which caches and transfer caches hold
    /// objects, and how many they are, about.
    pub fn each_held(&self, tiers: Tiers<'_>, mut visit: impl FnMut(SizeClass, usize)) {
        for slot in self.each_slot() {
            let slot = slot.lock();
            for class in self.classes_drawn() {
                visit(class, slot.count(class));
            }
        }
        for class in self.classes_drawn() {
            visit(class, tiers.transfer[class.number()].len());
        }
    }

    /// Takes all locks and, in lock mode, stops all lists, for fork.
    pub fn lock_for_fork(&self) {
        self.opening.lock_for_fork();
        for slot in self.each_slot() {
            slot.lock_for_fork();
            // SAFETY: just locked, and until `unlock_after_fork`.
            unsafe { slot.value_during_fork() }.hold_for_fork();
        }
    }

    /// Ends [`CpuCaches::lock_for_fork`].
    ///
    /// # Safety
    /// As [`Mutex::unlock_after_fork`].
    pub unsafe fn unlock_after_fork(&self) {
        for slot in self.each_slot() {
            // SAFETY: by contract locked.
            unsafe {
                slot.value_during_fork().resume_after_fork();
                slot.unlock_after_fork();
            }
        }
        // SAFETY: by contract locked.
        unsafe { self.opening.unlock_after_fork() };
    }
}

/// Sends up to `count` objects of a transfer cache down to their spans.
fn move_oldest(tiers: Tiers<'_>, class: SizeClass, count: usize) {
    let mut left = count;
    while left != 0 {
        let mut objects = [0; MAX_BATCH];
        let room = &mut objects[..left.min(MAX_BATCH)];
        let moved = tiers.transfer[class.number()].take_oldest(room);
        if moved == 0 {
            return;
        }
        tiers.put_idle(class, &objects[..moved]);
        left -= moved;
    }
}
