//! Central free lists against a set of the objects that are out.

use std::collections::BTreeSet;

use proptest::prelude::*;
use thmalloc_core::central::{Below, CentralFreeList};
use thmalloc_core::fatal::Call;
use thmalloc_core::size_class::{MAX_BATCH, SizeClass};
use thmalloc_core::span::SpanKind;

use crate::{Ground, assert_dies, cases};

fn below(ground: &'static Ground) -> Below<'static> {
    Below {
        map: &ground.map,
        pages: &ground.pages,
        metadata: &ground.metadata,
    }
}

#[derive(Clone, Debug)]
enum Step {
    Take(usize),
    Put {
        first: usize,
        step: usize,
        count: usize,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let put = (any::<usize>(), 1..50_usize, 1..=MAX_BATCH);
    let step = prop_oneof![
        3 => (1..=MAX_BATCH).prop_map(Step::Take),
        2 => put.prop_map(|(first, step, count)| Step::Put { first, step, count }),
    ];
    proptest::collection::vec(step, 1..80)
}

/// Classes of both kinds of bitmap, and of long spans.
fn classes() -> impl Strategy<Value = SizeClass> {
    proptest::sample::select(vec![8, 16, 48, 112, 128, 1024, 5000, 70_000, 256 << 10])
        .prop_map(|bytes| SizeClass::for_size(bytes).expect("small"))
}

struct Model {
    ground: &'static Ground,
    list: CentralFreeList,
    class: SizeClass,
    out: Vec<usize>,
    all: BTreeSet<usize>,
}

impl Model {
    fn take(&mut self, count: usize) {
        let mut objects = vec![0; count];
        let taken = self.list.take(below(self.ground), self.class, &mut objects);
        let (taken, _) = taken.expect("memory");
        assert!((1..=count).contains(&taken));
        for &object in &objects[..taken] {
            assert!(self.all.insert(object), "handed out twice: {object:#x}");
            let span = self.ground.map.span_of(object).expect("a span");
            assert_eq!((span.kind(), span.class()), (SpanKind::Small, self.class));
            assert_eq!((object - span.start()) % self.class.bytes(), 0);
            assert!(object + self.class.bytes() <= span.end());
            assert_eq!(self.ground.map.class_of(object), self.class);
            self.out.push(object);
        }
    }

    fn put(&mut self, first: usize, step: usize, count: usize) {
        let mut objects = Vec::new();
        for turn in 0..count.min(self.out.len()) {
            let place = first.wrapping_add(turn * step) % self.out.len();
            let object = self.out.swap_remove(place);
            self.all.remove(&object);
            objects.push(object);
        }
        self.list
            .put(below(self.ground), self.class, &objects, Call::Free);
    }

    fn compare(&self) {
        self.list.check_invariants(below(self.ground), self.class);
        let stats = self.list.stats();
        assert_eq!(stats.live, self.out.len());
        let spans: BTreeSet<_> = self
            .out
            .iter()
            .map(|&object| self.ground.map.span_of(object).expect("a span").start())
            .collect();
        assert_eq!(
            stats.spans,
            spans.len(),
            "a span without live objects is not kept"
        );
    }
}

#[test]
fn batches_come_and_go_as_in_the_model() {
    proptest!(cases(60), |(class in classes(), steps in steps())| {
        let ground = Ground::new();
        let list = CentralFreeList::new();
        let (out, all) = (Vec::new(), BTreeSet::new());
        let mut model = Model { ground, list, class, out, all };
        for (count, step) in steps.into_iter().enumerate() {
            match step {
                Step::Take(count) => model.take(count),
                Step::Put { first, step, count } => model.put(first, step, count),
            }
            if count % 8 == 7 {
                model.compare();
            }
        }
        model.put(0, 1, usize::MAX);
        model.compare();
        ground.pages.check_invariants(&ground.map);
        assert_eq!(ground.pages.stats(&ground.map).in_use, 0, "every span is back");
        ground.pages.unmap_free(&ground.map);
    });
}

#[test]
fn objects_come_from_the_fullest_span() {
    let ground = Ground::new();
    let class = SizeClass::for_size(1024).expect("small");
    let list = CentralFreeList::new();
    let mut objects = [0; 64];
    let mut span = || {
        let taken = list.take(below(ground), class, &mut objects);
        assert_eq!(taken, Ok((64, true)), "a whole new span");
        objects
    };
    let (first, second) = (span(), span());
    list.put(below(ground), class, &first[..40], Call::Free);
    list.put(below(ground), class, &second[..8], Call::Free);
    let mut out = [0; 10];
    assert_eq!(list.take(below(ground), class, &mut out), Ok((10, false)));
    assert_eq!(
        out[..8],
        second[..8],
        "the second span first, lowest address first"
    );
    assert_eq!(out[8..], first[..2]);
}

#[test]
fn an_object_put_twice_dies_where_it_arrives() {
    let name = "central::an_object_put_twice_dies_where_it_arrives";
    assert_dies(name, "free of 0x", || {
        let ground = Ground::new();
        let class = SizeClass::for_size(64).expect("small");
        let list = CentralFreeList::new();
        let mut objects = [0; 3];
        list.take(below(ground), class, &mut objects)
            .expect("memory");
        let [first, second, _] = objects;
        list.put(below(ground), class, &[first, second, first], Call::Flush);
    });
}
