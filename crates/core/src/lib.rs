//! The tiers of thmalloc.
//!
//! Layers, bottom to top: os, fatal, sync, config, demand, metadata, size_class, span,
//! region, page_map, page_heap, central, transfer_cache, cpu_cache, heap. A module uses
//! only those before it (`tests/tests/layers.rs` holds it to that).
#![cfg_attr(not(test), no_std)]

pub mod central;
pub mod config;
pub mod cpu_cache;
pub mod demand;
pub mod fatal;
pub mod heap;
pub mod metadata;
pub mod os;
pub mod page_heap;
pub mod page_map;
pub mod region;
pub mod size_class;
pub mod span;
pub mod sync;
pub mod transfer_cache;
