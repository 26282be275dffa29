//! What a turn of the scavenger does, tier by tier, and what giving back at
//! once does, `malloc_trim`.
//!
//! Always: what is out of the books between two sections of a lock (a region,
//! a hole, objects reserved on a page) is so under `standstill`, one piece at a
//! time. So fork, which takes that lock first, copies none of it, and waits for
//! the system calls of one piece (2 MiB at most), or for the caches of all CPUs to be
//! emptied.
//! Lock: `standstill`; those of the tiers, one at a time.

use core::mem::offset_of;

use super::Heap;
use crate::central::ClassTurn;
use crate::demand::Backoff;
use crate::os::{self, PAGE_BYTES};
use crate::page_heap::{PageTurn, Released};
use crate::region::{REGION_BYTES, REGION_GRANULES, Region, RegionKind};
use crate::size_class::{CLASS_COUNT, SizeClass, set_of};
use crate::span::{MAX_AHEAD_OBJECT, Span, SpanKind};
use crate::sync::atomic::{AtomicU64, Ordering};

/// Where something is in demand, less than this is not worth giving back, in
/// pages: of all spans, and of all that the page heap has.
const WORTH_PAGES: usize = 4096;

/// Nor is less than this share of what the page heap has, in use and free: so
/// much a load that goes on may have left alone by chance.
const WORTH_SHARE: usize = 4;

/// But of no more than so many pages, 512 MiB: nobody knows how much of large objects is
/// touched.
const WORTH_PAGES_OF: usize = (512 << 20) / PAGE_BYTES;

/// Of the spans of a class in demand, only those are looked at of which this
/// share of the objects is free: the others are the next to be used.
const SPARSE_SHARE: usize = 2;

/// In a heap in demand, all spans are looked at again so much later for each of
/// them, in nanoseconds: a look costs about a fiftieth of it.
const SWEEP_PAUSE: u64 = 5_000;

/// A region is dense if at most this share of it is free.
const DENSE_SHARE: usize = 16;

/// The time from one look at all regions to the next, in nanoseconds.
const DENSE_PAUSE: u64 = 3_000_000_000;

/// Regions looked at in a turn.
const DENSE_LOOKS: usize = 64;

/// What the scavenger's thread remembers from turn to turn.
pub struct Turns {
    backoff: Backoff,
    /// Pages given back in spans since the last turn.
    released: usize,
    /// When all spans may be looked at again.
    next_sweep: u64,
    /// Up to where regions were looked at for being dense, and when that began.
    dense_hand: usize,
    dense_began: u64,
    /// Regions in dense use that may become hugepages, in that look.
    dense_found: usize,
}

impl Turns {
    /// Nothing is known yet.
    pub const fn new() -> Self {
        Self {
            backoff: Backoff::new(),
            released: 0,
            next_sweep: 0,
            dense_hand: 0,
            dense_began: 0,
            dense_found: 0,
        }
    }

    /// A time as it is to be waited now.
    pub fn stretch(&self, time: u64) -> u64 {
        self.backoff.stretch(time)
    }
}

/// When the scavenger's thread was done last, and when it will come by again, for
/// readers outside; in nanoseconds of [`os::now`].
pub struct Schedule {
    ended: AtomicU64,
    next: AtomicU64,
}

impl Schedule {
    /// Where a reader finds its words.
    pub const AT: (usize, usize) = (offset_of!(Self, ended), offset_of!(Self, next));

    /// It was never there.
    pub const fn new() -> Self {
        Self {
            ended: AtomicU64::new(0),
            next: AtomicU64::new(0),
        }
    }

    /// The thread sleeps for so long; `None`: until it is woken.
    pub fn note_sleep(&self, wait: Option<u64>) {
        let now = os::now();
        // Relaxed, both: figures, which publish nothing.
        self.ended.store(now, Ordering::Relaxed);
        let next = wait.map_or(0, |wait| now + wait);
        self.next.store(next, Ordering::Relaxed);
    }

    /// In the child of a fork, where the thread is not.
    pub fn reset_after_fork(&self) {
        self.ended.store(0, Ordering::Relaxed);
        self.next.store(0, Ordering::Relaxed);
    }
}

/// Which spans of a class are to be looked at.
#[derive(Clone, Copy, PartialEq)]
enum Sweep {
    None,
    /// Sparse ones, for so many pages.
    Sparse(usize),
    All,
}

impl Heap {
    /// A turn of the scavenger's thread. Returns whether there is anything left
    /// that may become idle.
    pub(super) fn turn(&self, turns: &mut Turns) -> bool {
        let mut refaulted = 0;
        let mut classes = [ClassTurn::default(); CLASS_COUNT];
        for class in SizeClass::all() {
            let turn = self.central[class.number()].turn();
            refaulted += turn.refaulted;
            classes[class.number()] = turn;
        }
        let swept = self.sweep_idle(turns, &classes);
        let holds = {
            let _still = self.standstill.lock();
            self.caches.turn(self.tiers())
        };
        let page_turn = self.pages.turn();
        let released = page_turn.released + core::mem::take(&mut turns.released);
        let refaulted = page_turn.refaulted + refaulted;
        turns.backoff.turn(os::now(), released, refaulted);
        let dirty = self.release_idle(&page_turn);
        let dense = self.collapse_dense(turns);
        holds || !swept || dirty || dense
    }

    /// Makes hugepages of regions that were in dense use when it came by last,
    /// too: one in a turn at most. Returns whether there may be more.
    fn collapse_dense(&self, turns: &mut Turns) -> bool {
        if !self.pages.may_collapse() {
            return false;
        }
        if turns.dense_hand == 0 {
            let now = os::now();
            if now - turns.dense_began < DENSE_PAUSE {
                return turns.dense_found != 0;
            }
            turns.dense_began = now;
            turns.dense_found = 0;
        }
        let (mut seen, mut collapsed) = (0, false);
        for (start, region) in self.map.regions() {
            if start < turns.dense_hand || region.kind() != RegionKind::Parted {
                continue;
            }
            if collapsed || seen == DENSE_LOOKS {
                turns.dense_hand = start;
                return true;
            }
            seen += 1;
            let dense = !self.pages.is_settled(region) && self.is_dense(start, region);
            if dense && region.was_dense.get() != 0 {
                let _still = self.standstill.lock();
                if self.is_dense(start, region) {
                    self.pages.collapse(region, start);
                    collapsed = true;
                }
            }
            turns.dense_found += usize::from(dense && !collapsed);
            region.was_dense.set(dense.into());
        }
        turns.dense_hand = 0;
        turns.dense_found != 0
    }

    /// Before the thread's first turn. In the child of a fork, what there is may be shared with
    /// its parent, and is not collapsed.
    pub(super) fn keep_inherited(&self) {
        if !self.pages.is_inherited() {
            return;
        }
        let _still = self.standstill.lock();
        for (_, region) in self.map.regions() {
            if region.kind() == RegionKind::Parted {
                self.pages.note_inherited(region);
            }
        }
    }

    /// Are nearly all bytes of a region those of objects, handed out or cached, which have
    /// memory? Of larger objects nobody knows how much the program has touched, and a
    /// collapse makes all of it resident; also pages that a span has given back, which
    /// would be marked so for good.
    fn is_dense(&self, start: usize, region: &Region) -> bool {
        if region.kind() != RegionKind::Parted || region.used_count() != REGION_GRANULES {
            return false;
        }
        let mut bytes = 0;
        for span in self.map.slots_of_region(start) {
            if span.kind() != SpanKind::Small {
                continue;
            }
            if span.has_released() {
                return false;
            }
            if span.class().bytes() <= MAX_AHEAD_OBJECT {
                bytes += span.live() * span.class().bytes();
            }
        }
        bytes >= REGION_BYTES - REGION_BYTES / DENSE_SHARE
    }

    /// Looks at the spans of the classes that have idle objects. Returns whether
    /// none need be looked at again.
    fn sweep_idle(&self, turns: &mut Turns, classes: &[ClassTurn; CLASS_COUNT]) -> bool {
        let mut sweeps = [Sweep::None; CLASS_COUNT];
        let mut done = true;
        let mut sparse = 0;
        for class in SizeClass::all() {
            let turn = &classes[class.number()];
            if !turn.changed || turn.free == 0 {
                continue;
            }
            sweeps[class.number()] = if turn.idle >= turn.free {
                Sweep::All
            } else {
                done = false;
                let idle = (turn.idle * class.bytes() / PAGE_BYTES).saturating_sub(turn.released);
                sparse += idle;
                Sweep::Sparse(idle)
            };
        }
        for sweep in &mut sweeps {
            if matches!(sweep, Sweep::Sparse(idle) if *idle == 0 || sparse < WORTH_PAGES) {
                *sweep = Sweep::None;
            }
        }
        if sweeps == [Sweep::None; CLASS_COUNT] {
            return done;
        }
        let now = os::now();
        // In a heap that is quiet as a whole, only what changed is left to do.
        if !done && now < turns.next_sweep {
            return false;
        }
        let whole = set_of(SizeClass::all().filter(|class| sweeps[class.number()] == Sweep::All));
        let note_changed = |changed: bool| {
            for class in SizeClass::all().filter(|class| whole >> class.number() & 1 != 0) {
                self.central[class.number()].set_changed(changed);
            }
        };
        note_changed(false);
        let mut refused = false;
        let spans = self.each_changed_span(|span, class| {
            let sweep = &mut sweeps[class.number()];
            match *sweep {
                Sweep::None => return true,
                Sweep::Sparse(_) if !is_sparse(span, class) => return true,
                Sweep::Sparse(_) | Sweep::All => {}
            }
            let released = self.release_in_span(span, class);
            turns.released += released.pages;
            if let Sweep::Sparse(left) = *sweep {
                *sweep = match left.saturating_sub(released.pages) {
                    0 => Sweep::None,
                    more => Sweep::Sparse(more),
                };
            }
            refused = released.refused;
            !refused
        });
        if refused {
            note_changed(true);
        }
        turns.next_sweep = now + spans as u64 * SWEEP_PAUSE;
        done
    }

    /// Gives idle pages of the page heap back. Returns whether there are dirty
    /// ones left that may become idle.
    fn release_idle(&self, turn: &PageTurn) -> bool {
        let (in_runs, in_holes) = (turn.idle_in_runs, turn.idle_in_holes);
        let in_demand = in_runs + in_holes < turn.dirty;
        let held = self.pages.usage().0 / PAGE_BYTES + turn.dirty;
        let held = held.min(WORTH_PAGES_OF);
        if in_demand && in_runs + in_holes < WORTH_PAGES.max(held / WORTH_SHARE) {
            return true;
        }
        let mut released = self.release_runs(in_runs);
        // What the system refuses there, a piece that the program has locked, says nothing
        // of others.
        released.add(self.release_holes(in_holes));
        in_demand && !released.refused
    }

    /// Gives so many pages of free regions back, or a few more.
    pub(super) fn release_runs(&self, pages: usize) -> Released {
        let mut released = Released::default();
        while released.pages < pages && !released.refused {
            let _still = self.standstill.lock();
            match self.pages.release_region(&self.map) {
                Some(next) => released.add(next),
                None => break,
            }
        }
        released
    }

    /// Gives so many pages of holes back, or a few more; those of the emptier
    /// regions first.
    pub(super) fn release_holes(&self, pages: usize) -> Released {
        let mut released = Released::default();
        if pages == 0 {
            return released;
        }
        for most in [REGION_GRANULES / 2, REGION_GRANULES] {
            for (_, region) in self.map.regions() {
                while released.pages < pages
                    && !released.refused
                    && region.kind() == RegionKind::Parted
                    && region.used_count() <= most
                {
                    let _still = self.standstill.lock();
                    match self.pages.release_hole(&self.map, region) {
                        Some(next) => released.add(next),
                        None => break,
                    }
                }
            }
        }
        released
    }

    /// Gives all free pages back.
    pub(super) fn release_free(&self) -> Released {
        let mut released = self.release_runs(usize::MAX);
        released.add(self.release_holes(usize::MAX));
        released
    }

    /// Calls `visit` with the small spans of which an object was freed since
    /// they were looked at, until it returns false. Returns how many spans
    /// there are up to there.
    fn each_changed_span(&self, visit: impl FnMut(&'static Span, SizeClass) -> bool) -> usize {
        self.each_changed_span_from(0, usize::MAX, visit).0
    }

    /// The same, of so many parted regions from an address on at the most. Also returns the
    /// address of the next region; 0 where these were the last, or `visit` returned false.
    pub(super) fn each_changed_span_from(
        &self,
        first: usize,
        most: usize,
        mut visit: impl FnMut(&'static Span, SizeClass) -> bool,
    ) -> (usize, usize) {
        let mut spans = 0;
        let regions = self.map.regions().skip_while(|&(start, _)| start < first);
        let parted = regions.filter(|(_, region)| region.kind() == RegionKind::Parted);
        for (number, (start, _)) in parted.enumerate() {
            if number == most {
                return (spans, start);
            }
            // Without a lock: whoever acts on it looks again.
            let slots = self.map.slots_of_region(start);
            for span in slots.filter(|span| span.kind() == SpanKind::Small) {
                spans += 1;
                if span.is_changed() && !visit(span, span.class()) {
                    return (spans, 0);
                }
            }
        }
        (spans, 0)
    }

    pub(super) fn release_in_span(&self, span: &'static Span, class: SizeClass) -> Released {
        let _still = self.standstill.lock();
        let central = &self.central[class.number()];
        let released = central.release_idle_pages(self.below(), class, span);
        released.unwrap_or_default()
    }

    /// Gives everything that is free back to the system, at once: empties the
    /// caches of all CPUs and the transfer caches into their spans, and
    /// releases the pages that hold no live object. Returns the bytes given
    /// back.
    pub fn trim(&self) -> usize {
        self.ensure_started();
        {
            let _still = self.standstill.lock();
            self.caches.drain(self.tiers());
        }
        let mut released = self.release_in_spans(usize::MAX);
        released.add(self.release_free());
        released.pages * PAGE_BYTES
    }

    /// Gives back so many pages of changed spans that hold no live object, or a
    /// few more.
    pub(super) fn release_in_spans(&self, pages: usize) -> Released {
        let mut released = Released::default();
        self.each_changed_span(|span, class| {
            if released.pages < pages {
                released.add(self.release_in_span(span, class));
            }
            released.pages < pages && !released.refused
        });
        released
    }
}

/// Is so much of the span free that its class will not soon use it?
fn is_sparse(span: &Span, class: SizeClass) -> bool {
    let objects = class.info().objects as usize;
    (objects - span.live().min(objects)) * SPARSE_SHARE > objects
}
