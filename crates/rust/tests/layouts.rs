//! `GlobalAlloc`, as its documentation has it, for layouts of all kinds: called
//! directly, with each byte written and checked.
#![allow(unsafe_code)] // Calls the allocator itself.

mod modes;

use std::alloc::{GlobalAlloc, Layout};
use std::ptr::NonNull;

use thmalloc::ThMalloc;
use thmalloc_core::heap::HEAP;

#[global_allocator]
static GLOBAL: ThMalloc = ThMalloc;

const ALIGNMENTS: [usize; 8] = [1, 8, 16, 64, 4096, 64 << 10, 128 << 10, 2 << 20];

/// Around each edge: of the small classes, of a system page, of a granule, of
/// the small objects, of a region.
const SIZES: [usize; 17] = [
    1,
    8,
    9,
    17,
    100,
    1024,
    1025,
    4096,
    5000,
    64 << 10,
    (64 << 10) + 1,
    256 << 10,
    (256 << 10) + 1,
    1 << 20,
    2 << 20,
    (2 << 20) + 1,
    5 << 20,
];

/// An object and what was asked for; every byte is known.
struct Object {
    start: NonNull<u8>,
    layout: Layout,
    stamp: u8,
}

/// The byte at an index of an object with a stamp.
fn pattern(stamp: u8, index: usize) -> u8 {
    stamp ^ (index as u8) ^ ((index >> 8) as u8).rotate_left(3)
}

impl Object {
    fn new(bytes: usize, align: usize, stamp: u8) -> Self {
        let mut object = Self::allocate(bytes, align, stamp, ThMalloc::alloc);
        object.fill_from(0);
        object
    }

    fn zeroed(bytes: usize, align: usize) -> Self {
        let mut object = Self::allocate(bytes, align, 0, ThMalloc::alloc_zeroed);
        let first = object.bytes().iter().position(|&byte| byte != 0);
        assert_eq!(first, None, "{:?}", object.layout);
        object
    }

    fn allocate(
        bytes: usize,
        align: usize,
        stamp: u8,
        allocate: unsafe fn(&ThMalloc, Layout) -> *mut u8,
    ) -> Self {
        let layout = Layout::from_size_align(bytes, align).expect("a layout");
        // SAFETY: no layout here has size 0.
        let start = NonNull::new(unsafe { allocate(&GLOBAL, layout) }).expect("memory");
        let object = Self {
            start,
            layout,
            stamp,
        };
        object.check_alignment();
        object
    }

    fn check_alignment(&self) {
        let address = self.start.addr().get();
        assert!(
            address.is_multiple_of(self.layout.align()),
            "{:?}",
            self.layout
        );
    }

    fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: the object is ours, of that size, and always initialised:
        // by `fill_from` or by the allocator.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.layout.size()) }
    }

    fn fill_from(&mut self, first: usize) {
        let stamp = self.stamp;
        for index in first..self.layout.size() {
            // SAFETY: inside the object.
            unsafe { self.start.add(index).write(pattern(stamp, index)) };
        }
    }

    fn check(&mut self, bytes: usize) {
        let (layout, stamp) = (self.layout, self.stamp);
        let wrong = self.bytes()[..bytes]
            .iter()
            .enumerate()
            .find(|&(index, &byte)| byte != pattern(stamp, index));
        assert_eq!(wrong, None, "{layout:?}");
    }

    fn resize(&mut self, bytes: usize) {
        let kept = self.layout.size().min(bytes);
        // SAFETY: the object has that layout; no size here is 0.
        let start = unsafe { GLOBAL.realloc(self.start.as_ptr(), self.layout, bytes) };
        self.start = NonNull::new(start).expect("memory");
        self.layout = Layout::from_size_align(bytes, self.layout.align()).expect("a layout");
        self.check_alignment();
        self.fill_from(kept);
        self.check(bytes);
    }
}

impl Drop for Object {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout, and not used any more.
        unsafe { GLOBAL.dealloc(self.start.as_ptr(), self.layout) };
    }
}

fn each_layout(mut test: impl FnMut(usize, usize)) {
    for align in ALIGNMENTS {
        for bytes in SIZES {
            test(bytes, align);
        }
    }
    HEAP.check_invariants();
}

#[test]
fn every_layout_gets_memory_of_its_own_that_is_aligned() {
    let mut objects = Vec::new();
    each_layout(|bytes, align| {
        let stamp = objects.len() as u8;
        objects.push(Object::new(bytes, align, stamp));
    });
    // Overlapping ones have overwritten each other.
    for object in &mut objects {
        let bytes = object.layout.size();
        object.check(bytes);
    }
}

#[test]
fn zeroed_memory_is_zero_also_where_others_wrote() {
    for _ in 0..3 {
        each_layout(|bytes, align| {
            drop(Object::new(bytes, align, 0xa5));
            let mut zeroed = Object::zeroed(bytes, align);
            zeroed.bytes().fill(0x5a);
        });
    }
}

#[test]
fn an_object_keeps_its_contents_and_alignment_when_it_grows_and_shrinks() {
    each_layout(|bytes, align| {
        let mut object = Object::new(bytes, align, 0x3c);
        for new in [bytes * 2, bytes * 2 + 1, bytes, bytes / 3 + 1, 7, 300_000] {
            object.resize(new);
        }
    });
}

#[test]
fn a_large_object_keeps_its_contents_while_it_grows_by_steps() {
    for align in [1, 4096, 2 << 20] {
        let mut object = Object::new(1 << 20, align, 0x77);
        // What stands behind it: it cannot grow in place for ever.
        let mut neighbours = Vec::new();
        while object.layout.size() < 40 << 20 {
            neighbours.push(Object::new(600 << 10, 1, 1));
            let bytes = object.layout.size();
            object.resize(bytes + bytes / 3 + 4097);
        }
        for neighbour in &mut neighbours {
            neighbour.check(600 << 10);
        }
        for new in [30 << 20, 3 << 20, 300 << 10, 100] {
            object.resize(new);
        }
    }
    HEAP.check_invariants();
}

#[test]
fn what_cannot_be_had_is_null_and_the_object_stays_as_it_was() {
    let huge = isize::MAX as usize - (4 << 20);
    for align in [1, 64, 4096, 2 << 20] {
        let layout = Layout::from_size_align(huge, align).expect("a layout");
        // SAFETY: the layout's size is not 0.
        unsafe {
            assert!(GLOBAL.alloc(layout).is_null());
            assert!(GLOBAL.alloc_zeroed(layout).is_null());
        }
        for bytes in [100, 1 << 20] {
            let mut object = Object::new(bytes, align, 0x11);
            // SAFETY: the object has that layout; it stays ours on failure.
            let moved = unsafe { GLOBAL.realloc(object.start.as_ptr(), object.layout, huge) };
            assert!(moved.is_null());
            object.check(bytes);
        }
    }
}

#[test]
fn all_of_this_holds_in_other_modes_too() {
    modes::run_all_in_other_modes();
}
