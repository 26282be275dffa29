//! Giving back the pages of spans that live on, and what tells when.
//!
//! Always: a page is marked as given back only while it holds no live object;
//! handing out an object on it unmarks it.
//! Lock: the central list's. It is not held during the system call: the free
//! objects on the pages are reserved meanwhile (`span/idle.rs`).
#![allow(unsafe_code)] // Tells the system what nobody needs.

use super::{Below, CentralFreeList, State};
use crate::demand::TURNS;
use crate::fatal::{self, Call};
use crate::os::{self, PAGE_BYTES};
use crate::page_heap::Released;
use crate::page_map::PageMap;
use crate::size_class::{GRANULE_SHIFT, SizeClass};
use crate::span::{PageSet, Span, SpanKind};

/// A class with less free than this is not looked at when the heap grows, in bytes.
const UNWANTED_BYTES: usize = 64 << 10;

/// What a class tells at the end of a turn.
#[derive(Clone, Copy, Debug, Default)]
pub struct ClassTurn {
    /// Free objects in its spans.
    pub free: usize,
    /// Those of them that nobody would have needed lately.
    pub idle: usize,
    /// Was anything freed since all spans were looked at?
    pub changed: bool,
    /// Pages of its spans that are given back.
    pub released: usize,
    /// Pages that had been given back, and were wanted in this turn.
    pub refaulted: usize,
}

impl ClassTurn {
    /// Bytes of free objects, but for what is given back of their pages.
    pub fn free_bytes(&self, class: SizeClass) -> usize {
        (self.free * class.bytes()).saturating_sub(self.released * PAGE_BYTES)
    }
}

impl CentralFreeList {
    /// Ends a turn of the scavenger.
    pub fn turn(&self) -> ClassTurn {
        let mut state = self.state.lock();
        let free = state.free;
        let idle = state.low.turn(free);
        state.still += 1;
        let turn = ClassTurn {
            idle,
            ..state.look()
        };
        state.refaulted = 0;
        turn
    }

    /// Ends a step in which the heap has grown: did nobody take an object of the class in
    /// it, and may its spans have pages without live objects?
    pub fn end_step(&self, class: SizeClass) -> bool {
        let mut state = self.state.lock();
        let (drawn_before, drawn) = (state.drawn_before, state.drawn);
        state.drawn_before = drawn;
        drawn_before == drawn && state.look().free_bytes(class) >= UNWANTED_BYTES
    }

    /// What [`CentralFreeList::turn`] would tell, but for what is idle.
    pub fn look(&self) -> ClassTurn {
        self.state.lock().look()
    }

    /// All spans are about to be looked at, or not all of them were.
    pub fn set_changed(&self, changed: bool) {
        self.state.lock().changed = changed;
    }

    /// As [`CentralFreeList::put`], for objects that were idle in a cache. If
    /// nobody has needed the class lately, neither they nor the spans that they
    /// leave empty need wait here again.
    pub fn put_idle(&self, below: Below<'_>, class: SizeClass, objects: &[usize]) {
        self.put_objects(below, class, objects, Call::Flush, true);
    }

    /// Gives back the pages of a span of the class that hold no live object.
    /// `None` where there are none.
    pub fn release_idle_pages(
        &self,
        below: Below<'_>,
        class: SizeClass,
        span: &'static Span,
    ) -> Option<Released> {
        let pages = self.state.lock().reserve(below.map, class, span)?;
        if let Some(region) = below.map.region_of(span.start()) {
            below.pages.before_release_inside(region);
        }
        let refused = pages.runs().any(|(first, count)| {
            let start = span.start() + first * PAGE_BYTES;
            !decommit(start, count * PAGE_BYTES)
        });
        if !refused {
            below.pages.totals().note_released(pages.len());
        }
        let (empty, quiet) = {
            let mut state = self.state.lock();
            let empty = state.unreserve(below.map, class, span, &pages, refused);
            (empty, state.is_quiet())
        };
        if empty {
            give_up(below, span, quiet);
        }
        Some(Released {
            pages: if refused { 0 } else { pages.len() },
            refused,
        })
    }
}

/// Hands an empty span to the page heap; `idle` says that it was so already.
pub(super) fn give_up(below: Below<'_>, span: &'static Span, idle: bool) {
    below.map.set_class(span, SizeClass::NONE);
    if idle {
        below.pages.free_idle(below.map, span, span.large_bytes());
    } else {
        below.pages.free(below.map, span, span.large_bytes());
    }
}

/// The pages of a span that were given back.
pub fn released_pages(map: &PageMap, span: &Span) -> PageSet {
    let mut pages = PageSet::default();
    if span.has_released() {
        for granule in 0..span.granules() {
            if let Some(slot) = map.slot_of(span.start() + (granule << GRANULE_SHIFT)) {
                pages.insert_granule(granule, slot.released());
            }
        }
    }
    pages
}

fn set_released_pages(map: &PageMap, span: &Span, pages: &PageSet) {
    for granule in 0..span.granules() {
        if let Some(slot) = map.slot_of(span.start() + (granule << GRANULE_SHIFT)) {
            slot.set_released(pages.of_granule(granule));
        }
    }
    span.set_has_released(!pages.is_empty());
}

fn decommit(start: usize, bytes: usize) -> bool {
    // SAFETY: all objects on these pages are free and reserved, so nobody has or gets
    // one; where no object stands on them, the span is held, so they stay its own.
    unsafe { os::decommit(core::ptr::with_exposed_provenance_mut(start), bytes) }
}

impl State {
    /// Has nobody but the scavenger been here for as long as unused memory
    /// waits?
    pub(super) fn is_quiet(&self) -> bool {
        self.still > TURNS
    }

    fn look(&self) -> ClassTurn {
        ClassTurn {
            free: self.free,
            idle: 0,
            changed: self.changed,
            released: self.released,
            refaulted: self.refaulted,
        }
    }

    /// Reserves the pages of a span that hold no live object.
    fn reserve(&mut self, map: &PageMap, class: SizeClass, span: &'static Span) -> Option<PageSet> {
        // It may have changed since the caller looked; who looked as it changed saw no class,
        // whose lock guards nothing.
        if span.kind() != SpanKind::Small || span.class() != class || class == SizeClass::NONE {
            return None;
        }
        span.set_unchanged();
        let pages = span.idle_pages(&released_pages(map, span));
        if pages.is_empty() {
            return None;
        }
        let count = span.reserve(&pages);
        if count == 0 {
            // Only room behind the last object: nothing of it keeps the span here.
            span.hold();
        }
        self.live += count;
        self.free -= count;
        self.list(span);
        Some(pages)
    }

    /// Makes the objects of reserved pages free again, and notes that the pages
    /// are given back. Returns whether the span is empty, and taken out.
    fn unreserve(
        &mut self,
        map: &PageMap,
        class: SizeClass,
        span: &'static Span,
        pages: &PageSet,
        refused: bool,
    ) -> bool {
        if span.kind() != SpanKind::Small || span.class() != class {
            fatal::inconsistent("a span with reserved objects is gone", span.start());
        }
        let count = span.unreserve(pages);
        if count == 0 {
            span.let_go();
        }
        self.live -= count;
        self.free += count;
        if refused {
            span.set_changed();
            self.changed = true;
        } else {
            let mut released = released_pages(map, span);
            pages.pages().for_each(|page| released.insert(page));
            set_released_pages(map, span, &released);
            self.released += pages.len();
        }
        if span.live() == 0 {
            self.remove(map, class, span);
            return true;
        }
        self.list(span);
        false
    }

    /// Objects on pages that were given back are handed out: the pages are not
    /// any more.
    #[cold]
    pub(super) fn note_wanted(&mut self, below: Below<'_>, span: &'static Span, objects: &[usize]) {
        let map = below.map;
        let released = released_pages(map, span);
        let left = released.without(&span.pages_of(objects));
        let again = released.len() - left.len();
        if again != 0 {
            set_released_pages(map, span, &left);
            self.released -= again;
            self.refaulted += again;
            below.pages.totals().note_refaulted(again);
            below.pages.totals().note_taken(again);
        }
    }
}
