//! How many objects a list may hold: capacity follows demand.
//!
//! A list that runs empty again and again, and overflows later, has too little
//! room: at the overflow it grows by what was drawn in between, so that one
//! cycle of a load that comes and goes makes it fit. A list that only
//! overflows, since others take what it frees, gains nothing by more room, and
//! shrinks after a while. A few objects of each class are a list's own; beyond these,
//! all lists of a slot share a budget. One that is full
//! takes from those that nobody has needed lately, and where that happens often
//! the budget grows.

use crate::size_class::{MAX_BATCH, SizeClass};

/// The budget of a slot at first, in bytes of objects.
const FIRST_BUDGET: usize = 512 << 10;

/// It grows up to this share of what the heap has in use, which all slots have together:
/// to the first of these at least, and to the second at the most, in bytes.
const BUDGET_SHARE: usize = 4;
const BUDGET_RANGE: (usize, usize) = (2 << 20, 16 << 20);

/// So many objects of a list count for no budget, up to this size of theirs, in bytes.
/// How many objects of a size a program has goes up and down by chance: with room for
/// these ups and downs few of them reach the tiers below, and what is not in a list is
/// in use. What a budget allows beyond that is for loads that come and go.
const OWN_OBJECTS: usize = 64;
const OWN_OBJECT_BYTES: usize = 32 << 10;

/// So many takings from other lists let the budget grow by an eighth.
const STEALS_PER_GROWTH: u32 = 16;

/// The most objects of a list: the largest array and its lowest word.
pub const MAX_CAPACITY: usize = (1 << 14) - 1;

/// The demand for the objects of one class on one CPU.
#[derive(Clone, Copy, Default)]
pub struct Demand {
    /// Objects that the list may hold.
    pub capacity: u32,
    /// Objects drawn from below since the last overflow.
    drawn: u32,
    /// Objects flushed since the list last ran empty.
    outflow: u32,
    /// Used since a steal last looked at it.
    recent: bool,
}

/// What to do about an overflow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overflow {
    /// Let the list hold so many objects.
    Grow(usize),
    /// Send so many objects down.
    Flush(usize),
}

impl Demand {
    /// The list ran empty: how many objects to draw. Begins small, so that a
    /// process which needs few objects of a class gets few.
    pub fn underflow(&mut self, class: SizeClass) -> usize {
        let count = (self.drawn as usize + 8).clamp(1, class.batch());
        self.drawn = (self.drawn + count as u32).min(MAX_CAPACITY as u32);
        self.outflow = 0;
        self.recent = true;
        count
    }

    /// The list is full.
    pub fn overflow(&mut self, class: SizeClass) -> Overflow {
        self.recent = true;
        let capacity = self.capacity as usize;
        let batch = class.batch();
        if capacity < batch {
            return Overflow::Grow(batch);
        }
        if self.drawn != 0 {
            let wanted = (capacity + self.drawn as usize).min(MAX_CAPACITY);
            self.drawn = 0;
            self.outflow = 0;
            if wanted > capacity {
                return Overflow::Grow(wanted);
            }
        }
        self.outflow += batch as u32;
        if self.outflow as usize > 4 * capacity && capacity >= 2 * batch {
            self.outflow = 0;
            return Overflow::Flush((2 * batch).min(MAX_BATCH));
        }
        Overflow::Flush(batch)
    }

    /// After a flush of `count` objects from a full list: the capacity that the
    /// list keeps, which leaves room for one at least.
    pub fn after_flush(&self, count: usize) -> usize {
        let capacity = self.capacity as usize;
        if self.outflow == 0 {
            capacity - count / 2
        } else {
            capacity
        }
    }

    /// A steal comes by: what the list may keep, if it has to give, and how many bytes of
    /// the budget that leaves to others; which may be none, if all was its own: what nobody
    /// has needed lately goes all the same.
    pub fn yield_to_others(&mut self, class: SizeClass) -> Option<(usize, usize)> {
        if core::mem::take(&mut self.recent) {
            return None;
        }
        let capacity = self.capacity as usize;
        let keep = if capacity > 2 * class.batch() {
            capacity / 2
        } else {
            0
        };
        (keep < capacity).then(|| (keep, charge(class, capacity) - charge(class, keep)))
    }
}

/// How many objects of the class a list may hold besides the budget.
fn own(class: SizeClass) -> usize {
    if class.bytes() <= OWN_OBJECT_BYTES {
        OWN_OBJECTS
    } else {
        0
    }
}

/// What a list that may hold so many objects takes of the budget, in bytes.
fn charge(class: SizeClass, capacity: usize) -> usize {
    capacity.saturating_sub(own(class)) * class.bytes()
}

/// The bytes that the lists of a slot may hold together beyond what is their own.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    limit_bytes: usize,
    granted_bytes: usize,
    steals: u32,
}

impl Budget {
    /// Nothing granted.
    pub const fn new() -> Self {
        Self {
            limit_bytes: FIRST_BUDGET,
            granted_bytes: 0,
            steals: 0,
        }
    }

    /// Bytes missing for a list that may hold `wanted` objects instead of `old`; 0 if
    /// they fit.
    pub fn missing(&self, class: SizeClass, old: usize, wanted: usize) -> usize {
        let (before, after) = (charge(class, old), charge(class, wanted));
        if after == before {
            return 0;
        }
        let others = self.granted_bytes.saturating_sub(before);
        (others + after).saturating_sub(self.limit_bytes)
    }

    /// How many objects a list may hold that holds `old` and wants to hold `wanted`.
    pub fn fitting(&self, class: SizeClass, old: usize, wanted: usize) -> usize {
        let others = self.granted_bytes.saturating_sub(charge(class, old));
        let room = self.limit_bytes.saturating_sub(others);
        (own(class) + room / class.bytes()).min(wanted).max(old)
    }

    /// Changes what a list may hold.
    pub fn change(&mut self, class: SizeClass, old: usize, new: usize) {
        self.granted_bytes += charge(class, new);
        self.granted_bytes = self.granted_bytes.saturating_sub(charge(class, old));
    }

    /// Notes that a list had to take from another. `share` is what the heap has in use for
    /// each slot, in bytes.
    pub fn note_steal(&mut self, share: impl FnOnce() -> usize) {
        self.steals += 1;
        if self.steals.is_multiple_of(STEALS_PER_GROWTH) {
            let most = (share() / BUDGET_SHARE).clamp(BUDGET_RANGE.0, BUDGET_RANGE.1);
            self.limit_bytes = (self.limit_bytes + self.limit_bytes / 8).min(most);
        }
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(bytes: usize) -> SizeClass {
        SizeClass::for_size(bytes).expect("small")
    }

    #[test]
    fn a_load_that_comes_and_goes_fits_after_one_cycle() {
        let class = class(64);
        let mut demand = Demand::default();
        let mut drawn = 0;
        while drawn < 5000 {
            drawn += demand.underflow(class);
        }
        demand.capacity = class.batch() as u32;
        match demand.overflow(class) {
            Overflow::Grow(capacity) => assert!(capacity >= 5000),
            Overflow::Flush(_) => panic!("the list does not grow"),
        }
    }

    #[test]
    fn a_list_that_only_overflows_does_not_grow() {
        let class = class(64);
        let mut demand = Demand {
            capacity: 10 * class.batch() as u32,
            ..Demand::default()
        };
        for _ in 0..1000 {
            match demand.overflow(class) {
                Overflow::Grow(_) => panic!("grows"),
                Overflow::Flush(count) => demand.capacity = demand.after_flush(count) as u32,
            }
        }
        assert!(demand.capacity < 2 * class.batch() as u32);
    }

    #[test]
    fn a_few_objects_of_each_class_fit_into_any_budget() {
        let mut budget = Budget::new();
        let (small, large) = (class(4096), class(OWN_OBJECT_BYTES + 1));
        let all = FIRST_BUDGET / small.bytes();
        assert_eq!(budget.fitting(small, 0, MAX_CAPACITY), OWN_OBJECTS + all);
        budget.change(small, 0, OWN_OBJECTS + all);
        assert_eq!(
            budget.missing(small, OWN_OBJECTS + all, OWN_OBJECTS + all + 1),
            4096
        );
        // The budget is used up: other lists get what is their own, large objects nothing.
        let other = class(1024);
        assert_eq!(budget.missing(other, 0, OWN_OBJECTS), 0);
        assert_eq!(budget.fitting(other, 0, MAX_CAPACITY), OWN_OBJECTS);
        assert_eq!(budget.fitting(large, 0, 1), 0);
        assert_eq!(budget.missing(large, 0, 1), large.bytes());
        // Nor does a list that grows to what is its own take from others, where batches
        // of large objects went beyond the limit.
        budget.change(large, 0, 2);
        assert_eq!(budget.missing(other, 0, OWN_OBJECTS), 0);
        budget.change(large, 2, 0);
        // What a list gives up serves others.
        budget.change(small, OWN_OBJECTS + all, OWN_OBJECTS);
        assert_eq!(budget.fitting(other, OWN_OBJECTS, 100), 100);
    }

    #[test]
    fn a_budget_grows_where_lists_take_from_each_other_with_the_heap() {
        let grown = |share: usize| {
            let mut budget = Budget::new();
            for _ in 0..100 * STEALS_PER_GROWTH {
                budget.note_steal(|| share);
            }
            budget.limit_bytes
        };
        assert_eq!(grown(0), BUDGET_RANGE.0);
        assert_eq!(grown(32 << 20), (32 << 20) / BUDGET_SHARE);
        assert_eq!(grown(1 << 40), BUDGET_RANGE.1);
        let mut budget = Budget::new();
        budget.note_steal(|| panic!("asked each time"));
        assert_eq!(budget.limit_bytes, FIRST_BUDGET);
    }

    #[test]
    fn a_list_in_use_yields_nothing_the_first_time() {
        let class = class(64);
        let mut demand = Demand::default();
        demand.underflow(class);
        demand.capacity = 1000;
        assert_eq!(demand.yield_to_others(class), None);
        assert_eq!(demand.yield_to_others(class), Some((500, 500 * 64)));
        demand.capacity = 100;
        let rest = 100 - OWN_OBJECTS;
        assert_eq!(demand.yield_to_others(class), Some((0, rest * 64)));
        demand.capacity = OWN_OBJECTS as u32;
        assert_eq!(demand.yield_to_others(class), Some((0, 0)), "its own");
        demand.capacity = 0;
        assert_eq!(demand.yield_to_others(class), None);
    }
}
