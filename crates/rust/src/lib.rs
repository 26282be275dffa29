//! thmalloc as a Rust program's allocator:
//!
//! ```
//! #[global_allocator]
//! static GLOBAL: thmalloc::ThMalloc = thmalloc::ThMalloc;
//!
//! let text = String::from("on thmalloc");
//! assert_eq!(text.len(), 11);
//! ```
//!
//! Linking this crate exports no C symbol: `malloc` stays the system's, for the
//! C code of the program. Linux on x86-64 with glibc.
//!
//! A shared library with this allocator in it must never be unloaded: libc calls its
//! handlers of fork, and the kernel reads its notes. Link it with `-z nodelete`
//! (`println!("cargo::rustc-link-arg-cdylib=-Wl,-z,nodelete")` in its `build.rs`).
#![cfg_attr(not(test), no_std)]
#![allow(unsafe_code)] // Implements an unsafe trait.

use core::alloc::{GlobalAlloc, Layout};
use core::ptr::null_mut;

use thmalloc_core::fatal::Call;
use thmalloc_core::heap::HEAP;
use thmalloc_core::size_class::SizeClass;

/// Registers the handlers of fork when the program or the library is loaded; in a static
/// library whose objects the linker picks, the first allocation may have to. That
/// may come when there are threads: a fork in another one may be past its
/// handlers then, and the loader's lock, which a start takes, may be held by
/// whoever waits for this thread.
#[used]
// SAFETY: the loader calls the addresses in this section once, when the program or
// library is loaded; a C function without parameters may be called so.
#[unsafe(link_section = ".init_array")]
static CONSTRUCTOR: extern "C" fn() = thmalloc_core::heap::constructor;

/// The allocator. All values of this type are the same heap, the process's.
///
/// Its methods may be called from any thread, not from a signal handler. A
/// deallocation of what is not an object of the heap, where it is noticed, ends
/// the process with a line on standard error that names it.
#[derive(Clone, Copy, Debug, Default)]
pub struct ThMalloc;

// SAFETY: objects do not overlap, stay where they are until they are given
// back, and have the layout's size and alignment: the heap's promises, which
// its own tests hold it to. Nothing here unwinds.
unsafe impl GlobalAlloc for ThMalloc {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match SizeClass::for_layout(layout.size(), layout.align()) {
            Some(class) => HEAP.allocate_class_inline(class),
            None => HEAP.allocate_large(layout.size(), layout.align()),
        }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        HEAP.allocate_zeroed(layout.size(), layout.align())
    }

    #[inline]
    unsafe fn dealloc(&self, object: *mut u8, layout: Layout) {
        // SAFETY: by the trait's contract the object was allocated with this
        // layout, so it is of the layout's class, and given up.
        unsafe {
            match SizeClass::for_layout(layout.size(), layout.align()) {
                Some(class) => HEAP.free_class_inline(object, class, Call::Free),
                None => HEAP.free(object, Call::Free),
            }
        }
    }

    #[inline]
    unsafe fn realloc(&self, object: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        let old = SizeClass::for_layout(layout.size(), layout.align());
        let new = SizeClass::for_layout(bytes, layout.align());
        if old.is_some() && old == new {
            return object;
        }
        // SAFETY: by the trait's contract; the classes are those of the two
        // layouts, and the objects are apart.
        unsafe {
            if old.is_none() && new.is_none() && layout.align() <= MAX_KEPT_ALIGN {
                return HEAP.reallocate(object, bytes);
            }
            // An object moves even if it gets smaller: what class it has
            // follows from its layout alone.
            let Ok(new_layout) = Layout::from_size_align(bytes, layout.align()) else {
                return null_mut();
            };
            let target = self.alloc(new_layout);
            if !target.is_null() {
                target.copy_from_nonoverlapping(object, layout.size().min(bytes));
                self.dealloc(object, layout);
            }
            target
        }
    }
}

/// Gives all memory that is free back to the system now: what the caches of all
/// CPUs hold, free spans, and the pages of part-used spans that hold no object.
/// Returns how many bytes that were.
///
/// Idle memory goes back by itself, within a second; this is for a program that
/// knows that it will not need it. May be called from any thread, not from a
/// signal handler; others go on meanwhile.
pub fn purge() -> usize {
    HEAP.trim()
}

/// Where the heap's memory is, in bytes. Each page that the system has given counts
/// once: `live` + `cached` + `fragmented` + `free` + `metadata` = `resident`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Objects that were handed out, rounded up to their size class, as far as they
    /// are resident.
    pub live: usize,
    /// Free objects in the caches of CPUs and in transfer caches.
    pub cached: usize,
    /// Free objects in spans that hold live ones, and what spans leave unused at
    /// their end.
    pub fragmented: usize,
    /// Pages in no span that still have memory.
    pub free: usize,
    /// The allocator's own books.
    pub metadata: usize,
    /// Pages of the heap without memory: given back, or never touched. Address space
    /// only.
    pub released: usize,
    /// The part of `released` that lies in objects that were handed out.
    pub untouched: usize,
    /// The sum of the first five.
    pub resident: usize,
    /// Objects of size classes that were handed out: up to 256 KiB, aligned to 64 KiB at
    /// the most.
    pub small_count: usize,
    /// Their bytes, touched or not.
    pub small_bytes: usize,
    /// All other objects that were handed out.
    pub large_count: usize,
    /// Their bytes, touched or not.
    pub large_bytes: usize,
    /// Given back to the system since the process began.
    pub ever_released: usize,
    /// The part of that which was wanted again.
    pub ever_refaulted: usize,
}

/// Where the heap's memory is now. May be called from any thread, not from a signal
/// handler; others go on meanwhile. It walks the heap, a region at a time.
///
/// ```
/// #[global_allocator]
/// static GLOBAL: thmalloc::ThMalloc = thmalloc::ThMalloc;
///
/// let before = thmalloc::stats();
/// let million = vec![1_u8; 1_000_000];
/// assert!(thmalloc::stats().live >= before.live + million.len());
/// ```
pub fn stats() -> Stats {
    let stats = HEAP.stats();
    Stats {
        live: stats.live,
        cached: stats.cached,
        fragmented: stats.fragmented,
        free: stats.free,
        metadata: stats.metadata,
        released: stats.released,
        untouched: stats.untouched,
        resident: stats.resident,
        small_count: stats.small_count,
        small_bytes: stats.small_bytes,
        large_count: stats.large_count,
        large_bytes: stats.large_bytes,
        ever_released: stats.ever_released,
        ever_refaulted: stats.ever_refaulted,
    }
}

/// Large objects keep this alignment when they move.
const MAX_KEPT_ALIGN: usize = thmalloc_core::size_class::GRANULE_BYTES;
