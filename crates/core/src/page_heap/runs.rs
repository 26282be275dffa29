//! Runs of free regions, merged with their neighbours, found by length.
//!
//! Always: no two runs are neighbours. A run's first and last region have the
//! kind `Free`, its length and its start; those between have none. The regions of a run
//! that may hold memory of the system's stand before those that are clean:
//! `dirty_run` of the first says how many they are. They are used first, and
//! given back from the last of them on, so that what is left is found.

use crate::fatal;
use crate::os::PAGE_BYTES;
use crate::page_map::PageMap;
use crate::region::{REGION_BYTES, Region, RegionKind};
use crate::sync::List;

use super::region_at;

/// Lengths with a list of their own; above, a list for each doubling.
const EXACT: usize = 32;
const LISTS: usize = EXACT + 32;

/// So many runs are looked at for a region that is fit, and so many regions of
/// each.
const MAX_LOOKS: usize = 16;

/// So many runs, and so many places in each, are compared for a row of regions, and none
/// for rows longer than this: what is touched is counted under the page heap's lock.
const MAX_PLACES: usize = 8;
const MAX_COMPARED: usize = 16;

/// Regions at the shortest run's beginning are taken, though others have more memory, if
/// that is less than this share of what they hold.
const COLDER_SHARE: usize = 8;

fn list_of(length: usize) -> usize {
    if length <= EXACT {
        length - 1
    } else {
        EXACT + (length / EXACT).ilog2() as usize
    }
}

/// The free runs.
pub struct FreeRuns {
    clean: [List<Region>; LISTS],
    dirty: [List<Region>; LISTS],
}

impl FreeRuns {
    /// None.
    pub const fn new() -> Self {
        Self {
            clean: [const { List::new() }; LISTS],
            dirty: [const { List::new() }; LISTS],
        }
    }

    /// Adds `count` regions, of which the first `dirty` may hold memory of the
    /// system's, merged with the runs before and after them.
    pub fn add(&mut self, map: &PageMap, start: usize, count: usize, dirty: usize) {
        let (mut start, mut count, mut dirty) = (start, count, dirty);
        if let Some(last) = start
            .checked_sub(REGION_BYTES)
            .and_then(|before| map.region_of(before))
            .filter(|region| region.kind() == RegionKind::Free)
        {
            let length = last.run.get() as usize;
            let head = region_at(map, start - length * REGION_BYTES);
            dirty = match dirty {
                0 => head.dirty_run.get() as usize,
                more => length + more,
            };
            self.remove(map, head);
            start -= length * REGION_BYTES;
            count += length;
        }
        if let Some(head) = map
            .region_of(start + count * REGION_BYTES)
            .filter(|region| region.kind() == RegionKind::Free)
        {
            if head.is_dirty() {
                dirty = count + head.dirty_run.get() as usize;
            }
            count += head.run.get() as usize;
            self.remove(map, head);
        }
        self.insert(map, start, count, dirty);
    }

    /// Takes `count` regions at a multiple of `align` regions, where most of their pages
    /// have memory. Returns the address of the first, and how many, from it on, may be
    /// dirty.
    pub fn take(&mut self, map: &PageMap, count: usize, align: usize) -> Option<(usize, usize)> {
        let (head, start) = self.find(map, count, align)?;
        let lead = (start - head.start()) / REGION_BYTES;
        Some(self.cut(map, head, lead, count))
    }

    /// A run that has `count` regions at a multiple of `align` regions, and where: of
    /// the shorter runs with memory, the one that has notably more of it there; else the
    /// shortest, and its beginning.
    fn find(&self, map: &PageMap, count: usize, align: usize) -> Option<(&'static Region, usize)> {
        let aligned = |head: &Region| head.start().next_multiple_of(align * REGION_BYTES);
        let fits = |head: &&'static Region| {
            let lead = aligned(head) - head.start();
            lead + count * REGION_BYTES <= head.run.get() as usize * REGION_BYTES
        };
        let shortest = |lists: &[List<Region>; LISTS]| {
            lists[list_of(count)..].iter().find_map(|list| {
                let fitting = list.iter().filter(fits);
                fitting.min_by_key(|head| (head.run.get(), head.start()))
            })
        };
        let first = shortest(&self.dirty).or_else(|| shortest(&self.clean))?;
        if count > MAX_COMPARED || !first.is_dirty() {
            return Some((first, aligned(first)));
        }
        let (start, mut most) = warmest(map, first, aligned(first), count, align);
        let mut found = (first, start);
        let runs = self.dirty[list_of(count)..].iter().flat_map(List::iter);
        let others = runs.filter(|head| fits(head) && head.start() != first.start());
        for head in others.take(MAX_PLACES - 1) {
            if most + worth(count) >= pages_of(count) {
                break;
            }
            let (start, pages) = warmest(map, head, aligned(head), count, align);
            if pages > most + worth(count) {
                (found, most) = ((head, start), pages);
            }
        }
        Some(found)
    }

    /// Takes `count` regions that begin at `start`, if they are free and the
    /// first of a run. Returns how many of them, from the first on, may be
    /// dirty.
    pub fn take_at(&mut self, map: &PageMap, start: usize, count: usize) -> Option<usize> {
        let head = map
            .region_of(start)
            .filter(|region| region.kind() == RegionKind::Free)?;
        if (head.run.get() as usize) < count {
            return None;
        }
        let (_, dirty) = self.cut(map, head, 0, count);
        Some(dirty)
    }

    /// May any region hold memory of the system's?
    pub fn has_dirty(&self) -> bool {
        self.dirty.iter().any(|list| list.first().is_some())
    }

    /// Takes a region that may hold memory of the system's, of the longest
    /// run; its address. It is the last such of its run, so that it can be
    /// added again as clean.
    pub fn take_dirty(&mut self, map: &PageMap) -> Option<usize> {
        let head = self.dirty.iter().rev().find_map(List::first)?;
        let last = head.dirty_run.get() as usize - 1;
        Some(self.cut(map, head, last, 1).0)
    }

    /// Takes one of those regions that are `fit`, of one of the shortest runs, if
    /// it is soon found; its address.
    pub fn take_scattered(
        &mut self,
        map: &PageMap,
        fit: impl Fn(&Region) -> bool,
    ) -> Option<usize> {
        let found = {
            let heads = self.dirty.iter().flat_map(List::iter).take(MAX_LOOKS);
            let mut regions = heads.flat_map(|head| {
                let last_first = (0..head.dirty_run.get() as usize).rev();
                last_first.take(MAX_LOOKS).map(move |index| (head, index))
            });
            let at = |head: &Region, index| region_at(map, head.start() + index * REGION_BYTES);
            regions.find(|&(head, index)| fit(at(head, index)))
        };
        let (head, index) = found?;
        Some(self.cut(map, head, index, 1).0)
    }

    /// Takes `count` regions, from the one numbered `first` of a run on; the others stay
    /// free. Returns the address of that one, and how many, from it on, may be dirty.
    fn cut(
        &mut self,
        map: &PageMap,
        head: &'static Region,
        first: usize,
        count: usize,
    ) -> (usize, usize) {
        let (start, length) = (head.start(), head.run.get() as usize);
        let dirty = head.dirty_run.get() as usize;
        self.remove(map, head);
        if first != 0 {
            self.insert(map, start, first, dirty.min(first));
        }
        let taken = start + first * REGION_BYTES;
        let rest = length - first - count;
        if rest != 0 {
            let end = taken + count * REGION_BYTES;
            self.insert(map, end, rest, dirty.saturating_sub(first + count));
        }
        (taken, dirty.saturating_sub(first).min(count))
    }

    /// Takes any whole run.
    pub fn take_any(&mut self, map: &PageMap) -> Option<(&'static Region, usize)> {
        let lists = self.clean.iter().chain(&self.dirty);
        let head = lists.into_iter().find_map(List::first)?;
        let length = head.run.get() as usize;
        self.remove(map, head);
        Some((head, length))
    }

    /// Visits the first region of every run. The visitor changes no list.
    pub fn each(&self, mut visit: impl FnMut(&'static Region)) {
        for list in self.clean.iter().chain(&self.dirty) {
            list.iter().for_each(&mut visit);
        }
    }

    /// How many regions they have.
    pub fn regions(&self) -> usize {
        let mut regions = 0;
        self.each(|head| regions += head.run.get() as usize);
        regions
    }

    fn insert(&mut self, map: &PageMap, start: usize, count: usize, dirty: usize) {
        let head = region_at(map, start);
        let last = region_at(map, start + (count - 1) * REGION_BYTES);
        head.begin(RegionKind::Free, start);
        last.begin(RegionKind::Free, start);
        head.run.set(count as u32);
        last.run.set(count as u32);
        head.dirty_run.set(dirty as u32);
        self.lists(dirty != 0)[list_of(count)].push(head);
    }

    fn remove(&mut self, map: &PageMap, head: &'static Region) {
        let length = head.run.get() as usize;
        self.lists(head.is_dirty())[list_of(length)].remove(head);
        let last = region_at(map, head.start() + (length - 1) * REGION_BYTES);
        head.end();
        last.end();
    }

    fn lists(&mut self, dirty: bool) -> &mut [List<Region>; LISTS] {
        if dirty {
            &mut self.dirty
        } else {
            &mut self.clean
        }
    }

    /// Checks that each run stands where its length says, carries its marks,
    /// has no free neighbour, and that no page of a clean region is touched.
    pub fn check_invariants(&self, map: &PageMap) {
        for (lists, dirty) in [(&self.clean, false), (&self.dirty, true)] {
            for (index, list) in lists.iter().enumerate() {
                list.iter()
                    .for_each(|head| check_run(map, head, index, dirty));
            }
        }
    }
}

fn pages_of(count: usize) -> usize {
    count * REGION_BYTES / PAGE_BYTES
}

/// How many pages more have to have memory elsewhere.
fn worth(count: usize) -> usize {
    pages_of(count) / COLDER_SHARE
}

/// Where in a run `count` regions are to be taken, at `first` or a multiple of `align`
/// regions behind it, and how many pages have memory there: most, but at `first` unless
/// others have notably more, since a run that is taken from its end stays one.
fn warmest(
    map: &PageMap,
    head: &Region,
    first: usize,
    count: usize,
    align: usize,
) -> (usize, usize) {
    let dirty_end = head.start() + head.dirty_run.get() as usize * REGION_BYTES;
    let end = head.start() + head.run.get() as usize * REGION_BYTES;
    let (bytes, step) = (count * REGION_BYTES, align * REGION_BYTES);
    let touched = |from: usize| -> usize {
        let regions = (from..from + bytes).step_by(REGION_BYTES);
        let regions = regions.take_while(|&at| at < dirty_end);
        regions.map(|at| region_at(map, at).touched_pages()).sum()
    };
    let (mut best, mut most) = (first, touched(first));
    let others = (first + step..dirty_end).step_by(step).take(MAX_PLACES);
    for at in others.take_while(|at| at + bytes <= end) {
        if most + worth(count) >= pages_of(count) {
            break;
        }
        let pages = touched(at);
        if pages > most + worth(count) {
            (best, most) = (at, pages);
        }
    }
    (best, most)
}

fn check_run(map: &PageMap, head: &Region, list: usize, dirty: bool) {
    let (start, length) = (head.start(), head.run.get() as usize);
    let end = start + length * REGION_BYTES;
    let last = region_at(map, end - REGION_BYTES);
    if list_of(length) != list || head.is_dirty() != dirty {
        fatal::inconsistent("a free run is in the wrong list", start);
    }
    if head.kind() != RegionKind::Free
        || last.kind() != RegionKind::Free
        || last.run.get() as usize != length
        || last.start() != start
    {
        fatal::inconsistent("a free run is not marked as one", start);
    }
    for neighbour in [start.wrapping_sub(REGION_BYTES), end] {
        let region = map.region_of(neighbour);
        if region.is_some_and(|r| r.kind() == RegionKind::Free) {
            fatal::inconsistent("two free runs are neighbours", start);
        }
    }
    for index in 0..length {
        let region = region_at(map, start + index * REGION_BYTES);
        if index >= head.dirty_run.get() as usize && region.touched_pages() != 0 {
            fatal::inconsistent("a clean region has touched pages", region.start());
        }
        if index != 0 && index != length - 1 && region.kind() != RegionKind::None {
            fatal::inconsistent("a region inside a free run has a kind", region.start());
        }
    }
}
