//! The replaceable C++ operators new and delete.
//!
//! Each allocates as `malloc` and frees as `free`. Where there is no memory,
//! the C++ runtime's own operator of the same name takes over: it asks for
//! memory again (of us, by `malloc`), calls the new-handler as the standard
//! says, and throws `std::bad_alloc` or returns null. So an exception never
//! passes through a Rust frame; the jump is in assembly.
//!
//! Thread-safe; not async-signal-safe.
#![allow(unsafe_code)] // C++ symbols and assembly.

use core::arch::naked_asm;
use core::ffi::{CStr, c_void};
use core::ptr::null_mut;

use thmalloc_core::fatal;
use thmalloc_core::heap::HEAP;
use thmalloc_core::{free_fast_path, malloc_fast_path};

use crate::c::free_slow;

extern "C" fn allocate(bytes: usize, align: usize) -> *mut u8 {
    HEAP.allocate_aligned(bytes, align)
}

/// The runtime's own operator of that name; null where there is none.
fn runtime_operator(name: &CStr) -> *mut c_void {
    // SAFETY: names are C strings; a library that is there is only looked up,
    // and stays.
    unsafe {
        let own = libc::dlsym(libc::RTLD_NEXT, name.as_ptr());
        if !own.is_null() {
            return own;
        }
        // A runtime that was loaded late, for a plugin, is not in the list of
        // libraries that RTLD_NEXT goes through.
        for library in [c"libstdc++.so.6", c"libc++.so.1", c"libc++abi.so.1"] {
            let handle = libc::dlopen(library.as_ptr(), libc::RTLD_LAZY | libc::RTLD_NOLOAD);
            if !handle.is_null() {
                let own = libc::dlsym(handle, name.as_ptr());
                libc::dlclose(handle);
                if !own.is_null() {
                    return own;
                }
            }
        }
    }
    null_mut()
}

extern "C" fn return_null() -> *mut c_void {
    null_mut()
}

/// An operator new of one argument or two, and what it falls back on: `$slow`
/// allocates again by its `$align`, then goes on to what `$find` returns, with
/// the same arguments.
macro_rules! slow_new {
    ($slow:ident, $find:ident, $name:literal, $align:literal, $missing:expr) => {
        extern "C" fn $find(bytes: usize) -> *const c_void {
            let own = runtime_operator($name);
            if own.is_null() {
                $missing(bytes)
            } else {
                own
            }
        }

        #[unsafe(naked)]
        extern "C" fn $slow(bytes: usize) -> *mut c_void {
            naked_asm!(
                ".cfi_startproc",
                "push rdi",
                ".cfi_adjust_cfa_offset 8",
                "push rsi",
                ".cfi_adjust_cfa_offset 8",
                "push rdx",
                ".cfi_adjust_cfa_offset 8",
                $align,
                "call {allocate}",
                "test rax, rax",
                "jnz 2f",
                "mov rdi, qword ptr [rsp + 16]",
                "call {find}",
                "pop rdx",
                ".cfi_adjust_cfa_offset -8",
                "pop rsi",
                ".cfi_adjust_cfa_offset -8",
                "pop rdi",
                ".cfi_adjust_cfa_offset -8",
                "jmp rax",
                ".cfi_adjust_cfa_offset 24",
                "2: add rsp, 24",
                ".cfi_adjust_cfa_offset -24",
                "ret",
                ".cfi_endproc",
                allocate = sym allocate,
                find = sym $find,
            )
        }
    };
}

/// Throws: without a runtime, ends the process.
fn must_throw(bytes: usize) -> *const c_void {
    fatal::cannot_throw(bytes)
}

/// Does not throw: without a runtime, there is no new-handler either.
fn may_return_null(_bytes: usize) -> *const c_void {
    return_null as extern "C" fn() -> *mut c_void as *const c_void
}

/// The alignment is in rsi already, or any will do.
macro_rules! operator_new {
    ($($symbol:ident, $slow:ident, $find:ident, $name:literal, $missing:expr;)*) => {
        $(
            slow_new!($slow, $find, $name, "mov esi, 1", $missing);

            #[allow(non_snake_case, missing_docs)]
            #[unsafe(naked)]
            #[unsafe(no_mangle)]
            pub extern "C" fn $symbol(bytes: usize) -> *mut c_void {
                malloc_fast_path!($slow)
            }
        )*
    };
}

macro_rules! operator_new_aligned {
    ($($symbol:ident, $slow:ident, $find:ident, $name:literal, $missing:expr;)*) => {
        $(
            slow_new!($slow, $find, $name, "", $missing);

            #[allow(non_snake_case, missing_docs)]
            #[unsafe(naked)]
            #[unsafe(no_mangle)]
            pub extern "C" fn $symbol(bytes: usize, align: usize) -> *mut c_void {
                naked_asm!("jmp {slow}", slow = sym $slow)
            }
        )*
    };
}

operator_new! {
    _Znwm, new_slow, find_new, c"_Znwm", must_throw;
    _Znam, new_array_slow, find_new_array, c"_Znam", must_throw;
    _ZnwmRKSt9nothrow_t, new_nothrow_slow, find_new_nothrow,
        c"_ZnwmRKSt9nothrow_t", may_return_null;
    _ZnamRKSt9nothrow_t, new_array_nothrow_slow, find_new_array_nothrow,
        c"_ZnamRKSt9nothrow_t", may_return_null;
}

operator_new_aligned! {
    _ZnwmSt11align_val_t, new_aligned_slow, find_new_aligned,
        c"_ZnwmSt11align_val_t", must_throw;
    _ZnamSt11align_val_t, new_array_aligned_slow, find_new_array_aligned,
        c"_ZnamSt11align_val_t", must_throw;
    _ZnwmSt11align_val_tRKSt9nothrow_t, new_aligned_nothrow_slow, find_new_aligned_nothrow,
        c"_ZnwmSt11align_val_tRKSt9nothrow_t", may_return_null;
    _ZnamSt11align_val_tRKSt9nothrow_t, new_array_aligned_nothrow_slow,
        find_new_array_aligned_nothrow, c"_ZnamSt11align_val_tRKSt9nothrow_t", may_return_null;
}

macro_rules! operator_delete {
    ($($symbol:ident)*) => {
        $(
            #[allow(non_snake_case, missing_docs, clippy::missing_safety_doc)]
            #[unsafe(naked)]
            #[unsafe(no_mangle)]
            pub unsafe extern "C" fn $symbol(object: *mut c_void) {
                free_fast_path!(free_slow)
            }
        )*
    };
}

operator_delete! {
    _ZdlPv _ZdaPv
    _ZdlPvm _ZdaPvm
    _ZdlPvRKSt9nothrow_t _ZdaPvRKSt9nothrow_t
    _ZdlPvSt11align_val_t _ZdaPvSt11align_val_t
    _ZdlPvmSt11align_val_t _ZdaPvmSt11align_val_t
    _ZdlPvSt11align_val_tRKSt9nothrow_t _ZdaPvSt11align_val_tRKSt9nothrow_t
}
