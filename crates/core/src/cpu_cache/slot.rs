//! A cache slot: its lists' arrays, their capacities, and how they are
//! stopped, filled and emptied by whoever holds the slot's lock.
//!
//! Always: a list that is stopped is the lock holder's alone; it is set going
//! again by writing its `top`, last. Of a list in use, `base` is its array's
//! lowest word, and `end` is `base` plus its capacity, or less: see `turn.rs`.

mod halve;
mod turn;

use core::mem::offset_of;

use super::capacity::{Budget, Demand, MAX_CAPACITY, Overflow};
use super::layout::{FIRST_ARRAY, SLOT_BYTES, STOPPED, SlotMemory};
use super::{Mode, Tiers, x86_64};
use crate::fatal;
use crate::os::{self, OutOfMemory};
use crate::size_class::{CLASS_COUNT, ClassSet, MAX_BATCH, SizeClass, classes_of};
use crate::sync::atomic::Ordering;

/// Threads that write to one of so many bytes slow each other down.
const CACHE_LINE: usize = 64;

/// The logarithms of the sizes that arrays have, in words.
const ARRAY_SHIFTS: (u32, u32) = (4, 14);

#[derive(Clone, Copy, Default)]
struct List {
    /// The offset of the array's lowest word; 0: no array yet.
    base: u32,
    /// The logarithm of the array's length in words.
    shift: u32,
    demand: Demand,
    /// Where the list was when fork stopped it.
    saved_top: u32,
    /// Where the scavenger saw it last, in how many turns it has not moved, and
    /// the fewest objects that it had since they were last thinned out.
    seen_top: u32,
    still: u32,
    fewest: u32,
    /// It came back to its top since then.
    tripped: bool,
    /// It was thinned out, and has not run empty since.
    thinned: bool,
    /// The logarithm of how many occasions to thin it out pass between two that
    /// are taken: more each time that it ran empty afterwards.
    patience: u32,
    /// Occasions still to pass.
    waits: u32,
}

/// The most patience: with the usual delay, ten seconds.
const MAX_PATIENCE: u32 = 5;

impl List {
    /// It ran empty.
    fn note_empty(&mut self) {
        self.fewest = 0;
        if core::mem::take(&mut self.thinned) {
            self.patience = (self.patience + 1).min(MAX_PATIENCE);
        }
    }

    /// An occasion to thin it out: is it to be taken?
    fn is_due(&mut self) -> bool {
        if self.waits != 0 {
            self.waits -= 1;
            return false;
        }
        self.waits = (1 << self.patience) - 1;
        self.thinned = true;
        true
    }
}

/// What a slot's lock guards.
pub struct Slot {
    memory: SlotMemory,
    mode: Mode,
    lists: [List; CLASS_COUNT],
    budget: Budget,
    next_array: u32,
    /// Arrays that no list uses, by the logarithm of their length, linked
    /// through their second word.
    free_arrays: [u32; ARRAY_SHIFTS.1 as usize + 1],
    /// The class that is asked next to give room to others.
    hand: usize,
    /// Turns of the scavenger.
    turns: usize,
}

/// Objects that leave a list: a batch, and the one that found no room.
pub type Outgoing = [usize; MAX_BATCH + 1];

/// An object, and whether it is zero.
#[derive(Clone, Copy, Debug)]
pub struct Taken {
    /// Its address.
    pub object: usize,
    /// It has not been used since the system gave its page.
    pub zero: bool,
}

impl Slot {
    /// Where its lists stand, how far apart, and where in each its lowest word's
    /// offset.
    pub const LISTS: (usize, usize, usize) = (
        offset_of!(Self, lists),
        size_of::<List>(),
        offset_of!(List, base),
    );

    /// A slot without arrays.
    pub fn new(memory: SlotMemory, mode: Mode) -> Self {
        Self {
            memory,
            mode,
            lists: [List::default(); CLASS_COUNT],
            budget: Budget::new(),
            next_array: FIRST_ARRAY,
            free_arrays: [0; ARRAY_SHIFTS.1 as usize + 1],
            hand: 0,
            turns: 0,
        }
    }

    /// Stops the class's list and returns its `top`. `None` where the calling
    /// thread is no longer on the slot's CPU.
    fn stop(&self, class: SizeClass) -> Option<u32> {
        match self.mode {
            Mode::Rseq => {
                let top = x86_64::stop(class.number(), self.memory.start());
                (top != x86_64::NOT_STOPPED).then_some(top)
            }
            Mode::Lock => Some(self.stop_locked(class)),
        }
    }

    /// Stops a list in lock mode: waits for whoever is at it for a moment.
    fn stop_locked(&self, class: SizeClass) -> u32 {
        let top = self.memory.top(class.number());
        let mut turns = 0;
        loop {
            // Acquire: pairs with the Release of whoever set it going.
            let old = top.swap(STOPPED, Ordering::Acquire);
            if old != STOPPED {
                return old;
            }
            if os::is_single_threaded() {
                fatal::waits_for_itself();
            }
            // A thread of high priority does not let others run by yielding.
            turns += 1;
            if turns < 100 {
                os::yield_now();
            } else {
                os::sleep_briefly();
            }
        }
    }

    /// Sets a list going that the caller stopped.
    fn go(&self, class: SizeClass, top: u32) {
        // Release: pairs with the Acquire in lock mode; in a restartable
        // sequence on another CPU, with the order of its dependent loads.
        self.memory
            .top(class.number())
            .store(top, Ordering::Release);
    }

    /// Takes an object of the class; draws more from below where there is
    /// none. `None` where the list could not be stopped.
    pub fn take(
        &mut self,
        tiers: Tiers<'_>,
        class: SizeClass,
    ) -> Option<Result<Taken, OutOfMemory>> {
        let top = self.stop(class)?;
        let object = self.memory.object(top);
        if object != 0 {
            self.go(class, top - 8);
            return Some(Ok(Taken {
                object,
                zero: false,
            }));
        }
        self.list(class).note_empty();
        let wanted = self.list(class).demand.underflow(class);
        let top = self.make_room(tiers, class, top, wanted);
        let mut objects = [0; MAX_BATCH];
        let fitting = wanted.min(self.list(class).demand.capacity as usize + 1);
        let (count, zero) = match tiers.take(class, &mut objects[..fitting]) {
            Ok(taken) => taken,
            Err(error) => {
                self.go(class, top);
                return Some(Err(error));
            }
        };
        let top = self.add(top, &objects[1..count]);
        self.go(class, top);
        Some(Ok(Taken {
            object: objects[0],
            zero,
        }))
    }

    /// Puts an object of the class in. Objects that have no room any more go
    /// to `out`; returns how many. `None` where the list could not be stopped:
    /// the object is still the caller's.
    pub fn put(
        &mut self,
        tiers: Tiers<'_>,
        class: SizeClass,
        object: usize,
        out: &mut Outgoing,
    ) -> Option<usize> {
        let mut top = self.stop(class)?;
        let mut flushed = 0;
        self.disarm(class);
        let unused_here = self.list(class).demand.capacity == 0;
        if self.length(class, top) >= self.list(class).demand.capacity as usize {
            match self.list(class).demand.overflow(class) {
                Overflow::Grow(capacity) => top = self.make_room(tiers, class, top, capacity),
                Overflow::Flush(count) => {
                    (top, flushed) = self.remove(class, top, &mut out[..count]);
                    let capacity = self.list(class).demand.after_flush(count);
                    self.set_capacity(class, capacity);
                }
            }
            if self.length(class, top) >= self.list(class).demand.capacity as usize {
                // No room to be had: make some.
                let more = class.batch().min(MAX_BATCH - flushed);
                let (lower, count) = self.remove(class, top, &mut out[flushed..][..more]);
                top = lower;
                flushed += count;
            }
        }
        if self.length(class, top) < self.list(class).demand.capacity as usize {
            top += 8;
            self.memory.set_object(top, object);
        } else {
            out[flushed] = object;
            flushed += 1;
        }
        if unused_here && class.bytes() < CACHE_LINE && !os::is_single_threaded() {
            top = self.cover(tiers, class, top);
        }
        self.go(class, top);
        Some(flushed)
    }

    /// Puts objects from below on top of a stopped list. The only one in it came
    /// from another CPU, where its neighbours in the cache line still are: two
    /// threads that write to both would be slowed down by each other. So it is
    /// handed out last.
    fn cover(&mut self, tiers: Tiers<'_>, class: SizeClass, top: u32) -> u32 {
        let mut objects = [0; CACHE_LINE / 8];
        let room = self.list(class).demand.capacity as usize - self.length(class, top);
        let room = room.min(objects.len());
        if room == 0 {
            return top;
        }
        let Ok((count, _)) = tiers.take(class, &mut objects[..room]) else {
            return top;
        };
        self.add(top, &objects[..count])
    }

    /// Puts objects on top of a stopped list that has room for them, the first
    /// of them last; the new top.
    fn add(&self, top: u32, objects: &[usize]) -> u32 {
        for (at, &object) in (1..).zip(objects.iter().rev()) {
            self.memory.set_object(top + 8 * at, object);
        }
        top + 8 * objects.len() as u32
    }

    /// Takes up to `out.len()` objects from the top of a stopped list; the new
    /// top and their number.
    fn remove(&self, class: SizeClass, top: u32, out: &mut [usize]) -> (u32, usize) {
        let count = self.length(class, top).min(out.len());
        for (index, object) in out[..count].iter_mut().enumerate() {
            *object = self.memory.object(top - 8 * index as u32);
        }
        (top - 8 * count as u32, count)
    }

    fn list(&mut self, class: SizeClass) -> &mut List {
        &mut self.lists[class.number()]
    }

    fn length(&self, class: SizeClass, top: u32) -> usize {
        (top - self.lists[class.number()].base) as usize / 8
    }

    /// Lets a stopped list be filled to its capacity again, and notes that it
    /// is in use.
    fn disarm(&mut self, class: SizeClass) {
        let capacity = self.list(class).demand.capacity as usize;
        self.list(class).tripped = true;
        self.set_capacity(class, capacity);
    }

    fn set_capacity(&mut self, class: SizeClass, capacity: usize) {
        let list = &mut self.lists[class.number()];
        self.budget
            .change(class, list.demand.capacity as usize, capacity);
        list.demand.capacity = capacity as u32;
        let end = list.base + 8 * capacity as u32;
        // Relaxed: the list is stopped; setting it going publishes this.
        self.memory
            .end(class.number())
            .store(end, Ordering::Relaxed);
    }

    /// Lets a stopped list hold up to `wanted` objects, or what the budget and
    /// the slot's memory allow, but a batch at least. Its top may have moved.
    fn make_room(&mut self, tiers: Tiers<'_>, class: SizeClass, top: u32, wanted: usize) -> u32 {
        let capacity = self.list(class).demand.capacity as usize;
        let wanted = wanted.min(MAX_CAPACITY);
        if wanted <= capacity {
            return top;
        }
        let missing = self.budget.missing(class, capacity, wanted);
        if missing != 0 {
            self.budget
                .note_steal(|| tiers.below.pages.usage().0 / tiers.slots.max(1));
            self.steal(tiers, class, missing);
        }
        let fitting = self.budget.fitting(class, capacity, wanted);
        let allowed = fitting.max(wanted.min(class.batch()));
        let (top, held) = self.ensure_array(class, top, allowed);
        if held > capacity {
            self.set_capacity(class, held.min(allowed));
        }
        top
    }

    /// Gives a stopped list an array for `capacity` objects if there is memory
    /// for it. Returns its top, and how many objects its array holds.
    fn ensure_array(&mut self, class: SizeClass, top: u32, capacity: usize) -> (u32, usize) {
        let list = self.lists[class.number()];
        let holds = |list: &List| match list.base {
            0 => 0,
            _ => (1 << list.shift) - 1,
        };
        if holds(&list) >= capacity {
            return (top, holds(&list));
        }
        let shift = (capacity + 1)
            .next_power_of_two()
            .ilog2()
            .clamp(ARRAY_SHIFTS.0, ARRAY_SHIFTS.1);
        let Some(base) = self.new_array(shift) else {
            return (top, holds(&list));
        };
        let length = self.length(class, top) as u32;
        for index in 1..=length {
            let object = self.memory.object(list.base + 8 * index);
            self.memory.set_object(base + 8 * index, object);
        }
        if list.base != 0 {
            self.keep_array(list.base, list.shift);
        }
        let list = self.list(class);
        list.base = base;
        list.shift = shift;
        let holds = holds(list);
        (base + 8 * length, holds)
    }

    fn new_array(&mut self, shift: u32) -> Option<u32> {
        let kept = self.free_arrays[shift as usize];
        if kept != 0 {
            self.free_arrays[shift as usize] = self.memory.object(kept + 8) as u32;
            self.memory.set_object(kept, 0);
            return Some(kept);
        }
        let bytes = 8 << shift;
        if self.next_array + bytes > SLOT_BYTES as u32 - 8 {
            return None;
        }
        let base = self.next_array;
        self.next_array += bytes;
        self.memory.set_object(base, 0);
        Some(base)
    }

    fn keep_array(&mut self, base: u32, shift: u32) {
        let next = self.free_arrays[shift as usize];
        self.memory.set_object(base + 8, next as usize);
        self.free_arrays[shift as usize] = base;
    }

    /// Takes room for `missing` bytes from lists of other classes that nobody
    /// has needed lately.
    fn steal(&mut self, tiers: Tiers<'_>, class: SizeClass, missing: usize) {
        let mut gained = 0;
        for _ in 0..2 * CLASS_COUNT {
            if gained >= missing {
                return;
            }
            self.hand = self.hand % (CLASS_COUNT - 1) + 1;
            let victim = SizeClass::from_number(self.hand as u8);
            let capacity = self.list(victim).demand.capacity as usize;
            if victim == class || capacity == 0 {
                continue;
            }
            let Some((keep, bytes)) = self.list(victim).demand.yield_to_others(victim) else {
                continue;
            };
            let Some(top) = self.stop(victim) else {
                return;
            };
            let top = self.empty_to(tiers, victim, top, keep);
            self.set_capacity(victim, keep);
            self.go(victim, top);
            gained += bytes;
        }
    }

    /// Sends objects of a stopped list down until `keep` are left.
    fn empty_to(&mut self, tiers: Tiers<'_>, class: SizeClass, top: u32, keep: usize) -> u32 {
        let mut top = top;
        loop {
            let excess = self.length(class, top).saturating_sub(keep);
            if excess == 0 {
                return top;
            }
            let mut objects = [0; MAX_BATCH];
            let (lower, count) = self.remove(class, top, &mut objects[..excess.min(MAX_BATCH)]);
            top = lower;
            tiers.put_idle(class, &objects[..count]);
        }
    }

    /// Stops the lists of a set, also of a CPU that is not the caller's; `None`
    /// where the system refuses what that takes. The tops, by class.
    fn stop_set(&mut self, set: ClassSet) -> Option<[u32; CLASS_COUNT]> {
        let mut tops = [0; CLASS_COUNT];
        match self.mode {
            Mode::Lock => {
                for class in classes_of(set) {
                    tops[class.number()] = self.stop_locked(class);
                }
                Some(tops)
            }
            Mode::Rseq => self.stop_remotely(set, &mut tops).then_some(tops),
        }
    }

    /// A sequence that was under way when we stopped its list may still write
    /// the top that it computed: so the list is as it says, and is stopped
    /// again. After the barrier none is under way, and whoever begins one sees
    /// the list stopped.
    fn stop_remotely(&mut self, set: ClassSet, tops: &mut [u32; CLASS_COUNT]) -> bool {
        loop {
            let mut moving = false;
            for class in classes_of(set) {
                // AcqRel: a sequence sees the stop before the barrier ends, and
                // we see the objects below the top that it wrote.
                let old = self
                    .memory
                    .top(class.number())
                    .swap(STOPPED, Ordering::AcqRel);
                if old != STOPPED {
                    tops[class.number()] = old;
                    moving = true;
                }
            }
            // The only thread is not in a sequence: it is here.
            if !moving || os::is_single_threaded() {
                return true;
            }
            if !os::membarrier_rseq() {
                self.restart_unless_moved(set, tops);
                return false;
            }
        }
    }

    /// Undoes a stop without a barrier: what a sequence has written meanwhile
    /// is as good.
    fn restart_unless_moved(&self, set: ClassSet, tops: &[u32; CLASS_COUNT]) {
        for class in classes_of(set) {
            let top = self.memory.top(class.number());
            // Release: as in `go`. A failure means that a sequence which was
            // under way has set the list going itself.
            let _ = top.compare_exchange(
                STOPPED,
                tops[class.number()],
                Ordering::Release,
                Ordering::Relaxed,
            );
        }
    }

    /// Objects of the class in the list, about.
    pub fn count(&self, class: SizeClass) -> usize {
        // Relaxed: a list that is stopped or moves is counted as it was.
        match self.memory.top(class.number()).load(Ordering::Relaxed) {
            STOPPED => 0,
            top => self.length(class, top),
        }
    }

    /// Copies objects of the class from the `first` lowest on, as many as there are
    /// or `out` takes. The list may be going: each is one that was in it lately.
    pub fn copy(&self, class: SizeClass, first: usize, out: &mut [usize]) -> usize {
        let count = self.count(class).saturating_sub(first).min(out.len());
        let base = self.lists[class.number()].base;
        for (index, object) in out[..count].iter_mut().enumerate() {
            *object = self.memory.object(base + 8 * (first + index + 1) as u32);
        }
        count
    }

    /// Stops all lists for fork, in lock mode: a thread that is at one of them
    /// would not be there in the child to set it going again.
    pub fn hold_for_fork(&mut self) {
        if self.mode == Mode::Lock {
            for class in SizeClass::all() {
                self.list(class).saved_top = self.stop_locked(class);
            }
        }
    }

    /// Ends [`Slot::hold_for_fork`], in the parent and in the child.
    pub fn resume_after_fork(&mut self) {
        if self.mode == Mode::Lock {
            for class in SizeClass::all() {
                let top = self.list(class).saved_top;
                self.go(class, top);
            }
        }
    }
}
