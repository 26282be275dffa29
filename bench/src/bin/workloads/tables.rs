//! Large tables whose blocks are replaced at random.

use std::thread;

use crate::block::Block;
use crate::random::Random;
use crate::server::crew;

/// One thread's table: a slot that has a block loses it, an empty one gets one.
fn replace(operations: u64, slots: usize, seed: u64) {
    let mut random = Random::new(seed);
    let mut table: Vec<Option<Block>> = (0..slots).map(|_| None).collect();
    let mut sum = 0_u64;
    for _ in 0..operations {
        let slot = random.below(slots);
        if let Some(block) = table[slot].take() {
            sum += u64::from(block.look());
        } else {
            // 8 to 1023 bytes, as often in each power of two.
            let bits = random.between(3, 9);
            let size = (1 << bits) + random.below(1 << bits);
            table[slot] = Some(Block::new(size));
        }
    }
    std::hint::black_box(sum);
}

/// One thread with a large table.
pub fn alloc_test_1(operations: u64) {
    replace(operations, 1 << 20, 1);
}

/// A table of half the size in each thread.
pub fn alloc_test(operations: u64) {
    thread::scope(|scope| {
        for number in 0..crew() as u64 {
            scope.spawn(move || replace(operations, 1 << 19, number));
        }
    });
}

/// Text that is put together, looked up and thrown away: short blocks, most of
/// them gone soon, one in sixteen kept.
pub fn strings(rounds: u64) {
    let mut random = Random::new(5);
    let mut kept: Vec<Block> = Vec::new();
    for _ in 0..rounds {
        for _ in 0..400_000 {
            let word = Block::filled(random.between(4, 24));
            let line = Block::filled(random.between(20, 120));
            if random.below(16) == 0 {
                kept.push(word);
            }
            drop(line);
        }
        kept.drain(..kept.len() / 2);
    }
}
