//! Spans: their bitmap against a set of free indices.

use std::collections::BTreeSet;

use proptest::prelude::*;
use thmalloc_core::fatal::Call;
use thmalloc_core::metadata::Metadata;
use thmalloc_core::os::PAGE_BYTES;
use thmalloc_core::size_class::{CLASS_COUNT, GRANULE_SHIFT, SizeClass};
use thmalloc_core::span::{INLINE_WORDS, Span, SpanKind};
use thmalloc_core::sync::Field;

use crate::{assert_dies, cases};

/// Nothing is mapped there: a span's books never look at its memory.
const START: usize = 0x7000_0003_0000;

fn new_slot() -> &'static Span {
    let metadata = Box::leak(Box::new(Metadata::new()));
    metadata_piece(metadata)
}

#[allow(unsafe_code)] // Zeroed metadata is a free slot.
fn metadata_piece(metadata: &Metadata) -> &'static Span {
    let piece = metadata.allocate::<Span>().expect("memory");
    // SAFETY: zeroed, aligned, there for good; a span is words only, for which
    // zeros are values.
    unsafe { piece.as_ref() }
}

/// A span of small objects, set up as the central free list does it.
fn small_span(class: SizeClass, clean: bool) -> &'static Span {
    let span = new_slot();
    let info = class.info();
    let words = info.bitmap_words as usize;
    let bitmap: Option<&'static [Field<u64>]> =
        (words > INLINE_WORDS).then(|| &*Vec::leak((0..words).map(|_| Field::new(0)).collect()));
    span.begin(START, info.span_granules as usize);
    span.begin_small(class, bitmap, clean);
    span
}

#[derive(Clone, Debug)]
enum Step {
    Take(usize),
    /// Those taken objects go back whose rank has this remainder.
    Put {
        first: usize,
        step: usize,
        count: usize,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let put = (any::<usize>(), 1..9_usize, 0..200_usize);
    let step = prop_oneof![
        (1..=128_usize).prop_map(Step::Take),
        put.prop_map(|(first, step, count)| Step::Put { first, step, count }),
    ];
    proptest::collection::vec(step, 1..60)
}

fn classes() -> impl Strategy<Value = SizeClass> {
    (0..CLASS_COUNT - 1).prop_map(|index| SizeClass::all().nth(index).expect("a class"))
}

/// The truth: free indices, and how many were ever handed out.
struct Model {
    class: SizeClass,
    free: BTreeSet<usize>,
    taken: Vec<usize>,
    fresh: usize,
}

impl Model {
    fn new(class: SizeClass) -> Self {
        Self {
            class,
            free: (0..class.info().objects.into()).collect(),
            taken: Vec::new(),
            fresh: 0,
        }
    }

    fn address(&self, index: usize) -> usize {
        START + index * self.class.bytes()
    }

    /// Of the first so many objects, the one that is handed out before all others:
    /// on another whole page of theirs for each granule.
    fn first_of_all(&self, count: usize) -> usize {
        let pages = count * self.class.bytes() / PAGE_BYTES;
        let page = (START >> GRANULE_SHIFT).checked_rem(pages).unwrap_or(0);
        let on_it = |&index: &usize| self.address(index) >= START + page * PAGE_BYTES;
        (0..count).find(on_it).unwrap_or(0)
    }

    fn take(&mut self, span: &Span, count: usize) {
        let mut out = vec![0; count];
        let (taken, zero) = span.take(&mut out);
        let expected: Vec<_> = self.free.iter().copied().take(count).collect();
        let mut addresses: Vec<_> = expected.iter().map(|&index| self.address(index)).collect();
        if self.fresh == 0 {
            addresses.rotate_left(self.first_of_all(expected.len()));
        }
        assert_eq!(&out[..taken], addresses, "lowest addresses first");
        let first_is_new = expected.first().is_some_and(|&index| index >= self.fresh);
        assert_eq!(zero, first_is_new, "zero, since nobody had it");
        for index in expected {
            self.free.remove(&index);
            self.taken.push(index);
            self.fresh = self.fresh.max(index + 1);
        }
    }

    fn put(&mut self, span: &Span, first: usize, step: usize, count: usize) {
        for turn in 0..count {
            if self.taken.is_empty() {
                return;
            }
            let place = first.wrapping_add(turn * step) % self.taken.len();
            let index = self.taken.swap_remove(place);
            span.put(&[self.address(index)], Call::Free);
            self.free.insert(index);
        }
    }

    fn compare(&self, span: &Span) {
        span.check_invariants();
        assert_eq!(span.live(), self.taken.len());
        assert_eq!(span.fresh(), self.fresh);
        for index in 0..self.class.info().objects.into() {
            let free = span.is_free(self.address(index), Call::Free);
            assert_eq!(free, self.free.contains(&index), "object {index}");
        }
    }
}

#[test]
fn the_bitmap_is_the_set_of_free_objects() {
    proptest!(cases(300), |(class in classes(), steps in steps())| {
        let span = small_span(class, true);
        let mut model = Model::new(class);
        for step in steps {
            match step {
                Step::Take(count) => model.take(span, count),
                Step::Put { first, step, count } => model.put(span, first, step, count),
            }
            model.compare(span);
        }
        model.put(span, 0, 1, usize::MAX);
        assert_eq!(span.live(), 0);
        span.end_small();
        assert_eq!(span.kind(), SpanKind::Large);
        assert_eq!(span.large_bytes(), model.fresh * class.bytes(), "what was ever handed out");
    });
}

#[test]
fn the_first_objects_of_neighbours_stand_on_different_pages() {
    let class = SizeClass::for_size(128).expect("small");
    let first = |granule: usize| {
        let span = new_slot();
        let start = START + (granule << GRANULE_SHIFT);
        span.begin(start, 1);
        span.begin_small(class, None, true);
        let mut out = [0; 128];
        assert_eq!(span.take(&mut out), (128, true));
        assert!(
            out.iter()
                .all(|address| (0..128 * 128).contains(&(address - start)))
        );
        (out[0] - start) / PAGE_BYTES
    };
    assert_eq!([0, 1, 2, 3, 4].map(first), [3, 0, 1, 2, 3]);
}

#[test]
fn objects_of_a_span_that_was_used_before_are_not_called_zero() {
    let span = small_span(SizeClass::for_size(64).expect("small"), false);
    assert_eq!(span.take(&mut [0; 3]), (3, false));
}

#[test]
fn a_span_says_where_it_stands() {
    let class = SizeClass::for_size(100 << 10).expect("small");
    let span = small_span(class, true);
    assert_eq!(span.kind(), SpanKind::Small);
    assert_eq!((span.class(), span.start()), (class, START));
    assert_eq!(span.end(), START + (span.granules() << GRANULE_SHIFT));
}

fn span_with_one_out() -> &'static Span {
    let span = small_span(SizeClass::for_size(64).expect("small"), true);
    span.take(&mut [0; 2]);
    span.put(&[START], Call::Free);
    span
}

#[test]
fn a_second_put_dies() {
    assert_dies("span::a_second_put_dies", "already free", || {
        span_with_one_out().put(&[START], Call::Free);
    });
}

#[test]
fn a_put_of_what_was_never_taken_dies() {
    assert_dies(
        "span::a_put_of_what_was_never_taken_dies",
        "already free",
        || {
            span_with_one_out().put(&[START + 64 * 7], Call::Free);
        },
    );
}

#[test]
fn a_put_inside_an_object_dies() {
    assert_dies("span::a_put_inside_an_object_dies", "24 bytes into", || {
        span_with_one_out().put(&[START + 64 + 24], Call::Free);
    });
}
