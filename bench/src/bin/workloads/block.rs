//! A block of the process's malloc.
//!
//! Always: a block is a pointer and nothing else, so that a table of blocks is
//! what it is in C. It is freed when dropped, by whichever thread drops it.
#![allow(unsafe_code, reason = "the loads call malloc as C does")]

use std::ptr::NonNull;

/// A page of the system.
const PAGE_BYTES: usize = 4096;

/// A block; dropping it is `free`.
pub struct Block(NonNull<u8>);

// SAFETY: malloc's blocks belong to no thread, and a `Block` is the only way to
// reach its own.
unsafe impl Send for Block {}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: the pointer came from malloc, calloc or realloc, and a block
        // is dropped once.
        unsafe { libc::free(self.0.as_ptr().cast()) }
    }
}

impl Block {
    /// `malloc(size)`, of which the first byte is written.
    #[inline]
    pub fn new(size: usize) -> Block {
        // SAFETY: malloc takes any size.
        let block = Block::of(unsafe { libc::malloc(size) }.cast());
        // SAFETY: a block of malloc has a byte at least: no load asks for none.
        // Volatile, so that the block counts as used.
        unsafe { block.0.as_ptr().write_volatile(1) };
        block
    }

    /// `malloc(size)`, all of it written.
    #[inline]
    pub fn filled(size: usize) -> Block {
        let block = Block::new(size);
        // SAFETY: the block has `size` bytes and nobody else has it.
        unsafe { block.0.as_ptr().write_bytes(0xA5, size) };
        block
    }

    /// `malloc(size)`, one byte of each page written.
    pub fn paged(size: usize) -> Block {
        let block = Block::new(size);
        for at in (0..size).step_by(PAGE_BYTES) {
            // SAFETY: `at` is below the block's size.
            unsafe { block.0.as_ptr().add(at).write_volatile(1) };
        }
        block
    }

    /// `calloc(1, size)`, one byte of each page read.
    pub fn zeroed(size: usize) -> Block {
        // SAFETY: calloc takes any size.
        let block = Block::of(unsafe { libc::calloc(1, size) }.cast());
        for at in (0..size).step_by(PAGE_BYTES) {
            // SAFETY: `at` is below the block's size, and calloc wrote it.
            assert_eq!(unsafe { block.0.as_ptr().add(at).read_volatile() }, 0);
        }
        // SAFETY: a block has a byte at least.
        unsafe { block.0.as_ptr().write_volatile(1) };
        block
    }

    /// `realloc` from `old` bytes to `new`; what is new is written.
    pub fn grown(self, old: usize, new: usize) -> Block {
        // SAFETY: the pointer is a live block's, which is forgotten below.
        let grown = Block::of(unsafe { libc::realloc(self.0.as_ptr().cast(), new) }.cast());
        std::mem::forget(self);
        // SAFETY: the block has `new` bytes; those from `old` on are nobody's.
        unsafe { grown.0.as_ptr().add(old).write_bytes(0x5A, new - old) };
        grown
    }

    /// Writes the first byte `times` times, one after the other.
    pub fn hammer(&mut self, times: u64) {
        for n in 0..times {
            // SAFETY: a block has a byte at least, and it was written.
            unsafe {
                let byte = self.0.as_ptr().read_volatile();
                self.0.as_ptr().write_volatile(byte.wrapping_add(n as u8));
            }
        }
    }

    /// Reads the first byte.
    #[inline]
    pub fn look(&self) -> u8 {
        // SAFETY: a block has a byte at least, and it was written.
        unsafe { self.0.as_ptr().read_volatile() }
    }

    fn of(pointer: *mut u8) -> Block {
        match NonNull::new(pointer) {
            Some(pointer) => Block(pointer),
            None => panic!("there is no memory"),
        }
    }
}
