//! `libthmalloc.so`: the malloc family for C and C++, over the tiers of
//! `thmalloc-core`. Only this crate exports C symbols, and only it knows errno.
#![cfg_attr(not(test), no_std)]

mod c;
mod cxx;
mod report;
mod runtime;
