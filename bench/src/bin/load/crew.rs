//! The workers, and the steps that they take together.
//!
//! Always: between two steps every worker is blocked at the barrier, so that
//! books and accounts can be read. With a crew of one thread, the main thread
//! takes the steps itself and no thread is ever created.

use std::hint::black_box;
use std::ptr;
use std::sync::atomic::{AtomicI64, AtomicPtr, Ordering};
use std::sync::{Barrier, Mutex};
use std::thread::{self, JoinHandle};

use crate::books::Books;
use crate::object::{self, Account};
use crate::random::{Random, Sizes, mix};

/// What every worker does next.
#[derive(Clone, Copy)]
pub enum Step {
    /// Allocates what stays when the load goes: `bytes` over all workers.
    Base { bytes: usize },
    /// One object of `bytes` in each of the first `workers`.
    Huge { bytes: usize, workers: usize },
    /// Allocates and replaces objects until `bytes` more are live.
    Fill { bytes: usize, sizes: Sizes },
    /// Frees all but the base and, at random, one object in `survivors`
    /// (none if 0). A quarter is freed by another worker than has it.
    Free { survivors: usize },
    /// Replaces each worker's objects at random, so many times.
    Replace { times: usize, sizes: Sizes },
    /// Workers end.
    Exit,
}

/// What the workers have in common.
struct Shared {
    books: Books,
    workers: usize,
    barrier: Barrier,
    step: Mutex<Step>,
    live: AtomicI64,
    usable: AtomicI64,
    objects: AtomicI64,
}

/// All workers, blocked.
pub struct Crew {
    shared: &'static Shared,
    threads: Vec<JoinHandle<()>>,
    /// The worker of a crew without threads.
    alone: Option<Worker>,
}

impl Crew {
    /// Starts `workers` threads, or none, for one worker.
    pub fn new(workers: usize, threads: bool, books: Books) -> Crew {
        let shared: &'static Shared = Box::leak(Box::new(Shared {
            books,
            workers,
            barrier: Barrier::new(workers + 1),
            step: Mutex::new(Step::Exit),
            live: AtomicI64::new(0),
            usable: AtomicI64::new(0),
            objects: AtomicI64::new(0),
        }));
        if !threads {
            return Crew {
                shared,
                threads: Vec::new(),
                alone: Some(Worker::new(0, shared)),
            };
        }
        let start = |number| {
            thread::Builder::new()
                .name(format!("worker-{number}"))
                .stack_size(256 << 10)
                .spawn(move || Worker::new(number, shared).obey())
                .expect("a thread")
        };
        let threads = (0..workers).map(start).collect();
        // Until every worker is there, blocked, with a stack that was touched.
        shared.barrier.wait();
        Crew {
            shared,
            threads,
            alone: None,
        }
    }

    /// Lets every worker take `step`; returns when all have, and are blocked.
    pub fn take(&mut self, step: Step) {
        if let Some(worker) = &mut self.alone {
            worker.take(step);
            return;
        }
        *self.shared.step.lock().expect("no thread panics") = step;
        self.shared.barrier.wait();
        if matches!(step, Step::Exit) {
            for thread in self.threads.drain(..) {
                thread.join().expect("the worker ends");
            }
        } else {
            self.shared.barrier.wait();
        }
    }

    /// What is live.
    pub fn account(&self) -> Account {
        // Relaxed: the workers are behind a barrier.
        Account {
            live: self.shared.live.load(Ordering::Relaxed),
            usable: self.shared.usable.load(Ordering::Relaxed),
            objects: self.shared.objects.load(Ordering::Relaxed),
        }
    }

    /// The books; all workers are blocked.
    pub fn books(&self) -> &Books {
        &self.shared.books
    }
}

struct Worker {
    number: usize,
    shared: &'static Shared,
    slots: &'static [AtomicPtr<u8>],
    /// Places in use, of which the first `base` stay.
    count: usize,
    base: usize,
    random: Random,
    account: Account,
}

impl Worker {
    fn new(number: usize, shared: &'static Shared) -> Worker {
        touch_stack();
        Worker {
            number,
            shared,
            slots: shared.books.slots(number),
            count: 0,
            base: 0,
            random: Random::new(number as u64),
            account: Account::default(),
        }
    }

    /// Takes steps until it is told to exit.
    fn obey(mut self) {
        self.shared.barrier.wait();
        loop {
            self.shared.barrier.wait();
            let step = *self.shared.step.lock().expect("no thread panics");
            if matches!(step, Step::Exit) {
                return;
            }
            self.take(step);
            self.shared.barrier.wait();
        }
    }

    fn take(&mut self, step: Step) {
        let workers = self.shared.workers;
        match step {
            Step::Base { bytes } => {
                self.fill(bytes / workers, Sizes::MEDIUM);
                self.base = self.count;
            }
            Step::Huge { bytes, workers } if self.number < workers => self.add(bytes),
            Step::Huge { .. } | Step::Exit => {}
            Step::Fill { bytes, sizes } => self.fill(bytes / workers, sizes),
            Step::Free { survivors } => self.free(survivors),
            Step::Replace { times, sizes } => {
                for _ in 0..times {
                    self.replace(sizes);
                }
            }
        }
        // Relaxed, here and below: read behind the barrier.
        let sums = &self.shared;
        sums.live.fetch_add(self.account.live, Ordering::Relaxed);
        sums.usable
            .fetch_add(self.account.usable, Ordering::Relaxed);
        sums.objects
            .fetch_add(self.account.objects, Ordering::Relaxed);
        self.account = Account::default();
        match step {
            // Neighbours may still read how many there were.
            Step::Free { .. } => self.count = self.base,
            _ => sums.books.set_count(self.number, self.count, self.base),
        }
    }

    fn add(&mut self, bytes: usize) {
        let object = object::make(bytes, &mut self.account);
        self.slots[self.count].store(object, Ordering::Relaxed);
        self.count += 1;
    }

    /// Each third object replaces one of this load's that is there already.
    fn fill(&mut self, bytes: usize, sizes: Sizes) {
        let first = self.count;
        let start = self.account.live;
        while self.count < self.slots.len() {
            let room = bytes as i64 - (self.account.live - start);
            if room < object::HEAD_BYTES as i64 {
                break;
            }
            let size = sizes.draw(&mut self.random);
            if size as i64 <= room {
                self.add(size);
            } else if room < 1024 || self.random.one_in(64) {
                // The smallest may not fit: what remains is one object.
                self.add(room as usize);
            }
            if self.count > first && self.random.one_in(3) {
                let slot = first + self.random.below(self.count - first);
                self.replace_slot(slot, sizes);
            }
        }
    }

    fn replace(&mut self, sizes: Sizes) {
        let slot = self.base + self.random.below(self.count - self.base);
        self.replace_slot(slot, sizes);
    }

    /// Frees the object in `slot` or, one time in four, gives it to another
    /// worker and frees what another has left for this one; then allocates.
    fn replace_slot(&mut self, slot: usize, sizes: Sizes) {
        let mut old = self.slots[slot].load(Ordering::Relaxed);
        if self.random.one_in(4) {
            let mailbox = self.shared.books.mailbox;
            // AcqRel: pairs with the other worker's swap, so that its writes to
            // the object are visible here, and ours there.
            old = mailbox[self.random.below(mailbox.len())].swap(old, Ordering::AcqRel);
        }
        if !old.is_null() {
            object::free(old, &mut self.account);
        }
        let new = object::make(sizes.draw(&mut self.random), &mut self.account);
        self.slots[slot].store(new, Ordering::Relaxed);
    }

    fn free(&mut self, survivors: usize) {
        let Shared { books, workers, .. } = self.shared;
        let other = (self.number + 1) % workers;
        // Every fourth of a worker's objects is its neighbour's to free.
        let quarter = |slot: usize| slot % 4 == 3;
        for slot in (self.base..self.count).filter(|slot| !quarter(*slot)) {
            self.free_slot(self.number, slot, survivors);
        }
        for slot in books.load_of(other).filter(|slot| quarter(*slot)) {
            self.free_slot(other, slot, survivors);
        }
        let mailbox = books.mailbox.chunks(books.mailbox.len() / workers);
        for letter in mailbox.skip(self.number).step_by(*workers).flatten() {
            // Acquire: pairs with the Release of who put the object there.
            let object = letter.swap(ptr::null_mut(), Ordering::Acquire);
            if !object.is_null() {
                object::free(object, &mut self.account);
            }
        }
    }

    fn free_slot(&mut self, owner: usize, slot: usize, survivors: usize) {
        let place = &self.shared.books.slots(owner)[slot];
        let object = place.load(Ordering::Relaxed);
        let chance = mix((owner << 32 | slot) as u64 + 1);
        let survives = survivors > 0 && chance.is_multiple_of(survivors as u64);
        if !object.is_null() && !survives {
            object::free(object, &mut self.account);
            place.store(ptr::null_mut(), Ordering::Relaxed);
        }
    }
}

/// Touches as much of the stack as a worker will use: it is not the load's.
#[inline(never)]
fn touch_stack() {
    black_box([1_u8; 48 << 10]);
}
