//! Demand: what of the free memory was wanted lately, and is left alone.
//!
//! Time is counted in *turns* of the scavenger: it comes by [`TURNS`] times in
//! the time that unused memory waits. What was free at every moment of that
//! many turns is idle; what was taken in between, and came back, is wanted
//! again soon.
//!
//! Always: these are figures only; nothing here knows where memory is.
//! Lock: that of the structure that a mark stands in.

mod in_line;

pub use in_line::{ALLOWANCE_BYTES, Allowance, Allowed, FIRST_LOOK, Look, Unpinning};

/// Turns of the scavenger in which something must have been unused to be idle.
pub const TURNS: usize = 4;

/// The lowest value that something had lately: of free objects, those at least
/// were not wanted.
#[derive(Clone, Copy, Debug, Default)]
pub struct LowWater {
    lowest: usize,
    past: [usize; TURNS],
}

impl LowWater {
    /// Nothing is idle yet.
    pub const fn new() -> Self {
        Self {
            lowest: 0,
            past: [0; TURNS],
        }
    }

    /// The value is now this.
    #[inline]
    pub fn note(&mut self, value: usize) {
        self.lowest = self.lowest.min(value);
    }

    /// The value grew by something that was idle already, elsewhere: it need not
    /// wait here again.
    pub fn credit(&mut self, idle: usize) {
        self.lowest += idle;
        for past in &mut self.past {
            *past += idle;
        }
    }

    /// So much that was idle is gone.
    pub fn debit(&mut self, idle: usize) {
        self.lowest = self.lowest.saturating_sub(idle);
        for past in &mut self.past {
            *past = past.saturating_sub(idle);
        }
    }

    /// So much of what this counts is counted by another from now on: what of it
    /// was idle here is idle there.
    pub fn transfer(&mut self, to: &mut Self, amount: usize) {
        let pairs = self.past.iter_mut().zip(&mut to.past);
        for (from, to) in pairs.chain([(&mut self.lowest, &mut to.lowest)]) {
            let idle = amount.min(*from);
            *from -= idle;
            *to += idle;
        }
    }

    /// A turn ends, with this value. Returns the lowest of the last turns.
    pub fn turn(&mut self, value: usize) -> usize {
        self.past.rotate_right(1);
        self.past[0] = self.lowest.min(value);
        self.lowest = value;
        self.past.iter().copied().min().unwrap_or(0)
    }
}

/// Fewer pages than this are no reason to wait longer.
const NOTABLE_PAGES: usize = 256;

/// Unused memory waits at most so many doublings longer.
const MAX_DOUBLINGS: u32 = 3;

/// What is wanted again longer than this after it was given back, in
/// nanoseconds, is wanted by another load: it was right to give it back.
const SOON: u64 = 2_000_000_000;

/// So long after the last doubling, unused memory waits half as long as before.
const CALM: u64 = 15_000_000_000;

/// How much longer unused memory waits, because a part of what was given back
/// was wanted again soon. Times are in nanoseconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Backoff {
    doublings: u32,
    /// Pages given back since the last doubling, and of late; and when.
    released: usize,
    released_at: u64,
    /// Pages wanted again since.
    refaulted: usize,
    /// When the wait was changed last.
    changed_at: u64,
}

impl Backoff {
    /// No longer than usual.
    pub const fn new() -> Self {
        Self {
            doublings: 0,
            released: 0,
            released_at: 0,
            refaulted: 0,
            changed_at: 0,
        }
    }

    /// A turn ends in which so many pages were given back, and so many that had
    /// been were wanted again.
    pub fn turn(&mut self, now: u64, released: usize, refaulted: usize) {
        if now.saturating_sub(self.released_at) > SOON {
            (self.released, self.refaulted) = (0, 0);
        } else {
            self.refaulted += refaulted;
        }
        let again = self.refaulted >= NOTABLE_PAGES && self.refaulted >= self.released / 4;
        if again && self.released != 0 {
            self.doublings = (self.doublings + 1).min(MAX_DOUBLINGS);
            self.changed_at = now;
            (self.released, self.refaulted) = (0, 0);
        }
        if released != 0 {
            self.released += released;
            self.released_at = now;
        }
        if now.saturating_sub(self.changed_at) > CALM {
            self.changed_at = now;
            self.doublings = self.doublings.saturating_sub(1);
        }
    }

    /// A time as it is to be waited now.
    pub fn stretch(&self, time: u64) -> u64 {
        time << self.doublings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_free_all_the_time_is_idle() {
        let mut low = LowWater::new();
        for _ in 0..TURNS {
            assert_eq!(low.turn(100), 0);
        }
        assert_eq!(low.turn(100), 100);
        low.note(30);
        low.note(90);
        for _ in 0..TURNS {
            assert_eq!(low.turn(100), 30);
        }
        assert_eq!(low.turn(100), 100);
    }

    #[test]
    fn what_was_idle_elsewhere_is_idle_at_once() {
        let mut low = LowWater::new();
        (0..=TURNS).for_each(|_| _ = low.turn(10));
        low.credit(50);
        assert_eq!(low.turn(60), 60);
    }

    #[test]
    fn what_moves_is_as_idle_as_it_was() {
        let (mut from, mut to) = (LowWater::new(), LowWater::new());
        (0..=TURNS).for_each(|_| _ = from.turn(10));
        from.transfer(&mut to, 4);
        assert_eq!((from.turn(6), to.turn(4)), (6, 4));
        from.note(0);
        from.transfer(&mut to, 6);
        assert_eq!((from.turn(0), to.turn(10)), (0, 4));
    }

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_load_that_wants_its_memory_again_makes_the_scavenger_wait() {
        let mut backoff = Backoff::new();
        let mut now = 100 * SECOND;
        let mut burst = |backoff: &mut Backoff, later: u64| {
            backoff.turn(now, 10_000, 0);
            now += later;
            backoff.turn(now, 0, 9_000);
            backoff.turn(now, 0, 500);
            now
        };
        burst(&mut backoff, SECOND);
        assert_eq!(backoff.stretch(10), 20, "one doubling for one burst");
        for _ in 0..10 {
            burst(&mut backoff, SECOND / 2);
        }
        assert_eq!(backoff.stretch(10), 80);
        let mut end = burst(&mut backoff, SECOND);
        for _ in 0..3 {
            end += CALM + 1;
            backoff.turn(end, 0, 0);
        }
        assert_eq!(backoff.stretch(10), 10);
    }

    #[test]
    fn a_load_that_comes_much_later_changes_nothing() {
        let mut backoff = Backoff::new();
        for cycle in 1..10 {
            let now = 5 * cycle * SECOND;
            backoff.turn(now, 0, 50_000);
            backoff.turn(now + SECOND, 50_000, 0);
        }
        assert_eq!(backoff.stretch(10), 10);
    }

    #[test]
    fn a_few_pages_wanted_again_change_nothing() {
        let mut backoff = Backoff::new();
        for turn in 0..1000 {
            backoff.turn(SECOND + turn, 100_000, 200);
        }
        assert_eq!(backoff.stretch(10), 10);
    }
}
