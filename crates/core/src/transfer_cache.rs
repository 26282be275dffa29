//! Transfer caches: a few batches of each class on their way between CPUs.
//!
//! What one CPU frees, another may take from here without the bookkeeping of
//! spans. They are kept small, since objects that pass through here lose their
//! neighbours, and an aged heap slows down.
//!
//! Always: `count` objects, all of the class, all marked in use in their spans.
//! Lock: `TransferCache::state`, rank `TransferCache`; the central list's may
//! be taken under it by the caller, but is not.
#![allow(unsafe_code)] // The slots are raw metadata.

use core::mem::offset_of;

use thmalloc_format::TransferLayout;

use crate::demand::LowWater;
use crate::metadata::Metadata;
use crate::size_class::SizeClass;
use crate::sync::{Mutex, Rank};

struct State {
    /// None before the first object comes.
    objects: Option<&'static mut [usize]>,
    /// The address of the first of them, for readers outside; 0: there are none.
    address: usize,
    count: usize,
    /// Objects ever taken by caches.
    drawn: usize,
    /// The fewest that were in it lately.
    low: LowWater,
}

impl State {
    fn objects(&mut self) -> &mut [usize] {
        self.objects.as_deref_mut().unwrap_or_default()
    }
}

/// The transfer cache of one class.
pub struct TransferCache {
    state: Mutex<State>,
}

/// How many objects of a class it holds: four batches of small objects, two of
/// others.
fn capacity(class: SizeClass) -> usize {
    let batches = if class.bytes() <= 2048 { 4 } else { 2 };
    batches * class.batch()
}

impl TransferCache {
    /// Where a reader finds its words.
    pub const LAYOUT: TransferLayout = {
        let state = offset_of!(Self, state) + Mutex::<State>::VALUE_AT;
        TransferLayout {
            first_at: 0,
            stride: size_of::<Self>() as u32,
            generation_at: (offset_of!(Self, state) + Mutex::<State>::GENERATION_AT) as u32,
            objects_at: (state + offset_of!(State, address)) as u32,
            count_at: (state + offset_of!(State, count)) as u32,
            drawn_at: (state + offset_of!(State, drawn)) as u32,
        }
    };

    /// An empty one.
    pub const fn new() -> Self {
        Self {
            state: Mutex::new(
                Rank::TransferCache,
                State {
                    objects: None,
                    address: 0,
                    count: 0,
                    drawn: 0,
                    low: LowWater::new(),
                },
            ),
        }
    }

    /// Moves objects into `out`, as many as there are. Returns how many.
    pub fn take(&self, out: &mut [usize]) -> usize {
        let mut state = self.state.lock();
        let count = state.count.min(out.len());
        let rest = state.count - count;
        out[..count].copy_from_slice(&state.objects()[rest..rest + count]);
        state.count = rest;
        state.drawn += count;
        state.low.note(rest);
        count
    }

    /// Ends a turn of the scavenger: how many objects nobody would have needed
    /// lately.
    pub fn turn(&self) -> usize {
        let mut state = self.state.lock();
        let count = state.count;
        state.low.turn(count)
    }

    /// Moves objects into `out` that have been here longest. Returns how many.
    pub fn take_oldest(&self, out: &mut [usize]) -> usize {
        let mut state = self.state.lock();
        let old = state.count;
        let count = old.min(out.len());
        out[..count].copy_from_slice(&state.objects()[..count]);
        state.objects().copy_within(count..old, 0);
        state.count -= count;
        state.low.debit(count);
        count
    }

    /// Takes objects in, all or none. False: there is no room for them.
    pub fn put(&self, metadata: &Metadata, class: SizeClass, objects: &[usize]) -> bool {
        let mut state = self.state.lock();
        if state.objects.is_none() {
            let length = capacity(class);
            let Ok(memory) = metadata.allocate_bytes(length * size_of::<usize>(), 64) else {
                return false;
            };
            // SAFETY: zeroed metadata of that length, ours for good.
            state.objects =
                Some(unsafe { core::slice::from_raw_parts_mut(memory.cast().as_ptr(), length) });
            state.address = memory.as_ptr().expose_provenance();
        }
        let count = state.count;
        let Some(room) = state.objects().get_mut(count..count + objects.len()) else {
            return false;
        };
        room.copy_from_slice(objects);
        state.count += objects.len();
        true
    }

    /// Copies objects from the `first` oldest on, as many as there are or `out`
    /// takes.
    pub fn copy(&self, first: usize, out: &mut [usize]) -> usize {
        let mut state = self.state.lock();
        let count = state.count.saturating_sub(first).min(out.len());
        if count != 0 {
            out[..count].copy_from_slice(&state.objects()[first..][..count]);
        }
        count
    }

    /// Objects in it.
    pub fn len(&self) -> usize {
        self.state.lock().count
    }

    /// Is there none in it?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The lock, for fork.
    pub fn lock_for_fork(&self) {
        self.state.lock_for_fork();
    }

    /// Ends [`TransferCache::lock_for_fork`].
    ///
    /// # Safety
    /// As [`Mutex::unlock_after_fork`].
    pub unsafe fn unlock_after_fork(&self) {
        // SAFETY: by contract.
        unsafe { self.state.unlock_after_fork() }
    }
}

impl Default for TransferCache {
    fn default() -> Self {
        Self::new()
    }
}
