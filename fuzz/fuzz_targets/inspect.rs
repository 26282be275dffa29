//! Any bytes, as changes to the heap of this process while it is read.
#![no_main]

#[path = "../../crates/inspect/tests/mangled/mod.rs"]
mod mangled;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    mangled::run(input);
});
