//! A box of 64 bytes made and dropped, each in a function of its own: a test
//! counts what they come to when all is compiled as one
//! (`tests/tests/fast_path.rs`).
#![allow(unsafe_code)] // The functions keep their names.

use std::hint::black_box;
use std::mem::MaybeUninit;

#[global_allocator]
static GLOBAL: thmalloc::ThMalloc = thmalloc::ThMalloc;

/// Makes a box.
// SAFETY: no other function has this name.
#[unsafe(no_mangle)]
#[inline(never)]
pub fn box_of_64_bytes() -> Box<MaybeUninit<[u64; 8]>> {
    Box::new_uninit()
}

/// Drops a box.
// SAFETY: no other function has this name.
#[unsafe(no_mangle)]
#[inline(never)]
pub fn drop_of_64_bytes(object: Box<MaybeUninit<[u64; 8]>>) {
    drop(object);
}

fn main() {
    for _ in 0..100 {
        drop_of_64_bytes(black_box(box_of_64_bytes()));
    }
}
