//! Central free lists against a set of the objects that are out.
#![allow(unsafe_code)] // Writes to the objects.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;
use thmalloc_core::central::{Below, CentralFreeList};
use thmalloc_core::fatal::Call;
use thmalloc_core::os::PAGE_BYTES;
use thmalloc_core::region::{REGION_BYTES, RegionKind};
use thmalloc_core::size_class::{GRANULE_BYTES, MAX_BATCH, SizeClass};
use thmalloc_core::span::{Span, SpanKind};

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
    /// The pages without live objects go back to the system.
    Release,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let put = (any::<usize>(), 1..50_usize, 1..=MAX_BATCH);
    let step = prop_oneof![
        3 => (1..=MAX_BATCH).prop_map(Step::Take),
        2 => put.prop_map(|(first, step, count)| Step::Put { first, step, count }),
        1 => Just(Step::Release),
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
            self.stamps(object, |word, stamp| {
                // SAFETY: a word of an object that is out, of nobody else's.
                unsafe { word.write(stamp) };
            });
            self.out.push(object);
        }
    }

    fn put(&mut self, first: usize, step: usize, count: usize) {
        let mut objects = Vec::new();
        for turn in 0..count.min(self.out.len()) {
            let place = first.wrapping_add(turn * step) % self.out.len();
            let object = self.out.swap_remove(place);
            self.all.remove(&object);
            self.stamps(object, |word, stamp| {
                // SAFETY: as in `take`.
                assert_eq!(unsafe { word.read() }, stamp, "an object was written to");
            });
            objects.push(object);
        }
        self.list
            .put(below(self.ground), self.class, &objects, Call::Free);
    }

    /// Calls `visit` with a word of each page of an object, and what is to be
    /// there.
    fn stamps(&self, object: usize, visit: impl Fn(*mut u64, u64)) {
        let end = object + self.class.bytes();
        let pages = (object + 1).next_multiple_of(PAGE_BYTES)..end;
        let words = pages.step_by(PAGE_BYTES).chain([object, end - 8]);
        for at in words.filter(|at| at + 8 <= end) {
            visit(std::ptr::with_exposed_provenance_mut(at), !(at as u64));
        }
    }

    /// Every span of the class.
    fn spans(&self) -> Vec<&'static Span> {
        let map = &self.ground.map;
        let slots = map
            .regions()
            .filter(|(_, region)| region.kind() == RegionKind::Parted)
            .flat_map(|(start, _)| (start..start + REGION_BYTES).step_by(GRANULE_BYTES))
            .filter_map(|address| map.slot_of(address));
        slots
            .filter(|slot| slot.kind() == SpanKind::Small)
            .collect()
    }

    fn release(&self) {
        for span in self.spans() {
            let released = self
                .list
                .release_idle_pages(below(self.ground), self.class, span);
            assert!(!released.is_some_and(|released| released.refused));
            if span.kind() == SpanKind::Small {
                self.check_resident(span);
            }
        }
        self.compare();
    }

    /// Of a span, exactly those pages are resident that hold a live object.
    fn check_resident(&self, span: &Span) {
        let (start, end) = (span.start(), span.end());
        let resident = crate::residency(start, end - start);
        let mut held = vec![false; resident.len()];
        for &object in self.all.range(start..end) {
            let last = (object + self.class.bytes() - 1 - start) / PAGE_BYTES;
            held[(object - start) / PAGE_BYTES..=last].fill(true);
        }
        for (page, (&resident, held)) in resident.iter().zip(held).enumerate() {
            assert_eq!(resident, held, "page {page}");
        }
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
                Step::Release => model.release(),
            }
            if count % 8 == 7 {
                model.compare();
            }
        }
        model.put(0, 1, usize::MAX);
        model.compare();
        ground.pages.check_invariants(&ground.map);
        assert_eq!(ground.pages.count(&ground.map).in_use, 0, "every span is back");
        ground.pages.unmap_free(&ground.map, 0);
    });
}

#[test]
fn the_only_page_without_live_objects_of_a_full_span_goes() {
    for bytes in [16, 48, 1024, 5000] {
        let class = SizeClass::for_size(bytes).expect("small");
        let ground = Ground::new();
        let list = CentralFreeList::new();
        let (out, all) = (Vec::new(), BTreeSet::new());
        let mut model = Model {
            ground,
            list,
            class,
            out,
            all,
        };
        while model.out.len() < class.info().objects as usize {
            model.take((class.info().objects as usize - model.out.len()).min(MAX_BATCH));
        }
        let [span] = model.spans()[..] else {
            panic!("more than a span");
        };
        let page = span.start() + 3 * PAGE_BYTES;
        let on_page = |object: usize| object < page + PAGE_BYTES && object + class.bytes() > page;
        while let Some(place) = model.out.iter().position(|&object| on_page(object)) {
            model.put(place, 1, 1);
        }
        model.release();
        model.put(0, 1, usize::MAX);
        model.compare();
    }
}

/// How many pages of a span are resident.
fn resident_pages(span: &Span) -> usize {
    crate::resident_pages(span.start(), span.end() - span.start())
}

#[test]
fn new_pages_come_by_four_where_a_class_has_more_than_a_span() {
    let ground = Ground::new();
    let class = SizeClass::for_size(1024).expect("small");
    let list = CentralFreeList::new();
    let span_of = |object: usize| ground.map.span_of(object).expect("a span");
    let take = |count: usize| {
        let mut objects = vec![0; count];
        let taken = list.take(below(ground), class, &mut objects);
        assert_eq!(taken.map(|(count, _)| count), Ok(count));
        objects
    };
    let first = take(64);
    assert_eq!(resident_pages(span_of(first[0])), 0, "its only span");
    let mut second = take(1);
    let span = span_of(second[0]);
    assert_eq!(resident_pages(span), 4);
    second.extend(take(15));
    assert_eq!(resident_pages(span), 4, "there already");
    second.extend(take(17));
    assert_eq!(resident_pages(span), 12);
    // They are known to have memory: in a span that lives on, and when it is free.
    list.put(below(ground), class, &second[1..], Call::Free);
    let released = list.release_idle_pages(below(ground), class, span);
    assert_eq!(released.map(|released| released.pages), Some(11));
    assert_eq!(resident_pages(span), 1);
    second.truncate(1);
    second.extend(take(48));
    let dirty = ground.pages.usage().1;
    list.put(below(ground), class, &second, Call::Free);
    assert!(ground.pages.usage().1 - dirty >= resident_pages(span) * PAGE_BYTES);
}

#[test]
fn pages_of_objects_that_may_be_used_in_part_come_when_they_are_touched() {
    let ground = Ground::new();
    let class = SizeClass::for_size(5000).expect("small");
    let list = CentralFreeList::new();
    let mut objects = [0; 64];
    for _ in 0..8 {
        let (count, _) = list
            .take(below(ground), class, &mut objects)
            .expect("memory");
        for &object in &objects[..count] {
            let span = ground.map.span_of(object).expect("a span");
            assert_eq!(resident_pages(span), 0);
        }
    }
}

#[test]
fn who_has_no_room_for_objects_makes_no_span() {
    let ground = Ground::new();
    let list = CentralFreeList::new();
    let taken = list.take(
        below(ground),
        SizeClass::for_size(16).expect("small"),
        &mut [],
    );
    assert_eq!(taken, Ok((0, false)));
    assert_eq!(list.stats().spans, 0);
}

#[test]
fn a_class_is_unwanted_once_nobody_took_an_object_in_a_step() {
    let ground = Ground::new();
    let class = SizeClass::for_size(4096).expect("small");
    let list = CentralFreeList::new();
    let mut objects = [0; 48];
    let taken = list.take(below(ground), class, &mut objects);
    assert_eq!(taken.map(|(count, _)| count), Ok(16), "a span of 64 KiB");
    let (more, _) = list
        .take(below(ground), class, &mut objects[16..])
        .expect("memory");
    let all = 16 + more;
    assert!(!list.end_step(class), "taken in this step");
    assert!(!list.end_step(class), "nothing is free");
    // Of each span one object stays.
    let freed: Vec<_> = (0..all).filter(|index| index % 16 != 0).collect();
    let freed: Vec<_> = freed.into_iter().map(|index| objects[index]).collect();
    list.put(below(ground), class, &freed, Call::Free);
    assert!(list.end_step(class));
    assert!(list.end_step(class), "and stays so");
    let mut one = [0];
    let taken = list.take(below(ground), class, &mut one);
    assert_eq!(taken.map(|(count, _)| count), Ok(1));
    assert!(!list.end_step(class), "somebody wants it");
    list.put(below(ground), class, &one, Call::Free);
    // What was given back is nothing to look for.
    for span in [objects[0], objects[16]].map(|object| ground.map.span_of(object)) {
        let span = span.expect("a span");
        let released = list.release_idle_pages(below(ground), class, span);
        assert_eq!(released.map(|released| released.pages), Some(15));
    }
    assert!(!list.end_step(class));
}

/// The room behind the last object of a span goes back, too, while others free the last
/// objects of the span: it has to stay until that is done.
#[test]
fn a_span_stays_while_pages_behind_its_last_object_go_back() {
    let ground = Ground::new();
    let room = |class: &SizeClass| {
        let info = class.info();
        let span = info.span_granules as usize * GRANULE_BYTES;
        span - info.objects as usize * class.bytes()
    };
    let class = SizeClass::all().find(|class| room(class) >= 2 * PAGE_BYTES);
    let class = class.expect("a class with pages that have no object");
    let granules = class.info().span_granules as usize;
    let list = CentralFreeList::new();
    let mut objects = vec![0; class.info().objects as usize];
    // Even: the releaser's turn is over. Both spin, so that they begin at the same time.
    let turn = AtomicUsize::new(0);
    let current = AtomicUsize::new(0);
    let await_turn = |is: fn(usize) -> bool| {
        while !is(turn.load(Ordering::Acquire)) {
            std::thread::yield_now();
        }
    };
    let (mut failed, mut released) = (false, 0);
    std::thread::scope(|scope| {
        let releaser = scope.spawn(|| {
            let mut released = 0;
            loop {
                await_turn(|turn| turn % 2 != 0);
                let at = current.load(Ordering::Relaxed);
                if at == 0 {
                    return released;
                }
                if let Some(span) = ground.map.span_of(at) {
                    let pages = list.release_idle_pages(below(ground), class, span);
                    released += pages.map_or(0, |released| released.pages);
                }
                turn.fetch_add(1, Ordering::Release);
            }
        });
        // No panic in here: the other thread would spin for good.
        for round in 0..5000 {
            let all = ground
                .pages
                .allocate(&ground.map, &ground.metadata, granules, 1);
            let Ok(all) = all else { break };
            ground
                .pages
                .free(&ground.map, all, granules * GRANULE_BYTES);
            let taken = list.take(below(ground), class, &mut objects);
            failed |= taken.map(|(count, _)| count) != Ok(objects.len());
            if failed {
                break;
            }
            current.store(objects[0], Ordering::Relaxed);
            turn.fetch_add(1, Ordering::Release);
            match round % 16 {
                0 => await_turn(|turn| turn % 2 == 0),
                _ => (0..round % 500).for_each(|_| std::hint::spin_loop()),
            }
            list.put(below(ground), class, &objects, Call::Free);
            await_turn(|turn| turn % 2 == 0);
            list.check_invariants(below(ground), class);
        }
        current.store(0, Ordering::Relaxed);
        turn.fetch_add(1, Ordering::Release);
        released = releaser.join().unwrap_or(0);
    });
    assert!(!failed, "a span has fewer objects than it should");
    assert!(released > 0, "nothing went back");
    ground.pages.check_invariants(&ground.map);
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
