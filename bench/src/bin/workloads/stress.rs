//! Random lives and blocks that change threads: after mimalloc's mstress and
//! rpmalloc's benchmark.

use std::sync::Mutex;
use std::thread;

use crate::block::Block;
use crate::random::Random;
use crate::server::crew;

/// Rounds of threads: each allocates blocks of all sizes, keeps some, drops
/// some, and swaps some with a table that all share. The threads end after each
/// round, and what they kept is freed by those of the next.
pub fn mstress(rounds: u64) {
    const SHARED: usize = 1000;
    const EACH: usize = 60_000;
    fn size(random: &mut Random) -> usize {
        // A power of two and a random part; one of a hundred is ten times that.
        let bits = random.below(8);
        let size = (8 << bits) + random.below(8 << bits);
        if random.below(100) == 0 {
            size * 10
        } else {
            size
        }
    }
    let shared: Vec<Mutex<Option<Block>>> = (0..SHARED).map(|_| Mutex::new(None)).collect();
    let mut handed: Vec<Vec<Block>> = (0..crew()).map(|_| Vec::new()).collect();
    for round in 0..rounds {
        handed.rotate_left(1);
        handed = thread::scope(|scope| {
            let shared = &shared;
            let threads: Vec<_> = handed
                .into_iter()
                .enumerate()
                .map(|(number, old)| {
                    scope.spawn(move || {
                        let mut random = Random::new(round << 8 | number as u64);
                        let mut old = old.into_iter();
                        let mut mine: Vec<Block> = Vec::new();
                        let mut kept: Vec<Block> = Vec::new();
                        for _ in 0..EACH {
                            let block = Block::filled(size(&mut random));
                            match random.below(16) {
                                0..4 => kept.push(block),
                                4..6 => {
                                    let slot = &shared[random.below(SHARED)];
                                    let swapped = slot.lock().expect("no panic").replace(block);
                                    drop(swapped);
                                }
                                _ => mine.push(block),
                            }
                            if mine.len() > 64 {
                                let gone = random.below(mine.len());
                                drop(mine.swap_remove(gone));
                            }
                            drop(old.next());
                        }
                        kept
                    })
                })
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().expect("it does not panic"))
                .collect()
        });
    }
}

/// Random sizes from 16 bytes to 16 KiB; a loop frees a part of what it has and
/// allocates it anew, then hands a part to another thread, whose mailbox holds a few
/// such parts: what finds no room is freed by who made it. So how much is live does not
/// depend on which thread runs when.
fn rptest_of(loops: u64, slots: usize, largest: usize, linear: bool) {
    const HANDED: usize = 64;
    const MAILBOX: usize = 16 * HANDED;
    let size = move |random: &mut Random| {
        if linear {
            random.between(16, largest)
        } else {
            let top = random.between(16, largest);
            random.between(16, top)
        }
    };
    let mail: Vec<Mutex<Vec<Block>>> = (0..crew()).map(|_| Mutex::new(Vec::new())).collect();
    thread::scope(|scope| {
        for number in 0..crew() {
            let mail = &mail;
            scope.spawn(move || {
                let mut random = Random::new(number as u64);
                let mut table: Vec<Block> =
                    (0..slots).map(|_| Block::new(size(&mut random))).collect();
                for turn in 0..loops as usize {
                    // A different quarter each time, from another start.
                    for slot in (turn % 4..slots).step_by(4) {
                        table[slot] = Block::new(size(&mut random));
                    }
                    let handed: Vec<Block> = (0..HANDED)
                        .map(|_| {
                            let fresh = Block::new(size(&mut random));
                            let slot = random.below(slots);
                            std::mem::replace(&mut table[slot], fresh)
                        })
                        .collect();
                    let to = &mail[(number + 1) % mail.len()];
                    {
                        let mut to = to.lock().expect("nobody panics");
                        if to.len() < MAILBOX {
                            to.extend(handed);
                        }
                    }
                    let received = std::mem::take(&mut *mail[number].lock().expect("no panic"));
                    drop(received);
                }
            });
        }
    });
}

/// Sizes to 16 KiB, as likely each.
pub fn rptest(loops: u64) {
    rptest_of(loops * 10, 8000, 16_000, true);
}

/// Sizes to 1000 bytes, small ones more often.
pub fn rptest_mixed(loops: u64) {
    rptest_of(loops * 10, 8000, 1000, false);
}
