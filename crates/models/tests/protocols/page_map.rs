//! The page map's leaves, published while others look addresses up, and the
//! class table's window.
#![allow(unsafe_code)] // Follows published pointers, as what it mirrors.

use std::ptr::null_mut;

use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use loom::sync::{Arc, Mutex};
use loom::thread;

use crate::explore;

/// What the system zeroed: not to be looked at by who did not see it published.
struct Leaf(UnsafeCell<u32>);

impl Leaf {
    fn zeroed() -> Box<Self> {
        let leaf = Box::new(Leaf(UnsafeCell::new(1)));
        // SAFETY: nobody else has it yet.
        leaf.0.with_mut(|word| unsafe { *word = 0 });
        leaf
    }
}

type Top = [AtomicPtr<Leaf>; 2];

/// `PageMap`, with a top table of two.
struct Map {
    top: AtomicPtr<Top>,
    growth: Mutex<()>,
}

impl Map {
    fn new() -> Self {
        Self {
            top: AtomicPtr::new(null_mut()),
            growth: Mutex::new(()),
        }
    }

    /// `PageMap::leaf_of`.
    fn leaf_of(&self, index: usize) -> Option<&Leaf> {
        // SAFETY: only `cover` writes these, and what it writes stays until
        // the model ends.
        unsafe {
            let top = self.top.load(Ordering::Acquire).as_ref()?;
            top[index].load(Ordering::Acquire).as_ref()
        }
    }

    /// `PageMap::cover`.
    fn cover(&self, index: usize) {
        let _growth = self.growth.lock().expect("never poisoned");
        if self.top.load(Ordering::Relaxed).is_null() {
            let top: Box<Top> = Box::new([AtomicPtr::new(null_mut()), AtomicPtr::new(null_mut())]);
            self.top.store(Box::into_raw(top), Ordering::Release);
        }
        // SAFETY: stored above, or earlier.
        let top = unsafe { &*self.top.load(Ordering::Relaxed) };
        if top[index].load(Ordering::Relaxed).is_null() {
            top[index].store(Box::into_raw(Leaf::zeroed()), Ordering::Release);
        }
    }

    /// Reads a leaf as `PageMap::slot_of` and who asked for it do.
    fn look_up(&self, index: usize) {
        if let Some(leaf) = self.leaf_of(index) {
            // SAFETY: loom checks that it is not being written.
            assert_eq!(leaf.0.with(|word| unsafe { *word }), 0);
        }
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: the model is over; all of it came out of boxes.
        unsafe {
            let top = self.top.load(Ordering::Relaxed);
            if !top.is_null() {
                for leaf in Box::from_raw(top).iter() {
                    let leaf = leaf.load(Ordering::Relaxed);
                    if !leaf.is_null() {
                        drop(Box::from_raw(leaf));
                    }
                }
            }
        }
    }
}

#[test]
fn who_finds_a_leaf_finds_it_zeroed() {
    explore(3, || {
        let map = Arc::new(Map::new());
        let reader = {
            let map = Arc::clone(&map);
            thread::spawn(move || {
                map.look_up(0);
                map.look_up(1);
            })
        };
        let grower = {
            let map = Arc::clone(&map);
            thread::spawn(move || map.cover(0))
        };
        map.cover(1);
        map.look_up(0);
        reader.join().expect("no panic");
        grower.join().expect("no panic");
        assert!(map.leaf_of(0).is_some() && map.leaf_of(1).is_some());
    });
}

/// The words of `x86_64::Entry` for `free`, in granules.
struct Entry {
    base: AtomicUsize,
    granules: AtomicUsize,
    table: AtomicUsize,
}

const BASE: usize = 1000;
const GRANULES: usize = 100;
const TABLE: usize = 7;

impl Entry {
    /// `Heap::open_window`.
    fn open(&self) {
        self.base.store(BASE, Ordering::Relaxed);
        self.table.store(TABLE, Ordering::Relaxed);
        self.granules.store(GRANULES, Ordering::Release);
    }

    /// `free_fast_path!`: its loads, in its order. On x86-64 each is an acquire.
    fn look_up(&self, granule: usize) -> Option<(usize, usize)> {
        let index = granule.wrapping_sub(self.base.load(Ordering::Acquire));
        if index >= self.granules.load(Ordering::Acquire) {
            return None;
        }
        Some((self.table.load(Ordering::Acquire), index))
    }
}

#[test]
fn an_object_is_looked_up_in_the_whole_window_or_the_slow_way() {
    explore(3, || {
        let entry = Arc::new(Entry {
            base: AtomicUsize::new(0),
            granules: AtomicUsize::new(0),
            table: AtomicUsize::new(0),
        });
        let openers: Vec<_> = (0..2)
            .map(|_| {
                let entry = Arc::clone(&entry);
                thread::spawn(move || entry.open())
            })
            .collect();
        for index in [3, GRANULES, 0] {
            let found = entry.look_up(BASE + index);
            let inside = (index < GRANULES).then_some((TABLE, index));
            assert!(found.is_none() || found == inside, "{found:?}");
        }
        for opener in openers {
            opener.join().expect("no panic");
        }
        assert_eq!(entry.look_up(BASE + 3), Some((TABLE, 3)));
    });
}
