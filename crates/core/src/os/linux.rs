//! System calls. All go through `syscall(2)` of libc, so that a program which
//! replaces `mmap` or `madvise` does not find itself called by its allocator.
#![allow(unsafe_code)] // System calls take raw addresses.

use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use libc::{c_int, c_long};

use super::OutOfMemory;

/// What may be done with the pages of a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protection {
    /// Nothing: a guard, or address space to be used later.
    None,
    /// Reading. Untouched pages read as zeros and cost nothing; such a mapping
    /// counts neither as data (RLIMIT_DATA) nor as committed memory.
    Read,
    /// Reading and writing.
    ReadWrite,
}

impl Protection {
    fn bits(self) -> c_int {
        match self {
            Protection::None => libc::PROT_NONE,
            Protection::Read => libc::PROT_READ,
            Protection::ReadWrite => libc::PROT_READ | libc::PROT_WRITE,
        }
    }
}

/// Makes a system call and keeps errno. Returns its result, or the error
/// number as a negative value.
///
/// # Safety
/// As the system call's.
pub(super) unsafe fn call(number: c_long, arguments: [usize; 6]) -> isize {
    let [a, b, c, d, e, f] = arguments;
    // SAFETY: errno's address is valid for the calling thread as long as it
    // runs (errno(3)).
    let errno = unsafe { &mut *libc::__errno_location() };
    let kept = *errno;
    // SAFETY: the caller answers for the call; six words are what any takes.
    let result = unsafe { libc::syscall(number, a, b, c, d, e, f) };
    if result == -1 {
        let error = *errno;
        *errno = kept;
        return -(error as isize);
    }
    result as isize
}

/// Bytes that are mapped by this module: no more than the process has.
// SAFETY: a section of variables.
#[unsafe(link_section = ".data.thmalloc_entry")]
static MAPPED: AtomicUsize = AtomicUsize::new(0);

/// Maps `bytes` of private anonymous memory, wherever the system likes.
pub fn map(bytes: usize, protection: Protection) -> Result<*mut u8, OutOfMemory> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    let arguments = [
        0,
        bytes,
        protection.bits() as usize,
        flags as usize,
        usize::MAX,
        0,
    ];
    // SAFETY: a new mapping at an address of the system's choice touches no
    // memory that is in use.
    match unsafe { call(libc::SYS_mmap, arguments) } {
        address if address > 0 => {
            // Relaxed: a sum.
            MAPPED.fetch_add(bytes, Ordering::Relaxed);
            Ok(address as *mut u8)
        }
        _ => Err(OutOfMemory),
    }
}

/// Maps address space for a table of which most stays untouched, to be read. No more than an
/// eighth of what the process may have at all (RLIMIT_AS of setrlimit(2)) each: there are
/// two, and the rest is for objects.
pub fn reserve(bytes: usize) -> Result<*mut u8, OutOfMemory> {
    match limit(libc::RLIMIT_AS) {
        Some(limit) if bytes > limit / 8 => Err(OutOfMemory),
        _ => map(bytes, Protection::Read),
    }
}

/// May the process map `wanted` bytes once `freed` are unmapped? False where its limit on
/// address space (RLIMIT_AS) is below what this module alone has mapped then.
pub fn may_map_instead(freed: usize, wanted: usize) -> bool {
    // Relaxed: a sum.
    let left = MAPPED.load(Ordering::Relaxed).saturating_sub(freed);
    limit(libc::RLIMIT_AS).is_none_or(|limit| left.saturating_add(wanted) <= limit)
}

/// A limit of the process's (getrlimit(2)), if it has one.
fn limit(resource: libc::__rlimit_resource_t) -> Option<usize> {
    let mut limit = libc::rlimit64 {
        rlim_cur: libc::RLIM64_INFINITY,
        rlim_max: libc::RLIM64_INFINITY,
    };
    let place: *mut libc::rlimit64 = &mut limit;
    let arguments = [0, resource as usize, 0, place.addr(), 0, 0];
    // SAFETY: the system writes to `limit`, or refuses: then there is none.
    unsafe { call(libc::SYS_prlimit64, arguments) };
    (limit.rlim_cur != libc::RLIM64_INFINITY).then_some(limit.rlim_cur as usize)
}

/// As [`map`], at a multiple of `align` (a power of two).
pub fn map_aligned(
    bytes: usize,
    align: usize,
    protection: Protection,
) -> Result<*mut u8, OutOfMemory> {
    let first = map(bytes, protection)?;
    if first.addr().is_multiple_of(align) {
        return Ok(first);
    }
    // SAFETY: just mapped, and known to nobody else.
    unsafe { unmap(first, bytes) };
    let padded = bytes.checked_add(align).ok_or(OutOfMemory)?;
    let start = map(padded, protection)?;
    let lead = start.addr().next_multiple_of(align) - start.addr();
    let aligned = start.wrapping_add(lead);
    // SAFETY: just mapped, and known to nobody else; what stands before and
    // after the aligned part is not used.
    unsafe {
        if lead != 0 {
            unmap(start, lead);
        }
        if align != lead {
            unmap(aligned.wrapping_add(bytes), align - lead);
        }
    }
    Ok(aligned)
}

/// Takes a mapping away. False where that would split one and the process has as many
/// as the system allows: the range is as it was.
///
/// # Safety
/// The range was mapped by this module and nobody uses it any more.
pub unsafe fn unmap(address: *mut u8, bytes: usize) -> bool {
    // SAFETY: by contract.
    let unmapped = unsafe { call(libc::SYS_munmap, [address.addr(), bytes, 0, 0, 0, 0]) == 0 };
    if unmapped {
        // Relaxed: a sum.
        MAPPED.fetch_sub(bytes, Ordering::Relaxed);
    }
    unmapped
}

/// Changes what may be done with a range of pages.
///
/// # Safety
/// The range was mapped by this module, and whoever uses it keeps to the new
/// protection.
pub unsafe fn protect(
    address: *mut u8,
    bytes: usize,
    protection: Protection,
) -> Result<(), OutOfMemory> {
    let arguments = [address.addr(), bytes, protection.bits() as usize, 0, 0, 0];
    // SAFETY: by contract.
    match unsafe { call(libc::SYS_mprotect, arguments) } {
        0 => Ok(()),
        _ => Err(OutOfMemory),
    }
}

/// Gives the pages of a range back to the system; they read as zeros from
/// then on. False where the system refuses: the pages stay as they were, or
/// some are given back. Pages that the program has locked (mlock(2)) are given
/// back, too, and what comes in their place will be locked; but not those of a
/// process that wants all its memory locked (mlockall(2), MCL_FUTURE).
///
/// # Safety
/// The range was mapped by this module and holds nothing that anybody needs.
pub unsafe fn decommit(address: *mut u8, bytes: usize) -> bool {
    // SAFETY: by contract.
    unsafe {
        advise(address.addr(), bytes, libc::MADV_DONTNEED)
            || !locks_everything() && advise(address.addr(), bytes, libc::MADV_DONTNEED_LOCKED)
    }
}

/// Faults a range in for writing, as far as it has no pages yet; what it holds stays.
/// False where the system does not know how (before Linux 5.14). What it refuses otherwise,
/// the program will find by itself.
pub fn populate(address: usize, bytes: usize) -> bool {
    let arguments = [address, bytes, libc::MADV_POPULATE_WRITE as usize, 0, 0, 0];
    // SAFETY: changes no content.
    let error = -unsafe { call(libc::SYS_madvise, arguments) };
    // A filter may say either of the other two.
    ![libc::EINVAL, libc::ENOSYS, libc::EPERM].contains(&(error as c_int))
}

/// madvise(2). False where the system refuses.
///
/// # Safety
/// Nobody needs what the advice takes from the range.
pub(super) unsafe fn advise(start: usize, bytes: usize, advice: c_int) -> bool {
    let arguments = [start, bytes, advice as usize, 0, 0, 0];
    // SAFETY: by contract.
    unsafe { call(libc::SYS_madvise, arguments) == 0 }
}

/// Is what the process maps locked into memory from the beginning? Such pages
/// are refused to MADV_DONTNEED.
#[cold]
fn locks_everything() -> bool {
    let Ok(page) = map(super::PAGE_BYTES, Protection::None) else {
        return true;
    };
    // SAFETY: just mapped, and known to nobody else.
    unsafe {
        let taken = advise(page.addr(), super::PAGE_BYTES, libc::MADV_DONTNEED);
        unmap(page, super::PAGE_BYTES);
        !taken
    }
}

/// Does a range lie in one mapping? A program that advises or locks a part of its memory
/// makes several. Asks it to grow by a page where it stands, which is refused with EFAULT
/// if not (mremap(2)).
pub fn is_one_mapping(address: *mut u8, bytes: usize) -> bool {
    let resize = |from: usize, to: usize| {
        let arguments = [address.addr(), from, to, 0, 0, 0];
        // SAFETY: the range stays as it is; the page behind it was nobody's if it can be
        // had, and nobody knows it.
        unsafe { call(libc::SYS_mremap, arguments) }
    };
    let longer = bytes + super::PAGE_BYTES;
    match resize(bytes, longer) {
        grown if grown == address.addr() as isize => resize(longer, bytes) == grown,
        refused => [libc::ENOMEM, libc::EAGAIN].contains(&-(refused as c_int)),
    }
}

/// Is a range, of one mapping, locked into memory (mlock(2), mlockall(2))? What it holds
/// stays, but is among the first to be swapped out; a hugepage of which it is a part is
/// split. Locked pages cannot be called cold (madvise(2)); where no page can (before
/// Linux 5.4), nor can pages be moved ([`move_pages`]).
pub fn is_locked(address: *mut u8, bytes: usize) -> bool {
    // SAFETY: changes no content.
    unsafe { !advise(address.addr(), bytes, libc::MADV_COLD) }
}

/// Keeps a range out of core dumps. A refusal is of no consequence.
pub fn do_not_dump(address: *mut u8, bytes: usize) {
    // SAFETY: changes no memory and no access to it.
    unsafe { advise(address.addr(), bytes, libc::MADV_DONTDUMP) };
}

/// Moves the pages of `[from, from + bytes)` to `to`, whose own pages go. The
/// range at `from` stays mapped and reads as zeros. Of a range that is locked, the whole
/// mapping is not any more (seen with Linux 6.18). False where the system cannot do it
/// (before Linux 5.7, or at a limit): nothing has moved, but the range at `to` may be
/// unmapped.
///
/// # Safety
/// Both ranges were mapped by this module and do not overlap; nobody uses
/// either meanwhile, and what stood at `to` is not needed. The range at `from` lies in
/// one mapping: of several, some may have moved where the system says that it cannot
/// (since Linux 6.17; before, it refused them all).
pub unsafe fn move_pages(from: *mut u8, to: *mut u8, bytes: usize) -> bool {
    let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED | libc::MREMAP_DONTUNMAP;
    let arguments = [from.addr(), bytes, bytes, flags as usize, to.addr(), 0];
    // SAFETY: by contract.
    unsafe { call(libc::SYS_mremap, arguments) == to.addr() as isize }
}

/// Sleeps while `*word == expected`, until woken. May return early.
pub fn futex_wait(word: &AtomicU32, expected: u32) {
    let operation = (libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG) as usize;
    let arguments = [word.as_ptr().addr(), operation, expected as usize, 0, 0, 0];
    // SAFETY: the word outlives the call; no timeout is given.
    unsafe { call(libc::SYS_futex, arguments) };
}

/// As [`futex_wait`], at most so many nanoseconds.
pub fn futex_wait_for(word: &AtomicU32, expected: u32, nanoseconds: u64) {
    let time = libc::timespec {
        tv_sec: (nanoseconds / 1_000_000_000) as libc::time_t,
        tv_nsec: (nanoseconds % 1_000_000_000) as libc::c_long,
    };
    let operation = (libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG) as usize;
    let timeout = core::ptr::from_ref(&time).addr();
    let arguments = [
        word.as_ptr().addr(),
        operation,
        expected as usize,
        timeout,
        0,
        0,
    ];
    // SAFETY: the word and the time outlive the call.
    unsafe { call(libc::SYS_futex, arguments) };
}

fn futex_wake(word: &AtomicU32, count: i32) {
    let operation = (libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG) as usize;
    let arguments = [word.as_ptr().addr(), operation, count as usize, 0, 0, 0];
    // SAFETY: waking reads nothing and writes nothing.
    unsafe { call(libc::SYS_futex, arguments) };
}

/// Wakes one sleeper of [`futex_wait`].
pub fn futex_wake_one(word: &AtomicU32) {
    futex_wake(word, 1);
}

/// Wakes all sleepers of [`futex_wait`].
pub fn futex_wake_all(word: &AtomicU32) {
    futex_wake(word, i32::MAX);
}

/// Lets other threads run.
pub fn yield_now() {
    // SAFETY: takes no arguments.
    unsafe { call(libc::SYS_sched_yield, [0; 6]) };
}

/// Lets other threads run, also those of lower priority: 50 µs.
pub fn sleep_briefly() {
    let time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 50_000,
    };
    let arguments = [core::ptr::from_ref(&time).addr(), 0, 0, 0, 0, 0];
    // SAFETY: the time outlives the call; what is left of it is not asked for.
    unsafe { call(libc::SYS_nanosleep, arguments) };
}

/// Prepares the process for [`membarrier_rseq`]. False where the system
/// cannot (before Linux 5.10, or forbidden).
pub fn register_membarrier_rseq() -> bool {
    let command = libc::MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_RSEQ as usize;
    // SAFETY: registers an intent; touches no memory.
    unsafe { call(libc::SYS_membarrier, [command, 0, 0, 0, 0, 0]) == 0 }
}

/// Restarts every restartable sequence of this process that is under way on
/// any CPU: when it returns, each has either committed or was aborted, and
/// later ones see what the caller wrote before (membarrier(2)). False where
/// the system refuses: nothing is known then.
pub fn membarrier_rseq() -> bool {
    let command = libc::MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ as usize;
    // SAFETY: touches no memory of ours.
    unsafe { call(libc::SYS_membarrier, [command, 0, 0, 0, 0, 0]) == 0 }
}

/// Writes to standard error, once. What does not fit is lost.
pub fn write_stderr(text: &[u8]) {
    let arguments = [2, text.as_ptr().addr(), text.len(), 0, 0, 0];
    // SAFETY: the text is valid for its length.
    unsafe { call(libc::SYS_write, arguments) };
}

/// Ends the process by SIGABRT, in the calling thread.
pub fn abort() -> ! {
    // SAFETY: abort(3) may be called anywhere.
    unsafe { libc::abort() }
}

/// The bytes of the kernel's set of CPUs, filled with this thread's.
pub(super) fn cpu_set_bytes() -> usize {
    let mut set = [0_u64; 128];
    let arguments = [0, size_of_val(&set), set.as_mut_ptr().addr(), 0, 0, 0];
    // SAFETY: the buffer is valid for the length given.
    let bytes = unsafe { call(libc::SYS_sched_getaffinity, arguments) };
    usize::try_from(bytes).unwrap_or(0)
}
