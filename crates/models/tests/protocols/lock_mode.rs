//! A list of a CPU cache in lock mode: whoever swaps its `top` for *stopped*
//! has it, and gives it back by writing `top`.
#![allow(unsafe_code)] // Looks into loom's cells.

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicU32, Ordering};
use loom::thread;

use crate::explore;

const STOPPED: u32 = 1000;
const ROOM: usize = 3;

/// The words of a list; the lowest of the array is 0.
struct List {
    top: AtomicU32,
    end: AtomicU32,
    array: [UnsafeCell<usize>; ROOM + 1],
}

impl List {
    fn new(objects: &[usize]) -> Self {
        let object = |index: usize| match index {
            0 => 0,
            _ => objects.get(index - 1).copied().unwrap_or(0),
        };
        Self {
            top: AtomicU32::new(objects.len() as u32),
            end: AtomicU32::new(ROOM as u32),
            array: std::array::from_fn(|index| UnsafeCell::new(object(index))),
        }
    }

    /// `SlotMemory::object`.
    fn object(&self, index: u32) -> usize {
        // SAFETY: loom checks that nobody is writing it.
        self.array[index as usize].with(|word| unsafe { *word })
    }

    /// `SlotMemory::set_object`.
    fn set_object(&self, index: u32, object: usize) {
        // SAFETY: loom checks that nobody else is at it.
        self.array[index as usize].with_mut(|word| unsafe { *word = object });
    }

    /// `CpuCaches::take_locked`.
    fn take(&self) -> Option<usize> {
        let old = self.top.swap(STOPPED, Ordering::Acquire);
        if old == STOPPED {
            return None;
        }
        let object = self.object(old);
        let new = if object == 0 { old } else { old - 1 };
        self.go(new);
        (object != 0).then_some(object)
    }

    /// `CpuCaches::put_locked`.
    fn put(&self, object: usize) -> bool {
        let old = self.top.swap(STOPPED, Ordering::Acquire);
        if old == STOPPED {
            return false;
        }
        let room = old < self.end.load(Ordering::Relaxed);
        if room {
            self.set_object(old + 1, object);
        }
        let new = if room { old + 1 } else { old };
        self.go(new);
        room
    }

    /// `Slot::stop_locked`, by the holder of the slot's lock. That one tries
    /// until it succeeds; here it gives up.
    fn stop(&self) -> Option<u32> {
        (0..2).find_map(|_| {
            let old = self.top.swap(STOPPED, Ordering::Acquire);
            if old == STOPPED {
                thread::yield_now();
            }
            (old != STOPPED).then_some(old)
        })
    }

    /// `Slot::go`. A swap for the store: loom lets a swap that it runs after
    /// another thread's store come before it, and yet overwrite it.
    fn go(&self, top: u32) {
        self.top.swap(top, Ordering::Release);
    }

    /// `Slot::drain` in lock mode: everything goes down, and the list has no
    /// room until it is in demand again.
    fn drain(&self) -> Option<Vec<usize>> {
        let top = self.stop()?;
        let objects = (1..=top).map(|index| self.object(index)).collect();
        self.end.store(0, Ordering::Relaxed);
        self.go(0);
        Some(objects)
    }
}

/// What a thread has at its end.
fn sorted(mut objects: Vec<usize>) -> Vec<usize> {
    objects.sort_unstable();
    objects
}

#[test]
fn no_object_is_lost_or_handed_out_twice() {
    explore(3, || {
        let list = Arc::new(List::new(&[1, 2]));
        let taker = {
            let list = Arc::clone(&list);
            thread::spawn(move || list.take().into_iter().collect::<Vec<_>>())
        };
        let giver = {
            let list = Arc::clone(&list);
            thread::spawn(move || {
                let mut mine = Vec::new();
                if !list.put(3) {
                    mine.push(3);
                }
                mine.extend(list.take());
                mine
            })
        };
        let mut all = list.drain().unwrap_or_default();
        all.extend(taker.join().expect("no panic"));
        all.extend(giver.join().expect("no panic"));
        all.extend(list.drain().expect("nobody else is at it"));
        assert_eq!(sorted(all), [1, 2, 3]);
    });
}

#[test]
fn who_finds_the_list_stopped_leaves_it_alone() {
    explore(3, || {
        let list = Arc::new(List::new(&[1]));
        let other = {
            let list = Arc::clone(&list);
            thread::spawn(move || list.put(2))
        };
        if let Some(top) = list.stop() {
            assert_eq!(list.take(), None);
            assert!(!list.put(9));
            list.go(top);
        }
        let put = other.join().expect("no panic");
        let left = list.drain().expect("nobody else is at it");
        assert_eq!(left.len(), 1 + usize::from(put));
    });
}
