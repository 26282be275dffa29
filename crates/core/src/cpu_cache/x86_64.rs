//! The ways into a CPU cache that a restartable sequence takes, in assembly.
//!
//! A sequence announces itself in the thread's rseq area (the address of a
//! descriptor), finds the cache of the CPU it runs on, and ends with one store
//! that makes it count. Is the thread preempted, migrated or interrupted by a
//! signal in between, the kernel goes to the abort address instead, and nothing
//! has happened. (rseq(2) of librseq; `include/uapi/linux/rseq.h`.)
//!
//! Always: an aborted sequence goes on to the slow path, which needs none, so
//! that single steps in a debugger come to an end. Inside a sequence nothing
//! is overwritten that the slow path needs. Every thread has its rseq area at the same distance
//! from its thread pointer, and the area says that the CPU is -1 or -2 where the
//! kernel does not know the thread (glibc's manual, "Restartable Sequences"). It stays
//! known for its life.
//!
//! # Three ways in
//! - malloc and free number caches by the concurrency id (`mm_cid`, Linux 6.3), whose
//!   place in the area is known. They come to the area only after start-up: until then,
//!   and for good where there are no sequences, malloc's bound is 0, and free's window
//!   empty.
//! - What is compiled into its caller has no such gate. It counts from a placeholder,
//!   whose CPU is -1: the distance to the area is 0 until there is one.
//! - Where the kernel has no concurrency id, both find the placeholder, and go on to
//!   sequences that read the place of the number, too. These are what slow paths take.
//!
//! Of free alone, all in cache, on a Zen 3, in cycles of the time-stamp counter: the
//! first way takes 7.5; with the number's place read from memory it would be 8.7, and
//! it was 11.7 when the area was found through a word of the thread's own.
//!
//! # What a list looks like
//! A slot has a list for each class: `top`, the offset of its topmost object
//! from the slot's start, and `end`, the offset that `top` may not pass. The
//! word at offset 0 is 0, the word below each array is 0, and the slot's last
//! word is 0: so a list that is empty, was never used, or is stopped (its `top`
//! is [`STOPPED`], above any `end`) yields a null object and takes none.
#![allow(unsafe_code)] // Assembly.

use core::arch::{asm, global_asm, naked_asm};
use core::sync::atomic::{AtomicPtr, AtomicUsize};

use super::layout::{SLOT_SHIFT, STOPPED};

/// The most slots that sequences can tell apart: a slot's distance from the first one
/// has 32 bits. Linux has at most as many CPUs on x86-64 (NR_CPUS, `arch/x86/Kconfig`).
pub const MOST_SLOTS: usize = 1 << (u32::BITS - SLOT_SHIFT);

/// What sequences and the ways to them read, malloc's and free's in one cache line.
/// Until start-up has filled it, all lead to the slow path.
#[repr(C, align(64))]
pub struct Entry {
    /// The sizes below this have an entry of their own in the table of classes.
    pub sizes: AtomicUsize,
    /// From the thread pointer to the rseq area, if that has a concurrency id, or else
    /// to the placeholder.
    pub area_with_id: AtomicUsize,
    /// The first slot.
    pub slots: AtomicPtr<u8>,
    /// The page map's window.
    pub window_base: AtomicUsize,
    /// Its length in granules.
    pub window_granules: AtomicUsize,
    /// Its classes.
    pub table: AtomicPtr<u8>,
    /// From the placeholder to the rseq area, if that has a concurrency id.
    pub distance_with_id: AtomicUsize,
    /// The sizes below this have a class.
    pub all_sizes: AtomicUsize,
    /// From the placeholder to the rseq area.
    pub distance: AtomicUsize,
    /// From the rseq area to the word that numbers the caches.
    pub number_offset: AtomicUsize,
}

// What start-up writes, and the first allocation reads, has this section: it takes
// one page.
global_asm!(
    ".pushsection .data.thmalloc_entry, \"aw\"",
    ".p2align 6",
    ".hidden thmalloc_core_entry",
    ".globl thmalloc_core_entry",
    ".type thmalloc_core_entry, @object",
    ".size thmalloc_core_entry, 128",
    "thmalloc_core_entry:",
    ".quad 0, 0, 0, 0, 0, 0, 0, 0, 0, 4",
    ".zero 48",
    ".popsection",
);

unsafe extern "C" {
    safe static thmalloc_core_entry: Entry;
}

/// The words that the fast paths read.
pub fn entry() -> &'static Entry {
    &thmalloc_core_entry
}

/// The area for malloc and free after start-up, to r8.
#[doc(hidden)]
#[macro_export]
macro_rules! rseq_area_after_start {
    () => {
        "mov r8, qword ptr [rip + thmalloc_core_entry + 8]\n"
    };
}

/// The area with a concurrency id, or the placeholder, to r8.
#[doc(hidden)]
#[macro_export]
macro_rules! rseq_area_with_id {
    () => {
        concat!(
            "mov r8, qword ptr [rip + thmalloc_core_thread_locals@GOTTPOFF]\n",
            "add r8, qword ptr [rip + thmalloc_core_entry + 48]\n",
        )
    };
}

/// The area, or the placeholder, to r8, and where it has the number, to r9.
#[doc(hidden)]
#[macro_export]
macro_rules! rseq_area {
    () => {
        concat!(
            "mov r8, qword ptr [rip + thmalloc_core_thread_locals@GOTTPOFF]\n",
            "add r8, qword ptr [rip + thmalloc_core_entry + 64]\n",
            "mov r9, qword ptr [rip + thmalloc_core_entry + 72]\n",
        )
    };
}

/// Announces a sequence from 21 to 22 whose abort address is 23 in the area at r8,
/// takes the number from its place, and goes from it to the slot, in rcx ([`MOST_SLOTS`]
/// keeps its distance from the first one below 4 GiB); or on to 25 where the kernel does
/// not know the thread. Changes rdx.
#[doc(hidden)]
#[macro_export]
macro_rules! rseq_enter {
    ($number:literal) => {
        concat!(
            ".pushsection .data.rel.ro.thmalloc_rseq, \"aw\"\n",
            ".p2align 5\n",
            "20: .long 0, 0\n",
            ".quad 21f, 22f - 21f, 23f\n",
            ".popsection\n",
            "cmp dword ptr fs:[r8 + 4], 0\n",
            "jl 25f\n",
            "lea rdx, [rip + 20b]\n",
            "mov qword ptr fs:[r8 + 8], rdx\n",
            "21:\n",
            "imul ecx, dword ptr fs:[r8 + ",
            $number,
            "], 1 << {slot_shift}\n",
            "add rcx, qword ptr [rip + thmalloc_core_entry + 16]\n",
        )
    };
}

/// Inside a sequence: takes the topmost object of the class in rsi to rax, and
/// ends the sequence; or on to 24 where there is none. Its first line is asked for: the
/// program will write there, and freeing touched nothing. Changes rdx, and r8, where the
/// list is: a Golden Cove hands a `top` from store to load without waiting only where the
/// address has no index, in both.
#[doc(hidden)]
#[macro_export]
macro_rules! rseq_take {
    () => {
        concat!(
            "lea r8, [rcx + rsi*8]\n",
            "mov edx, dword ptr [r8]\n",
            "mov rax, qword ptr [rcx + rdx]\n",
            "test rax, rax\n",
            "jz 24f\n",
            "prefetchw [rax]\n",
            "sub edx, 8\n",
            "mov dword ptr [r8], edx\n",
            "22:\n",
        )
    };
}

/// Inside a sequence: puts the object in rdi on the list of the class in rax,
/// and ends the sequence; or on to 24 where there is no room. Changes rdx and r8, as
/// `rseq_take`.
#[doc(hidden)]
#[macro_export]
macro_rules! rseq_put {
    () => {
        concat!(
            "lea r8, [rcx + rax*8]\n",
            "mov edx, dword ptr [r8]\n",
            "cmp edx, dword ptr [r8 + 4]\n",
            "jae 24f\n",
            "mov qword ptr [rcx + rdx + 8], rdi\n",
            "add edx, 8\n",
            "mov dword ptr [r8], edx\n",
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

/// The body of a naked `malloc(size)`: takes a small object from this CPU's cache,
/// or goes on to `$slow`, a function of the same type. Sizes that share an entry of
/// the table of classes with others find it behind the fast path (`table_index`).
/// `$first` is assembly to begin with. The body ends at a multiple of 64 bytes, which
/// has its section, and so its beginning, at one.
#[macro_export]
macro_rules! malloc_fast_path {
    ($slow:path) => {
        $crate::malloc_fast_path!($slow, "")
    };
    ($slow:path, $first:expr) => {
        core::arch::naked_asm!(
            ".cfi_startproc",
            $first,
            "cmp rdi, qword ptr [rip + thmalloc_core_entry]",
            "jae 26f",
            "lea rdx, [rip + {tables} + {classes}]",
            "movzx esi, byte ptr [rdx + rdi]",
            "27:",
            $crate::rseq_area_after_start!(),
            $crate::rseq_enter!("24"),
            $crate::rseq_take!(),
            "ret",
            $crate::rseq_abort!(),
            "jmp 24f",
            "26: cmp rdi, qword ptr [rip + thmalloc_core_entry + 56]",
            "jae 24f",
            "lea rdx, [rip + {tables} + {classes} + {fine_bytes}]",
            "lea rsi, [rdi + {coarse_bytes} - 1 - {fine_bytes}]",
            "shr rsi, {coarse_shift}",
            "movzx esi, byte ptr [rdx + rsi]",
            "jmp 27b",
            "25:",
            $crate::rseq_area!(),
            $crate::rseq_enter!("r9"),
            $crate::rseq_take!(),
            "ret",
            $crate::rseq_abort!(),
            "24: 25: jmp {slow}",
            ".p2align 6",
            ".cfi_endproc",
            tables = sym $crate::size_class::FAST_TABLES,
            classes = const $crate::size_class::FastTables::CLASS_OF_SIZE,
            fine_bytes = const $crate::size_class::FINE_BYTES,
            coarse_bytes = const 1 << $crate::size_class::COARSE_SHIFT,
            coarse_shift = const $crate::size_class::COARSE_SHIFT,
            slot_shift = const $crate::cpu_cache::layout::SLOT_SHIFT,
            slow = sym $slow,
        )
    };
}

/// The body of a naked `free(object)`: puts a small object into this CPU's
/// cache, or goes on to `$slow`, a function of the same type. Addresses that
/// the class table does not know, or where no object can begin, go there, too. Behind
/// the fast path is the check of granules whose place in their span counts. Aligned as
/// malloc's.
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
            "lea rdx, [rip + {tables}]",
            "movzx ecx, di",
            "imul ecx, dword ptr [rdx + rax*4]",
            "cmp ecx, dword ptr [rdx + rax*4]",
            "jae 26f",
            "27:",
            $crate::rseq_area_after_start!(),
            $crate::rseq_enter!("24"),
            $crate::rseq_put!(),
            "ret",
            $crate::rseq_abort!(),
            "jmp 24f",
            "26: sub eax, {class_count}",
            "jb 24f",
            "lea rdx, [rip + {place_checks}]",
            "lea eax, [rax + rax*2]",
            "movzx ecx, di",
            "imul rcx, qword ptr [rdx + rax*8]",
            "add rcx, qword ptr [rdx + rax*8 + 8]",
            "cmp rcx, qword ptr [rdx + rax*8]",
            "jae 24f",
            "mov eax, dword ptr [rdx + rax*8 + 16]",
            "jmp 27b",
            "25:",
            $crate::rseq_area!(),
            $crate::rseq_enter!("r9"),
            $crate::rseq_put!(),
            "ret",
            $crate::rseq_abort!(),
            "24: 25: jmp {slow}",
            ".p2align 6",
            ".cfi_endproc",
            tables = sym $crate::size_class::FAST_TABLES,
            place_checks = sym $crate::size_class::code::PLACE_CHECKS,
            class_count = const $crate::size_class::CLASS_COUNT,
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
        rseq_area!(),
        rseq_enter!("r9"),
        rseq_take!(),
        "ret",
        rseq_abort!(),
        "24: 25: xor eax, eax",
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
        rseq_area!(),
        rseq_enter!("r9"),
        rseq_put!(),
        "mov eax, 1",
        "ret",
        rseq_abort!(),
        "24: 25: xor eax, eax",
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
            rseq_area_with_id!(),
            rseq_enter!("24"),
            rseq_take!(),
            "24:",
            ".pushsection .text.unlikely.thmalloc_rseq, \"ax\"",
            rseq_abort!(),
            "25: xor eax, eax",
            "jmp 24b",
            ".popsection",
            slot_shift = const SLOT_SHIFT,
            in("rsi") class,
            out("rax") object,
            out("rcx") _, out("rdx") _, out("r8") _,
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
            rseq_area_with_id!(),
            rseq_enter!("24"),
            rseq_put!(),
            ".pushsection .text.unlikely.thmalloc_rseq, \"ax\"",
            rseq_abort!(),
            "24: 25: jmp {otherwise}",
            ".popsection",
            slot_shift = const SLOT_SHIFT,
            otherwise = label { otherwise() },
            in("rdi") object,
            in("rax") class,
            out("rcx") _, out("rdx") _, out("r8") _,
            options(nostack),
        );
    }
}

/// What [`stop`] returns where it could not.
pub const NOT_STOPPED: u32 = u32::MAX;

/// Stops the list of the class in the slot that begins there and returns its
/// `top`; [`NOT_STOPPED`] where this CPU's is another, or the sequence was
/// aborted. Whoever sees the list then goes the slow way; it is the caller's,
/// who holds the slot's lock, until `top` is set again.
#[unsafe(naked)]
pub extern "C" fn stop(class: usize, slot: *const u8) -> u32 {
    naked_asm!(
        ".cfi_startproc",
        rseq_area!(),
        rseq_enter!("r9"),
        "cmp rcx, rsi",
        "jne 24f",
        "mov eax, dword ptr [rcx + rdi*8]",
        "mov dword ptr [rcx + rdi*8], {stopped}",
        "22:",
        "ret",
        rseq_abort!(),
        "24: 25: mov eax, -1",
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
        rseq_area!(),
        "movsxd rax, dword ptr fs:[r8 + 4]",
        "test rax, rax",
        "js 24f",
        "mov eax, dword ptr fs:[r8 + r9]",
        "24: ret",
        ".cfi_endproc",
    )
}

/// The number of this CPU's slot, as of now; `None` in a thread that the kernel
/// does not know.
pub fn current_slot() -> Option<usize> {
    usize::try_from(number_or_negative()).ok()
}
