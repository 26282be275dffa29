//! The pages of a span that hold no live object.
//!
//! Such pages are given back although the span lives on. As long as the system
//! call takes, the free objects on them are *reserved*: marked as in use, so
//! that nobody gets them, without the lock being held. As long as there is such an object,
//! the span is not empty, and nobody else's; where no object stands on the pages, since
//! they are behind the last one, the span is *held* instead: it counts one object more in
//! use than there are.
//!
//! Lock: as the span's.

use core::ops::Range;

use super::{DIRTY, Span};
use crate::fatal::{self, Call};
use crate::os::PAGE_BYTES;
use crate::size_class::{ClassInfo, GRANULE_PAGES, GRANULE_SHIFT};
use crate::sync::Field;

/// Room for the pages of the longest span of small objects (80 now).
const MAX_PAGES: usize = 256;

/// Pages of a span, a bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PageSet([u64; MAX_PAGES / 64]);

impl PageSet {
    /// Is none in it?
    pub fn is_empty(&self) -> bool {
        self.0 == [0; MAX_PAGES / 64]
    }

    /// How many are in it?
    pub fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Is this page in it?
    pub fn has(&self, page: usize) -> bool {
        self.0[page / 64] >> (page % 64) & 1 != 0
    }

    /// Puts a page in.
    pub fn insert(&mut self, page: usize) {
        self.0[page / 64] |= 1 << (page % 64);
    }

    /// The pages of one granule, as a slot has them.
    pub fn of_granule(&self, granule: usize) -> u16 {
        let first = granule * GRANULE_PAGES;
        (self.0[first / 64] >> (first % 64)) as u16
    }

    /// Puts the pages of a granule in.
    pub fn insert_granule(&mut self, granule: usize, pages: u16) {
        let first = granule * GRANULE_PAGES;
        self.0[first / 64] |= u64::from(pages) << (first % 64);
    }

    /// Those that are not in the other set.
    pub fn without(&self, other: &Self) -> Self {
        Self(core::array::from_fn(|index| {
            self.0[index] & !other.0[index]
        }))
    }

    /// The pages, lowest first.
    pub fn pages(&self) -> impl Iterator<Item = usize> {
        self.runs().flat_map(|(first, count)| first..first + count)
    }

    /// The runs of pages: the first, and how many.
    pub fn runs(&self) -> impl Iterator<Item = (usize, usize)> {
        let mut at = 0;
        core::iter::from_fn(move || {
            let first = self.next(at, 0)?;
            at = self.next(first, u64::MAX).unwrap_or(MAX_PAGES);
            Some((first, at - first))
        })
    }

    /// The first page from `at` on that is in the set or, where `flip` is all ones,
    /// that is not.
    fn next(&self, at: usize, flip: u64) -> Option<usize> {
        let mut index = at / 64;
        let mut word = (self.0.get(index)? ^ flip) & (u64::MAX << (at % 64));
        while word == 0 {
            index += 1;
            word = self.0.get(index)? ^ flip;
        }
        Some(index * 64 + word.trailing_zeros() as usize)
    }
}

/// The objects of which a part stands on a page.
fn objects_on(info: &ClassInfo, page: usize) -> Range<usize> {
    let (first, _) = info.divide(page * PAGE_BYTES);
    let (last, _) = info.divide((page + 1) * PAGE_BYTES - 1);
    let objects = info.objects as usize;
    first.min(objects)..(last + 1).min(objects)
}

/// Calls `visit` with the objects on these pages, each once, in rows.
fn each_row_on(info: &ClassInfo, pages: &PageSet, mut visit: impl FnMut(Range<usize>)) {
    let mut next = 0;
    for (first, count) in pages.runs() {
        let start = objects_on(info, first).start.max(next);
        let end = objects_on(info, first + count - 1).end;
        visit(start..end.max(start));
        next = end.max(next);
    }
}

/// The words of a bitmap that have the bits of these objects, each with these bits.
fn words_of(objects: Range<usize>) -> impl Iterator<Item = (usize, u64)> {
    let Range { start, end } = objects;
    let behind = if start < end { end.div_ceil(64) } else { 0 };
    (start / 64..behind).map(move |index| {
        let from = start.saturating_sub(index * 64);
        let past = ((index + 1) * 64).saturating_sub(end);
        (index, u64::MAX << from & u64::MAX >> past)
    })
}

impl Span {
    /// Its pages without live objects, but for those of `released`, and for
    /// those that cost nothing because nobody ever had an object there.
    pub fn idle_pages(&self, released: &PageSet) -> PageSet {
        let info = self.class().info();
        let mut idle = PageSet::default();
        let used = self.live() * info.bytes as usize;
        if used + PAGE_BYTES > self.granules() << GRANULE_SHIFT {
            return idle;
        }
        let bitmap = self.bitmap(info);
        let fresh = self.fresh();
        let clean = self.clean.get() != DIRTY;
        for page in 0..self.granules() * GRANULE_PAGES {
            if released.has(page) {
                continue;
            }
            if clean && page * PAGE_BYTES >= self.backed_bytes() {
                break;
            }
            let objects = objects_on(info, page);
            let mut words = words_of(objects.start..objects.end.min(fresh).max(objects.start));
            if words.all(|(index, bits)| bitmap[index].get() & bits == bits) {
                idle.insert(page);
            }
        }
        idle
    }

    /// Marks the free objects on these pages as in use. Returns how many.
    pub fn reserve(&self, pages: &PageSet) -> usize {
        let info = self.class().info();
        let bitmap = self.bitmap(info);
        let mut end = self.fresh();
        each_row_on(info, pages, |row| end = end.max(row.end));
        // What was never handed out gets its bits.
        self.set_free_row(bitmap, self.fresh()..end);
        self.fresh.set(end as u32);
        let mut count = 0;
        each_row_on(info, pages, |row| {
            count += row.len();
            for (index, bits) in words_of(row) {
                let word = &bitmap[index];
                word.set(word.get() & !bits);
                if word.get() == 0 {
                    self.summary.set(self.summary.get() & !(1 << index));
                }
            }
        });
        self.live.set((self.live() + count) as u32);
        count
    }

    /// Ends [`Span::reserve`]: the objects are free again. Returns how many.
    /// Aborts where the program has freed one meanwhile.
    pub fn unreserve(&self, pages: &PageSet) -> usize {
        let info = self.class().info();
        let bytes = info.bytes as usize;
        let bitmap = self.bitmap(info);
        let mut count = 0;
        each_row_on(info, pages, |row| {
            count += row.len();
            for (index, bits) in words_of(row.clone()) {
                let freed = bitmap[index].get() & bits;
                if freed != 0 {
                    let object = index * 64 + freed.trailing_zeros() as usize;
                    fatal::already_free(Call::Flush, self.start() + object * bytes);
                }
            }
            self.set_free_row(bitmap, row);
        });
        self.live.set((self.live() - count) as u32);
        count
    }

    /// Keeps a span from being empty where no object of it is reserved.
    pub fn hold(&self) {
        self.live.set(self.live.get() + 1);
    }

    /// Ends [`Span::hold`].
    pub fn let_go(&self) {
        self.live.set(self.live.get() - 1);
    }

    /// Marks objects below `fresh` as free.
    fn set_free_row(&self, bitmap: &[Field<u64>], row: Range<usize>) {
        for (index, bits) in words_of(row) {
            let word = &bitmap[index];
            word.set(word.get() | bits);
            self.summary.set(self.summary.get() | 1 << index);
        }
    }

    /// The bytes of objects in use, those in caches included, on the pages of which
    /// `has` is true, and on the others.
    pub fn used_bytes(&self, has: impl Fn(usize) -> bool) -> (usize, usize) {
        let info = self.class().info();
        let bytes = info.bytes as usize;
        if (0..self.granules() * GRANULE_PAGES).all(&has) {
            return (self.live() * bytes, 0);
        }
        let bitmap = self.bitmap(info);
        let (mut on, mut off) = (0, 0);
        for object in 0..self.fresh() {
            if self.is_free_index(bitmap, object) {
                continue;
            }
            let mut at = object * bytes;
            let end = at + bytes;
            while at < end {
                let page = at / PAGE_BYTES;
                let part = end.min((page + 1) * PAGE_BYTES) - at;
                *(if has(page) { &mut on } else { &mut off }) += part;
                at += part;
            }
        }
        (on, off)
    }

    /// The pages on which objects stand that were just handed out.
    pub fn pages_of(&self, objects: &[usize]) -> PageSet {
        let bytes = self.class().bytes();
        let mut pages = PageSet::default();
        for object in objects {
            let offset = object - self.start();
            for page in offset / PAGE_BYTES..=(offset + bytes - 1) / PAGE_BYTES {
                pages.insert(page);
            }
        }
        pages
    }

    /// Checks that a page which was given back holds no live object.
    pub fn check_released(&self, released: &PageSet) {
        let info = self.class().info();
        let bitmap = self.bitmap(info);
        if self.has_released() == released.is_empty() {
            fatal::inconsistent("a span and its pages given back differ", self.start());
        }
        each_row_on(info, released, |mut row| {
            if let Some(object) = row.find(|&object| !self.is_free_index(bitmap, object)) {
                let at = self.start() + object * info.bytes as usize;
                fatal::inconsistent("an object in use stands on a page given back", at);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::size_class::SizeClass;

    #[test]
    fn the_longest_span_has_no_more_pages_than_a_set() {
        let longest = SizeClass::all().map(|class| class.info().span_granules);
        let longest = longest.max().expect("classes") as usize;
        assert!(longest * GRANULE_PAGES <= MAX_PAGES);
    }

    #[test]
    fn runs_are_the_pages_in_a_row() {
        let mut set = PageSet::default();
        [0, 1, 63, 64, 65, 200, 255]
            .iter()
            .for_each(|&page| set.insert(page));
        let runs: Vec<_> = set.runs().collect();
        assert_eq!(runs, [(0, 2), (63, 3), (200, 1), (255, 1)]);
        assert_eq!(set.len(), 7);
    }

    #[test]
    fn every_object_stands_on_the_pages_that_say_so() {
        for class in SizeClass::all() {
            let info = class.info();
            let bytes = info.bytes as usize;
            for page in 0..info.span_granules as usize * GRANULE_PAGES {
                let (from, to) = (page * PAGE_BYTES, (page + 1) * PAGE_BYTES);
                let expected: Vec<_> = (0..info.objects as usize)
                    .filter(|object| object * bytes < to && (object + 1) * bytes > from)
                    .collect();
                assert_eq!(objects_on(info, page).collect::<Vec<_>>(), expected);
            }
        }
    }
}
