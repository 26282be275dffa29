//! Batches that overflow any cache, blocks of mixed sizes held over rounds:
//! after MicroQuill's sh6bench and sh8bench.

use std::thread;

use crate::block::Block;
use crate::random::Random;
use crate::server::crew;

/// The largest block.
const LARGEST: usize = 1000;
/// Blocks of a batch.
const BATCH: usize = 50_000;

/// Small sizes are asked for more often than large ones: as often each byte
/// range that is twice the last.
fn skewed(random: &mut Random) -> usize {
    let bits = random.between(3, 9);
    ((1 << bits) + random.below(1 << bits)).min(LARGEST)
}

/// One thread's rounds: a batch is allocated by rising sizes and by random ones,
/// and the batch of two rounds ago goes: half in the order of allocation, half
/// against it, and an eighth stays until the end of four rounds more.
fn rounds(count: u64, seed: u64, size: fn(&mut Random, usize) -> usize) {
    let mut random = Random::new(seed);
    let mut held: Vec<Vec<Block>> = Vec::new();
    let mut kept: Vec<Vec<Block>> = Vec::new();
    for _ in 0..count {
        let batch = (0..BATCH)
            .map(|n| Block::new(size(&mut random, n)))
            .collect();
        held.push(batch);
        if held.len() > 2 {
            let mut old = held.remove(0);
            kept.push(old.drain(..BATCH / 8).collect());
            let tail = old.split_off(old.len() / 2);
            drop(old);
            tail.into_iter().rev().for_each(drop);
        }
        if kept.len() > 4 {
            drop(kept.remove(0));
        }
    }
}

fn rising(random: &mut Random, n: usize) -> usize {
    if n.is_multiple_of(2) {
        1 + n * LARGEST / BATCH
    } else {
        skewed(random)
    }
}

/// One thread.
pub fn sh6bench(count: u64) {
    rounds(count, 6, rising);
}

/// The same in each thread of a crew.
pub fn sh6bench_threads(count: u64) {
    let each = count / crew() as u64;
    thread::scope(|scope| {
        for number in 0..crew() as u64 {
            scope.spawn(move || rounds(each, 60 + number, rising));
        }
    });
}

/// Batches of random sizes that go round: each thread frees what its neighbour
/// allocated two rounds ago.
pub fn sh8bench(count: u64) {
    use std::sync::mpsc::{Receiver, Sender, channel};
    fn one(count: u64, seed: u64, next: Sender<Vec<Block>>, own: Receiver<Vec<Block>>) {
        let mut random = Random::new(seed);
        let mut kept: Vec<Vec<Block>> = Vec::new();
        for round in 0..count {
            let batch = (0..BATCH).map(|_| Block::new(skewed(&mut random)));
            // The neighbour may have ended already; then the batch goes here.
            let _ = next.send(batch.collect());
            if round < 2 {
                continue;
            }
            let Ok(mut old) = own.recv() else { return };
            kept.push(old.drain(..BATCH / 8).collect());
            // Every other block first: holes stay for a while.
            let mut second = Vec::with_capacity(BATCH / 2);
            for (n, block) in old.into_iter().enumerate() {
                if n.is_multiple_of(2) {
                    drop(block);
                } else {
                    second.push(block);
                }
            }
            drop(second);
            if kept.len() > 4 {
                drop(kept.remove(0));
            }
        }
    }
    let each = count / crew() as u64;
    let (mut senders, receivers): (Vec<_>, Vec<_>) = (0..crew()).map(|_| channel()).unzip();
    senders.rotate_left(1);
    thread::scope(|scope| {
        for (number, ends) in senders.into_iter().zip(receivers).enumerate() {
            scope.spawn(move || one(each, 80 + number as u64, ends.0, ends.1));
        }
    });
}
