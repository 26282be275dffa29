//! Two threads must not write to one cache line because the allocator put
//! their blocks there: after Hoard's cache-scratch and cache-thrash.

use std::thread;

use crate::block::Block;
use crate::server::crew;

const SIZE: usize = 8;
const WRITES: u64 = 1_500_000;

fn hammer(rounds: u64) {
    for _ in 0..rounds {
        let mut block = Block::new(SIZE);
        block.hammer(WRITES);
    }
}

/// Each thread is given a block that lies beside the others', frees it, and
/// then works on blocks of its own: which may be the same ones.
fn scratch_of(threads: usize, rounds: u64) {
    let given: Vec<Block> = (0..threads).map(|_| Block::new(SIZE)).collect();
    thread::scope(|scope| {
        for block in given {
            scope.spawn(move || {
                drop(block);
                hammer(rounds / threads as u64);
            });
        }
    });
}

/// One thread: what it takes when nobody shares.
pub fn scratch_1(rounds: u64) {
    scratch_of(1, rounds);
}

/// A crew.
pub fn scratch(rounds: u64) {
    scratch_of(crew(), rounds);
}

/// Each thread works on blocks that it allocates itself.
pub fn thrash(rounds: u64) {
    let each = rounds / crew() as u64;
    thread::scope(|scope| {
        for _ in 0..crew() {
            scope.spawn(move || hammer(each));
        }
    });
}
