//! The free objects that stand in CPU caches and transfer caches.
//!
//! To its span, a cached object is in use; only where it is cached says that it
//! is free. Lists change without a lock while they are read: an object may be
//! met twice or not at all, and what is no object at all is sorted out by the
//! spans.

use crate::bytes::{u32_at, u64_at};
use crate::memory::{Fault, Memory};
use crate::snapshot::CpuCacheView;
use crate::source::{HeapCopy, Source};

/// No system has more CPUs.
const MOST_SLOTS: u64 = 1 << 16;

/// So many objects are looked at in all caches: 128 MiB of addresses.
const MOST_OBJECTS: usize = 1 << 24;

/// No transfer cache holds more.
const MOST_TRANSFERRED: u64 = 1 << 16;

/// A list that is stopped is looked at again so often.
const LOOKS: usize = 4;

/// What is in the caches.
#[derive(Debug, Default)]
pub struct Cached {
    /// The addresses of objects, in order, each once.
    pub objects: Vec<u64>,
    /// The caches of CPUs.
    pub slots: Vec<CpuCacheView>,
    /// The generation of each slot's lock.
    pub generations: Vec<u32>,
    /// The slots' memory, with their lengths.
    pub memory: Vec<(u64, u64)>,
}

impl Cached {
    /// Reads all caches.
    pub fn read(source: &Source<'_, impl Memory>, heap: &HeapCopy) -> Result<Self, Fault> {
        let mut cached = Self::default();
        let layout = &source.layout.caches;
        for (slot, lock) in slots(source, heap)? {
            let memory = heap
                .u64(layout.memory_at)
                .saturating_add(u64::from(slot) * u64::from(layout.slot_bytes));
            cached.memory.push((memory, layout.slot_bytes.into()));
            cached.read_slot(source, slot, memory, lock)?;
        }
        cached.read_transfer_caches(source, heap)?;
        cached.objects.sort_unstable();
        cached.objects.dedup();
        Ok(cached)
    }

    fn read_slot(
        &mut self,
        source: &Source<'_, impl Memory>,
        slot: u32,
        memory: u64,
        lock: u64,
    ) -> Result<(), Fault> {
        let layout = &source.layout.caches;
        let classes = &source.layout.classes;
        let heads_bytes = classes.len() * layout.head_stride as usize;
        let lock_bytes = layout.lock_bytes as usize;
        let stopped = layout.slot_bytes - 8;
        let mut view = CpuCacheView {
            slot,
            objects: 0,
            bytes: 0,
        };
        let mut pieces = Vec::new();
        for look in 1..=LOOKS {
            let copy = source.gather(&[(lock, lock_bytes), (memory, heads_bytes)])?;
            let (guarded, heads) = copy.split_at(lock_bytes);
            if look == 1 {
                let generation = u32_at(guarded, layout.generation_at as usize);
                self.generations.push(generation);
            }
            pieces.clear();
            (view.objects, view.bytes) = (0, 0);
            let mut waits = false;
            for (class, info) in classes.iter().enumerate().skip(1) {
                let list = layout.lists_at as usize + class * layout.list_stride as usize;
                let base = u32_at(guarded, list + layout.base_at as usize);
                let top = u32_at(heads, class * layout.head_stride as usize);
                waits |= top == stopped;
                if base == 0 || top <= base || top >= stopped || !(top - base).is_multiple_of(8) {
                    continue;
                }
                let count = u64::from((top - base) / 8);
                view.objects += count;
                view.bytes += count * info.bytes;
                pieces.push((
                    memory.saturating_add(u64::from(base) + 8),
                    count as usize * 8,
                ));
            }
            if !waits {
                break;
            }
        }
        self.add(&source.gather(&pieces)?)?;
        self.slots.push(view);
        Ok(())
    }

    fn read_transfer_caches(
        &mut self,
        source: &Source<'_, impl Memory>,
        heap: &HeapCopy,
    ) -> Result<(), Fault> {
        let layout = &source.layout.transfer;
        let field = |class, at| heap.u64_of(layout.first_at, layout.stride, class, at);
        let mut pieces = Vec::new();
        for class in 1..source.layout.classes.len() {
            let count = field(class, layout.count_at);
            if count > MOST_TRANSFERRED {
                return Err(Fault::Corrupt("a transfer cache with more than any has"));
            }
            if count != 0 {
                pieces.push((field(class, layout.objects_at), count as usize * 8));
            }
        }
        self.add(&source.gather(&pieces)?)
    }

    fn add(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        if self.objects.len() + bytes.len() / 8 > MOST_OBJECTS {
            return Err(Fault::Corrupt(
                "more objects in caches than any process has",
            ));
        }
        self.objects
            .extend(bytes.chunks_exact(8).map(|word| u64_at(word, 0)));
        Ok(())
    }

    /// Those in `[start, end)`.
    pub fn inside(&self, start: u64, end: u64) -> &[u64] {
        let from = self.objects.partition_point(|&object| object < start);
        let count = self.objects[from..].partition_point(|&object| object < end);
        &self.objects[from..from + count]
    }
}

/// The slots that were ever used: their numbers, and where their locks are.
fn slots(source: &Source<'_, impl Memory>, heap: &HeapCopy) -> Result<Vec<(u32, u64)>, Fault> {
    let layout = &source.layout.caches;
    let count = heap.u64(layout.count_at);
    if count > MOST_SLOTS {
        return Err(Fault::Corrupt("more CPU caches than any system has CPUs"));
    }
    let table = heap.u64(layout.slots_at);
    if count == 0 || table == 0 {
        return Ok(Vec::new());
    }
    let locks = source.read(table, count as usize * 8)?;
    let numbered = (0..).zip(locks.chunks_exact(8).map(|word| u64_at(word, 0)));
    Ok(numbered.filter(|&(_, lock)| lock != 0).collect())
}

/// The generations of the slots' locks as they are now, of the slots that are
/// used now.
pub fn generations(source: &Source<'_, impl Memory>, heap: &HeapCopy) -> Result<Vec<u32>, Fault> {
    let at = u64::from(source.layout.caches.generation_at);
    let pieces: Vec<_> = slots(source, heap)?
        .iter()
        .map(|&(_, lock)| (lock.saturating_add(at), 4))
        .collect();
    let bytes = source.gather(&pieces)?;
    Ok(bytes.chunks_exact(4).map(|word| u32_at(word, 0)).collect())
}
