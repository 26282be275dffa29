//! Loads of threads: servers, crews with a phase each, queues between threads.

use std::collections::VecDeque;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Condvar, LazyLock, Mutex};
use std::thread;

use crate::block::Block;
use crate::random::Random;

/// As many threads as CPUs, two at least: a load between threads takes two.
pub fn crew() -> usize {
    // Asked once: the answer takes reading several files.
    static CREW: LazyLock<usize> =
        LazyLock::new(|| thread::available_parallelism().map_or(2, |cpus| cpus.get().max(2)));
    *CREW
}

/// Larson and Krishnan's server: each thread replaces random blocks of its
/// table, then starts a thread that goes on with the same table, and ends.
/// What a thread frees, others have allocated.
pub fn larson(generations: u64) {
    const SLOTS: usize = 5000;
    const REPLACED: usize = 100_000;
    fn serve(mut table: Vec<Block>, left: u64, seed: u64, done: Sender<()>) {
        let mut random = Random::new(seed);
        for _ in 0..REPLACED {
            let slot = random.below(SLOTS);
            let size = random.between(8, 1000);
            // Freed first, as by a server that answers and takes the next.
            drop(table.swap_remove(slot));
            table.push(Block::new(size));
        }
        if left > 1 {
            // Nobody waits for this thread: it ends while the next one works.
            thread::spawn(move || serve(table, left - 1, seed + 1000, done));
        } else {
            done.send(()).expect("the main thread waits for it");
        }
    }
    let (sender, done) = channel();
    for number in 0..crew() as u64 {
        let mut random = Random::new(number);
        let table = (0..SLOTS).map(|_| Block::new(random.between(8, 1000)));
        let (table, sender) = (table.collect(), sender.clone());
        thread::spawn(move || serve(table, generations, number, sender));
    }
    for _ in 0..crew() {
        done.recv().expect("each lane has a last server");
    }
}

/// Hoard's threadtest: each thread allocates its share of small blocks, and
/// frees all of them, round by round.
pub fn threadtest(rounds: u64) {
    const BLOCKS: usize = 20_000;
    thread::scope(|scope| {
        for _ in 0..crew() {
            scope.spawn(|| {
                let mut blocks = Vec::with_capacity(BLOCKS);
                for _ in 0..rounds {
                    blocks.extend((0..BLOCKS / crew()).map(|_| Block::new(64)));
                    blocks.clear();
                }
            });
        }
    });
}

/// Lever and Boreham's xmalloc: half of the threads allocate, half free.
pub fn xmalloc(batches: u64) {
    const BATCH: usize = 256;
    const QUEUE: usize = 64;
    const SIZES: [usize; 12] = [8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 320];
    struct Queue {
        batches: Mutex<VecDeque<Vec<Block>>>,
        filled: Condvar,
        emptied: Condvar,
    }
    fn produce(queue: &Queue, batches: u64, seed: u64) {
        let mut random = Random::new(seed);
        for _ in 0..batches {
            let size = |random: &mut Random| SIZES[random.below(SIZES.len())];
            let batch = (0..BATCH).map(|_| Block::new(size(&mut random))).collect();
            let mut waiting = queue.batches.lock().expect("nobody panics");
            while waiting.len() >= QUEUE {
                waiting = queue.emptied.wait(waiting).expect("nobody panics");
            }
            waiting.push_back(batch);
            queue.filled.notify_one();
        }
    }
    fn consume(queue: &Queue, batches: u64) {
        for _ in 0..batches {
            let mut waiting = queue.batches.lock().expect("nobody panics");
            let batch = loop {
                if let Some(batch) = waiting.pop_front() {
                    break batch;
                }
                waiting = queue.filled.wait(waiting).expect("nobody panics");
            };
            queue.emptied.notify_one();
            drop(waiting);
            drop(batch);
        }
    }
    let queue = Queue {
        batches: Mutex::new(VecDeque::new()),
        filled: Condvar::new(),
        emptied: Condvar::new(),
    };
    let pairs = (crew() / 2) as u64;
    thread::scope(|scope| {
        for pair in 0..pairs {
            let queue = &queue;
            scope.spawn(move || produce(queue, batches / pairs, pair));
            scope.spawn(move || consume(queue, batches / pairs));
        }
    });
}

/// Threads that start, allocate a little, and end; two at a time.
pub fn thread_start(threads: u64) {
    fn work(seed: u64) {
        let mut random = Random::new(seed);
        let blocks: Vec<Block> = (0..100)
            .map(|_| Block::new(random.between(16, 512)))
            .collect();
        drop(blocks);
    }
    thread::scope(|scope| {
        for lane in 0..crew() as u64 {
            scope.spawn(move || {
                for number in 0..threads / crew() as u64 {
                    let thread = thread::spawn(move || work(lane << 32 | number));
                    thread.join().expect("it does not panic");
                }
            });
        }
    });
}
