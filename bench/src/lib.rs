//! What the programs that measure have in common.
//!
//! `load` is one process with a load that comes and goes; `memory_returns`
//! runs it on one allocator after the other and watches its memory. They talk
//! in lines of JSON: a [`phase::Phase`] or [`latency::Latencies`] each.
//! `compare` runs programs on one allocator after the other and compares their
//! time and memory; `workloads` has the loads that it brings itself.

pub mod build;
pub mod guard;
pub mod latency;
pub mod machine;
pub mod phase;
pub mod pixels;
pub mod progress;
pub mod stats;
pub mod table;
