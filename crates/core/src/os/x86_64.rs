//! Thread-local storage without a call: initial-exec, by the thread pointer.
//!
//! `thread_local!` in a shared library calls `__tls_get_addr`, which is slow
//! and may allocate. So the block is defined in assembly and reached through
//! its offset in the global offset table (Drepper, "ELF Handling For
//! Thread-Local Storage", section 4.4.6).
#![allow(unsafe_code)] // Assembly.

use core::arch::{asm, global_asm};
use core::cell::Cell;

/// What each thread of the process has for itself.
#[repr(C, align(32))]
pub struct ThreadLocals {
    /// Stands in for the kernel's rseq area (struct rseq): its CPU is -1. It stands
    /// first: sequences find it by the block's name.
    _rseq_placeholder: [Cell<u64>; 4],
    /// The cache slot of this thread plus one, in lock mode; 0: none yet.
    pub cache_slot: Cell<u32>,
    /// The ranks of the locks that this thread holds, a bit each (debug builds).
    pub held_ranks: Cell<u32>,
}

global_asm!(
    ".pushsection .tdata.thmalloc_thread_locals, \"awT\", @progbits",
    ".p2align 5",
    ".hidden thmalloc_core_thread_locals",
    ".globl thmalloc_core_thread_locals",
    ".type thmalloc_core_thread_locals, @object",
    ".size thmalloc_core_thread_locals, {size}",
    "thmalloc_core_thread_locals:",
    ".long 0, -1, 0, 0",
    ".long 0, 0, -1, 0",
    ".zero {size} - 32",
    ".popsection",
    size = const size_of::<ThreadLocals>(),
);

const _: () = assert!(core::mem::offset_of!(ThreadLocals, cache_slot) == 32);

/// The calling thread's own block.
pub fn thread_locals() -> &'static ThreadLocals {
    let block: *const ThreadLocals;
    // SAFETY: adds the block's offset to the thread pointer, which the ABI
    // keeps at fs:0. The block lives as long as its thread, and the reference
    // cannot leave it: `ThreadLocals` is not Sync.
    unsafe {
        asm!(
            "mov {block}, qword ptr fs:[0]",
            "add {block}, qword ptr [rip + thmalloc_core_thread_locals@GOTTPOFF]",
            block = out(reg) block,
            options(pure, readonly, nostack),
        );
        &*block
    }
}

/// The offset of that block from the thread pointer: the same in every thread.
pub fn thread_locals_offset() -> isize {
    let offset;
    // SAFETY: loads an entry of the global offset table, which the loader
    // filled before any code of this library ran.
    unsafe {
        asm!(
            "mov {offset}, qword ptr [rip + thmalloc_core_thread_locals@GOTTPOFF]",
            offset = out(reg) offset,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    offset
}
