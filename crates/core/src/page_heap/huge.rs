//! Hugepages: where they help, and that they never bloat.
//!
//! | the system says | a region in dense use | before pages inside a region go back |
//! |---|---|---|
//! | never | | |
//! | madvise | is collapsed, by the scavenger's thread | split, if it was collapsed |
//! | always | left to the system | hugepages forbidden in it, and split |
//!
//! After a fork, a region's pages are shared with the parent or a child until one of them
//! writes, and a collapse copies all of them. So what a child inherits is not collapsed in
//! it, until it has gone back as a whole, nor anything in a parent for some time.
//!
//! Regions that are free as a whole go back as a whole, hugepage or not. Where
//! the system makes hugepages by itself, the first page that is touched of a
//! region makes all of it resident: so all its pages count as touched from the
//! beginning. What is forbidden once stays forbidden, since a change of flags
//! splits a mapping, and a process has few.
//!
//! Lock: `Region::huge` of a parted region is changed under the heap's `standstill` only,
//! of others by whoever has them; it may be read by anybody.

use super::PageHeap;
use crate::os::{self, HugePages, PAGE_BYTES};
use crate::region::{REGION_BYTES, Region};
use crate::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};

/// `Region::huge`: the region was collapsed into a hugepage.
const COLLAPSED: u8 = 1;
/// `Region::huge`: the system may not make it one.
const FORBIDDEN: u8 = 2;
/// `Region::huge`: its pages may be shared with the process that this is a child of. The
/// system was told nothing.
const INHERITED: u8 = 4;

/// A heap of which less is in use fits into what the processor knows of 4 KiB
/// pages (its second-level TLB, 1500 to 3000 of them, and the caches of page
/// tables): a random walk over 64 MiB gains 16 % by hugepages, over 2 GiB 39 %.
const DENSE_HEAP_BYTES: usize = 64 << 20;

/// Nothing is collapsed for so long after a fork, in nanoseconds: the child may share every
/// page, and a collapse copies those that it does.
const FORK_PAUSE: u64 = 60_000_000_000;

/// So many regions may have flags of their own: each can split a mapping in
/// three, of which a process has 65530 (`vm.max_map_count`).
const MAX_FORBIDDEN: usize = 8192;

/// What the system does, and what was told it.
pub struct HugePolicy {
    system: AtomicU8,
    forbidden: AtomicUsize,
    /// The process that had the heap's first regions.
    process: AtomicU32,
    /// When the process forked last with a heap of which regions may be collapsed; 0: it
    /// has not.
    forked: AtomicU64,
}

impl HugePolicy {
    /// Nothing is known yet.
    pub const fn new() -> Self {
        Self {
            system: AtomicU8::new(0),
            forbidden: AtomicUsize::new(0),
            process: AtomicU32::new(0),
            forked: AtomicU64::new(0),
        }
    }

    /// Sets what the system does, before the heap's first regions.
    pub fn set(&self, system: HugePages) {
        let code = match system {
            HugePages::Never => 0,
            HugePages::Madvise => 1,
            HugePages::Always => 2,
        };
        // Relaxed, both: facts about the system, which publish nothing.
        self.system.store(code, Ordering::Relaxed);
        self.process.store(os::process_number(), Ordering::Relaxed);
    }

    fn system(&self) -> HugePages {
        match self.system.load(Ordering::Relaxed) {
            1 => HugePages::Madvise,
            2 => HugePages::Always,
            _ => HugePages::Never,
        }
    }

    /// May a child of the process still share its pages?
    fn has_forked(&self) -> bool {
        // Relaxed: a time, which publishes nothing.
        let forked = self.forked.load(Ordering::Relaxed);
        forked != 0 && os::now() - forked < FORK_PAUSE
    }

    /// May the system make all of a region resident when one page is touched?
    pub fn may_fill(&self, region: &Region) -> bool {
        self.system() == HugePages::Always && region.huge.get() & FORBIDDEN == 0
    }

    /// Notes what the system may make resident of a part of a region, where another part
    /// is written to. Returns how many of its pages did not count as touched before.
    pub fn note_filled(&self, region: &Region, first: usize, bytes: usize) -> usize {
        if !self.may_fill(region) {
            return 0;
        }
        let clean = bytes / PAGE_BYTES - region.touched_in(first, bytes);
        region.touch(first, bytes);
        clean
    }
}

impl PageHeap {
    /// For tests: what the system is to be taken for.
    pub fn set_huge_pages(&self, system: HugePages) {
        self.huge.set(system);
    }

    /// May regions in dense use be collapsed now?
    pub fn may_collapse(&self) -> bool {
        self.huge.system() == HugePages::Madvise
            && self.usage().0 >= DENSE_HEAP_BYTES
            && !self.huge.has_forked()
    }

    /// The process has forked.
    pub fn note_fork(&self) {
        if self.mapped_bytes() >= DENSE_HEAP_BYTES {
            // Relaxed: a time, which publishes nothing.
            self.huge.forked.store(os::now(), Ordering::Relaxed);
        }
    }

    /// Are there regions of a process that this is a child of, which it could collapse?
    pub fn is_inherited(&self) -> bool {
        // Relaxed: set before the first fork that it tells of.
        self.huge.system() == HugePages::Madvise
            && self.huge.process.load(Ordering::Relaxed) != os::process_number()
    }

    /// Notes that a parted region is the parent's, too.
    pub fn note_inherited(&self, region: &Region) {
        region.huge.set(region.huge.get() | INHERITED);
    }

    /// Is a region one hugepage already, or not to be one?
    pub fn is_settled(&self, region: &Region) -> bool {
        region.huge.get() != 0
    }

    /// Makes a hugepage of a region in dense use. The program waits where it
    /// touches it meanwhile (0.7 ms measured). False where the system cannot.
    pub fn collapse(&self, region: &Region, start: usize) -> bool {
        let done = os::collapse(pointer(start), REGION_BYTES);
        // One that failed is not tried again: the same will stand in the way.
        region.huge.set(region.huge.get() | COLLAPSED);
        done
    }

    /// May a region be a hugepage?
    pub fn may_be_huge(&self, region: &Region) -> bool {
        region.huge.get() & COLLAPSED != 0 || self.huge.may_fill(region)
    }

    /// Prepares a region for giving back some of its pages.
    pub fn before_release_inside(&self, region: &Region) {
        let huge = region.huge.get();
        let start = region.start();
        let forbid = self.huge.may_fill(region)
            && self.huge.forbidden.load(Ordering::Relaxed) < MAX_FORBIDDEN
            && os::forbid_hugepages(pointer(start), REGION_BYTES);
        if forbid {
            // Relaxed: a count.
            self.huge.forbidden.fetch_add(1, Ordering::Relaxed);
        }
        if forbid || huge & COLLAPSED != 0 {
            os::split_hugepage(pointer(start));
            let forbidden = if forbid { FORBIDDEN } else { 0 };
            region.huge.set(huge & !COLLAPSED | forbidden);
        }
    }
}

/// Was the system told anything of its own about a region?
pub fn is_told(region: &Region) -> bool {
    region.huge.get() & !INHERITED != 0
}

/// The pages of a region have moved to another one, by remapping: what the system was told
/// of them goes with them, and what it was told of the place that they leave holds there.
pub fn note_moved(policy: &HugePolicy, from: &Region, to: &Region) {
    note_unmapped(policy, to);
    let huge = from.huge.get();
    if huge & FORBIDDEN != 0 {
        // Relaxed: a count.
        policy.forbidden.fetch_add(1, Ordering::Relaxed);
    }
    if huge != 0 {
        to.huge.set(huge);
        from.huge.set(huge & !COLLAPSED);
    }
}

/// A region leaves the heap: what the system was told of it went with its mapping.
pub fn note_unmapped(policy: &HugePolicy, region: &Region) {
    let huge = region.huge.get();
    if huge & FORBIDDEN != 0 {
        // Relaxed: a count.
        policy.forbidden.fetch_sub(1, Ordering::Relaxed);
    }
    if huge != 0 {
        region.huge.set(0);
    }
}

/// A region went back as a whole: it is no hugepage any more.
pub fn note_whole_release(region: &Region) {
    let gone = COLLAPSED | INHERITED;
    if region.huge.get() & gone != 0 {
        region.huge.set(region.huge.get() & !gone);
    }
}

fn pointer(address: usize) -> *mut u8 {
    core::ptr::with_exposed_provenance_mut(address)
}
