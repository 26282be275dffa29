//! A Rust program on thmalloc by itself, which takes a step for each line on its
//! standard input: it fills its heap, and by `c` that of C's malloc, which is another
//! one, thmalloc's library where that is preloaded.

use std::ffi::c_void;
use std::io::{BufRead, Write};

#[global_allocator]
static GLOBAL: thmalloc::ThMalloc = thmalloc::ThMalloc;

#[allow(unsafe_code, reason = "C's malloc is what this program is for")]
unsafe extern "C" {
    safe fn malloc(bytes: usize) -> *mut c_void;
    fn free(object: *mut c_void);
}

/// An object of C's malloc, written to.
#[allow(unsafe_code, reason = "C's malloc is what this program is for")]
fn filled(bytes: usize) -> *mut c_void {
    let object = malloc(bytes);
    assert!(!object.is_null());
    // SAFETY: it has just been allocated, with so many bytes.
    unsafe { object.write_bytes(7, bytes) };
    object
}

/// Gives an object of C's malloc back.
#[allow(unsafe_code, reason = "C's malloc is what this program is for")]
fn give_back(object: *mut c_void) {
    // SAFETY: from `filled`, and out of the only list that had it.
    unsafe { free(object) };
}

/// Objects of 1000 bytes in Rust's heap: 32 MiB.
const RUST: usize = 33_600;
/// The same in C's: 16 MiB.
const C: usize = 16_800;

fn main() {
    let mut rust: Vec<Box<[u8; 1000]>> = Vec::new();
    let mut c: Vec<*mut c_void> = Vec::new();
    // One buffer for all lines: a step's answer is the last that a step does with a
    // heap, and whoever has read it finds a process that does nothing.
    let mut line = String::with_capacity(64);
    let mut input = std::io::stdin().lock();
    while input.read_line(&mut line).is_ok_and(|bytes| bytes > 0) {
        match line.trim_end() {
            "fill" => rust.extend((0..RUST).map(|_| Box::new([7; 1000]))),
            "c" => c.extend((0..C).map(|_| filled(1000))),
            // One in fifty lives on.
            "thin" => {
                let mut number = 0;
                rust.retain(|_| {
                    number += 1;
                    number % 50 == 0
                });
            }
            "drop" => {
                rust.clear();
                c.drain(..).for_each(give_back);
            }
            _ => {}
        }
        line.clear();
        println!("{} {}", rust.len(), c.len());
        let _ = std::io::stdout().flush();
    }
}
