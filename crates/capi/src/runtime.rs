//! What a library without the standard library owes the compiler.
#![allow(unsafe_code)] // A symbol that the compiler refers to.

/// Aborts: nothing here panics on a path that an allocation can reach, so this
/// is a bug of ours.
#[cfg(not(test))]
#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    let (file, line) = info
        .location()
        .map_or(("?", 0), |at| (at.file(), at.line()));
    thmalloc_core::fatal::Line::new()
        .text("inconsistent heap: a bug at ")
        .text(file)
        .text(":")
        .number(line as usize)
        .write();
    thmalloc_core::os::abort()
}

// Referred to by precompiled parts of `core`, and never called: with
// `panic = "abort"` nothing unwinds through this library's Rust frames. In
// assembly, since only there a symbol can be kept from being exported.
#[cfg(not(test))]
core::arch::global_asm!(
    ".pushsection .text.rust_eh_personality, \"ax\"",
    ".weak rust_eh_personality",
    ".hidden rust_eh_personality",
    "rust_eh_personality: ud2",
    ".popsection",
);

// Says that the C library is needed, which gives its symbols their versions;
// the `libc` crate says so only without its feature `std`, which other crates of
// a build may switch on.
#[link(name = "c")]
unsafe extern "C" {}

/// Registers the handlers of fork before any other library can register its own:
/// ours must run innermost, since the others' may allocate. By now the caller is
/// the main thread.
#[used]
// SAFETY: the loader calls the addresses in this section once, when the library
// is loaded; a C function without parameters may be called so.
#[unsafe(link_section = ".init_array")]
static CONSTRUCTOR: extern "C" fn() = thmalloc_core::heap::constructor;
