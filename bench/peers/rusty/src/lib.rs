//! rusty_alloc under the names of the malloc family: a library to preload.
//!
//! The crate has no such library of its own, so this one only forwards. Who
//! wants a request's errors gets them as C has them; all else is rusty_alloc's.

use core::ffi::c_void;
use core::ptr;

use rusty_alloc::alloc;

fn out_of_memory() -> *mut c_void {
    // SAFETY: the location is this thread's own.
    unsafe { *libc::__errno_location() = libc::ENOMEM };
    ptr::null_mut()
}

fn given(block: *mut u8) -> *mut c_void {
    if block.is_null() {
        return out_of_memory();
    }
    block.cast()
}

/// As in C.
#[unsafe(no_mangle)]
pub extern "C" fn malloc(size: usize) -> *mut c_void {
    given(alloc::malloc(size))
}

/// As in C.
#[unsafe(no_mangle)]
pub extern "C" fn calloc(count: usize, size: usize) -> *mut c_void {
    given(alloc::calloc(count, size))
}

/// As in C.
///
/// # Safety
/// `block` is null or came from here and is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn free(block: *mut c_void) {
    // SAFETY: the caller's promise is the one that is asked for.
    unsafe { alloc::free_inline(block.cast()) }
}

/// As in C.
///
/// # Safety
/// `block` is null or came from here and is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn realloc(block: *mut c_void, size: usize) -> *mut c_void {
    // SAFETY: the caller's promise is the one that is asked for.
    given(unsafe { alloc::realloc(block.cast(), size) })
}

/// As in POSIX.
///
/// # Safety
/// `place` can be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn posix_memalign(place: *mut *mut c_void, align: usize, size: usize) -> i32 {
    if !align.is_power_of_two() || align < size_of::<usize>() {
        return libc::EINVAL;
    }
    let block = alloc::malloc_aligned(size, align);
    if block.is_null() {
        return libc::ENOMEM;
    }
    // SAFETY: the caller lends us `place`.
    unsafe { *place = block.cast() };
    0
}

/// As in C.
#[unsafe(no_mangle)]
pub extern "C" fn aligned_alloc(align: usize, size: usize) -> *mut c_void {
    given(alloc::malloc_aligned(size, align))
}

/// As in glibc.
#[unsafe(no_mangle)]
pub extern "C" fn memalign(align: usize, size: usize) -> *mut c_void {
    given(alloc::malloc_aligned(size, align))
}

/// As in glibc.
#[unsafe(no_mangle)]
pub extern "C" fn valloc(size: usize) -> *mut c_void {
    given(alloc::malloc_aligned(size, 4096))
}

/// As in glibc.
#[unsafe(no_mangle)]
pub extern "C" fn pvalloc(size: usize) -> *mut c_void {
    given(alloc::malloc_aligned(size.next_multiple_of(4096), 4096))
}

/// As in glibc.
///
/// # Safety
/// `block` is null or came from here and is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn malloc_usable_size(block: *mut c_void) -> usize {
    // SAFETY: the caller's promise is the one that is asked for.
    unsafe { alloc::usable_size(block.cast()) }
}
