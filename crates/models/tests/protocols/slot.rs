//! The opening of a cache slot: `CpuCaches::open_slot` and `CpuCaches::slot`.
#![allow(unsafe_code)] // Follows published pointers, as what it mirrors.

use std::ptr::null_mut;

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicPtr, Ordering};
use loom::thread;

use crate::explore;

struct SlotLock(UnsafeCell<usize>);

struct Slots {
    entry: AtomicPtr<SlotLock>,
}

const READY: usize = 7;

impl Slots {
    /// `CpuCaches::slot`.
    fn slot(&self) -> Option<&SlotLock> {
        // SAFETY: only `open_slot` writes it, and what it writes stays until
        // the model ends.
        unsafe { self.entry.load(Ordering::Acquire).as_ref() }
    }

    /// `CpuCaches::open_slot`.
    fn open_slot(&self) -> Option<&SlotLock> {
        let place = Box::new(SlotLock(UnsafeCell::new(0)));
        // SAFETY: nobody else has it yet.
        place.0.with_mut(|slot| unsafe { *slot = READY });
        let place = Box::into_raw(place);
        let first =
            self.entry
                .compare_exchange(null_mut(), place, Ordering::AcqRel, Ordering::Acquire);
        if first.is_err() {
            // SAFETY: nobody got to see it. (The arena keeps it for good.)
            drop(unsafe { Box::from_raw(place) });
        }
        self.slot()
    }
}

#[test]
fn all_threads_open_the_same_slot_and_find_it_ready() {
    explore(3, || {
        let slots = Arc::new(Slots {
            entry: AtomicPtr::new(null_mut()),
        });
        let enter = |slots: &Slots| {
            let slot = slots.slot().or_else(|| slots.open_slot());
            let slot = slot.expect("open");
            // SAFETY: loom checks that it is not being written.
            assert_eq!(slot.0.with(|slot| unsafe { *slot }), READY);
            std::ptr::from_ref(slot).addr()
        };
        let others: Vec<_> = (0..2)
            .map(|_| {
                let slots = Arc::clone(&slots);
                thread::spawn(move || enter(&slots))
            })
            .collect();
        let mine = enter(&slots);
        for other in others {
            assert_eq!(other.join().expect("no panic"), mine);
        }
        // SAFETY: the model is over.
        drop(unsafe { Box::from_raw(slots.entry.load(Ordering::Relaxed)) });
    });
}
