//! Heaps that live long: the sizes drift, and survivors lie between the free.

use crate::block::Block;
use crate::random::Random;

/// A population of constant size whose blocks are replaced at random while the
/// sizes that are asked for wander: what one phase leaves free does not fit
/// into the next without reuse across sizes.
pub fn aging(phases: u64) {
    const BLOCKS: usize = 200_000;
    let mut random = Random::new(3);
    let mut table: Vec<Option<Block>> = (0..BLOCKS).map(|_| None).collect();
    for phase in 0..phases {
        // The middle size goes 32, 64, ... 1024 and back.
        let step = phase % 10;
        let middle = 32 << if step < 5 { step } else { 10 - step };
        // Fewer blocks when they are large: the live bytes stay alike.
        let live = BLOCKS.min((48 << 20) / middle);
        for slot in &mut table[live..] {
            *slot = None;
        }
        for _ in 0..300_000 {
            let slot = random.below(live);
            table[slot] = None;
            let size = random.between(middle / 2, middle * 3 / 2);
            table[slot] = Some(Block::filled(size));
        }
    }
}

/// A heap is filled with small blocks, of which a random eighth survives; then
/// it is filled up with blocks of the next size. Most is free at the end of each
/// turn, and none of it in one piece.
pub fn fragmentation(turns: u64) {
    const LIVE_BYTES: usize = 96 << 20;
    let mut random = Random::new(4);
    for _ in 0..turns {
        let mut survivors: Vec<Block> = Vec::new();
        let mut survivors_bytes = 0;
        for size in [24, 56, 120, 248, 504, 1016] {
            let room = LIVE_BYTES - survivors_bytes;
            let blocks: Vec<Block> = (0..room / size).map(|_| Block::filled(size)).collect();
            for block in blocks {
                if random.below(8) == 0 {
                    survivors_bytes += size;
                    survivors.push(block);
                }
            }
        }
    }
}
