//! The load's own tables, in memory of their own: where the objects are.
//!
//! They come from `mmap` and are touched when they are made, so that they
//! neither disturb the allocator nor change what the process is measured at.
#![allow(unsafe_code, reason = "memory that does not come from the allocator")]

use std::ops::Range;
use std::slice;
use std::sync::Mutex;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

/// The size of a page, by which survivors are counted.
pub const PAGE_BYTES: usize = 4096;

/// A type that is valid as zeroes.
trait Zeroed {}
impl Zeroed for AtomicPtr<u8> {}
impl Zeroed for u64 {}

/// A table of `count` elements, zero and touched; never given back.
fn table<T: Zeroed>(count: usize) -> &'static mut [T] {
    let bytes = (count * size_of::<T>()).max(1).next_multiple_of(PAGE_BYTES);
    // SAFETY: a new private mapping disturbs no other.
    let memory = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            bytes,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_POPULATE,
            -1,
            0,
        )
    };
    assert!(
        memory != libc::MAP_FAILED,
        "no memory for the load's tables"
    );
    // SAFETY: the mapping is new, ours, page-aligned, and stays; T is valid as
    // zeroes, and the whole table fits.
    unsafe { slice::from_raw_parts_mut(memory.cast::<T>(), count) }
}

/// All that the workers share.
pub struct Books {
    /// One place for each object; each worker has `per_worker` of them in turn.
    slots: &'static [AtomicPtr<u8>],
    per_worker: usize,
    /// Places in use of each worker, and how many of these stay.
    counts: Vec<(AtomicUsize, AtomicUsize)>,
    /// Objects handed from one thread to another during the load.
    pub mailbox: &'static [AtomicPtr<u8>],
    /// Room for the numbers of pages that hold live objects.
    pages: Mutex<&'static mut [u64]>,
}

impl Books {
    /// Books for `workers` with at most `per_worker` objects each, of which
    /// those that stay lie in at most `pages` pages.
    pub fn new(workers: usize, per_worker: usize, pages: usize) -> Books {
        Books {
            slots: table(workers * per_worker),
            per_worker,
            counts: (0..workers).map(|_| Default::default()).collect(),
            mailbox: table(64 * workers),
            pages: Mutex::new(table(pages)),
        }
    }

    /// The bytes of the tables.
    pub fn bytes(&self) -> usize {
        size_of_val(self.slots) + size_of_val(self.mailbox) + size_of_val(&**self.pages())
    }

    /// The places of one worker's objects.
    pub fn slots(&self, worker: usize) -> &'static [AtomicPtr<u8>] {
        &self.slots[worker * self.per_worker..][..self.per_worker]
    }

    /// The places of `worker` that hold what goes when the load goes.
    pub fn load_of(&self, worker: usize) -> Range<usize> {
        let (count, base) = &self.counts[worker];
        // Relaxed: workers read others' counts behind a barrier.
        base.load(Ordering::Relaxed)..count.load(Ordering::Relaxed)
    }

    /// Says how many places of `worker` are in use, of which the first stay.
    pub fn set_count(&self, worker: usize, count: usize, base: usize) {
        // Relaxed: read behind a barrier.
        self.counts[worker].0.store(count, Ordering::Relaxed);
        self.counts[worker].1.store(base, Ordering::Relaxed);
    }

    /// The bytes of the distinct pages that hold a live object, of length
    /// `length`. Nobody allocates or frees meanwhile, this included.
    pub fn page_bytes(&self, length: impl Fn(*mut u8) -> usize) -> usize {
        let mut pages = self.pages();
        let mut used = 0;
        // Relaxed: all threads but this one are blocked, behind a barrier.
        let objects = self.slots.iter().map(|slot| slot.load(Ordering::Relaxed));
        for object in objects.filter(|object| !object.is_null()) {
            let first = object.addr() / PAGE_BYTES;
            let last = (object.addr() + length(object) - 1) / PAGE_BYTES;
            for page in first as u64..=last as u64 {
                // Neighbours share pages: most repetitions are found here.
                if used == 0 || pages[used - 1] != page {
                    assert!(used < pages.len(), "more survivors than expected");
                    pages[used] = page;
                    used += 1;
                }
            }
        }
        let pages = &mut pages[..used];
        pages.sort_unstable();
        pages.chunk_by(|a, b| a == b).count() * PAGE_BYTES
    }

    fn pages(&self) -> std::sync::MutexGuard<'_, &'static mut [u64]> {
        self.pages.lock().expect("no thread panics: it would abort")
    }
}
