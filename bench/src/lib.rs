//! What the load says about itself, and what the driver understands of it.
//!
//! `load` is one process with a load that comes and goes; `memory_returns`
//! runs it on one allocator after the other and watches its memory. They talk
//! in lines of JSON: a [`phase::Phase`] or [`latency::Latencies`] each.

pub mod latency;
pub mod phase;
