//! The heap: what an allocation and a free do, over all tiers.
//!
//! Small objects (up to 256 KiB) go through the CPU caches, large ones to the
//! page heap. The fast paths stand in the CPU caches' assembly; what is here
//! is what they fall back on, and what has no fast path.
//!
//! Always: errno is kept. A pointer that is not an object of the heap, or is
//! free already, is named and ends the process, in the name of the [`Call`].
//! Locks: none of its own but `standstill` (rank `Heap`), for work on the whole
//! heap: giving back, checking, fork.
#![allow(unsafe_code)] // Hands out memory, copies and zeroes it.

use core::ptr::null_mut;

use crate::central::{Below, CentralFreeList};
use crate::config::Config;
use crate::cpu_cache::{CpuCaches, Mode, Taken, Tiers, x86_64};
use crate::demand::{Allowance, Unpinning};
use crate::fatal::{self, Call};
use crate::metadata::Metadata;
use crate::os::{self, OutOfMemory, PAGE_BYTES};
use crate::page_heap::PageHeap;
use crate::page_map::PageMap;
use crate::region::REGION_BYTES;
use crate::size_class::{CLASS_COUNT, SizeClass};
use crate::span::{Span, SpanKind};
use crate::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use crate::sync::{Mutex, Once, Rank};
use crate::transfer_cache::TransferCache;

mod block;
mod fork;
mod growth;
mod in_line;
mod large;
mod realloc;
mod scavenge;
mod scavenger;
mod stats;
mod summary;

pub use block::BLOCK;
pub use stats::HeapStats;

use scavenge::Schedule;
use scavenger::Scavenger;
use summary::Destination;

/// What a process without a scavenger's thread remembers of giving back.
struct Standstill {
    allowance: Allowance,
    unpinning: Unpinning,
    /// How many samples of spans were taken.
    samples: usize,
}

impl Standstill {
    /// Nothing was given back yet.
    const fn new() -> Self {
        Self {
            allowance: Allowance::new(),
            unpinning: Unpinning::new(),
            samples: 0,
        }
    }
}

/// All tiers of a heap. What every process writes stands first, in few pages; each
/// class has its own place in those behind. All of it is zero at first, so that what is
/// never written to takes no memory (`tests/tests/startup.rs`).
#[repr(C)]
pub struct Heap {
    started: Once,
    /// An object could not be made smaller.
    has_oversized: AtomicBool,
    /// The region at which a look at the end of a step of growth is to go on; 0: at the
    /// first.
    growth_hand: AtomicUsize,
    caches: CpuCaches,
    scavenger: Scavenger,
    schedule: Schedule,
    summary: Destination,
    standstill: Mutex<Standstill>,
    metadata: Metadata,
    map: PageMap,
    pages: PageHeap,
    transfer: [TransferCache; CLASS_COUNT],
    central: [CentralFreeList; CLASS_COUNT],
}

/// The heap of this process. There is one: its fast paths know where it is.
pub static HEAP: Heap = Heap::new();

impl Heap {
    const fn new() -> Self {
        Self {
            started: Once::new(),
            has_oversized: AtomicBool::new(false),
            growth_hand: AtomicUsize::new(0),
            standstill: Mutex::new(Rank::Heap, Standstill::new()),
            scavenger: Scavenger::new(),
            schedule: Schedule::new(),
            caches: CpuCaches::new(),
            transfer: [const { TransferCache::new() }; CLASS_COUNT],
            central: [const { CentralFreeList::new() }; CLASS_COUNT],
            pages: PageHeap::new(),
            map: PageMap::new(),
            metadata: Metadata::new(),
            summary: Destination::new(),
        }
    }

    fn below(&self) -> Below<'_> {
        Below {
            map: &self.map,
            pages: &self.pages,
            metadata: &self.metadata,
        }
    }

    fn tiers(&self) -> Tiers<'_> {
        Tiers {
            central: &self.central,
            transfer: &self.transfer,
            below: self.below(),
            slots: self.caches.slots_opened(),
        }
    }

    /// Sets the heap up at its first use.
    fn ensure_started(&self) {
        if !self.started.is_done() {
            // First: from here on a fork sees to it that the heap is started before. Libc
            // may allocate in there, and so come here, and start the heap.
            self.attach();
            self.started.call(|| {
                block::keep();
                let config = Config::from_environment();
                let (mode, by_cpu) = (config.cache_mode, config.by_cpu);
                self.caches.start(&self.metadata, mode, by_cpu);
                self.scavenger.configure(config.release_delay);
                if let Some(summary) = config.stats_at_exit {
                    self.summary.keep(&self.metadata, summary);
                }
            });
            // Libc may allocate in there: the heap is ready for it.
            self.summary.register();
            if os::is_libc_set_up() {
                os::find_thread_functions();
            }
        }
    }

    /// Makes itself known to libc, once: registers the handlers of fork, and
    /// watches the main thread, if that is the caller. To be called as early as
    /// possible, since the handlers of others may allocate. Libc may allocate
    /// meanwhile.
    pub fn attach(&self) {
        // SAFETY: a section of variables.
        #[unsafe(link_section = ".data.thmalloc_entry")]
        static ATTACHED: AtomicBool = AtomicBool::new(false);
        // Relaxed: only whoever comes first is to do it.
        if !ATTACHED.swap(true, Ordering::Relaxed) {
            fork::register();
            self.scavenger.watch_main_thread();
        }
    }

    /// How the CPU caches are entered.
    pub fn cache_mode(&self) -> Mode {
        self.ensure_started();
        self.caches.mode()
    }

    /// Shows the fast path of `free` the page map's window, once there is one; and
    /// with it the caches, so not where these are not entered by sequences. After
    /// start-up.
    fn open_window(&self) {
        let entry = x86_64::entry();
        let rseq = self.caches.mode() == Mode::Rseq;
        if rseq && entry.window_granules.load(Ordering::Relaxed) == 0 {
            let window = self.map.window();
            entry.window_base.store(window.base, Ordering::Relaxed);
            let table = window.table.cast_mut();
            entry.table.store(table, Ordering::Relaxed);
            // Release: on x86-64 the fast path, which reads the table after the
            // length, then sees it. It reads the base before: with the old one,
            // 0, an address of the heap is beyond any length, and goes the slow
            // way.
            let granules = &entry.window_granules;
            granules.store(window.granules, Ordering::Release);
        }
    }

    /// An object of the class.
    #[inline]
    pub fn allocate_class(&self, class: SizeClass) -> *mut u8 {
        match self.caches.take(class) {
            Some(object) => pointer(object),
            None => self.allocate_class_slow(class).0,
        }
    }

    /// [`Heap::allocate_class`], to be compiled into a caller that knows the class.
    #[inline(always)]
    pub fn allocate_class_inline(&self, class: SizeClass) -> *mut u8 {
        let object = x86_64::take_inline(class.number());
        if object.is_null() {
            return self.allocate_class_otherwise(class);
        }
        object
    }

    /// As [`Heap::allocate_class`] where no sequence takes one.
    #[cold]
    #[inline(never)]
    fn allocate_class_otherwise(&self, class: SizeClass) -> *mut u8 {
        self.allocate_class(class)
    }

    /// As [`Heap::allocate_class`] where the cache has none. Also tells whether
    /// the object is known to be zero.
    #[cold]
    #[inline(never)]
    fn allocate_class_slow(&self, class: SizeClass) -> (*mut u8, bool) {
        self.ensure_started();
        let taken = self.caches.take_slow(self.tiers(), class).or_else(|_| {
            self.reclaim_and_retry(REGION_BYTES, || self.caches.take_slow(self.tiers(), class))
        });
        self.open_window();
        self.look_at_growth();
        self.after_allocation(class.bytes() * class.batch());
        match taken {
            Ok(Taken { object, zero }) => (pointer(object), zero),
            Err(OutOfMemory) => (null_mut(), false),
        }
    }

    /// Gives everything that is free back to the system, address space
    /// included, and tries once more to get so many bytes: a limit may stand in the way.
    #[cold]
    fn reclaim_and_retry<T>(
        &self,
        bytes: usize,
        retry: impl Fn() -> Result<T, OutOfMemory>,
    ) -> Result<T, OutOfMemory> {
        self.trim();
        {
            let _still = self.standstill.lock();
            self.pages.unmap_free(&self.map, bytes);
        }
        retry()
    }

    /// Memory for `bytes`; null where there is none. At a multiple of 16 from
    /// 16 bytes up, of 8 below.
    #[inline]
    pub fn allocate(&self, bytes: usize) -> *mut u8 {
        match SizeClass::for_size(bytes) {
            Some(class) => self.allocate_class(class),
            None => self.allocate_large(bytes, 1),
        }
    }

    /// Memory for `bytes` at a multiple of `align`, a power of two.
    pub fn allocate_aligned(&self, bytes: usize, align: usize) -> *mut u8 {
        match SizeClass::for_layout(bytes, align) {
            Some(class) => self.allocate_class(class),
            None => self.allocate_large(bytes, align),
        }
    }

    /// Zeroed memory for `bytes` at a multiple of `align`, a power of two.
    /// What the system has just zeroed is not zeroed again.
    pub fn allocate_zeroed(&self, bytes: usize, align: usize) -> *mut u8 {
        let Some(class) = SizeClass::for_layout(bytes, align) else {
            return self.allocate_large_zeroed(bytes, align);
        };
        let object = x86_64::take_inline(class.number());
        if object.is_null() {
            return self.allocate_zeroed_otherwise(class, bytes);
        }
        // SAFETY: the object is ours, of at least that many bytes.
        unsafe { object.write_bytes(0, bytes) };
        object
    }

    /// As [`Heap::allocate_zeroed`] where no sequence takes one.
    #[cold]
    #[inline(never)]
    fn allocate_zeroed_otherwise(&self, class: SizeClass, bytes: usize) -> *mut u8 {
        let (object, zero) = match self.caches.take(class) {
            Some(object) => (pointer(object), false),
            None => self.allocate_class_slow(class),
        };
        if !zero && !object.is_null() {
            // SAFETY: the object is ours, of at least that many bytes.
            unsafe { object.write_bytes(0, bytes) };
        }
        object
    }

    /// Gives an object of the class back.
    ///
    /// # Safety
    /// `object` is an object of that class that the heap handed out, and nobody
    /// uses it any more.
    #[inline]
    pub unsafe fn free_class(&self, object: *mut u8, class: SizeClass, call: Call) {
        let address = object.expose_provenance();
        // SAFETY: by contract.
        unsafe {
            if !self.caches.put(class, address) {
                self.free_class_slow(class, address, call);
            }
        }
    }

    /// [`Heap::free_class`], to be compiled into a caller that knows the class.
    ///
    /// # Safety
    /// As there.
    #[inline(always)]
    pub unsafe fn free_class_inline(&self, object: *mut u8, class: SizeClass, call: Call) {
        let address = object.expose_provenance();
        // SAFETY: by contract.
        unsafe {
            x86_64::put_inline(address, class.number(), || {
                self.free_class_otherwise(object, class, call);
            });
        }
    }

    /// As [`Heap::free_class`] where no sequence puts it.
    ///
    /// # Safety
    /// As there.
    #[cold]
    #[inline(never)]
    unsafe fn free_class_otherwise(&self, object: *mut u8, class: SizeClass, call: Call) {
        // SAFETY: by contract.
        unsafe { self.free_class(object, class, call) };
    }

    /// As [`Heap::free_class`] where the cache has no room.
    ///
    /// # Safety
    /// As there.
    #[cold]
    #[inline(never)]
    unsafe fn free_class_slow(&self, class: SizeClass, address: usize, call: Call) {
        // SAFETY: by contract.
        unsafe { self.caches.put_slow(self.tiers(), class, address, call) };
        self.after_free(class.bytes() * class.batch(), class.batch());
    }

    /// Gives an object back; nothing for null. Ends the process on what is not
    /// one.
    ///
    /// # Safety
    /// Nobody uses the object any more.
    #[cold]
    #[inline(never)]
    pub unsafe fn free(&self, object: *mut u8, call: Call) {
        if object.is_null() {
            return;
        }
        let address = object.expose_provenance();
        match self.class_or_span_by_map(address, call) {
            // SAFETY: checked to be an object of the class; by contract nobody uses it.
            Ok(class) => unsafe { self.free_class(object, class, call) },
            Err(large) => self.free_large(large),
        }
    }

    /// The bytes that the program may use of an object.
    ///
    /// Ends the process, in the name of `call`, on what is not an object.
    pub fn usable_size(&self, object: *mut u8, call: Call) -> usize {
        let address = object.expose_provenance();
        match self.class_or_span(address, call) {
            Ok(class) => class.bytes(),
            Err(large) => large.large_bytes(),
        }
    }

    /// The class of a small object, by the class table where that knows it, or the span
    /// of a large one. Ends the process, in the name of `call`, on what is no object, and
    /// on a small one that is free in its span.
    #[inline(always)]
    fn class_or_span(&self, address: usize, call: Call) -> Result<SizeClass, &'static Span> {
        if let Some(class) = self.map.class_of_object(address)
            && let Some(span) = self.map.span_of(address)
        {
            // No lock: as in `check_small`.
            if span.is_free_object(class, address) {
                fatal::already_free(call, address);
            }
            return Ok(class);
        }
        self.class_or_span_by_map(address, call)
    }

    #[cold]
    #[inline(never)]
    fn class_or_span_by_map(&self, address: usize, call: Call) -> Result<SizeClass, &'static Span> {
        let span = self.span_or_die(address, call);
        if span.kind() != SpanKind::Small {
            if span.large_bytes() == 0 {
                // No object: free memory that is being given back, or lends its pages.
                fatal::already_free(call, address);
            }
            return Err(span);
        }
        self.check_small(span, address, call);
        Ok(span.class())
    }

    /// The span of an object; ends the process where the address is in none.
    fn span_or_die(&self, address: usize, call: Call) -> &'static Span {
        match self.map.span_of(address) {
            Some(span) if span.kind() == SpanKind::Small || span.start() == address => span,
            Some(span) => fatal::interior(call, address, span.start(), span.large_bytes()),
            None => self.die_without_span(address, call),
        }
    }

    #[cold]
    fn die_without_span(&self, address: usize, call: Call) -> ! {
        if let Some(span) = self.map.large_span_around(address) {
            fatal::interior(call, address, span.start(), span.large_bytes());
        }
        if self.pages.is_free(&self.map, address) {
            fatal::already_free(call, address);
        }
        fatal::foreign(call, address)
    }

    /// Ends the process where the address is not a small object's, or the
    /// object is free in its span.
    fn check_small(&self, span: &Span, address: usize, call: Call) {
        // No lock: the word with the object's bit may change under us, but the
        // bit itself only by misuse.
        if span.is_free(address, call) {
            fatal::already_free(call, address);
        }
    }

    /// Walks every tier and checks that the books agree; ends the process where
    /// they do not. Empties the caches first, so that every object of theirs is
    /// seen by its span.
    pub fn check_invariants(&self) {
        self.ensure_started();
        let _still = self.standstill.lock();
        self.caches.drain(self.tiers());
        for class in SizeClass::all() {
            self.central[class.number()].check_invariants(self.below(), class);
        }
        self.pages.check_invariants(&self.map);
    }
}

/// What is done once, when what has the heap in it is loaded: for `.init_array`. The
/// caller has the loader's lock.
pub extern "C" fn constructor() {
    HEAP.attach();
    os::find_thread_functions();
}

fn pointer(address: usize) -> *mut u8 {
    core::ptr::with_exposed_provenance_mut(address)
}

/// Calls `visit` with each run of pages of a new large object that may hold
/// something: its address and length.
fn each_touched(map: &PageMap, span: &Span, bytes: usize, mut visit: impl FnMut(usize, usize)) {
    let mut at = span.start();
    let end = at + bytes;
    while at < end {
        let first = at % REGION_BYTES;
        let length = (REGION_BYTES - first).min(end - at);
        if let Some(region) = map.region_of(at) {
            let base = at - first;
            region.each_touched(first, length, |page, run| {
                debug_assert!(page.is_multiple_of(PAGE_BYTES));
                visit(base + page, run);
            });
        }
        at += length;
    }
}

/// Fills pages of a new object with zeros.
fn zero(start: usize, bytes: usize) {
    // SAFETY: pages of a span which is the caller's.
    unsafe { pointer(start).write_bytes(0, bytes) };
}
