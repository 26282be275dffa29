//! What lies in the pages of one span.

use crate::layout::Class;
use crate::snapshot::Words;

/// A span of small objects, copied: which of its objects are free.
#[derive(Debug)]
pub struct SmallSpan<'a> {
    /// Its class.
    pub class: Class,
    /// The address of its first byte.
    pub start: u64,
    /// Objects from this index on were never handed out.
    pub fresh: u32,
    /// A bit for each object that is free below that.
    pub bitmap: &'a [u8],
    /// Cached objects in it, in order.
    pub cached: &'a [u64],
}

/// What an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Live,
    Cached,
    Free,
}

/// What was counted in a span.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpanCount {
    /// The program's objects.
    pub live: u64,
    /// Its objects in caches.
    pub cached: u64,
    /// Its free objects.
    pub free: u64,
    /// Bytes that have memory.
    pub resident: u64,
    /// Bytes of these that neither a live nor a cached object has.
    pub fragmented: u64,
}

/// Bytes of objects on a page.
#[derive(Clone, Copy, Debug, Default)]
pub struct PageLoad {
    /// Of the program's objects.
    pub live: u32,
    /// Of cached ones.
    pub cached: u32,
}

impl SmallSpan<'_> {
    fn is_free(&self, object: u32) -> bool {
        let byte = self.bitmap.get(object as usize / 8).copied().unwrap_or(0);
        object >= self.fresh || byte >> (object % 8) & 1 != 0
    }

    /// Counts its objects, and what they take of each page. `pages` says which
    /// of its pages have memory; `loads` is as long.
    pub fn count(
        &self,
        page_bytes: u64,
        pages: &[bool],
        loads: &mut [PageLoad],
        words: &mut Words,
    ) -> SpanCount {
        loads.fill(PageLoad::default());
        let mut count = SpanCount::default();
        self.each_run(|from, to, state| {
            let objects = u64::from(to - from);
            let bytes = u64::from(from) * self.class.bytes..u64::from(to) * self.class.bytes;
            match state {
                State::Live => {
                    count.live += objects;
                    spread(page_bytes, bytes, loads, |load| &mut load.live);
                }
                State::Cached => {
                    count.cached += objects;
                    spread(page_bytes, bytes, loads, |load| &mut load.cached);
                }
                State::Free => count.free += objects,
            }
        });
        for (load, &resident) in loads.iter().zip(pages) {
            let (live, cached) = (u64::from(load.live), u64::from(load.cached));
            if resident {
                let rest = page_bytes - live - cached;
                words.live += live;
                words.cached += cached;
                words.fragmented += rest;
                count.resident += page_bytes;
                count.fragmented += rest;
            } else {
                words.released += page_bytes;
                words.untouched += live;
            }
        }
        count
    }

    /// Calls `visit` with each run of objects that are the same: the first, and
    /// the one behind.
    fn each_run(&self, mut visit: impl FnMut(u32, u32, State)) {
        let mut cached = self
            .cached
            .iter()
            .filter_map(|&address| self.index_of(address))
            .peekable();
        let (mut from, mut state) = (0, State::Free);
        for object in 0..self.class.objects {
            while cached.next_if(|&next| next < object).is_some() {}
            let next = if self.is_free(object) {
                State::Free
            } else if cached.peek() == Some(&object) {
                State::Cached
            } else {
                State::Live
            };
            if next != state {
                visit(from, object, state);
                (from, state) = (object, next);
            }
        }
        visit(from, self.class.objects, state);
    }

    /// The object at an address; `None`: none begins there.
    fn index_of(&self, address: u64) -> Option<u32> {
        let offset = address.checked_sub(self.start)?;
        let index = u32::try_from(offset / self.class.bytes).ok()?;
        (offset % self.class.bytes == 0).then_some(index)
    }
}

/// Adds a range of a span's bytes to the pages that it lies on.
fn spread(
    page_bytes: u64,
    bytes: std::ops::Range<u64>,
    loads: &mut [PageLoad],
    field: impl Fn(&mut PageLoad) -> &mut u32,
) {
    let mut at = bytes.start;
    while at < bytes.end {
        let page = at / page_bytes;
        let end = ((page + 1) * page_bytes).min(bytes.end);
        if let Some(load) = loads.get_mut(page as usize) {
            *field(load) += (end - at) as u32;
        }
        at = end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLASS: Class = Class {
        bytes: 3072,
        objects: 5,
        granules: 1,
        bitmap_words: 1,
    };

    /// Objects 0 live, 1 cached, 2 free, 3 live, 4 never handed out.
    fn span() -> SmallSpan<'static> {
        SmallSpan {
            class: CLASS,
            start: 0x10_0000,
            fresh: 4,
            bitmap: &[0b100, 0, 0, 0, 0, 0, 0, 0],
            cached: &[0x10_0000 + 5, 0x10_0000 + 3072, 0x10_0000 + 2 * 3072],
        }
    }

    #[test]
    fn every_byte_of_a_page_is_counted_once() {
        let mut words = Words::default();
        let mut loads = [PageLoad::default(); 16];
        let mut pages = [true; 16];
        pages[2] = false;
        pages[5..].fill(false);
        let count = span().count(4096, &pages, &mut loads, &mut words);
        assert_eq!((count.live, count.cached, count.free), (2, 1, 2));
        // Object 3 lies on page 2 as a whole.
        assert_eq!((words.live, words.untouched), (3072, 3072));
        assert_eq!(words.cached, 3072);
        assert_eq!(words.live + words.cached + words.fragmented, 4 * 4096);
        assert_eq!(words.released, 12 * 4096);
        assert_eq!(
            (count.resident, count.fragmented),
            (4 * 4096, words.fragmented)
        );
    }

    #[test]
    fn a_live_object_on_a_page_without_memory_is_untouched() {
        let mut words = Words::default();
        let mut loads = [PageLoad::default(); 16];
        span().count(4096, &[false; 16], &mut loads, &mut words);
        assert_eq!((words.live, words.untouched), (0, 2 * 3072));
        assert_eq!(words.released, 16 * 4096);
    }
}
