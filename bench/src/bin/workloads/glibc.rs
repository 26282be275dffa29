//! After glibc's own benchmarks, bench-malloc-simple and bench-malloc-thread.

use std::thread;

use crate::block::Block;
use crate::random::Random;
use crate::server::crew;

/// Blocks of one size: so many are allocated, then all freed in this order; for
/// several counts and sizes.
pub fn simple(rounds: u64) {
    for size in [8, 16, 64, 128, 512, 2048] {
        for count in [25, 100, 400, 1600] {
            let mut blocks: Vec<Block> = Vec::with_capacity(count);
            for _ in 0..rounds / count as u64 * 10 {
                blocks.extend((0..count).map(|_| Block::new(size)));
                blocks.clear();
            }
        }
    }
}

/// Each thread replaces random blocks of a small table. Sizes are up to 32 KiB,
/// and the larger, the rarer.
pub fn thread(replaced: u64) {
    const SLOTS: usize = 1024;
    const SIZES: usize = 8192;
    const SMALLEST: f64 = 4.0;
    const LARGEST: f64 = 32_768.0;
    // As likely as 1/size: the logarithm is spread evenly.
    let sizes: Vec<usize> = (0..SIZES)
        .map(|n| {
            let share = (n as f64 + 0.5) / SIZES as f64;
            (SMALLEST * (LARGEST / SMALLEST).powf(share)) as usize
        })
        .collect();
    let each = replaced / crew() as u64;
    thread::scope(|scope| {
        for number in 0..crew() as u64 {
            let sizes = &sizes;
            scope.spawn(move || {
                let mut random = Random::new(number);
                let mut table: Vec<Option<Block>> = (0..SLOTS).map(|_| None).collect();
                for _ in 0..each {
                    let bits = random.next();
                    let slot = (bits >> 20) as usize % SLOTS;
                    let size = sizes[(bits >> 40) as usize % SIZES];
                    table[slot] = None;
                    table[slot] = Some(Block::new(size));
                }
            });
        }
    });
}
