//! Any bytes, as a sequence of operations on the whole heap, against a model.
#![no_main]

#[path = "../../crates/core/tests/heap_ops/mod.rs"]
mod heap_ops;

use heap_ops::{Others, Session};

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    // With threads, only for the compiler's sake: there are none here.
    let _ = Others::Threads;
    let mut session = Session::new(Others::Nobody);
    session.run(input);
    // Whether every tier is walked is up to the input: it is slow.
    session.free_all();
});
