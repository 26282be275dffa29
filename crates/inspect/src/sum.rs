//! Several heaps of one process, added up: a program with thmalloc in it, with the
//! library preloaded, say.
//!
//! Always: the heaps have the same size classes, by number and by size
//! (`find::Heaps`).

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use crate::reading::{Reading, merged};
use crate::snapshot::{ClassView, CpuCacheView, LARGEST, Large, Totals, Words};

/// Adds up readings of the heaps of one process. Who gives memory back, and how the
/// caches are entered, is as the first says. `None`: there are none.
pub fn sum(readings: Vec<Reading>) -> Option<Reading> {
    let mut readings = readings.into_iter();
    let first = readings.next()?;
    let mut sum = readings.fold(first, add);
    sum.regions.sort_by_key(|region| region.address);
    sum.ranges = merged(sum.ranges);
    Some(sum)
}

fn add(sum: Reading, other: Reading) -> Reading {
    let mut sum = sum;
    sum.words = words(&sum.words, &other.words);
    sum.totals = totals(&sum.totals, &other.totals);
    sum.classes = by_key(sum.classes, other.classes, |view| view.class, add_class);
    sum.cpu_caches = by_key(
        sum.cpu_caches,
        other.cpu_caches,
        |view| view.slot,
        add_cache,
    );
    sum.large = large(sum.large, other.large);
    sum.regions.extend(other.regions);
    sum.ranges.extend(other.ranges);
    sum.by_page &= other.by_page;
    sum.changes = sum.changes.saturating_add(other.changes);
    sum
}

fn words(a: &Words, b: &Words) -> Words {
    Words {
        live: a.live.saturating_add(b.live),
        cached: a.cached.saturating_add(b.cached),
        fragmented: a.fragmented.saturating_add(b.fragmented),
        free: a.free.saturating_add(b.free),
        metadata: a.metadata.saturating_add(b.metadata),
        released: a.released.saturating_add(b.released),
        untouched: a.untouched.saturating_add(b.untouched),
        resident: a.resident.saturating_add(b.resident),
    }
}

fn totals(a: &Totals, b: &Totals) -> Totals {
    Totals {
        drawn: a.drawn.saturating_add(b.drawn),
        released: a.released.saturating_add(b.released),
        refaulted: a.refaulted.saturating_add(b.refaulted),
    }
}

/// Both lists in one, in order; what is in both is added.
fn by_key<T>(a: Vec<T>, b: Vec<T>, key: impl Fn(&T) -> u32, add: impl Fn(&mut T, T)) -> Vec<T> {
    let mut all: BTreeMap<u32, T> = a.into_iter().map(|item| (key(&item), item)).collect();
    for item in b {
        match all.entry(key(&item)) {
            Entry::Vacant(place) => _ = place.insert(item),
            Entry::Occupied(mut place) => add(place.get_mut(), item),
        }
    }
    all.into_values().collect()
}

fn add_class(sum: &mut ClassView, other: ClassView) {
    sum.live += other.live;
    sum.cached += other.cached;
    sum.free += other.free;
    sum.spans += other.spans;
    sum.released_pages += other.released_pages;
    sum.fragmented += other.fragmented;
    sum.resident += other.resident;
    sum.waste_at_most = sum.waste_at_most.saturating_add(other.waste_at_most);
}

fn add_cache(sum: &mut CpuCacheView, other: CpuCacheView) {
    sum.objects += other.objects;
    sum.bytes += other.bytes;
}

fn large(a: Large, b: Large) -> Large {
    let mut largest = a.largest;
    largest.extend(b.largest);
    largest.sort_by_key(|object| std::cmp::Reverse(object.bytes));
    largest.truncate(LARGEST);
    Large {
        count: a.count + b.count,
        bytes: a.bytes.saturating_add(b.bytes),
        resident: a.resident.saturating_add(b.resident),
        largest,
    }
}
