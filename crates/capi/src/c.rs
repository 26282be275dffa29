//! The C functions, each as its manual page says it.
//!
//! Thread-safe; not async-signal-safe. Every successful call, and `free`, keep
//! errno. Sizes are bytes.
#![allow(unsafe_code)] // C symbols and raw pointers.

use core::ffi::{c_char, c_int, c_void};
use core::ptr::null_mut;

use thmalloc_core::fatal::{self, Call};
use thmalloc_core::heap::HEAP;
use thmalloc_core::os::PAGE_BYTES;
use thmalloc_core::size_class::SizeClass;
use thmalloc_core::{free_fast_path, malloc_fast_path};

pub fn set_errno(error: c_int) {
    // SAFETY: errno's address is valid for the calling thread (errno(3)).
    unsafe { *libc::__errno_location() = error };
}

/// An allocation's result as C gets it: ENOMEM where there is none.
fn or_enomem(object: *mut u8) -> *mut c_void {
    if object.is_null() {
        set_errno(libc::ENOMEM);
    }
    object.cast()
}

/// malloc(3): `malloc(0)` is a pointer of its own. NULL and ENOMEM where there
/// is no memory, or for sizes above PTRDIFF_MAX.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub extern "C" fn malloc(bytes: usize) -> *mut c_void {
    malloc_fast_path!(malloc_slow)
}

extern "C" fn malloc_slow(bytes: usize) -> *mut c_void {
    or_enomem(HEAP.allocate(bytes))
}

/// free(3): NULL is nothing; what is not an object ends the process with a
/// line that names it.
///
/// # Safety
/// Nobody uses the object any more.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn free(object: *mut c_void) {
    free_fast_path!(free_slow)
}

/// What the fast path of `free` falls back on.
///
/// # Safety
/// As [`free`].
pub unsafe extern "C" fn free_slow(object: *mut c_void) {
    // SAFETY: by contract.
    unsafe { HEAP.free(object.cast(), Call::Free) };
}

/// calloc(3): zeroed; NULL and ENOMEM also where the product overflows.
#[unsafe(no_mangle)]
pub extern "C" fn calloc(count: usize, bytes: usize) -> *mut c_void {
    match count.checked_mul(bytes) {
        Some(bytes) => or_enomem(HEAP.allocate_zeroed(bytes, 1)),
        None => or_enomem(null_mut()),
    }
}

/// realloc(3): with size 0 it frees and returns NULL, as glibc does. NULL and
/// ENOMEM where there is no memory: the object is then as it was.
///
/// # Safety
/// Nobody else uses the object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn realloc(object: *mut c_void, bytes: usize) -> *mut c_void {
    if object.is_null() {
        return malloc(bytes);
    }
    // SAFETY: by contract.
    unsafe {
        if bytes == 0 {
            HEAP.free(object.cast(), Call::Realloc);
            return null_mut();
        }
        or_enomem(HEAP.reallocate(object.cast(), bytes))
    }
}

/// reallocarray(3): as [`realloc`]; NULL and ENOMEM where the product
/// overflows.
///
/// # Safety
/// As [`realloc`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn reallocarray(
    object: *mut c_void,
    count: usize,
    bytes: usize,
) -> *mut c_void {
    match count.checked_mul(bytes) {
        // SAFETY: by contract.
        Some(bytes) => unsafe { realloc(object, bytes) },
        None => or_enomem(null_mut()),
    }
}

/// aligned_alloc(3): NULL and EINVAL where the alignment is not a power of two.
#[unsafe(no_mangle)]
pub extern "C" fn aligned_alloc(align: usize, bytes: usize) -> *mut c_void {
    if !align.is_power_of_two() {
        set_errno(libc::EINVAL);
        return null_mut();
    }
    or_enomem(HEAP.allocate_aligned(bytes, align))
}

/// memalign(3): as [`aligned_alloc`].
#[unsafe(no_mangle)]
pub extern "C" fn memalign(align: usize, bytes: usize) -> *mut c_void {
    aligned_alloc(align, bytes)
}

/// posix_memalign(3): returns 0, EINVAL or ENOMEM; leaves errno alone, and
/// `*result` on failure.
///
/// # Safety
/// `result` may be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn posix_memalign(
    result: *mut *mut c_void,
    align: usize,
    bytes: usize,
) -> c_int {
    if !align.is_power_of_two() || align < size_of::<*mut c_void>() {
        return libc::EINVAL;
    }
    let object = HEAP.allocate_aligned(bytes, align);
    if object.is_null() {
        return libc::ENOMEM;
    }
    // SAFETY: by contract.
    unsafe { *result = object.cast() };
    0
}

/// valloc(3): at a multiple of a page.
#[unsafe(no_mangle)]
pub extern "C" fn valloc(bytes: usize) -> *mut c_void {
    aligned_alloc(PAGE_BYTES, bytes)
}

/// pvalloc(3): whole pages.
#[unsafe(no_mangle)]
pub extern "C" fn pvalloc(bytes: usize) -> *mut c_void {
    match bytes.max(1).checked_next_multiple_of(PAGE_BYTES) {
        Some(bytes) => aligned_alloc(PAGE_BYTES, bytes),
        None => or_enomem(null_mut()),
    }
}

/// malloc_usable_size(3): 0 for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn malloc_usable_size(object: *mut c_void) -> usize {
    if object.is_null() {
        return 0;
    }
    HEAP.usable_size(object.cast(), Call::UsableSize)
}

/// free_sized(3), C23: ends the process where the size cannot be the object's.
///
/// # Safety
/// As [`free`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn free_sized(object: *mut c_void, bytes: usize) {
    // SAFETY: by contract.
    unsafe { free_checked(object, 1, bytes, Call::FreeSized) };
}

/// free_aligned_sized(3), C23: as [`free_sized`], for [`aligned_alloc`].
///
/// # Safety
/// As [`free`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn free_aligned_sized(object: *mut c_void, align: usize, bytes: usize) {
    // SAFETY: by contract.
    unsafe { free_checked(object, align, bytes, Call::FreeAlignedSized) };
}

unsafe fn free_checked(object: *mut c_void, align: usize, bytes: usize, call: Call) {
    if object.is_null() {
        return;
    }
    let usable = HEAP.usable_size(object.cast(), call);
    let asked = match SizeClass::for_layout(bytes, align.max(1)) {
        Some(class) => class.bytes(),
        None => bytes.next_multiple_of(PAGE_BYTES),
    };
    // An object that realloc made smaller may have stayed where it was, with
    // up to half of it unused, or more where there was no memory for another.
    let too_small = asked < usable / 2 && !HEAP.has_oversized();
    if bytes > usable || too_small {
        fatal::wrong_size(call, object.addr(), bytes, usable);
    }
    // SAFETY: by contract.
    unsafe { HEAP.free(object.cast(), call) };
}

/// The library's version, "MAJOR.MINOR.PATCH".
#[unsafe(no_mangle)]
pub extern "C" fn thmalloc_version() -> *const c_char {
    const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "\0");
    VERSION.as_ptr().cast()
}

/// How the CPU caches are entered: "rseq" or "lock".
#[unsafe(no_mangle)]
pub extern "C" fn thmalloc_cache_mode() -> *const c_char {
    use thmalloc_core::cpu_cache::Mode;
    match HEAP.cache_mode() {
        Mode::Rseq => c"rseq".as_ptr(),
        Mode::Lock => c"lock".as_ptr(),
    }
}

/// Empties the caches into their spans, and checks that the books of the central lists and of
/// the page heap agree; returns 0, or ends the process with a line that says what is wrong.
/// Other threads go on meanwhile.
#[unsafe(no_mangle)]
pub extern "C" fn thmalloc_check() -> c_int {
    HEAP.check_invariants();
    0
}
