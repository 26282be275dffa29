//! The cost of an operation as threads and live memory grow.
//!
//! Each prints one line: nanoseconds of one operation; by threads, of processor time.

use std::hint::black_box;
use std::sync::Barrier;
use std::thread;
use std::time::Instant;

use nix::sys::time::TimeValLike;
use nix::time::{ClockId, clock_gettime};
use thmalloc_bench::stats::median;

use crate::block::Block;
use crate::random::Random;

/// Processor time of the thread that asks, so far.
fn cpu_ns() -> f64 {
    let spent = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("each thread has one");
    spent.num_nanoseconds() as f64
}

/// Prints the middle one of so many passes.
fn print_median(pass: impl FnMut() -> f64) {
    const PASSES: usize = 5;
    let figures = std::iter::repeat_with(pass).take(PASSES);
    println!("{:.2}", median(figures).expect("there are some"));
}

/// `count` threads replace random blocks of small tables, together as often for
/// every count.
pub fn threads(count: u32) {
    const OPERATIONS: u64 = 24_000_000;
    const SLOTS: usize = 1000;
    let each = OPERATIONS / u64::from(count);
    let work = |number: u64, barrier: &Barrier| {
        let mut random = Random::new(number);
        let mut table: Vec<Option<Block>> = (0..SLOTS).map(|_| None).collect();
        let mut replace = |times: u64| {
            for _ in 0..times {
                let slot = random.below(SLOTS);
                let size = random.between(16, 256);
                table[slot] = None;
                table[slot] = Some(Block::new(size));
            }
        };
        // Tables are full and caches warm before it counts.
        replace(20 * SLOTS as u64);
        barrier.wait();
        let start = cpu_ns();
        replace(each);
        cpu_ns() - start
    };
    print_median(|| {
        let barrier = &Barrier::new(count as usize);
        let spent: f64 = thread::scope(|scope| {
            let crew: Vec<_> = (0..u64::from(count))
                .map(|number| scope.spawn(move || work(number, barrier)))
                .collect();
            crew.into_iter()
                .map(|thread| thread.join().expect("it does not panic"))
                .sum()
        });
        spent / (each * u64::from(count)) as f64
    });
}

/// Operations with live memory.
const OPERATIONS: u64 = 4_000_000;
/// Bytes of one of its blocks, with an allocator's own.
const SIZE: usize = 1024;

/// How many blocks fit into so many MiB.
fn slots(mib: u32) -> usize {
    ((mib as usize) << 20) / SIZE
}

/// Does `work` so many times, and prints the time of one in the median pass, when caches are
/// warm.
fn timed(mut work: impl FnMut(u64)) {
    work(OPERATIONS / 4);
    print_median(|| {
        let start = Instant::now();
        work(OPERATIONS);
        start.elapsed().as_nanos() as f64 / OPERATIONS as f64
    });
}

/// `mib` of blocks live, of which random ones are replaced.
pub fn live(mib: u32) {
    let slots = slots(mib);
    let mut table: Vec<Option<Block>> = Vec::with_capacity(slots);
    table.extend((0..slots).map(|_| Some(Block::filled(SIZE - 8))));
    let mut random = Random::new(7);
    timed(|times| {
        for _ in 0..times {
            let slot = random.below(slots);
            table[slot] = None;
            table[slot] = Some(Block::new(SIZE - 8));
        }
    });
}

/// A block of an array for each slot, in random order, as after a while of replacing.
fn shuffled(slots: usize, random: &mut Random) -> Vec<usize> {
    let mut table: Vec<usize> = (0..slots).map(|slot| slot * SIZE).collect();
    for slot in 0..slots {
        table.swap(slot, random.below(slots));
    }
    table
}

/// The same accesses without an allocator: a random slot of a table of pointers
/// is read, and the first byte of a random block of an array of `mib` written.
pub fn walk(mib: u32) {
    let slots = slots(mib);
    let mut array = vec![0xA5_u8; slots * SIZE];
    let mut random = Random::new(7);
    let mut table = shuffled(slots, &mut random);
    timed(|times| {
        let mut last = 0;
        for _ in 0..times {
            let slot = random.below(slots);
            let at = table[slot];
            array[at] = array[at].wrapping_add(1);
            // What was freed before comes back for this slot.
            table[slot] = last;
            last = at;
            array[table[slot]] = 1;
        }
    });
    black_box(&array);
}

/// The least that an allocator with lists of free blocks does: what is freed goes on the
/// list of its class, which a table tells by the address, and what is allocated comes
/// from there.
pub fn list(mib: u32) {
    const GRANULE_SHIFT: u32 = 16;
    let slots = slots(mib);
    let mut array = vec![0xA5_u8; slots * SIZE];
    let mut random = Random::new(7);
    let mut table = shuffled(slots, &mut random);
    // One class, of which the compiler knows nothing.
    let class = black_box(3_u8);
    let classes = vec![class; (array.len() >> GRANULE_SHIFT) + 1];
    let mut lists: Vec<Vec<usize>> = (0..8).map(|_| Vec::with_capacity(64)).collect();
    timed(|times| {
        for _ in 0..times {
            let slot = random.below(slots);
            let at = table[slot];
            lists[usize::from(classes[at >> GRANULE_SHIFT])].push(at);
            let next = lists[usize::from(class)].pop().expect("one was put there");
            array[next] = 1;
            table[slot] = next;
        }
    });
    black_box(&array);
}
