//! The replaceable C++ operators new and delete.
//!
//! The plain ones allocate as `malloc` and free as `free`. Where there is no
//! memory, the C++ runtime's own operator of the same name takes over: it asks
//! for memory again (of us, by `malloc`), calls the new-handler as the standard
//! says, and throws `std::bad_alloc` or returns null. So an exception never
//! passes through a Rust frame; the jump is in assembly.
//!
//! The other forms call the plain one, through the global offset table, as the
//! standard has it ([new.delete]): a program that replaces only the plain
//! operators has replaced them all.
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

/// The most that is passed on to the runtime's operators: libstdc++ 12 rounds
/// sizes up to the alignment without a check.
const MOST_PASSED_ON: usize = isize::MAX as usize;

extern "C" fn allocate(bytes: usize, align: usize) -> *mut u8 {
    HEAP.allocate_aligned(bytes, align)
}

/// The runtime's own operator of that name; null where there is none.
fn runtime_operator(name: &CStr) -> *const c_void {
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

/// Throws: without a runtime, ends the process.
fn must_throw(bytes: usize) -> *const c_void {
    fatal::cannot_throw(bytes)
}

/// Does not throw: without a runtime, there is no new-handler either.
fn may_return_null(_bytes: usize) -> *const c_void {
    extern "C" fn return_null() -> *mut c_void {
        null_mut()
    }
    return_null as extern "C" fn() -> *mut c_void as *const c_void
}

/// `$pass_on`: goes on to the runtime's operator `$name`, all arguments as they
/// are but the size, which is cut to what it can take.
macro_rules! pass_on {
    ($pass_on:ident, $find:ident, $name:literal, $missing:path) => {
        extern "C" fn $find(bytes: usize) -> *const c_void {
            let own = runtime_operator($name);
            if own.is_null() { $missing(bytes) } else { own }
        }

        #[unsafe(naked)]
        extern "C" fn $pass_on(bytes: usize) -> *mut c_void {
            naked_asm!(
                ".cfi_startproc",
                "push rdi",
                ".cfi_adjust_cfa_offset 8",
                "push rsi",
                ".cfi_adjust_cfa_offset 8",
                "push rdx",
                ".cfi_adjust_cfa_offset 8",
                "call {find}",
                "pop rdx",
                ".cfi_adjust_cfa_offset -8",
                "pop rsi",
                ".cfi_adjust_cfa_offset -8",
                "pop rdi",
                ".cfi_adjust_cfa_offset -8",
                "movabs rcx, {most}",
                "cmp rdi, rcx",
                "cmova rdi, rcx",
                "jmp rax",
                ".cfi_endproc",
                find = sym $find,
                most = const MOST_PASSED_ON,
            )
        }
    };
}

/// `$slow`: allocates in Rust, by the alignment that `$align` puts into rsi,
/// and goes on to `$pass_on` where there is no memory.
macro_rules! slow_new {
    ($slow:ident, $align:literal, $pass_on:ident) => {
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
                "pop rdx",
                ".cfi_adjust_cfa_offset -8",
                "pop rsi",
                ".cfi_adjust_cfa_offset -8",
                "pop rdi",
                ".cfi_adjust_cfa_offset -8",
                "test rax, rax",
                "jz 2f",
                "ret",
                "2: jmp {pass_on}",
                ".cfi_endproc",
                allocate = sym allocate,
                pass_on = sym $pass_on,
            )
        }
    };
}

pass_on!(pass_on_new, find_new, c"_Znwm", must_throw);
slow_new!(new_slow, "mov esi, 1", pass_on_new);

/// Defines a name for the function that begins here which no program can take
/// over: what is reached by it is ours.
macro_rules! own_name {
    ($name:literal) => {
        concat!(".hidden ", $name, "\n.globl ", $name, "\n", $name, ":")
    };
}

/// `operator new(size_t)`.
#[allow(non_snake_case)]
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub extern "C" fn _Znwm(bytes: usize) -> *mut c_void {
    malloc_fast_path!(new_slow, own_name!("thmalloc_own_new"))
}

pass_on!(
    pass_on_new_aligned,
    find_new_aligned,
    c"_ZnwmSt11align_val_t",
    must_throw
);
slow_new!(new_aligned_slow, "", pass_on_new_aligned);

/// `operator new(size_t, align_val_t)`.
#[allow(non_snake_case)]
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub extern "C" fn _ZnwmSt11align_val_t(bytes: usize, align: usize) -> *mut c_void {
    naked_asm!(
        own_name!("thmalloc_own_new_aligned"),
        "jmp {slow}",
        slow = sym new_aligned_slow,
    )
}

/// Operators that call another one, which the program may have replaced.
macro_rules! calls {
    ($($symbol:ident $(= $own:literal)? => $other:literal;)*) => {
        $(
            #[allow(non_snake_case, missing_docs)]
            #[unsafe(naked)]
            #[unsafe(no_mangle)]
            pub extern "C" fn $symbol() {
                naked_asm!(
                    $(own_name!($own),)?
                    concat!("jmp qword ptr [rip + ", $other, "@GOTPCREL]"),
                )
            }
        )*
    };
}

calls! {
    _Znam = "thmalloc_own_new_array" => "_Znwm";
    _ZnamSt11align_val_t = "thmalloc_own_new_array_aligned" => "_ZnwmSt11align_val_t";
    _ZdaPv => "_ZdlPv";
    _ZdlPvm => "_ZdlPv";
    _ZdaPvm => "_ZdaPv";
    _ZdlPvRKSt9nothrow_t => "_ZdlPv";
    _ZdaPvRKSt9nothrow_t => "_ZdaPv";
    _ZdaPvSt11align_val_t => "_ZdlPvSt11align_val_t";
    _ZdlPvmSt11align_val_t => "_ZdlPvSt11align_val_t";
    _ZdaPvmSt11align_val_t => "_ZdaPvSt11align_val_t";
    _ZdlPvSt11align_val_tRKSt9nothrow_t => "_ZdlPvSt11align_val_t";
    _ZdaPvSt11align_val_tRKSt9nothrow_t => "_ZdaPvSt11align_val_t";
}

/// A nothrow new: on to `$slow`, unless the program has replaced the throwing
/// form, `$plain`, or what that calls, `$base`. Then the runtime's nothrow operator calls that, and catches
/// what it throws.
macro_rules! nothrow_new {
    ($symbol:ident, $name:literal, $own:literal, $plain:literal, $own_base:literal, $base:literal,
     $pass_on:ident,
     $find:ident, $slow:ident, $align:literal) => {
        pass_on!($pass_on, $find, $name, may_return_null);
        slow_new!($slow, $align, $pass_on);

        #[allow(non_snake_case, missing_docs)]
        #[unsafe(naked)]
        #[unsafe(no_mangle)]
        pub extern "C" fn $symbol() -> *mut c_void {
            naked_asm!(
                concat!("lea rax, [rip + ", $own, "]"),
                concat!("cmp rax, qword ptr [rip + ", $plain, "@GOTPCREL]"),
                "jne 2f",
                concat!("lea rax, [rip + ", $own_base, "]"),
                concat!("cmp rax, qword ptr [rip + ", $base, "@GOTPCREL]"),
                "jne 2f",
                "jmp {slow}",
                "2: jmp {pass_on}",
                slow = sym $slow,
                pass_on = sym $pass_on,
            )
        }
    };
}

nothrow_new!(
    _ZnwmRKSt9nothrow_t,
    c"_ZnwmRKSt9nothrow_t",
    "thmalloc_own_new",
    "_Znwm",
    "thmalloc_own_new",
    "_Znwm",
    pass_on_new_nothrow,
    find_new_nothrow,
    new_nothrow_slow,
    "mov esi, 1"
);
nothrow_new!(
    _ZnamRKSt9nothrow_t,
    c"_ZnamRKSt9nothrow_t",
    "thmalloc_own_new_array",
    "_Znam",
    "thmalloc_own_new",
    "_Znwm",
    pass_on_new_array_nothrow,
    find_new_array_nothrow,
    new_array_nothrow_slow,
    "mov esi, 1"
);
nothrow_new!(
    _ZnwmSt11align_val_tRKSt9nothrow_t,
    c"_ZnwmSt11align_val_tRKSt9nothrow_t",
    "thmalloc_own_new_aligned",
    "_ZnwmSt11align_val_t",
    "thmalloc_own_new_aligned",
    "_ZnwmSt11align_val_t",
    pass_on_new_aligned_nothrow,
    find_new_aligned_nothrow,
    new_aligned_nothrow_slow,
    ""
);
nothrow_new!(
    _ZnamSt11align_val_tRKSt9nothrow_t,
    c"_ZnamSt11align_val_tRKSt9nothrow_t",
    "thmalloc_own_new_array_aligned",
    "_ZnamSt11align_val_t",
    "thmalloc_own_new_aligned",
    "_ZnwmSt11align_val_t",
    pass_on_new_array_aligned_nothrow,
    find_new_array_aligned_nothrow,
    new_array_aligned_nothrow_slow,
    ""
);

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

operator_delete! { _ZdlPv _ZdlPvSt11align_val_t }
