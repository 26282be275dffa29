//! The largest holes: where a large object could go, or could not.
//!
//! A hole is consecutive pages in no span, or of spans of small objects that were
//! given back. What a large object has not touched is the program's, and none.

use thmalloc_inspect::snapshot::{PageOwner, PageView, RegionView};

use super::layout::{PAGE_BYTES, REGION_PAGES};

/// As many are marked.
pub const SHOWN: usize = 5;
/// What is smaller is not worth a mark: a granule.
const LEAST_PAGES: usize = 16;

/// A hole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hole {
    /// The address of its first byte.
    pub address: u64,
    /// Its first page, counted from the first region on.
    pub first: usize,
    /// Its length in pages.
    pub pages: usize,
    /// Its pages that have memory all the same.
    pub resident: usize,
}

/// The largest holes, the largest first.
pub fn largest(regions: &[RegionView]) -> Vec<Hole> {
    let mut holes: Vec<Hole> = Vec::new();
    let mut keep = |hole: Option<Hole>| {
        if let Some(hole) = hole.filter(|hole| hole.pages >= LEAST_PAGES) {
            let place = holes.partition_point(|other| other.pages >= hole.pages);
            if place < SHOWN {
                holes.insert(place, hole);
                holes.truncate(SHOWN);
            }
        }
    };
    let mut open: Option<Hole> = None;
    let mut end = None;
    for (number, region) in regions.iter().enumerate() {
        if end != Some(region.address) {
            keep(open.take());
        }
        end = region
            .address
            .checked_add(PAGE_BYTES * region.pages.len() as u64);
        for (index, page) in region.pages.iter().enumerate() {
            if !is_hole(page) {
                keep(open.take());
                continue;
            }
            let hole = open.get_or_insert(Hole {
                address: region.address.saturating_add(index as u64 * PAGE_BYTES),
                first: number * REGION_PAGES + index,
                pages: 0,
                resident: 0,
            });
            hole.pages += 1;
            hole.resident += usize::from(page.resident);
        }
    }
    keep(open);
    holes
}

fn is_hole(page: &PageView) -> bool {
    match page.owner {
        PageOwner::Free => true,
        PageOwner::Small(_) => !page.resident,
        PageOwner::Large => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use thmalloc_inspect::sample::{START, Sample, Slot};

    #[test]
    fn holes_are_the_longest_runs_of_pages_that_nobody_holds() {
        let heap = Sample::new()
            .free(40, true)
            .small(4, 1, |_| Slot::Live)
            .free(600, false)
            .large(300, 10)
            .free(8, true)
            .large(16, 16);
        let mut snapshot = heap.snapshot();
        let found = largest(&snapshot.regions);
        let pages: Vec<_> = found.iter().map(|hole| (hole.first, hole.pages)).collect();
        assert_eq!(pages, [(56, 600), (980, 44), (0, 40)]);
        assert_eq!(found[0].address, START + 56 * PAGE_BYTES);
        assert_eq!(found[2].resident, 40);

        // Where addresses jump, a hole ends.
        snapshot.regions[1].address += 1 << 30;
        let found = largest(&snapshot.regions);
        assert_eq!((found[0].first, found[0].pages), (56, 456));
    }

    #[test]
    fn what_a_span_gave_back_is_a_hole() {
        let kept = |object: u64| if object < 100 { Slot::Live } else { Slot::Free };
        let heap = Sample::new().small(4, 8, kept).large(400, 400).trimmed();
        let found = largest(&heap.snapshot().regions);
        // The largest is the rest of the last region.
        assert_eq!((found[1].first, found[1].pages), (2, 126));
    }
}
