//! What the scavenger does to a slot: its turns, and emptying it.
//!
//! A list that goes down and up again between two turns looks as if it had not
//! moved. So a turn sets `end` below the top: what comes back to the top has to
//! take the slow way, once, and leaves word (`tripped`).
//!
//! Lock: the slot's.

use super::{ARRAY_SHIFTS, List, Slot};
use crate::cpu_cache::Tiers;
use crate::cpu_cache::capacity::Demand;
use crate::cpu_cache::layout::{FIRST_ARRAY, STOPPED};
use crate::demand::TURNS;
use crate::os::PAGE_BYTES;
use crate::size_class::{ALL_CLASSES, CLASS_COUNT, ClassSet, MAX_BATCH, SizeClass, classes_of};
use crate::sync::atomic::Ordering;

impl Slot {
    /// Has whoever puts an object back on top of a list take the slow way. The
    /// list may be going: who is at it just now may come through once more.
    pub(super) fn arm(&self, class: SizeClass, top: u32) {
        let end = (top - 8).max(self.lists[class.number()].base);
        // Relaxed: publishes nothing.
        self.memory
            .end(class.number())
            .store(end, Ordering::Relaxed);
    }

    /// Sends the `count` objects that have been in a stopped list longest down.
    pub(super) fn thin_out(
        &mut self,
        tiers: Tiers<'_>,
        class: SizeClass,
        top: u32,
        count: usize,
    ) -> u32 {
        let base = self.lists[class.number()].base;
        let word = |index: usize| base + 8 + 8 * index as u32;
        for first in (0..count).step_by(MAX_BATCH) {
            let mut objects = [0; MAX_BATCH];
            let objects = &mut objects[..MAX_BATCH.min(count - first)];
            for (index, object) in objects.iter_mut().enumerate() {
                *object = self.memory.object(word(first + index));
            }
            tiers.put_idle(class, objects);
        }
        for index in count..self.length(class, top) {
            let object = self.memory.object(word(index));
            self.memory.set_object(word(index - count), object);
        }
        top - 8 * count as u32
    }

    /// Sends all objects down, and forgets what was in demand. False where the
    /// lists could not be stopped.
    pub fn drain(&mut self, tiers: Tiers<'_>) -> bool {
        let Some(mut tops) = self.stop_set(ALL_CLASSES) else {
            return false;
        };
        for class in SizeClass::all() {
            tops[class.number()] = self.empty(tiers, class, tops[class.number()]);
        }
        self.give_arrays_back(&mut tops);
        for class in SizeClass::all() {
            self.go(class, tops[class.number()]);
        }
        true
    }

    /// Empties a stopped list, which is to be as one that nobody has needed yet.
    fn empty(&mut self, tiers: Tiers<'_>, class: SizeClass, top: u32) -> u32 {
        let top = self.empty_to(tiers, class, top, 0);
        self.set_capacity(class, 0);
        self.list(class).demand = Demand::default();
        top
    }

    /// Do its arrays take memory that is worth a system call?
    fn has_arrays(&self) -> bool {
        self.next_array > 2 * PAGE_BYTES as u32
    }

    /// Where all lists are stopped and empty: gives the memory of their arrays
    /// back.
    fn give_arrays_back(&mut self, tops: &mut [u32; CLASS_COUNT]) {
        if !self.has_arrays() || !self.memory.clear_arrays() {
            return;
        }
        self.next_array = FIRST_ARRAY;
        self.free_arrays = [0; ARRAY_SHIFTS.1 as usize + 1];
        for class in SizeClass::all() {
            *self.list(class) = List::default();
            tops[class.number()] = 0;
            self.set_capacity(class, 0);
        }
    }

    /// Ends a turn of the scavenger: empties the lists that have not moved for
    /// [`TURNS`] turns, and takes from the others, once in as many, half of what
    /// they never needed in that time. Returns whether the slot holds objects
    /// still.
    pub fn turn(&mut self, tiers: Tiers<'_>) -> bool {
        self.turns += 1;
        let thinning = self.turns.is_multiple_of(TURNS);
        let (mut still, mut rich) = (0, 0);
        let mut holds = false;
        for class in SizeClass::all() {
            let bit: ClassSet = 1 << class.number();
            // Relaxed: a glance at what others move.
            let top = self.memory.top(class.number()).load(Ordering::Relaxed);
            if top == STOPPED {
                // In lock mode, somebody is at it.
                holds = true;
                self.list(class).still = 0;
                continue;
            }
            let length = self.length(class, top) as u32;
            let list = self.list(class);
            if top != list.seen_top || list.tripped {
                (list.seen_top, list.still, list.tripped) = (top, 0, false);
            }
            list.still += 1;
            list.fewest = list.fewest.min(length);
            // A list with room may be filled without anybody hearing of it.
            let room = list.demand.capacity != 0;
            holds |= length != 0 || room;
            if length != 0 {
                self.arm(class, top);
            }
            let list = self.list(class);
            if list.still as usize > TURNS {
                if length != 0 || list.demand.capacity != 0 {
                    still |= bit;
                }
            } else if thinning {
                if list.fewest as usize > class.batch() && list.is_due() {
                    rich |= bit;
                } else {
                    list.fewest = length;
                }
            }
        }
        if still | rich == 0 {
            if !holds && self.has_arrays() {
                self.drain(tiers);
            }
            return holds;
        }
        let Some(tops) = self.stop_set(still | rich) else {
            return false;
        };
        for class in classes_of(still | rich) {
            let top = tops[class.number()];
            let top = if still >> class.number() & 1 != 0 {
                self.empty(tiers, class, top)
            } else {
                let fewest = self.list(class).fewest as usize;
                let count = (fewest / 2).min(self.length(class, top));
                self.thin_out(tiers, class, top, count)
            };
            let length = self.length(class, top) as u32;
            let list = self.list(class);
            (list.seen_top, list.fewest) = (top, length);
            self.go(class, top);
        }
        true
    }
}
