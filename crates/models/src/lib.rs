//! Models of what the tiers do without a lock; the tests are all there is:
//!
//! - `tests/protocols/sync.rs`: the sources of `sync::Once` and `sync::Mutex`
//!   themselves, on loom's atomics and a futex of its condition variables.
//! - `scavenger.rs`: the source of the scavenger's states, on the same, with
//!   threads that come and go.
//! - `page_map.rs`, `lock_mode.rs`, `slot.rs`: loom models of the page map's
//!   leaves and window, of the lists of CPU caches in lock mode, and of the
//!   opening of slots. Each function names the one that it mirrors.
//! - `rseq.rs`: restartable sequences against the slow path, migration and
//!   remote draining, every state explored.
