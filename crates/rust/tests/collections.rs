//! A Rust program on thmalloc: collections, boxes with large alignments, and
//! threads that free what others allocated. All contents are checked.

mod modes;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;

use thmalloc_core::heap::HEAP;

#[global_allocator]
static GLOBAL: thmalloc::ThMalloc = thmalloc::ThMalloc;

#[repr(align(64))]
struct Line([u8; 64]);

#[repr(align(4096))]
struct Page([u8; 4096]);

#[repr(align(2097152))]
struct Huge([u8; 64]);

/// A sequence of numbers that is the same in each run (Knuth's MMIX constants).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (self.0 >> 33) as usize % limit
    }
}

#[test]
fn a_vector_keeps_its_elements_while_it_grows_and_shrinks() {
    let mut numbers = Vec::new();
    for round in 1..=4_usize {
        let count = round * 700_000;
        numbers.extend(numbers.len()..count);
        assert!(numbers.iter().copied().eq(0..count));
        numbers.truncate(count / 50);
        numbers.shrink_to_fit();
        assert!(numbers.iter().copied().eq(0..count / 50));
    }
    let zeros = vec![0_u64; 3_000_000];
    assert!(zeros.iter().all(|&number| number == 0));
}

#[test]
fn a_string_keeps_its_text_while_it_grows() {
    let mut text = String::new();
    for number in 0..200_000 {
        text.push_str(&number.to_string());
        text.push(' ');
    }
    let read: Vec<u32> = text.split_whitespace().flat_map(str::parse).collect();
    assert!(read.into_iter().eq(0..200_000));
}

#[test]
fn maps_agree_with_each_other_after_many_changes() {
    let mut random = Random(7);
    let mut sorted = BTreeMap::new();
    let mut hashed = HashMap::new();
    for step in 0..300_000 {
        let key = format!("key {}", random.below(20_000));
        if random.below(3) == 0 {
            assert_eq!(sorted.remove(&key), hashed.remove(&key));
        } else {
            let value = vec![step; random.below(40)];
            let old = sorted.insert(key.clone(), value.clone());
            assert_eq!(old, hashed.insert(key, value));
        }
    }
    assert_eq!(sorted.len(), hashed.len());
    assert!(sorted.iter().all(|(key, value)| hashed[key] == *value));
}

#[test]
fn boxes_stand_at_the_alignment_of_their_type() {
    fn check<T>(boxes: &[Box<T>], first_byte: impl Fn(&T) -> u8) {
        for (index, boxed) in boxes.iter().enumerate() {
            let address = std::ptr::from_ref::<T>(boxed).addr();
            assert!(address.is_multiple_of(align_of::<T>()));
            assert_eq!(first_byte(boxed), index as u8);
        }
    }
    for _ in 0..3 {
        let lines: Vec<_> = (0..2000)
            .map(|index| Box::new(Line([index as u8; 64])))
            .collect();
        let pages: Vec<_> = (0..500)
            .map(|index| Box::new(Page([index as u8; 4096])))
            .collect();
        let huge: Vec<_> = (0..20)
            .map(|index| Box::new(Huge([index as u8; 64])))
            .collect();
        check(&lines, |line| line.0[63]);
        check(&pages, |page| page.0[4095]);
        check(&huge, |huge| huge.0[63]);
    }
    HEAP.check_invariants();
}

/// A boxed object whose contents follow from its length and stamp.
struct Parcel {
    stamp: u32,
    contents: Box<[u32]>,
    page: Option<Box<Page>>,
}

impl Parcel {
    fn new(random: &mut Random) -> Self {
        let stamp = random.below(1 << 30) as u32;
        // Mostly small, some beyond every small class.
        let length = match random.below(200) {
            0 => random.below(200_000),
            1..=20 => random.below(5_000),
            _ => random.below(100),
        };
        let contents = (0..length as u32).map(|index| stamp ^ index).collect();
        let page = (random.below(50) == 0).then(|| Box::new(Page([stamp as u8; 4096])));
        Self {
            stamp,
            contents,
            page,
        }
    }

    fn check(&self) {
        for (index, &number) in self.contents.iter().enumerate() {
            assert_eq!(number, self.stamp ^ index as u32);
        }
        if let Some(page) = &self.page {
            assert!(page.0.iter().all(|&byte| byte == self.stamp as u8));
        }
    }
}

/// Sends parcels to the next thread, checks and frees those of the thread
/// before it, and keeps some for a while.
fn circulate(seed: u64, next: SyncSender<Parcel>, mine: Receiver<Parcel>) {
    let mut random = Random(seed);
    let mut kept = VecDeque::new();
    for _ in 0..20_000 {
        // Where the next thread is behind, its parcel is freed here.
        let _ = next.try_send(Parcel::new(&mut random));
        for parcel in mine.try_iter() {
            parcel.check();
            if random.below(4) == 0 {
                kept.push_back(parcel);
            }
        }
        if kept.len() > 500 {
            kept.pop_front().iter().for_each(Parcel::check);
        }
    }
    drop(next);
    mine.iter().chain(kept).for_each(|parcel| parcel.check());
}

#[test]
fn threads_free_each_others_boxes_intact() {
    let threads = 12;
    let (senders, mut receivers): (Vec<_>, Vec<_>) =
        (0..threads).map(|_| mpsc::sync_channel(100)).unzip();
    receivers.rotate_right(1);
    let ring = senders.into_iter().zip(receivers).zip(1..);
    let running: Vec<_> = ring
        .map(|((next, mine), seed)| thread::spawn(move || circulate(seed, next, mine)))
        .collect();
    for thread in running {
        thread.join().expect("every parcel was intact");
    }
    HEAP.check_invariants();
}

#[test]
fn threads_that_come_and_go_leave_objects_that_others_use() {
    let mut left: Vec<Parcel> = Vec::new();
    for generation in 0..40 {
        let running: Vec<_> = (0..8)
            .map(|index| {
                let mut random = Random(generation * 8 + index + 100);
                let inherited = left.pop();
                thread::spawn(move || {
                    inherited.iter().for_each(Parcel::check);
                    (0..50).map(|_| Parcel::new(&mut random)).collect()
                })
            })
            .collect();
        for thread in running {
            let parcels: Vec<Parcel> = thread.join().expect("parcels");
            left.extend(parcels);
        }
        left.iter().for_each(Parcel::check);
        left.truncate(200);
    }
    HEAP.check_invariants();
}

#[test]
fn all_of_this_holds_in_other_modes_too() {
    modes::run_all_in_other_modes();
}
