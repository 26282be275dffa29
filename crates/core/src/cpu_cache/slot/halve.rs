//! What growth of the heap does to a slot: each list gives up its older half.
//!
//! Always: a list that the scavenger saw standing still goes on standing still.
//! Lock: the slot's.

use super::Slot;
use crate::cpu_cache::Tiers;
use crate::os;
use crate::size_class::{SizeClass, classes_of, set_of};

impl Slot {
    /// Sends the older half of each list down, of the classes of `classes`. Of a CPU that
    /// is not the caller's, only in a process with one thread: else that CPU would have
    /// to be interrupted.
    pub fn halve(&mut self, tiers: Tiers<'_>, classes: impl Iterator<Item = SizeClass>) {
        let held = set_of(classes.filter(|&class| self.count(class) != 0));
        if os::is_single_threaded() {
            if let Some(tops) = self.stop_set(held) {
                for class in classes_of(held) {
                    self.halve_stopped(tiers, class, tops[class.number()]);
                }
            }
            return;
        }
        for class in classes_of(held) {
            // The thread may go to another CPU: enough is done.
            let Some(top) = self.stop(class) else {
                return;
            };
            self.halve_stopped(tiers, class, top);
        }
    }

    fn halve_stopped(&mut self, tiers: Tiers<'_>, class: SizeClass, top: u32) {
        let count = self.length(class, top).div_ceil(2);
        let lower = self.thin_out(tiers, class, top, count);
        let list = self.list(class);
        list.fewest = list.fewest.saturating_sub(count as u32);
        if list.seen_top == top && !list.tripped {
            list.seen_top = lower;
            if self.length(class, lower) != 0 {
                self.arm(class, lower);
            }
        }
        self.go(class, lower);
    }
}
