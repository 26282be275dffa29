//! The memory of a cache slot: the heads of its lists, then their arrays.
//!
//! See `x86_64.rs` for what a list looks like. Arrays are powers of two of
//! words, from [`FIRST_ARRAY`] to the slot's last word, which stays 0; an
//! array's lowest word is 0 as long as a list uses it.
#![allow(unsafe_code)] // Slots are raw memory, shared with assembly.

use crate::os::{self, PAGE_BYTES};
use crate::size_class::CLASS_COUNT;
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// The logarithm of a slot's size.
pub const SLOT_SHIFT: u32 = 19;

/// A slot's size in bytes, most of it untouched.
pub const SLOT_BYTES: usize = 1 << SLOT_SHIFT;

/// The `top` of a list that somebody has stopped: the slot's last word.
pub const STOPPED: u32 = (SLOT_BYTES - 8) as u32;

/// Where the arrays begin.
pub const FIRST_ARRAY: u32 = 1024;

/// What a list has at the slot's beginning: its `top` and its `end`.
pub const HEAD_BYTES: usize = 8;

const _: () = assert!(CLASS_COUNT * HEAD_BYTES <= FIRST_ARRAY as usize);

/// The words of a slot.
#[derive(Clone, Copy)]
pub struct SlotMemory {
    start: *mut u8,
}

impl SlotMemory {
    /// The slot at `start`.
    ///
    /// # Safety
    /// `start` is a slot's first byte, readable for good.
    pub unsafe fn new(start: *mut u8) -> Self {
        Self { start }
    }

    /// The slot's first byte.
    pub fn start(self) -> *mut u8 {
        self.start
    }

    fn word32(self, offset: usize) -> &'static AtomicU32 {
        debug_assert!(offset + 4 <= SLOT_BYTES);
        // SAFETY: inside the slot, aligned, and never unmapped.
        unsafe { &*self.start.add(offset).cast() }
    }

    /// The `top` of a class's list.
    pub fn top(self, class: usize) -> &'static AtomicU32 {
        self.word32(class * HEAD_BYTES)
    }

    /// The `end` of a class's list.
    pub fn end(self, class: usize) -> &'static AtomicU32 {
        self.word32(class * HEAD_BYTES + 4)
    }

    /// The word at an offset.
    pub fn word(self, offset: u32) -> &'static AtomicU64 {
        debug_assert!(offset.is_multiple_of(8) && (offset as usize) < SLOT_BYTES);
        // SAFETY: inside the slot, aligned, and never unmapped.
        unsafe { &*self.start.add(offset as usize).cast() }
    }

    /// Gives the memory of all arrays back: they read as zeros. False where the
    /// system refuses: they are as they were. Nobody uses an array meanwhile.
    pub fn clear_arrays(self) -> bool {
        let first = PAGE_BYTES;
        // SAFETY: a part of the slot, which is this module's mapping.
        if !unsafe { os::decommit(self.start.add(first), SLOT_BYTES - first) } {
            return false;
        }
        for offset in (FIRST_ARRAY..first as u32).step_by(8) {
            self.set_object(offset, 0);
        }
        true
    }

    /// An object of an array.
    pub fn object(self, offset: u32) -> usize {
        // Relaxed: the array is the caller's, who stopped its list.
        self.word(offset).load(Ordering::Relaxed) as usize
    }

    /// Sets an object of an array.
    pub fn set_object(self, offset: u32, object: usize) {
        // Relaxed: as above; setting `top` publishes it.
        self.word(offset).store(object as u64, Ordering::Relaxed);
    }
}
