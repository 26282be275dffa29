//! Large blocks, and blocks that grow.

use std::thread;

use crate::block::Block;
use crate::random::Random;
use crate::server::crew;

const MIB: usize = 1 << 20;

/// Twenty blocks of 5 to 25 MiB, replaced at random; each page is written.
fn large_of(replaced: u64, slots: usize, seed: u64) {
    let mut random = Random::new(seed);
    let mut table: Vec<Option<Block>> = (0..slots).map(|_| None).collect();
    for _ in 0..replaced {
        let slot = random.below(slots);
        let size = random.between(5 * MIB, 25 * MIB);
        table[slot] = None;
        table[slot] = Some(Block::paged(size));
    }
}

/// One thread.
pub fn large(replaced: u64) {
    large_of(replaced, 20, 1);
}

/// A crew, ten blocks each.
pub fn large_threads(replaced: u64) {
    let each = replaced / crew() as u64;
    thread::scope(|scope| {
        for number in 0..crew() as u64 {
            scope.spawn(move || large_of(each, 10, number));
        }
    });
}

/// One buffer at a time grows from 100 bytes by half, up to 64 MiB.
pub fn realloc(times: u64) {
    for _ in 0..times {
        let mut size = 100;
        let mut block = Block::filled(size);
        while size < 64 * MIB {
            let new = size + size / 2;
            block = block.grown(size, new);
            size = new;
        }
    }
}

/// Two thousand buffers grow in turn, each by a quarter, up to 64 KiB.
pub fn realloc_many(times: u64) {
    const BUFFERS: usize = 2000;
    for _ in 0..times {
        let mut size = 32;
        let mut table: Vec<Block> = (0..BUFFERS).map(|_| Block::filled(size)).collect();
        while size < 64 << 10 {
            let new = (size + size / 4).next_multiple_of(8);
            table = table
                .into_iter()
                .map(|block| block.grown(size, new))
                .collect();
            size = new;
        }
    }
}

/// Zeroed tables from 1 KiB to 4 MiB; forty live, the larger the rarer.
pub fn calloc(times: u64) {
    let mut random = Random::new(9);
    let mut table: Vec<Option<Block>> = (0..40).map(|_| None).collect();
    for _ in 0..times {
        let slot = random.below(table.len());
        let bits = random.below(13);
        let size = (1024 << bits) - random.below(512 << bits);
        table[slot] = None;
        table[slot] = Some(Block::zeroed(size));
    }
}
