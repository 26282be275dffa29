//! Demand where no thread gives memory back: what may stay unused, and when to
//! look.
//!
//! Always: the small bound is what may stay unless a swing of the load was seen to
//! want more. Times come from whoever looks; nothing here has a clock.
//! Lock: `standstill`, which they stand in.

use super::SOON;
use crate::os::PAGE_BYTES;

/// What a process without a scavenger's thread may leave unused, in bytes, or
/// a share of what it uses, if that is more.
pub const ALLOWANCE_BYTES: usize = 1 << 20;
const ALLOWANCE_SHARE: usize = 32;

/// The share while the load is not going, but moves what it has.
const STEADY_SHARE: usize = 4;

/// A load is going when this share less lives than at the most.
const GOING_SHARE: usize = 4;

/// It is not any more when this share more lives than at the least since.
const TURN_SHARE: usize = 16;

/// So large a share of what lives may be freed from one look to the next while a
/// load is going, and while it is not.
const LOOK_SHARE: usize = 64;
const STEADY_LOOK_SHARE: usize = 16;

/// Is the load going?
#[derive(Clone, Copy, Debug)]
enum Course {
    /// No: the most that lived since it was.
    Steady(usize),
    /// Yes: the least that lived since then.
    Going(usize),
}

impl Course {
    /// So much lives now.
    fn follow(self, live: usize) -> Self {
        match self {
            Course::Steady(most) if live < most - most / GOING_SHARE => Course::Going(live),
            Course::Steady(most) => Course::Steady(most.max(live)),
            Course::Going(least) if live > least + least / TURN_SHARE => Course::Steady(live),
            Course::Going(least) => Course::Going(least.min(live)),
        }
    }
}

/// Of a load that swings for the first time, this share of what lives at the
/// lowest may stay.
const FIRST_SHARE: usize = 2;

/// What was wanted again longer ago than this, in nanoseconds, says nothing any
/// more.
const MEMORY: u64 = 15_000_000_000;

/// How much may stay unused where memory is given back by the free that leaves
/// it unused: more where what was given back was wanted again soon. Times are in
/// nanoseconds.
#[derive(Clone, Copy, Debug)]
pub struct Allowance {
    course: Course,
    /// What swings of the load want again, and when they did last.
    swing: usize,
    wanted_at: u64,
    /// What it may be at the most.
    bound: usize,
    /// The least that lived in the swing before, and in this one.
    trough: usize,
    least: usize,
    /// Given back in this swing, and when last; and what of it was wanted again.
    released: usize,
    released_at: u64,
    refaulted: usize,
}

/// What may stay, and what does where it is more; in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowed {
    /// More than this is given back,
    pub most: usize,
    /// down to this.
    pub kept: usize,
    /// So much may be freed until it is looked at again: what frees leave without
    /// objects changes as fast.
    pub unseen: usize,
}

impl Allowance {
    /// The small bound.
    pub const fn new() -> Self {
        Self {
            course: Course::Steady(0),
            swing: 0,
            wanted_at: 0,
            bound: 0,
            trough: 0,
            least: 0,
            released: 0,
            released_at: 0,
            refaulted: 0,
        }
    }

    /// What may stay where so much lives: more while the load is not going, and
    /// what its swings want again. Where half as much lives as at their lowest point,
    /// or twice as much as at their highest, that load is gone.
    pub fn bytes(&mut self, now: u64, live: usize) -> Allowed {
        self.least = self.least.min(live);
        let gone = live + 2 * ALLOWANCE_BYTES < self.trough / 2;
        let outgrown = live / 2 > self.trough + self.swing;
        if gone || outgrown || now.saturating_sub(self.wanted_at) > MEMORY {
            self.swing = 0;
        }
        self.course = self.course.follow(live);
        let (most, kept, unseen) = match self.course {
            Course::Steady(_) => (
                live / STEADY_SHARE,
                live / STEADY_SHARE / 2,
                live / STEADY_LOOK_SHARE,
            ),
            Course::Going(_) => (live / ALLOWANCE_SHARE, 0, live / LOOK_SHARE),
        };
        Allowed {
            most: self.swing + most.max(ALLOWANCE_BYTES),
            kept: self.swing + kept,
            unseen,
        }
    }

    /// Is it known that the load swings?
    pub fn swings(&self) -> bool {
        self.swing != 0
    }

    /// So many bytes were wanted again since the last time. Once that is most of
    /// what was given back, or anything notable of a load that is known to swing,
    /// as much more may stay from now on: at first no more
    /// than a share of what lived at the lowest, since once happens to every
    /// program that grows.
    pub fn review(&mut self, now: u64, refaulted: usize) {
        if now.saturating_sub(self.released_at) > SOON {
            (self.released, self.refaulted) = (0, 0);
            return;
        }
        self.refaulted += refaulted;
        let notable = match self.swing {
            0 => self.released / 2,
            // What is above a known swing goes in small parts.
            _ => ALLOWANCE_BYTES.min(self.released / 2),
        };
        if self.refaulted < notable || self.refaulted == 0 {
            return;
        }
        if self.released != 0 {
            let before = now.saturating_sub(self.wanted_at);
            self.bound = match before <= MEMORY {
                true => usize::MAX,
                false => self.least / FIRST_SHARE,
            };
            self.trough = self.least;
            self.wanted_at = now;
        }
        self.swing = self.bound.min(self.swing + self.refaulted);
        (self.released, self.refaulted) = (0, 0);
    }

    /// So many bytes were given back where so much lives.
    pub fn note_released(&mut self, now: u64, live: usize, bytes: usize) {
        if self.released == 0 {
            self.least = live;
        }
        self.released += bytes;
        self.released_at = now;
    }
}

impl Default for Allowance {
    fn default() -> Self {
        Self::new()
    }
}

/// When what is unused is to be looked at next: after frees of so many bytes, or
/// of so many objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// Bytes.
    pub bytes: usize,
    /// Objects.
    pub objects: usize,
}

/// Objects and bytes that pass at the least from one look to the next.
const LEAST_LOOK: Look = Look {
    bytes: 64 << 10,
    objects: 256,
};

/// What may become unused until then is at least this share of what may stay: a
/// look costs as much as a call that gives back.
const ROOM_SHARE: usize = 8;

/// The first look.
pub const FIRST_LOOK: Look = Look {
    bytes: 1 << 20,
    objects: 1 << 14,
};

/// The fewest pages that frees leave without objects are taken to be one in so
/// many frees.
const RAREST: usize = 256;

/// How often a free leaves a page without objects: next to never in a full heap,
/// nearly each time where few objects are left on each page.
#[derive(Clone, Copy, Debug)]
pub struct Unpinning {
    /// Objects freed since pages were given back.
    objects: usize,
    /// Objects that were freed before that, and pages that they left: older ones
    /// count half as much each time.
    before: (usize, usize),
    /// How many frees less than [`RAREST`] come for each page.
    fewer: usize,
}

impl Unpinning {
    /// Nothing is known yet.
    pub const fn new() -> Self {
        Self {
            objects: 0,
            before: (0, 0),
            fewer: 0,
        }
    }

    /// So many objects were freed since the last time.
    pub fn note_freed(&mut self, objects: usize) {
        self.objects += objects;
    }

    /// So many pages were found that the frees since pages were given back last
    /// have left without objects, but for the objects that caches hold.
    pub fn note_found(&mut self, pages: usize, held: usize) {
        self.learn(self.objects.saturating_sub(held), pages);
    }

    fn learn(&mut self, objects: usize, pages: usize) {
        let (objects, pages) = (self.before.0 + objects, self.before.1 + pages);
        self.fewer = RAREST - (objects / pages.max(1)).clamp(1, RAREST);
    }

    /// How many frees leave a page without objects.
    pub fn frees(&self) -> usize {
        RAREST - self.fewer
    }

    /// The caches were emptied, and pages given back; so many, if it was all of those
    /// in spans that held no object.
    pub fn note_released(&mut self, all: Option<usize>) {
        if let Some(pages) = all {
            self.before = (self.before.0 / 2 + self.objects, self.before.1 / 2 + pages);
            self.learn(0, 0);
        }
        self.objects = 0;
    }

    /// When to look next, where so many bytes more may become unused: once as many
    /// frees as leave half of that.
    pub fn next_look(&self, allowed: Allowed, room: usize) -> Look {
        let room = room.max(allowed.most / ROOM_SHARE);
        Look {
            bytes: room.min(allowed.unseen).max(LEAST_LOOK.bytes),
            objects: (room / 2 / PAGE_BYTES * self.frees()).max(LEAST_LOOK.objects),
        }
    }
}

impl Default for Unpinning {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    /// Of a load of which half is gone already.
    fn going() -> Allowance {
        let mut allowance = Allowance::new();
        allowance.bytes(0, 64 << 20);
        allowance.bytes(0, 32 << 20);
        allowance
    }

    /// So many bytes are given back in pieces, as frees leave them, and wanted
    /// again.
    fn swing(allowance: &mut Allowance, now: u64, trough: usize, bytes: usize) {
        for _ in 0..100 {
            allowance.note_released(now, trough, bytes / 100);
            allowance.review(now, 0);
        }
        allowance.review(now + SECOND, bytes);
    }

    #[test]
    fn less_may_stay_while_a_load_is_going() {
        let mut allowance = Allowance::new();
        let mut allowed = |live: usize| allowance.bytes(100 * SECOND, live << 20).most >> 20;
        assert_eq!(allowed(400), 100);
        assert_eq!(allowed(320), 80, "it moves");
        assert_eq!(allowed(290), 9, "it goes");
        assert_eq!(allowed(300), 9);
        assert_eq!(allowed(160), 5);
        assert_eq!(allowed(180), 45, "it comes back");
        assert_eq!(allowed(128), 4);
    }

    #[test]
    fn a_load_that_goes_leaves_nothing_of_what_is_given_back() {
        let mut allowance = Allowance::new();
        let live = 64 << 20;
        assert_eq!(allowance.bytes(0, live).kept, 8 << 20);
        assert_eq!(allowance.bytes(0, live / 2).kept, 0);
    }

    #[test]
    fn a_swing_of_the_load_is_allowed_after_it_came_back() {
        let mut allowance = going();
        let (live, now) = (32 << 20, 20 * SECOND);
        swing(&mut allowance, now, live, 90 << 20);
        assert_eq!(allowance.bytes(now + SECOND, live).kept, live / FIRST_SHARE);
        swing(&mut allowance, now + SECOND, live, 90 << 20);
        let allowed = allowance.bytes(now + SECOND, live);
        assert!(allowed.most >= allowed.kept && allowed.kept >= 90 << 20);
        let later = now + 2 * SECOND + MEMORY + 1;
        let allowed = allowance.bytes(later, live);
        assert_eq!((allowed.most, allowed.kept), (ALLOWANCE_BYTES, 0));
    }

    #[test]
    fn what_comes_back_after_most_of_a_swing_is_of_that_swing() {
        let mut allowance = going();
        let (live, now) = (32 << 20, 20 * SECOND);
        swing(&mut allowance, now, live, 100 << 20);
        allowance.note_released(now, live, 100 << 20);
        for _ in 0..10 {
            allowance.review(now + SECOND, 10 << 20);
        }
        let kept = allowance.bytes(now + SECOND, live).kept;
        assert_eq!(kept, live / FIRST_SHARE + (100 << 20));
    }

    #[test]
    fn a_part_of_what_goes_beyond_a_known_swing_is_of_it() {
        let mut allowance = going();
        let (live, now) = (32 << 20, 20 * SECOND);
        swing(&mut allowance, now, live, 16 << 20);
        for _ in 0..10 {
            allowance.note_released(now + SECOND, live, 1 << 20);
            allowance.review(now + SECOND, 400 << 10);
        }
        let kept = allowance.bytes(now + SECOND, live).kept;
        assert!(kept >= 19 << 20, "{kept}");
    }

    #[test]
    fn what_is_wanted_again_much_later_or_little_of_it_changes_nothing() {
        let mut allowance = going();
        let live = 32 << 20;
        for now in (20..40).step_by(5) {
            allowance.note_released(now * SECOND, live, 100 << 20);
            allowance.review(now * SECOND + SOON + 1, 100 << 20);
            allowance.note_released((now + 3) * SECOND, live, 100 << 20);
            allowance.review((now + 4) * SECOND, 40 << 20);
            let allowed = allowance.bytes((now + 4) * SECOND, live);
            assert_eq!((allowed.most, allowed.kept), (ALLOWANCE_BYTES, 0));
        }
    }

    #[test]
    fn a_swing_is_forgotten_where_the_load_is_gone() {
        let mut allowance = going();
        let (live, now) = (32 << 20, 20 * SECOND);
        swing(&mut allowance, now, live, 100 << 20);
        swing(&mut allowance, now, live, 100 << 20);
        assert!(allowance.bytes(now + SECOND, live / 2).kept >= 100 << 20);
        let allowed = allowance.bytes(now + SECOND, live / 4);
        assert_eq!((allowed.most, allowed.kept), (ALLOWANCE_BYTES, 0));
    }

    #[test]
    fn a_swing_is_forgotten_where_the_load_has_outgrown_it() {
        let mut allowance = going();
        let (live, now) = (32 << 20, 20 * SECOND);
        swing(&mut allowance, now, live, 16 << 20);
        assert_eq!(allowance.bytes(now + SECOND, live).kept, 16 << 20);
        allowance.bytes(now + SECOND, 120 << 20);
        assert_eq!(allowance.bytes(now + SECOND, live).kept, 0);
    }

    #[test]
    fn the_next_look_comes_before_the_room_is_used_up() {
        let unpinning = Unpinning::new();
        let allowed = Allowed {
            most: 2000 * PAGE_BYTES,
            kept: 0,
            unseen: usize::MAX,
        };
        let room = 1000 * PAGE_BYTES;
        let look = unpinning.next_look(allowed, room);
        assert_eq!((look.bytes, look.objects), (room, 500 * RAREST));
        let unseen = 1 << 20;
        let look = unpinning.next_look(Allowed { unseen, ..allowed }, room);
        assert_eq!(look.bytes, unseen, "a share of what lives");
        let look = unpinning.next_look(allowed, 0);
        assert_eq!(look.bytes, allowed.most / ROOM_SHARE, "not at each free");
        let (most, unseen) = (0, 0);
        let none = Allowed {
            most,
            unseen,
            ..allowed
        };
        assert_eq!(unpinning.next_look(none, 0), LEAST_LOOK);
    }

    #[test]
    fn what_frees_leave_is_learned_from_what_was_found_and_given_back() {
        let mut unpinning = Unpinning::new();
        // Each free leaves a page.
        unpinning.note_freed(1000);
        unpinning.note_found(1000, 0);
        assert_eq!(unpinning.frees(), 1);
        // Twice as many frees for the same pages.
        unpinning.note_freed(1000);
        unpinning.note_found(1000, 0);
        assert_eq!(unpinning.frees(), 2);
        // A part was given back: nothing is known of the rest.
        unpinning.note_released(None);
        assert_eq!(unpinning.frees(), 2);
        unpinning.note_freed(8000);
        unpinning.note_released(Some(1000));
        assert_eq!(unpinning.frees(), 8);
        // What caches hold has left no page yet.
        unpinning.note_freed(1000);
        unpinning.note_found(0, 1000);
        assert_eq!(unpinning.frees(), 8);
        unpinning.note_found(1000, 0);
        assert_eq!(unpinning.frees(), 4);
        // What was before counts less and less.
        for _ in 0..20 {
            unpinning.note_freed(1000);
            unpinning.note_released(Some(500));
        }
        assert_eq!(unpinning.frees(), 2);
    }
}
