//! Free pages that may hold memory of the system's, and which of them are idle.
//!
//! Always: of runs and of holes apart, `pages` is the number of touched pages
//! of free granules.
//! Lock: the page heap's.

use super::{PageHeap, State, Totals};
use crate::demand::LowWater;
use crate::page_map::PageMap;
use crate::size_class::GRANULE_PAGES;
use crate::span::Span;

/// What the page heap tells at the end of a turn.
#[derive(Clone, Copy, Debug, Default)]
pub struct PageTurn {
    /// Free pages that may hold memory of the system's.
    pub dirty: usize,
    /// Those of them in free regions that nobody would have needed lately.
    pub idle_in_runs: usize,
    /// The same, in the holes of regions in use.
    pub idle_in_holes: usize,
    /// Pages given back in this turn.
    pub released: usize,
    /// Pages that had been given back, and were taken in this turn.
    pub refaulted: usize,
}

/// Pages given back to the system.
#[derive(Clone, Copy, Debug, Default)]
pub struct Released {
    /// How many.
    pub pages: usize,
    /// The system refused: what was to be given back is as it was.
    pub refused: bool,
}

impl Released {
    /// Adds what was given back next.
    pub fn add(&mut self, next: Released) {
        self.pages += next.pages;
        self.refused |= next.refused;
    }
}

/// Free pages that may hold memory of the system's.
pub struct Dirty {
    /// How many.
    pub pages: usize,
    /// The fewest lately.
    pub low: LowWater,
}

impl Dirty {
    /// None.
    pub const fn new() -> Self {
        Self {
            pages: 0,
            low: LowWater::new(),
        }
    }

    /// Some more.
    pub fn add(&mut self, pages: usize) {
        self.pages += pages;
    }

    /// Somebody needs them.
    pub fn take(&mut self, pages: usize) {
        self.pages -= pages;
        self.low.note(self.pages);
    }

    /// They become another's, nobody needing them.
    pub fn transfer(&mut self, to: &mut Self, pages: usize) {
        self.pages -= pages;
        to.pages += pages;
        self.low.transfer(&mut to.low, pages);
    }

    /// Ends a turn: how many are idle.
    pub fn turn(&mut self) -> usize {
        self.low.turn(self.pages)
    }
}

impl PageHeap {
    /// As [`PageHeap::free`], for a span that was idle already: it became free
    /// because the scavenger emptied caches.
    pub fn free_idle(&self, map: &PageMap, span: &'static Span, touched: usize) {
        let mut state = self.state.lock();
        let (before, in_runs) = (state.dirty(), state.runs_dirty.pages);
        state.free(map, span, touched);
        let idle = state.dirty() - before;
        // Where its region is free as a whole now, all of it went there.
        if state.runs_dirty.pages > in_runs {
            state.runs_dirty.low.credit(idle);
        } else {
            state.holes_dirty.low.credit(idle);
        }
    }

    /// Ends a turn of the scavenger.
    pub fn turn(&self) -> PageTurn {
        let mut state = self.state.lock();
        let turn = PageTurn {
            dirty: state.dirty(),
            idle_in_runs: state.runs_dirty.turn(),
            idle_in_holes: state.holes_dirty.turn(),
            released: state.released_now,
            refaulted: state.refaulted,
        };
        state.released_now = 0;
        state.refaulted = 0;
        turn
    }
}

impl State {
    /// Granules go into use, with so many pages that may hold something.
    pub fn note_used(&mut self, totals: &Totals, granules: usize, dirty: usize) {
        self.used += granules;
        let clean = granules * GRANULE_PAGES - dirty;
        let again = clean.min(self.released);
        self.released -= again;
        self.refaulted += again;
        totals.note_refaulted(again);
        totals.note_taken(clean);
    }

    pub fn note_released(&mut self, pages: usize) {
        self.released += pages;
        self.released_now += pages;
    }
}
