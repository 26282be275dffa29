//! Sequences of heap operations, read from bytes, run against a plain model.
//!
//! One interpreter for the property tests, the corpus and the fuzz target
//! (`fuzz/fuzz_targets/heap.rs`): any bytes are a sequence. The model is a list
//! of the live objects and a map of their ranges. It holds the heap to this:
//! live ranges never overlap, an object stands where its size and alignment
//! want it, keeps what was written into it until it is freed (all of it that
//! is usable, also across a reallocation), zeroed memory is zero, and the
//! figures are those of the model.
#![allow(unsafe_code)] // Writes to the objects, and frees them.

use std::collections::BTreeMap;

use thmalloc_core::fatal::Call;
use thmalloc_core::heap::HEAP;
use thmalloc_core::os::PAGE_BYTES;
use thmalloc_core::size_class::{CLASS_COUNT, MAX_SMALL_BYTES, SizeClass};

/// The most that is live at once, so that a sequence fits small machines.
const LIVE_LIMIT_BYTES: usize = 160 << 20;

/// The most objects that are live at once.
const LIVE_LIMIT_COUNT: usize = 40_000;

/// The most that one operation allocates in a row.
const BURST_BYTES: usize = 2 << 20;

/// Up to this size every page is stamped; of larger objects, one in sixteen.
const EACH_PAGE_BYTES: usize = 8 << 20;

/// Whole-heap operations in one sequence: they are slow.
const MAX_SWEEPS: usize = 4;

/// Who else is at the heap meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Others {
    /// Nobody: the heap's figures are exactly the model's.
    Nobody,
    /// Other threads.
    Threads,
}

struct Object {
    address: usize,
    /// What was asked for.
    bytes: usize,
    /// What may be used, and is stamped.
    usable: usize,
    /// The class of a small one.
    class: Option<SizeClass>,
    seed: u8,
}

impl Object {
    fn pointer(&self) -> *mut u8 {
        pointer(self.address)
    }

    fn write_stamp(&self) {
        each_sample(self.usable, |offset, length| {
            // SAFETY: inside the object, which is the model's alone.
            let part =
                unsafe { std::slice::from_raw_parts_mut(self.pointer().add(offset), length) };
            for (index, byte) in part.iter_mut().enumerate() {
                *byte = stamp(self.seed, offset + index);
            }
        });
    }

    /// Is what was written under this stamp there in the first `bytes`, now at
    /// `address`?
    fn assert_stamp(&self, address: usize, bytes: usize) {
        each_sample(self.usable, |offset, length| {
            let length = length.min(bytes.saturating_sub(offset));
            if length == 0 {
                return;
            }
            // SAFETY: inside the object, which nobody writes meanwhile.
            let part = unsafe { std::slice::from_raw_parts(pointer(address).add(offset), length) };
            let wrong = part
                .iter()
                .enumerate()
                .find(|&(index, &byte)| byte != stamp(self.seed, offset + index));
            assert_eq!(
                wrong, None,
                "an object of {} bytes was overwritten behind byte {offset}",
                self.bytes
            );
        });
    }
}

fn pointer(address: usize) -> *mut u8 {
    std::ptr::with_exposed_provenance_mut(address)
}

/// Never 0, so that stale bytes are seen in zeroed memory.
fn stamp(seed: u8, offset: usize) -> u8 {
    ((offset ^ (offset >> 8) ^ (offset >> 16)) as u8 ^ seed) | 1
}

/// Small objects as a whole; of large ones, the beginning of pages and the end.
fn each_sample(usable: usize, mut visit: impl FnMut(usize, usize)) {
    if usable <= MAX_SMALL_BYTES {
        return visit(0, usable);
    }
    let step = match usable {
        ..=EACH_PAGE_BYTES => PAGE_BYTES,
        _ => 16 * PAGE_BYTES,
    };
    (0..usable - 8).step_by(step).for_each(|at| visit(at, 8));
    visit(usable - 8, 8);
}

/// The first byte that is not zero, looked for wherever a stamp could be.
fn find_dirt(address: usize, bytes: usize) -> Option<usize> {
    let dirt = |offset: usize, length: usize| {
        // SAFETY: inside an object that is the caller's.
        let part = unsafe { std::slice::from_raw_parts(pointer(address).add(offset), length) };
        let dirty = part.iter().position(|&byte| byte != 0);
        dirty.map(|index| offset + index)
    };
    if bytes <= MAX_SMALL_BYTES {
        return dirt(0, bytes);
    }
    (0..bytes).step_by(PAGE_BYTES).find_map(|page| {
        let end = (page + PAGE_BYTES).min(bytes);
        let last = end.saturating_sub(8).max(page);
        dirt(page, 8.min(end - page)).or_else(|| dirt(last, end - last))
    })
}

/// The bytes of a sequence. Behind the end, all are 0.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn byte(&mut self) -> usize {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        (*first).into()
    }

    fn word(&mut self) -> usize {
        self.byte() | self.byte() << 8
    }

    /// Sizes of every kind, small ones and the borders of classes often.
    fn size(&mut self) -> usize {
        let kind = self.byte();
        let value = self.word();
        match kind % 8 {
            0..=1 => value % 1025,
            2 => {
                let class = SizeClass::from_number((value % (CLASS_COUNT - 1) + 1) as u8);
                (class.bytes() + (value >> 8) % 3).saturating_sub(1)
            }
            3 => value % (40 << 10),
            4 => value * 4 + 4,
            5 => (256 << 10) + value * 8,
            6 => (256 << 10) + value * 64,
            _ => value * 768,
        }
    }
}

/// A sequence under way.
pub struct Session {
    others: Others,
    live: Vec<Object>,
    /// From each live object's first byte to the one behind its last.
    ranges: BTreeMap<usize, usize>,
    live_bytes: usize,
    sweeps: usize,
    seed: u8,
}

impl Session {
    /// Nothing allocated yet.
    pub fn new(others: Others) -> Self {
        Self {
            others,
            live: Vec::new(),
            ranges: BTreeMap::new(),
            live_bytes: 0,
            sweeps: 0,
            seed: 0,
        }
    }

    /// Runs a sequence.
    pub fn run(&mut self, input: &[u8]) {
        let mut input = Input(input);
        while !input.0.is_empty() {
            match input.byte() % 16 {
                0..=2 => self.allocate(input.size()),
                3 => self.allocate_zeroed(input.size(), 1),
                4 => {
                    let align = 1 << (input.byte() % 23);
                    self.allocate_aligned(input.size(), align);
                }
                5 => {
                    let align = 1 << (input.byte() % 23);
                    self.allocate_zeroed(input.size(), align);
                }
                6 | 7 => self.free(input.word()),
                8 | 9 => self.reallocate(input.word(), input.size()),
                10 => self.free_of_known_class(input.word()),
                11 => {
                    let (count, size) = (input.byte() * 8, input.size());
                    for _ in 0..count.min(BURST_BYTES / (size + 8)) {
                        self.allocate(size);
                    }
                }
                12 => {
                    let (first, count, step) = (input.word(), input.byte() * 8, input.byte());
                    for index in 0..count {
                        self.free(first + index * step);
                    }
                }
                13 => self.sweep(Self::trim),
                14 => self.sweep(Self::check),
                _ => self.ask_the_impossible(input.byte()),
            }
        }
    }

    /// Checks every tier, then frees everything.
    pub fn finish(self) {
        self.check();
        self.free_all();
    }

    /// Frees everything, and checks that the heap sees it so.
    pub fn free_all(mut self) {
        while !self.live.is_empty() {
            self.free(0);
        }
        self.check_stats();
    }

    /// Takes a new object in.
    fn add(&mut self, address: *mut u8, bytes: usize, class: Option<SizeClass>) {
        let address = address.expose_provenance();
        let usable = HEAP.usable_size(pointer(address), Call::UsableSize);
        assert!(usable >= bytes, "{usable} bytes for {bytes}");
        if let Some(class) = class {
            assert_eq!(usable, class.bytes(), "the class of {bytes} bytes");
        }
        let natural = if bytes > 8 { 16 } else { 8 };
        assert!(address.is_multiple_of(natural), "{address:#x} for {bytes}");
        let before = self.ranges.range(..=address).next_back();
        assert!(before.is_none_or(|(_, &end)| end <= address), "an overlap");
        let after = self.ranges.range(address..).next();
        assert!(
            after.is_none_or(|(&start, _)| start >= address + usable),
            "an overlap"
        );
        self.ranges.insert(address, address + usable);
        self.live_bytes += usable;
        self.seed = self.seed.wrapping_add(37);
        let object = Object {
            address,
            bytes,
            usable,
            class,
            seed: self.seed,
        };
        object.write_stamp();
        self.live.push(object);
    }

    /// Takes an object out whose contents are checked.
    fn remove(&mut self, index: usize) -> Option<Object> {
        let index = index.checked_rem(self.live.len())?;
        let object = &self.live[index];
        object.assert_stamp(object.address, object.usable);
        let object = self.live.swap_remove(index);
        self.ranges.remove(&object.address);
        self.live_bytes -= object.usable;
        Some(object)
    }

    fn has_room(&self, bytes: usize) -> bool {
        self.live_bytes + bytes <= LIVE_LIMIT_BYTES && self.live.len() < LIVE_LIMIT_COUNT
    }

    fn allocate(&mut self, bytes: usize) {
        if self.has_room(bytes) {
            let object = HEAP.allocate(bytes);
            assert!(!object.is_null(), "no memory for {bytes}");
            self.add(object, bytes, SizeClass::for_size(bytes));
        }
    }

    fn allocate_aligned(&mut self, bytes: usize, align: usize) {
        if self.has_room(bytes) {
            let object = HEAP.allocate_aligned(bytes, align);
            assert!(!object.is_null(), "no memory for {bytes} at {align}");
            assert!(object.addr().is_multiple_of(align), "{object:?} at {align}");
            self.add(object, bytes, SizeClass::for_layout(bytes, align));
        }
    }

    fn allocate_zeroed(&mut self, bytes: usize, align: usize) {
        if self.has_room(bytes) {
            let object = HEAP.allocate_zeroed(bytes, align);
            assert!(!object.is_null(), "no memory for {bytes} at {align}");
            assert!(object.addr().is_multiple_of(align), "{object:?} at {align}");
            let dirt = find_dirt(object.expose_provenance(), bytes);
            self.add(object, bytes, SizeClass::for_layout(bytes, align));
            assert_eq!(dirt, None, "zeroed memory of {bytes} bytes has dirt");
        }
    }

    fn free(&mut self, index: usize) {
        if let Some(object) = self.remove(index) {
            // SAFETY: live until now, and nobody's any more.
            unsafe { HEAP.free(object.pointer(), Call::Free) };
        }
    }

    /// As a Rust program frees: the class comes from the layout.
    fn free_of_known_class(&mut self, index: usize) {
        if let Some(object) = self.remove(index) {
            // SAFETY: as above; the class was checked when it came in.
            unsafe {
                match object.class {
                    Some(class) => HEAP.free_class(object.pointer(), class, Call::Free),
                    None => HEAP.free(object.pointer(), Call::Free),
                }
            }
        }
    }

    fn reallocate(&mut self, index: usize, bytes: usize) {
        if !self.has_room(bytes) {
            return;
        }
        if let Some(object) = self.remove(index) {
            // SAFETY: live, and the model's alone; forgotten if it moves.
            let new = unsafe { HEAP.reallocate(object.pointer(), bytes) };
            assert!(!new.is_null(), "no memory for {bytes}");
            object.assert_stamp(new.expose_provenance(), object.bytes.min(bytes));
            let class = match new.addr() == object.address {
                true => object.class,
                false => SizeClass::for_size(bytes),
            };
            self.add(new, bytes, class);
        }
    }

    /// Sizes that are refused.
    fn ask_the_impossible(&mut self, kind: usize) {
        let bytes = [1 << 44, isize::MAX as usize, usize::MAX][kind % 3];
        assert!(HEAP.allocate(bytes).is_null());
        assert!(HEAP.allocate_zeroed(bytes, 64).is_null());
        if let Some(object) = self.live.first() {
            // SAFETY: refused, so the object stays as it is.
            assert!(unsafe { HEAP.reallocate(object.pointer(), bytes).is_null() });
            object.assert_stamp(object.address, object.usable);
        }
    }

    fn sweep(&mut self, work: impl FnOnce(&Self)) {
        if self.sweeps < MAX_SWEEPS {
            self.sweeps += 1;
            work(self);
        }
    }

    fn trim(&self) {
        HEAP.trim();
        if self.others == Others::Nobody {
            let stats = HEAP.stats();
            assert_eq!(stats.cached, 0, "cached after a trim");
            assert_eq!(stats.free, 0, "free and not released after a trim");
        }
        self.check_stats();
    }

    fn check(&self) {
        self.check_stats();
        HEAP.check_invariants();
        self.check_stats();
    }

    fn check_stats(&self) {
        if self.others != Others::Nobody {
            return;
        }
        let stats = HEAP.stats();
        let small = || self.live.iter().filter(|object| object.class.is_some());
        let large = || self.live.iter().filter(|object| object.class.is_none());
        let bytes = |object: &Object| object.usable;
        let expected = (small().count(), small().map(bytes).sum::<usize>());
        let found = (stats.small_count, stats.small_bytes);
        assert_eq!(found, expected, "small objects and their bytes");
        let expected = (large().count(), large().map(bytes).sum::<usize>());
        let found = (stats.large_count, stats.large_bytes);
        assert_eq!(found, expected, "large objects and their bytes");
        let handed_out = stats.live + stats.untouched;
        assert_eq!(handed_out, stats.small_bytes + stats.large_bytes, "live");
        let of_objects = stats.resident - stats.metadata + stats.released;
        assert_eq!(of_objects, stats.mapped, "the words and what is mapped");
    }
}

/// After a failed check: the next sequence finds the heap empty.
impl Drop for Session {
    fn drop(&mut self) {
        for object in &self.live {
            // SAFETY: live until now, and nobody's any more.
            unsafe { HEAP.free(object.pointer(), Call::Free) };
        }
    }
}
