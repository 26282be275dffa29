//! CPU caches: for each CPU, an array of free objects of each class.
//!
//! A thread takes and puts objects in the cache of the CPU that it runs on (of the
//! concurrency id that the kernel gives it there, from Linux 6.3 on), by a restartable sequence; or, where the system has none, in that of a slot
//! that it shares with few other threads, taking each list for the moment
//! ("lock mode"). One structure, two ways in: see `x86_64.rs` for what a list
//! looks like.
//!
//! # Who may touch a list
//! - *Going*: its `top` is an offset below [`layout::STOPPED`]. Anyone may take
//!   or put one object: by a sequence on the slot's CPU, or in lock mode by
//!   stopping it for the moment.
//! - *Stopped*: it belongs to whoever stopped it. In rseq mode that is the
//!   holder of the slot's lock, who did it by a sequence ([`x86_64::stop`]) or
//!   remotely, by a swap and a barrier. All others go the slow way, find the
//!   lock taken, and serve themselves from below.
//!
//! Always: an object is in one list at most, or with the program. Nothing here
//! reads or writes an object's memory.
//! Lock: a slot's, rank `CpuCache`; the slow paths only try it. `opening`, rank
//! `CacheOpening`, for new slots; they only try that, too.
#![allow(unsafe_code)] // Slots are raw memory.

mod all;
pub mod capacity;
pub mod layout;
mod slot;
pub mod x86_64;

use core::mem::offset_of;
use core::ptr::{NonNull, null_mut};

use thmalloc_format::CachesLayout;

use crate::central::{Below, CentralFreeList};
use crate::fatal::Call;
use crate::metadata::Metadata;
use crate::os::{self, OutOfMemory, Protection};
use crate::size_class::{CLASS_COUNT, FINE_BYTES, MAX_BATCH, MAX_SMALL_BYTES, SizeClass};
use crate::sync::atomic::{AtomicPtr, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use crate::sync::{Mutex, MutexGuard, Rank};
use crate::transfer_cache::TransferCache;

pub use crate::config::CacheMode as Mode;
use layout::{SLOT_BYTES, STOPPED, SlotMemory};
pub use slot::Taken;
use slot::{Outgoing, Slot};

/// Slots in lock mode: so many that few threads share one.
const LOCK_SLOTS: usize = 64;

/// The tiers below the CPU caches.
#[derive(Clone, Copy)]
pub struct Tiers<'a> {
    /// The central free lists, by class.
    pub central: &'a [CentralFreeList; CLASS_COUNT],
    /// The transfer caches, by class.
    pub transfer: &'a [TransferCache; CLASS_COUNT],
    /// What is below these.
    pub below: Below<'a>,
    /// Slots that were ever used.
    pub slots: usize,
}

impl Tiers<'_> {
    /// Takes objects of the class: how many, and whether the first is zero.
    fn take(&self, class: SizeClass, out: &mut [usize]) -> Result<(usize, bool), OutOfMemory> {
        let count = self.transfer[class.number()].take(out);
        if count != 0 {
            return Ok((count, false));
        }
        self.central[class.number()].take(self.below, class, out)
    }

    /// Sends objects of the class down.
    fn put(&self, class: SizeClass, objects: &[usize]) {
        let transfer = &self.transfer[class.number()];
        if objects.len() < class.batch() || !transfer.put(self.below.metadata, class, objects) {
            self.put_spans(class, objects);
        }
    }

    /// Sends objects of the class down to their spans.
    fn put_spans(&self, class: SizeClass, objects: &[usize]) {
        self.central[class.number()].put(self.below, class, objects, Call::Flush);
    }

    /// As [`Tiers::put_spans`], for objects that nobody has needed lately.
    fn put_idle(&self, class: SizeClass, objects: &[usize]) {
        self.central[class.number()].put_idle(self.below, class, objects);
    }
}

/// The CPU caches.
pub struct CpuCaches {
    mode: AtomicU8,
    count: AtomicUsize,
    /// The slots' memory, one behind the other.
    memory: AtomicPtr<u8>,
    /// The slots' locks, each null until its first use.
    slots: AtomicPtr<AtomicPtr<Mutex<Slot>>>,
    /// Slots that were ever used.
    opened: AtomicUsize,
    /// The number that the next thread gets in lock mode.
    next_thread: AtomicU32,
    /// Classes of which anybody ever drew an object, a bit each.
    drawn: [AtomicU64; CLASS_COUNT.div_ceil(64)],
    /// Held while a slot is opened: none appears while fork has it.
    opening: Mutex<()>,
}

impl CpuCaches {
    /// Where a reader finds its words.
    pub const LAYOUT: CachesLayout = CachesLayout {
        mode_at: offset_of!(Self, mode) as u32,
        count_at: offset_of!(Self, count) as u32,
        memory_at: offset_of!(Self, memory) as u32,
        slots_at: offset_of!(Self, slots) as u32,
        slot_bytes: SLOT_BYTES as u32,
        head_stride: layout::HEAD_BYTES as u32,
        generation_at: Mutex::<Slot>::GENERATION_AT as u32,
        lists_at: (Mutex::<Slot>::VALUE_AT + Slot::LISTS.0) as u32,
        list_stride: Slot::LISTS.1 as u32,
        base_at: Slot::LISTS.2 as u32,
        lock_bytes: size_of::<Mutex<Slot>>() as u32,
        reserved: 0,
    };

    /// Without slots: everything is served from below.
    pub const fn new() -> Self {
        Self {
            mode: AtomicU8::new(0),
            count: AtomicUsize::new(0),
            memory: AtomicPtr::new(null_mut()),
            slots: AtomicPtr::new(null_mut()),
            opened: AtomicUsize::new(0),
            next_thread: AtomicU32::new(0),
            drawn: [const { AtomicU64::new(0) }; CLASS_COUNT.div_ceil(64)],
            opening: Mutex::new(Rank::CacheOpening, ()),
        }
    }

    /// How the caches are entered.
    pub fn mode(&self) -> Mode {
        // Relaxed: written by `start`, before anyone else is here.
        match self.mode.load(Ordering::Relaxed) {
            1 => Mode::Rseq,
            _ => Mode::Lock,
        }
    }

    /// Sets the caches up, by restartable sequences if `wanted` and the system
    /// has what they take; with `by_cpu`, not by concurrency ids. Called once, before
    /// any other method.
    pub fn start(&self, metadata: &Metadata, wanted: Mode, by_cpu: bool) {
        let rseq = match wanted {
            Mode::Rseq => os::rseq_offset().filter(|_| os::register_membarrier_rseq()),
            Mode::Lock => None,
        };
        if let Some(offset) = rseq
            && let Some(cpus) = os::possible_cpus().filter(|cpus| *cpus <= x86_64::MOST_SLOTS)
            && self.reserve(metadata, cpus)
        {
            self.mode.store(1, Ordering::Relaxed);
            self.open_entry(offset, !by_cpu && os::rseq_has_concurrency_id());
            return;
        }
        let mut count = LOCK_SLOTS;
        while count != 0 && !self.reserve(metadata, count) {
            count /= 2;
        }
    }

    /// Reserves memory for `count` slots. It reads as zeros, which is a list that
    /// is empty and full; it is opened for writing slot by slot.
    fn reserve(&self, metadata: &Metadata, count: usize) -> bool {
        let pointer = size_of::<AtomicPtr<Mutex<Slot>>>();
        let Ok(slots) = metadata.allocate_bytes(count * pointer, pointer) else {
            return false;
        };
        let bytes = count * SLOT_BYTES;
        let Ok(memory) = os::reserve(bytes) else {
            return false;
        };
        os::do_not_dump(memory, bytes);
        // Relaxed: nobody else is here yet.
        self.slots.store(slots.cast().as_ptr(), Ordering::Relaxed);
        self.memory.store(memory, Ordering::Relaxed);
        self.count.store(count, Ordering::Relaxed);
        true
    }

    /// Shows the sequences their way in.
    fn open_entry(&self, rseq_offset: isize, has_id: bool) {
        let entry = x86_64::entry();
        let placeholder = os::thread_locals_offset();
        let distance = rseq_offset.wrapping_sub(placeholder) as usize;
        let memory = self.memory.load(Ordering::Relaxed);
        // Relaxed, each: published by the stores below.
        entry.slots.store(memory, Ordering::Relaxed);
        entry
            .area_with_id
            .store(placeholder as usize, Ordering::Relaxed);
        // Release, each: a sequence reads what leads it to the area before all else,
        // which on x86-64 is an acquire. With the new value, it finds the rest; with
        // the old one, it comes to nothing.
        if has_id {
            let (area, number) = (rseq_offset as usize, RSEQ_CONCURRENCY_ID);
            entry.area_with_id.store(area, Ordering::Relaxed);
            entry.number_offset.store(number, Ordering::Relaxed);
            entry.distance_with_id.store(distance, Ordering::Release);
        }
        entry.distance.store(distance, Ordering::Release);
        let sizes = MAX_SMALL_BYTES + 1;
        entry.all_sizes.store(sizes, Ordering::Release);
        entry.sizes.store(FINE_BYTES + 1, Ordering::Release);
    }

    /// The slot of the calling thread, locked, if nobody has it.
    fn enter(&self, metadata: &Metadata) -> Option<MutexGuard<'static, Slot>> {
        let number = match self.mode() {
            Mode::Rseq => x86_64::current_slot()?,
            Mode::Lock => self.thread_slot()?,
        };
        let slot = self
            .slot(number)
            .or_else(|| self.open_slot(metadata, number))?;
        if self.mode() == Mode::Lock {
            os::thread_locals().cache_slot.set(number as u32 + 1);
        }
        slot.try_lock()
    }

    /// The number of the calling thread's slot in lock mode.
    fn thread_slot(&self) -> Option<usize> {
        let mine = os::thread_locals().cache_slot.get() as usize;
        if mine != 0 {
            return Some(mine - 1);
        }
        let count = self.count.load(Ordering::Relaxed);
        // Relaxed: threads only want to differ.
        let next = self.next_thread.fetch_add(1, Ordering::Relaxed) as usize;
        next.checked_rem(count)
    }

    fn slot(&self, number: usize) -> Option<&'static Mutex<Slot>> {
        if number >= self.count.load(Ordering::Relaxed) {
            return None;
        }
        // SAFETY: inside the table of `count` pointers. Acquire: pairs with the
        // Release in `open_slot`.
        unsafe {
            let slots = self.slots.load(Ordering::Relaxed);
            (*slots.add(number)).load(Ordering::Acquire).as_ref()
        }
    }

    /// Opens a slot at its first use, unless somebody else is opening one.
    #[cold]
    fn open_slot(&self, metadata: &Metadata, number: usize) -> Option<&'static Mutex<Slot>> {
        let _opening = self.opening.try_lock()?;
        if let Some(slot) = self.slot(number) {
            return Some(slot);
        }
        if number >= self.count.load(Ordering::Relaxed) {
            return None;
        }
        let start = self
            .memory
            .load(Ordering::Relaxed)
            .wrapping_add(number * SLOT_BYTES);
        // SAFETY: the slot's memory, which nobody can have written to.
        unsafe { os::protect(start, SLOT_BYTES, Protection::ReadWrite).ok()? };
        let place: NonNull<Mutex<Slot>> = metadata.allocate().ok()?;
        // SAFETY: `place` is ours and large enough; the slot's memory is mapped
        // for good. The pointer table has `number`.
        unsafe {
            let memory = SlotMemory::new(start);
            // A page that is written before it is read is faulted in once.
            memory.set_object(0, 0);
            let slot = Slot::new(memory, self.mode());
            place.write(Mutex::new(Rank::CpuCache, slot));
            let slots = self.slots.load(Ordering::Relaxed);
            // Release: pairs with the Acquire in `slot`.
            (*slots.add(number)).store(place.as_ptr(), Ordering::Release);
            // Relaxed: a figure, which publishes nothing.
            self.opened.fetch_add(1, Ordering::Relaxed);
        }
        self.slot(number)
    }

    /// Takes an object of the class from this thread's cache, if one is there.
    #[inline]
    pub fn take(&self, class: SizeClass) -> Option<usize> {
        match self.mode() {
            Mode::Rseq => NonNull::new(x86_64::take(class.number())).map(|p| p.addr().get()),
            Mode::Lock => self.take_locked(class),
        }
    }

    /// Puts an object of the class into this thread's cache, if it has room.
    ///
    /// # Safety
    /// The object is of the class, and the caller's, who gives it up.
    #[inline]
    pub unsafe fn put(&self, class: SizeClass, object: usize) -> bool {
        match self.mode() {
            // SAFETY: by contract.
            Mode::Rseq => unsafe { x86_64::put(object, class.number()) },
            Mode::Lock => self.put_locked(class, object),
        }
    }

    /// The memory of this thread's slot in lock mode, if it has one.
    fn own_memory(&self) -> Option<SlotMemory> {
        let number = os::thread_locals().cache_slot.get().checked_sub(1)? as usize;
        let memory = self.memory.load(Ordering::Relaxed);
        // SAFETY: `enter` opened the slot before it noted its number.
        Some(unsafe { SlotMemory::new(memory.add(number * SLOT_BYTES)) })
    }

    fn take_locked(&self, class: SizeClass) -> Option<usize> {
        let memory = self.own_memory()?;
        let top = memory.top(class.number());
        // Acquire: pairs with the Release of whoever set the list going.
        let old = top.swap(STOPPED, Ordering::Acquire);
        if old == STOPPED {
            return None;
        }
        let object = memory.object(old);
        let new = if object == 0 { old } else { old - 8 };
        // Release: pairs with the Acquire above.
        top.store(new, Ordering::Release);
        (object != 0).then_some(object)
    }

    fn put_locked(&self, class: SizeClass, object: usize) -> bool {
        let Some(memory) = self.own_memory() else {
            return false;
        };
        let top = memory.top(class.number());
        // Acquire and Release: as in `take_locked`.
        let old = top.swap(STOPPED, Ordering::Acquire);
        if old == STOPPED {
            return false;
        }
        let room = old < memory.end(class.number()).load(Ordering::Relaxed);
        if room {
            memory.set_object(old + 8, object);
        }
        top.store(if room { old + 8 } else { old }, Ordering::Release);
        room
    }

    /// Takes an object where [`CpuCaches::take`] found none: draws a batch from
    /// below.
    #[cold]
    #[inline(never)]
    pub fn take_slow(&self, tiers: Tiers<'_>, class: SizeClass) -> Result<Taken, OutOfMemory> {
        self.note_drawn(class);
        if let Some(mut slot) = self.enter(tiers.below.metadata)
            && let Some(taken) = slot.take(tiers, class)
        {
            return taken;
        }
        let mut one = [0];
        let (_, zero) = tiers.take(class, &mut one)?;
        let [object] = one;
        Ok(Taken { object, zero })
    }

    #[inline(always)]
    fn note_drawn(&self, class: SizeClass) {
        let (word, bit) = (class.number() / 64, 1 << (class.number() % 64));
        // Relaxed, both: a look that comes too early for the first object of a class is
        // as one that came before it.
        if self.drawn[word].load(Ordering::Relaxed) & bit == 0 {
            self.drawn[word].fetch_or(bit, Ordering::Relaxed);
        }
    }

    /// The classes of which anybody ever drew an object: the only ones that can have
    /// spans, or anything in a cache.
    pub fn classes_drawn(&self) -> impl Iterator<Item = SizeClass> {
        let words = self.drawn.iter().enumerate();
        words.flat_map(|(word, bits)| {
            // Relaxed: as above.
            let mut bits = bits.load(Ordering::Relaxed);
            core::iter::from_fn(move || {
                let bit = (bits != 0).then(|| bits.trailing_zeros())?;
                bits &= bits - 1;
                Some(SizeClass::from_number((64 * word) as u8 + bit as u8))
            })
        })
    }

    /// Puts an object where [`CpuCaches::put`] found no room: sends a batch
    /// down, or makes room. `call` is who gave it.
    ///
    /// # Safety
    /// As [`CpuCaches::put`].
    #[cold]
    #[inline(never)]
    pub unsafe fn put_slow(&self, tiers: Tiers<'_>, class: SizeClass, object: usize, call: Call) {
        let mut objects: Outgoing = [0; MAX_BATCH + 1];
        if let Some(mut slot) = self.enter(tiers.below.metadata)
            && let Some(count) = slot.put(tiers, class, object, &mut objects)
        {
            drop(slot);
            if count != 0 {
                tiers.put(class, &objects[..count]);
            }
            return;
        }
        tiers.central[class.number()].put(tiers.below, class, &[object], call);
    }
}

impl Default for CpuCaches {
    fn default() -> Self {
        Self::new()
    }
}

/// Where `struct rseq` has the concurrency id. Without one, sequences take the
/// number of the CPU, as they do from the beginning.
const RSEQ_CONCURRENCY_ID: usize = 24;
