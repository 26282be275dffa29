//! Size classes: which sizes small objects have, and the span each kind lives
//! in. Tables, computed when the library is compiled.
//!
//! Always: classes grow with their number; up to 96 KiB an object wastes at most 1/8
//! of its size and 15 bytes; every class
//! from 16 bytes up is a multiple of 16, and each power of two is a class, so
//! that aligned requests find one. Class 0 is no class: what is not a small
//! object.
//!
//! Eight classes to a doubling: jemalloc has four (at most 20 % waste), tcmalloc
//! about as many as here. Above 96 KiB a class for each 64 KiB, whose objects have a span
//! each: where several share one, whichever lives keeps the others' memory from other
//! sizes, and there are few of each. What an object does not reach of its span is not
//! touched.

pub mod code;

use core::mem::offset_of;

use thmalloc_format::{Address, ClassesLayout};

use crate::os::PAGE_BYTES;

/// A granule: spans are whole granules, and the page map knows one class for
/// each.
pub const GRANULE_BYTES: usize = 1 << GRANULE_SHIFT;

/// The logarithm of [`GRANULE_BYTES`].
pub const GRANULE_SHIFT: u32 = 16;

/// The system's pages in a granule.
pub const GRANULE_PAGES: usize = GRANULE_BYTES / PAGE_BYTES;

/// The largest small object, in bytes.
pub const MAX_SMALL_BYTES: usize = 256 << 10;

/// The largest that shares its span with others, in bytes.
pub const MAX_SHARED_BYTES: usize = 96 << 10;

/// How many classes there are, class 0 included.
pub const CLASS_COUNT: usize = 89;

/// The most objects in a span: what a bitmap with a one-word summary covers.
pub const MAX_SPAN_OBJECTS: usize = 64 * 64;

/// The most objects that move between tiers at once.
pub const MAX_BATCH: usize = 128;

/// The number of a size class; 0 is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SizeClass(u8);

/// What holds for all objects of a class.
#[derive(Clone, Copy, Debug)]
pub struct ClassInfo {
    /// An object's size in bytes.
    pub bytes: u32,
    /// The span's size in granules.
    pub span_granules: u8,
    /// Objects moved between tiers at once.
    pub batch: u8,
    /// Words of the span's bitmap.
    pub bitmap_words: u8,
    /// Objects in a span.
    pub objects: u16,
    /// ⌊2³² / objects⌋ + 1: see [`ClassInfo::share`].
    object_reciprocal: u32,
    /// ⌊2⁴⁰ / bytes⌋ + 1: see [`ClassInfo::divide`].
    reciprocal: u64,
}

impl ClassInfo {
    /// `count / objects` in parts of which a span has so many, rounded down: exact for
    /// fewer objects than a span has, and up to 2⁸ parts (as [`ClassInfo::divide`]).
    #[inline]
    pub fn share(&self, count: usize, parts: usize) -> usize {
        (((count * parts) as u64 * u64::from(self.object_reciprocal)) >> 32) as usize
    }

    /// `offset / bytes` and the remainder, by a multiplication: exact for
    /// offsets below 2²¹, since the reciprocal is too large by at most
    /// 1 / 2⁴⁰ × bytes, and 2²¹ × 2¹⁸ < 2⁴⁰ (Granlund and Montgomery, "Division
    /// by Invariant Integers using Multiplication", 1994).
    #[inline]
    pub fn divide(&self, offset: usize) -> (usize, usize) {
        let quotient = ((offset as u64 * self.reciprocal) >> 40) as usize;
        (quotient, offset - quotient * self.bytes as usize)
    }
}

impl SizeClass {
    /// No class.
    pub const NONE: SizeClass = SizeClass(0);

    /// The class of a number from the page map.
    #[inline]
    pub const fn from_number(number: u8) -> Self {
        debug_assert!((number as usize) < CLASS_COUNT);
        Self(number)
    }

    /// The number, for the page map and as an index.
    #[inline]
    pub const fn number(self) -> usize {
        self.0 as usize
    }

    /// All classes, smallest first.
    pub fn all() -> impl Iterator<Item = SizeClass> {
        (1..CLASS_COUNT as u8).map(SizeClass)
    }

    /// The smallest class that holds `bytes`; `None` above [`MAX_SMALL_BYTES`].
    #[inline]
    pub const fn for_size(bytes: usize) -> Option<Self> {
        if bytes > MAX_SMALL_BYTES {
            return None;
        }
        Some(Self(FAST_TABLES.class_of_size[table_index(bytes)]))
    }

    /// The smallest class that holds `bytes` and whose objects all stand at
    /// multiples of `align` (a power of two). `None` where that takes a large
    /// object.
    #[inline]
    pub const fn for_layout(bytes: usize, align: usize) -> Option<Self> {
        // Small requests are aligned to 16 by any class that holds 16 bytes.
        let least = if align > 8 && bytes < 16 { 16 } else { bytes };
        let Some(class) = Self::for_size(least) else {
            return None;
        };
        if align <= 16 {
            return Some(class);
        }
        class.aligned(align)
    }

    const fn aligned(self, align: usize) -> Option<Self> {
        if align > GRANULE_BYTES {
            return None;
        }
        let mut number = self.0;
        while (number as usize) < CLASS_COUNT {
            if CLASSES[number as usize].bytes as usize & (align - 1) == 0 {
                return Some(Self(number));
            }
            number += 1;
        }
        None
    }

    /// What holds for the class.
    #[inline]
    pub const fn info(self) -> &'static ClassInfo {
        &CLASSES[self.0 as usize]
    }

    /// An object's size in bytes.
    #[inline]
    pub const fn bytes(self) -> usize {
        self.info().bytes as usize
    }

    /// Objects moved between tiers at once.
    #[inline]
    pub const fn batch(self) -> usize {
        self.info().batch as usize
    }
}

/// A set of classes, a bit each.
pub type ClassSet = u128;

/// All of them.
pub const ALL_CLASSES: ClassSet = (1 << CLASS_COUNT) - 2;

/// The set of those that come by.
pub fn set_of(classes: impl Iterator<Item = SizeClass>) -> ClassSet {
    classes.fold(0, |set, class| set | 1 << class.number())
}

/// Those of a set, smallest first.
pub fn classes_of(set: ClassSet) -> impl Iterator<Item = SizeClass> {
    SizeClass::all().filter(move |class| set >> class.number() & 1 != 0)
}

/// Where a size stands in the table of classes: an entry for each size up to
/// [`FINE_BYTES`], then one for each 128 bytes; the second part follows the first
/// (as in tcmalloc's `ClassIndex`, which has one for each 8 bytes in the first, and
/// needs two more instructions to find it). malloc's assembly computes the same.
const fn table_index(bytes: usize) -> usize {
    if bytes <= FINE_BYTES {
        bytes
    } else {
        FINE_BYTES + (bytes - FINE_BYTES).div_ceil(1 << COARSE_SHIFT)
    }
}

/// Up to here, the table has an entry for each size.
pub const FINE_BYTES: usize = 1024;

/// Above, for each multiple of two to the power of this.
pub const COARSE_SHIFT: u32 = 7;

const TABLE_LENGTH: usize = table_index(MAX_SMALL_BYTES) + 1;

/// What malloc and free look up, in one page: one entry of the TLB reaches it all.
#[repr(C, align(4096))]
pub struct FastTables {
    /// For each code that is a class's number, its multiplier with k = 32; 0, which no
    /// address passes, for the others. See [`code`].
    pub first_checks: [u32; code::CODE_COUNT],
    /// The class of each size.
    pub class_of_size: [u8; TABLE_LENGTH],
}

const _: () = assert!(size_of::<FastTables>() == PAGE_BYTES);

impl FastTables {
    /// Where the classes of sizes stand in here.
    pub const CLASS_OF_SIZE: usize = offset_of!(Self, class_of_size);
}

/// The tables.
pub static FAST_TABLES: FastTables = FastTables {
    first_checks: code::first_checks(),
    class_of_size: class_of_size(),
};

static CLASSES: [ClassInfo; CLASS_COUNT] = classes();

/// Where a reader finds the table of classes, and what of it.
pub const LAYOUT: ClassesLayout = ClassesLayout {
    table: Address((&raw const CLASSES).cast()),
    count: CLASS_COUNT as u32,
    stride: size_of::<ClassInfo>() as u32,
    bytes_at: offset_of!(ClassInfo, bytes) as u32,
    objects_at: offset_of!(ClassInfo, objects) as u32,
    span_granules_at: offset_of!(ClassInfo, span_granules) as u32,
    bitmap_words_at: offset_of!(ClassInfo, bitmap_words) as u32,
};

/// The size that follows `bytes`.
const fn next_size(bytes: usize) -> usize {
    if bytes < 8 {
        return 8;
    }
    if bytes < 16 {
        return 16;
    }
    if bytes < 128 {
        return bytes + 16;
    }
    if bytes >= MAX_SHARED_BYTES {
        return (bytes / GRANULE_BYTES + 1) * GRANULE_BYTES;
    }
    bytes + (1 << (bytes.ilog2() - 3))
}

const fn classes() -> [ClassInfo; CLASS_COUNT] {
    let mut classes = [ClassInfo {
        bytes: 0,
        span_granules: 0,
        batch: 0,
        bitmap_words: 0,
        objects: 0,
        object_reciprocal: 0,
        reciprocal: 0,
    }; CLASS_COUNT];
    let mut number = 1;
    let mut bytes = 0;
    while number < CLASS_COUNT {
        bytes = next_size(bytes);
        let granules = span_granules(bytes);
        let mut objects = granules * GRANULE_BYTES / bytes;
        if objects > MAX_SPAN_OBJECTS {
            objects = MAX_SPAN_OBJECTS;
        }
        classes[number] = ClassInfo {
            bytes: bytes as u32,
            span_granules: granules as u8,
            batch: batch(bytes) as u8,
            bitmap_words: objects.div_ceil(64) as u8,
            objects: objects as u16,
            object_reciprocal: ((1 << 32) / objects as u64 + 1) as u32,
            reciprocal: (1 << 40) / bytes as u64 + 1,
        };
        number += 1;
    }
    assert!(bytes == MAX_SMALL_BYTES);
    classes
}

/// The fewest granules of which at most 1/8 stays unused at the span's end. (Pages there
/// are never touched.)
const fn span_granules(bytes: usize) -> usize {
    let mut granules = 1;
    loop {
        let span = granules * GRANULE_BYTES;
        if span >= bytes && (span % bytes) * 8 <= span {
            return granules;
        }
        granules += 1;
    }
}

/// 16 KiB at once, at most [`MAX_BATCH`] objects, and a few of the large ones:
/// larger batches make a cache of some megabytes thrash.
const fn batch(bytes: usize) -> usize {
    let least = if bytes <= 8 << 10 {
        8
    } else if bytes <= 32 << 10 {
        4
    } else if bytes <= MAX_SHARED_BYTES {
        2
    } else {
        1
    };
    let fitting = (16 << 10) / bytes;
    if fitting > MAX_BATCH {
        MAX_BATCH
    } else if fitting < least {
        least
    } else {
        fitting
    }
}

const fn class_of_size() -> [u8; TABLE_LENGTH] {
    let classes = classes();
    let mut table = [1; TABLE_LENGTH];
    let mut class = 1;
    let mut bytes = 0;
    while bytes <= MAX_SMALL_BYTES {
        while (classes[class].bytes as usize) < bytes {
            class += 1;
        }
        table[table_index(bytes)] = class as u8;
        bytes += if bytes < FINE_BYTES {
            1
        } else {
            1 << COARSE_SHIFT
        };
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_a_spans_objects_is_as_by_division() {
        for class in SizeClass::all() {
            let info = class.info();
            for count in 0..info.objects as usize {
                let share = count * 8 / info.objects as usize;
                assert_eq!(info.share(count, 8), share, "{class:?} {count}");
            }
        }
    }

    #[test]
    fn every_size_gets_the_smallest_class_that_holds_it() {
        for bytes in 0..=MAX_SMALL_BYTES {
            let class = SizeClass::for_size(bytes).expect("a small size");
            assert!(class.bytes() >= bytes);
            if class.number() > 1 {
                assert!(SizeClass(class.0 - 1).bytes() < bytes);
            }
        }
        assert_eq!(SizeClass::for_size(MAX_SMALL_BYTES + 1), None);
        assert_eq!(SizeClass::for_size(usize::MAX), None);
    }

    #[test]
    fn an_object_wastes_at_most_an_eighth_and_15_bytes() {
        for bytes in 1..=MAX_SHARED_BYTES {
            let class = SizeClass::for_size(bytes).expect("a small size");
            assert!(class.bytes() <= bytes + bytes / 8 + 15, "{bytes}");
        }
    }

    #[test]
    fn above_an_object_has_its_span_for_itself() {
        for bytes in MAX_SHARED_BYTES + 1..=MAX_SMALL_BYTES {
            let class = SizeClass::for_size(bytes).expect("a small size");
            assert_eq!(class.bytes(), bytes.next_multiple_of(GRANULE_BYTES));
            let info = class.info();
            let span = info.span_granules as usize * GRANULE_BYTES;
            assert_eq!((info.objects, span), (1, class.bytes()));
        }
    }

    #[test]
    fn objects_from_16_bytes_up_are_aligned_to_16() {
        for class in SizeClass::all() {
            assert!(class.bytes() == 8 || class.bytes().is_multiple_of(16));
        }
        assert_eq!(SizeClass::for_layout(1, 16).map(SizeClass::bytes), Some(16));
    }

    #[test]
    fn an_aligned_request_gets_a_class_whose_objects_are_all_aligned() {
        for shift in 0..=17 {
            let align = 1 << shift;
            for bytes in (0..=MAX_SMALL_BYTES).step_by(61) {
                match SizeClass::for_layout(bytes, align) {
                    Some(class) => {
                        assert!(class.bytes() >= bytes && align <= GRANULE_BYTES);
                        assert!(class.bytes().is_multiple_of(align));
                    }
                    None => assert!(align > GRANULE_BYTES || bytes > MAX_SMALL_BYTES - align),
                }
            }
        }
    }

    #[test]
    fn a_span_holds_its_objects_and_fits_a_region() {
        for class in SizeClass::all() {
            let info = class.info();
            let span = info.span_granules as usize * GRANULE_BYTES;
            assert!(info.objects as usize * class.bytes() <= span);
            assert!(info.objects as usize <= MAX_SPAN_OBJECTS);
            assert!(info.bitmap_words as usize * 64 >= info.objects as usize);
            assert!(span <= 2 << 20);
            assert!((1..=MAX_BATCH).contains(&class.batch()));
        }
    }

    #[test]
    fn dividing_by_the_reciprocal_is_exact() {
        for class in SizeClass::all() {
            let info = class.info();
            let span = info.span_granules as usize * GRANULE_BYTES;
            for offset in 0..span {
                let exact = (offset / class.bytes(), offset % class.bytes());
                assert_eq!(info.divide(offset), exact);
            }
        }
    }
}
