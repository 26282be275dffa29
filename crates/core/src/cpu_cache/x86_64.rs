//! The ways into a CPU cache that a restartable sequence takes, in assembly.
//!
//! A sequence announces itself in the thread's rseq area (the address of a
//! descriptor), finds the cache of the CPU it runs on, and ends with one store
//! that makes it count. Is the thread preempted, migrated or interrupted by a
//! signal in between, the kernel goes to the abort address instead, and nothing
//! has happened. (rseq(2) of librseq; `include/uapi/linux/rseq.h`.)
//!
//! Always: an aborted sequence goes on to the slow path, which needs none, so
//! that single steps in a debugger come to an end. Inside a sequence no input
//! register is overwritten. A thread finds its rseq area through a word of its
//! own (`ThreadLocals::rseq_distance`), which leads to a placeholder until a slow path
//! has seen that the kernel knows the thread: the placeholder's number is -1,
//! and what stands before the first slot is an empty one. From then on the thread
//! stays known: the area is glibc's, for the thread's life.
//!
//! # What a list looks like
//! A slot has a list for each class: `top`, the offset of its topmost object
//! from the slot's start, and `end`, the offset that `top` may not pass. The
//! word at offset 0 is 0, the word below each array is 0, and the slot's last
//! word is 0: so a list that is empty, was never used, or is stopped (its `top`
//! is [`STOPPED`], above any `end`) yields a null object and takes none.
#![allow(unsafe_code)] // Assembly.

use core::arch::{asm, global_asm, naked_asm};
use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use super::layout::{EMPTY_SLOT, SLOT_SHIFT, STOPPED};
use crate::os;

/// What the fast paths read, in one cache line. Until start-up has filled it,
/// every fast path leads to the slow one.
#[repr(C, align(64))]
pub struct Entry {
    /// From this library's own block of thread-local storage to the rseq area of
    /// a thread that the kernel knows; for slow paths.
    pub rseq_distance: AtomicUsize,
    /// From the rseq area to the word that numbers the caches.
    pub number_offset: AtomicUsize,
    /// The first slot, which an empty one precedes.
    pub slots: AtomicPtr<u8>,
    /// The page map's window.
    pub window_base: AtomicUsize,
    /// Its length in granules.
    pub window_granules: AtomicUsize,
    /// Its classes.
    pub table: AtomicPtr<u8>,
}

// What start-up writes, and the first allocation reads, has this section: it takes
// one page.
global_asm!(
    ".pushsection .data.thmalloc_entry, \"aw\"",
    ".p2align 6",
    ".hidden thmalloc_core_entry",
    ".globl thmalloc_core_entry",
    ".type thmalloc_core_entry, @object",
    ".size thmalloc_core_entry, 64",
    "thmalloc_core_entry:",
    ".quad 0, 24",
    ".quad {empty_slot} + (1 << {slot_shift})",
    ".quad 0, 0, 0, 0, 0",
    ".popsection",
    empty_slot = sym EMPTY_SLOT,
    slot_shift = const SLOT_SHIFT,
);

unsafe extern "C" {
    safe static thmalloc_core_entry: Entry;
}

/// The words that the fast paths read.
pub fn entry() -> &'static Entry {
    &thmalloc_core_entry
}

/// The descriptor of a sequence from 21 to 22 whose abort address is 23, and
/// its announcement. Changes rdx and r8.
#[doc(hidden)]
#[macro_export]
macro_rules! rseq_enter {
    () => {
        concat!(
            ".pushsection .data.rel.ro.thmalloc_rseq, \"aw\"\n",
            ".p2align 5\n",
            "20: .long 0, 0\n",
            ".quad 21f, 22f - 21f, 23f\n",
            ".popsection\n",
            "mov r8, qword ptr [rip + thmalloc_core_thread_locals@GOTTPOFF]\n",
            "add r8, qword ptr fs:[r8 + 32]\n",
            "lea rdx, [rip + 20b]\n",
            "mov qword ptr fs:[r8 + 8], rdx\n",
            "21:\n",
        )
    };
}

/// Inside a sequence: this CPU's slot to rcx; the empty one in a thread that the
/// kernel is not seen to know. Changes r9.
#[doc(hidden)]
#[macro_export]
macro_rules! rseq_slot {
    () => {
        concat!(
            "mov r9, qword ptr [rip + thmalloc_core_entry + 8]\n",
            "movsxd rcx, dword ptr fs:[r8 + r9]\n",
            "shl rcx, {slot_shift}\n",
            "add rcx, qword ptr [rip + thmalloc_core_entry + 16]\n",
        )
    };
}

/// Inside a sequence: takes the topmost object of the class in rsi to rax, and
/// ends the sequence; or on to 24 where there is none. Changes rdx.
#[doc(hidden)]
#[macro_export]
macro_rules! rseq_take {
    () => {
        concat!(
            "mov edx, dword ptr [rcx + rsi*8]\n",
            "mov rax, qword ptr [rcx + rdx]\n",
            "test rax, rax\n",
            "jz 24f\n",
            "sub edx, 8\n",
            "mov dword ptr [rcx + rsi*8], edx\n",
            "22:\n",
        )
    };
}

/// Inside a sequence: puts the object in rdi on the list of the class in rax,
/// and ends the sequence; or on to 24 where there is no room. Changes rdx.
#[doc(hidden)]
#[macro_export]
macro_rules! rseq_put {
    () => {
        concat!(
            "mov edx, dword ptr [rcx + rax*8]\n",
            "cmp edx, dword ptr [rcx + rax*8 + 4]\n",
            "jae 24f\n",
            "mov qword ptr [rcx + rdx + 8], rdi\n",
            "add edx, 8\n",
            "mov dword ptr [rcx + rax*8], edx\n",
            "22:\n",
        )
    };
}

/// The abort address, behind the signature that glibc registered.
#[doc(hidden)]
#[macro_export]
macro_rules! rseq_abort {
    () => {
        concat!(".byte 0x0f, 0xb9, 0x3d\n", ".long 0x53053053\n", "23:\n",)
    };
}

/// The body of a naked `malloc(size)`: takes an object of up to 1024 bytes
/// from this CPU's cache, or goes on to `$slow`, a function of the same type.
/// `$first` is assembly to begin with.
#[macro_export]
macro_rules! malloc_fast_path {
    ($slow:path) => {
        $crate::malloc_fast_path!($slow, "")
    };
    ($slow:path, $first:expr) => {
        core::arch::naked_asm!(
            ".cfi_startproc",
            $first,
            "cmp rdi, {fine_bytes}",
            "ja 24f",
            "lea rdx, [rip + {classes}]",
            "movzx esi, byte ptr [rdx + rdi]",
            $crate::rseq_enter!(),
            $crate::rseq_slot!(),
            $crate::rseq_take!(),
            "ret",
            $crate::rseq_abort!(),
            "24: jmp {slow}",
            ".cfi_endproc",
            fine_bytes = const $crate::size_class::FINE_BYTES,
            classes = sym $crate::size_class::CLASS_OF_SIZE,
            slot_shift = const $crate::cpu_cache::layout::SLOT_SHIFT,
            slow = sym $slow,
        )
    };
}

/// The body of a naked `free(object)`: puts a small object into this CPU's
/// cache, or goes on to `$slow`, a function of the same type. Addresses that
/// the class table does not know, or that no object of the class can have, go
/// there, too.
#[macro_export]
macro_rules! free_fast_path {
    ($slow:path) => {
        core::arch::naked_asm!(
            ".cfi_startproc",
            "mov rax, rdi",
            "sub rax, qword ptr [rip + thmalloc_core_entry + 24]",
            "shr rax, 16",
            "cmp rax, qword ptr [rip + thmalloc_core_entry + 32]",
            "jae 24f",
            "mov rdx, qword ptr [rip + thmalloc_core_entry + 40]",
            "movzx eax, byte ptr [rdx + rax]",
            "lea rdx, [rip + {checks}]",
            "movzx ecx, di",
            "imul ecx, dword ptr [rdx + rax*4]",
            "cmp ecx, dword ptr [rdx + rax*4]",
            "jae 24f",
            $crate::rseq_enter!(),
            $crate::rseq_slot!(),
            $crate::rseq_put!(),
            "ret",
            $crate::rseq_abort!(),
            "24: jmp {slow}",
            ".cfi_endproc",
            checks = sym $crate::size_class::MULTIPLE_CHECKS,
            slot_shift = const $crate::cpu_cache::layout::SLOT_SHIFT,
            slow = sym $slow,
        )
    };
}

/// Takes an object of the class from this CPU's cache; null where there is
/// none, or the sequence was aborted.
#[unsafe(naked)]
pub extern "C" fn take(class: usize) -> *mut u8 {
    naked_asm!(
        ".cfi_startproc",
        "mov esi, edi",
        rseq_enter!(),
        rseq_slot!(),
        rseq_take!(),
        "ret",
        rseq_abort!(),
        "24: xor eax, eax",
        "ret",
        ".cfi_endproc",
        slot_shift = const SLOT_SHIFT,
    )
}

/// Puts an object on this CPU's list of the class. False where there is no
/// room, or the sequence was aborted.
///
/// # Safety
/// The object is of the class, and the caller's.
#[unsafe(naked)]
pub unsafe extern "C" fn put(object: usize, class: usize) -> bool {
    naked_asm!(
        ".cfi_startproc",
        "mov eax, esi",
        rseq_enter!(),
        rseq_slot!(),
        rseq_put!(),
        "mov eax, 1",
        "ret",
        rseq_abort!(),
        "24: xor eax, eax",
        "ret",
        ".cfi_endproc",
        slot_shift = const SLOT_SHIFT,
    )
}

/// [`take`], to be compiled into its caller.
#[inline(always)]
pub fn take_inline(class: usize) -> *mut u8 {
    let object;
    // SAFETY: a sequence as those above, which changes what is listed; what it takes
    // is nobody else's.
    unsafe {
        asm!(
            rseq_enter!(),
            rseq_slot!(),
            rseq_take!(),
            "24:",
            ".pushsection .text.unlikely.thmalloc_rseq, \"ax\"",
            rseq_abort!(),
            "xor eax, eax",
            "jmp 24b",
            ".popsection",
            slot_shift = const SLOT_SHIFT,
            in("rsi") class,
            out("rax") object,
            out("rcx") _, out("rdx") _, out("r8") _, out("r9") _,
            options(nostack),
        );
    }
    object
}

/// [`put`], to be compiled into its caller; calls `otherwise` where that would
/// return false.
///
/// # Safety
/// As there.
#[inline(always)]
pub unsafe fn put_inline(object: usize, class: usize, otherwise: impl FnOnce()) {
    // SAFETY: a sequence as those above, which changes what is listed; by contract
    // the object may be put.
    unsafe {
        asm!(
            rseq_enter!(),
            rseq_slot!(),
            rseq_put!(),
            ".pushsection .text.unlikely.thmalloc_rseq, \"ax\"",
            rseq_abort!(),
            "24: jmp {otherwise}",
            ".popsection",
            slot_shift = const SLOT_SHIFT,
            otherwise = label { otherwise() },
            in("rdi") object,
            in("rax") class,
            out("rcx") _, out("rdx") _, out("r8") _, out("r9") _,
            options(nostack),
        );
    }
}

/// What [`stop`] returns where it could not.
pub const NOT_STOPPED: u32 = u32::MAX;

/// Stops the list of the class in the slot of that number and returns its
/// `top`; [`NOT_STOPPED`] where this CPU's is another, or the sequence was
/// aborted. Whoever sees the list then goes the slow way; it is the caller's,
/// who holds the slot's lock, until `top` is set again.
#[unsafe(naked)]
pub extern "C" fn stop(class: usize, slot: usize) -> u32 {
    naked_asm!(
        ".cfi_startproc",
        rseq_enter!(),
        "mov r9, qword ptr [rip + thmalloc_core_entry + 8]",
        "movsxd rcx, dword ptr fs:[r8 + r9]",
        "cmp rcx, rsi",
        "jne 24f",
        "shl rcx, {slot_shift}",
        "add rcx, qword ptr [rip + thmalloc_core_entry + 16]",
        "mov eax, dword ptr [rcx + rdi*8]",
        "mov dword ptr [rcx + rdi*8], {stopped}",
        "22:",
        "ret",
        rseq_abort!(),
        "24: mov eax, -1",
        "ret",
        ".cfi_endproc",
        slot_shift = const SLOT_SHIFT,
        stopped = const STOPPED,
    )
}

/// The number of this CPU's slot, as of now; `None` in a thread that the kernel
/// does not know.
#[unsafe(naked)]
extern "C" fn number_or_negative() -> i64 {
    naked_asm!(
        ".cfi_startproc",
        "mov r8, qword ptr [rip + thmalloc_core_thread_locals@GOTTPOFF]",
        "add r8, qword ptr [rip + thmalloc_core_entry]",
        "movsxd rax, dword ptr fs:[r8 + 4]",
        "test rax, rax",
        "js 24f",
        "mov r9, qword ptr [rip + thmalloc_core_entry + 8]",
        "mov eax, dword ptr fs:[r8 + r9]",
        "24: ret",
        ".cfi_endproc",
    )
}

/// The number of this CPU's slot, as of now; `None` in a thread that the kernel
/// does not know. One that it knows takes the fast paths from here on.
pub fn current_slot() -> Option<usize> {
    let number = usize::try_from(number_or_negative()).ok()?;
    // Relaxed: `open_entry` wrote it before anyone came here.
    let distance = entry().rseq_distance.load(Ordering::Relaxed);
    os::thread_locals().rseq_distance.set(distance);
    Some(number)
}
