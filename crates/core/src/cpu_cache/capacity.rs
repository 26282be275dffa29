//! How many objects a list may hold: capacity follows demand.
//!
//! A list that runs empty again and again, and overflows later, has too little
//! room: at the overflow it grows by what was drawn in between, so that one
//! cycle of a load that comes and goes makes it fit. A list that only
//! overflows, since others take what it frees, gains nothing by more room, and
//! shrinks after a while. All lists of a slot share a budget; one that is full
//! takes from those that nobody has needed lately, and where that happens often
//! the budget grows.

use crate::size_class::{MAX_BATCH, SizeClass};

/// The budget of a slot at first, and at the most, in bytes of objects.
const BUDGET_BYTES: (usize, usize) = (4 << 20, 16 << 20);

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

    /// A steal comes by: what the list may keep, if it has to give.
    pub fn yield_to_others(&mut self, class: SizeClass) -> Option<usize> {
        if core::mem::take(&mut self.recent) {
            return None;
        }
        let capacity = self.capacity as usize;
        let keep = if capacity > 2 * class.batch() {
            capacity / 2
        } else {
            0
        };
        (keep < capacity).then_some(keep)
    }
}

/// The bytes that the lists of a slot may hold together.
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
            limit_bytes: BUDGET_BYTES.0,
            granted_bytes: 0,
            steals: 0,
        }
    }

    /// Bytes missing for `more` objects of a class; 0 if they fit.
    pub fn missing(&self, class: SizeClass, more: usize) -> usize {
        (self.granted_bytes + more * class.bytes()).saturating_sub(self.limit_bytes)
    }

    /// How many more objects of the class fit, up to `wanted`.
    pub fn fitting(&self, class: SizeClass, wanted: usize) -> usize {
        let room = self.limit_bytes.saturating_sub(self.granted_bytes);
        (room / class.bytes()).min(wanted)
    }

    /// Changes what a list may hold.
    pub fn change(&mut self, class: SizeClass, old: usize, new: usize) {
        self.granted_bytes += new * class.bytes();
        self.granted_bytes = self.granted_bytes.saturating_sub(old * class.bytes());
    }

    /// Notes that a list had to take from another.
    pub fn note_steal(&mut self) {
        self.steals += 1;
        if self.steals.is_multiple_of(STEALS_PER_GROWTH) {
            let grown = self.limit_bytes + self.limit_bytes / 8;
            self.limit_bytes = grown.min(BUDGET_BYTES.1);
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
    fn a_list_in_use_yields_nothing_the_first_time() {
        let class = class(64);
        let mut demand = Demand::default();
        demand.underflow(class);
        demand.capacity = 1000;
        assert_eq!(demand.yield_to_others(class), None);
        assert_eq!(demand.yield_to_others(class), Some(500));
    }
}
