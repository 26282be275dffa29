//! The lock-free protocols of the core, every interleaving.

mod fatal;
mod lock_mode;
mod os;
mod page_map;
mod rseq;
mod scavenger;
mod slot;
mod sync;

use scavenger::{demand, page_heap, region};

thread_local! {
    static IN_MODEL: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Is this a thread of a loom model? (All of those run in one of the system's.)
fn in_model() -> bool {
    IN_MODEL.get()
}

/// Runs a loom model: every execution with up to so many preemptions, which
/// finds nearly all there is to find (Musuvathi and Qadeer, "Iterative Context
/// Bounding for Systematic Testing of Multithreaded Programs", 2007).
fn explore(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    IN_MODEL.set(true);
    builder.check(move || {
        sync::atomic::begin();
        model();
    });
    IN_MODEL.set(false);
}
