//! What a library without the standard library owes the compiler.
#![allow(unsafe_code)] // A symbol that the compiler refers to.

/// Aborts: nothing here panics on a path that an allocation can reach, so this
/// is a bug of ours.
#[cfg(not(test))]
#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    let line = info.location().map_or(0, core::panic::Location::line);
    thmalloc_core::fatal::inconsistent("a bug: panic in line", line as usize)
}

/// Referred to by precompiled parts of `core`, and never called: with
/// `panic = "abort"` nothing unwinds through this library's Rust frames.
#[cfg(not(test))]
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}
