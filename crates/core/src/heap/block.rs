//! The statistics block of the heap, and the ELF note that leads to it. What it
//! means stands in `crates/format`.
//!
//! Always: a constant. Nobody writes it, and nothing here reads it: it is for
//! others, who read this process's memory.
//! Lock: none.
#![allow(unsafe_code)] // Assembly.

use core::arch::global_asm;
use core::mem::offset_of;

use thmalloc_format::{
    Address, Block, CachesLayout, CentralLayout, MAGIC, MapLayout, MetadataLayout, NOTE_TYPE,
    PagesLayout, ScavengerLayout, TransferLayout, VERSION,
};

use super::scavenge::Schedule;
use super::scavenger::Scavenger;
use super::{HEAP, Heap};
use crate::central::CentralFreeList;
use crate::cpu_cache::CpuCaches;
use crate::metadata::Metadata;
use crate::os::PAGE_BYTES;
use crate::page_heap::{PageHeap, Totals};
use crate::page_map::{LEAF_SHIFT, PageMap};
use crate::region::{REGION_SHIFT, Region};
use crate::size_class::{self, GRANULE_SHIFT};
use crate::span::Span;
use crate::sync::Once;
use crate::transfer_cache::TransferCache;

/// The block, for who exports a symbol of it.
pub const BLOCK: Block = Block {
    magic: MAGIC,
    version: VERSION,
    bytes: size_of::<Block>() as u32,
    release: release(),
    heap: Address((&raw const HEAP).cast()),
    heap_bytes: size_of::<Heap>() as u32,
    started_at: (offset_of!(Heap, started) + Once::STATE_AT) as u32,
    page_bytes: PAGE_BYTES as u32,
    granule_shift: GRANULE_SHIFT,
    region_shift: REGION_SHIFT,
    leaf_shift: LEAF_SHIFT,
    classes: size_class::LAYOUT,
    map: map(),
    region: Region::LAYOUT,
    span: Span::LAYOUT,
    pages: pages(),
    central: central(),
    transfer: transfer(),
    caches: caches(),
    metadata: metadata(),
    scavenger: scavenger(),
};

/// The block that the note leads to.
pub static FOUND_BY_NOTE: Block = BLOCK;

/// Called where the heap starts, so that no program has the heap without the note: the
/// linker takes what something refers to.
pub fn keep() {
    core::hint::black_box(&FOUND_BY_NOTE);
}

// "R" keeps the section where the linker drops what nothing refers to.
global_asm!(
    ".pushsection .note.thmalloc, \"aR\", @note",
    ".p2align 2",
    ".long 9, 8, {kind}",
    ".asciz \"thmalloc\"",
    ".p2align 2",
    ".quad {block} - .",
    ".popsection",
    kind = const NOTE_TYPE,
    block = sym FOUND_BY_NOTE,
);

const fn release() -> [u8; 16] {
    let version = env!("CARGO_PKG_VERSION").as_bytes();
    let mut text = [0; 16];
    let mut index = 0;
    while index < version.len() {
        text[index] = version[index];
        index += 1;
    }
    text
}

const fn map() -> MapLayout {
    let at = offset_of!(Heap, map) as u32;
    let mut map = PageMap::LAYOUT;
    map.top_at += at;
    map.first_leaf_at += at;
    map.end_leaf_at += at;
    map.class_table_at += at;
    map.class_table_length_at += at;
    map
}

const fn pages() -> PagesLayout {
    let at = offset_of!(Heap, pages) as u32;
    let mut pages = PageHeap::LAYOUT;
    pages.generation_at += at;
    pages.regions_at += at;
    pages.used_at += at;
    pages.runs_dirty_at += at;
    pages.holes_dirty_at += at;
    pages.released_at += at;
    pages.large_drawn_at += at;
    pages.large_count_at += at;
    pages
}

const fn central() -> CentralLayout {
    let mut central = CentralFreeList::LAYOUT;
    central.first_at += offset_of!(Heap, central) as u32;
    central
}

const fn transfer() -> TransferLayout {
    let mut transfer = TransferCache::LAYOUT;
    transfer.first_at += offset_of!(Heap, transfer) as u32;
    transfer
}

const fn caches() -> CachesLayout {
    let at = offset_of!(Heap, caches) as u32;
    let mut caches = CpuCaches::LAYOUT;
    caches.mode_at += at;
    caches.count_at += at;
    caches.memory_at += at;
    caches.slots_at += at;
    caches
}

const fn metadata() -> MetadataLayout {
    let at = offset_of!(Heap, metadata) as u32;
    let mut metadata = Metadata::LAYOUT;
    metadata.generation_at += at;
    metadata.mapped_at += at;
    metadata.used_at += at;
    metadata.newest_at += at;
    metadata
}

const fn scavenger() -> ScavengerLayout {
    let at = offset_of!(Heap, scavenger) as u32;
    let schedule = offset_of!(Heap, schedule);
    let totals = offset_of!(Heap, pages) + PageHeap::TOTALS_AT;
    let mut scavenger = Scavenger::LAYOUT;
    scavenger.state_at += at;
    scavenger.sleep_at += at;
    scavenger.delay_at += at;
    scavenger.request_at += at;
    scavenger.served_at += at;
    scavenger.served_bytes_at += at;
    scavenger.thread_at += at;
    scavenger.turn_ended_at = (schedule + Schedule::AT.0) as u32;
    scavenger.next_turn_at = (schedule + Schedule::AT.1) as u32;
    scavenger.released_at = (totals + Totals::AT.0) as u32;
    scavenger.released_when_at = (totals + Totals::AT.1) as u32;
    scavenger.refaulted_at = (totals + Totals::AT.2) as u32;
    scavenger
}
