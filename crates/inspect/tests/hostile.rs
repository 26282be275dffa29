//! A process whose heap shows nonsense: the reader says so, or reads what there
//! is, and always ends.

mod mangled;

use std::mem::offset_of;
use std::path::Path;

use proptest::prelude::*;
use thmalloc_format::{Block, ClassesLayout};
use thmalloc_inspect::layout::{BadBlock, Layout};
use thmalloc_inspect::memory::{Fault, Memory, ProcessMemory};

/// A change as the input has it.
fn change(copies: u8, at: u32, value: u64, width: u8) -> Vec<u8> {
    let mut bytes = vec![copies];
    bytes.extend(at.to_le_bytes());
    bytes.extend(value.to_le_bytes());
    bytes.push(width);
    bytes
}

#[test]
fn our_own_heap_is_read_as_it_is() {
    let reading = mangled::run(&[2]).expect("nothing is changed");
    assert_eq!(reading.changes, 0);
    assert!(reading.by_page);
    let live: u64 = reading.classes.iter().map(|class| class.live).sum();
    // Of 40 objects in a row one is large, and for the first 200 two are; every
    // third of 6000 lives.
    let large = reading.large.count;
    assert_eq!(live + large, 2000, "{large} large ones");
    assert!(reading.cpu_caches.iter().any(|cache| cache.objects != 0));
}

#[test]
fn a_changed_heap_is_read_or_refused() {
    let values = prop_oneof![
        any::<u64>(),
        0..8_u64,
        Just(u64::MAX),
        Just(1 << 47),
        (0..64_u32).prop_map(|bit| 1 << bit),
        (0..64_u32).prop_map(|bit| (1_u64 << bit).wrapping_sub(1)),
    ];
    let changes = (0..12_u8, any::<u32>(), values, 0..4_u8)
        .prop_map(|(copies, at, value, width)| change(copies, at, value, width));
    let input = (any::<u8>(), proptest::collection::vec(changes, 0..40));
    let mut config = ProptestConfig {
        cases: 150,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    // The same in each run; the fuzzer looks for others.
    if std::env::var_os("PROPTEST_RNG_SEED").is_none() {
        config.rng_seed = proptest::test_runner::RngSeed::Fixed(3);
    }
    proptest!(config, |((first, changes) in input)| {
        mangled::run(&[vec![first], changes.concat()].concat());
    });
}

#[test]
fn every_word_of_the_heap_may_be_anything() {
    // The heap's variable is the first copy: a word of it at a time.
    for index in (0..1 << 13).step_by(37) {
        for value in [1, u64::MAX, 1 << 46] {
            mangled::run(&[vec![6], change(0, index, value, 3)].concat());
        }
    }
}

#[test]
fn what_the_fuzzer_found_is_read_or_refused() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/inspect");
    let (mut read, mut refused) = (0, 0);
    for entry in std::fs::read_dir(corpus).expect("the corpus").flatten() {
        let input = std::fs::read(entry.path()).expect("an input");
        match mangled::run(&input) {
            Some(_) => read += 1,
            None => refused += 1,
        }
    }
    assert!(read > 50 && refused > 50, "{read} read, {refused} refused");
}

/// A block as it stands in the file, and nothing else.
struct InItsFile([u8; size_of::<Block>()]);

impl Memory for InItsFile {
    fn gather(&self, pieces: &[(u64, usize)], into: &mut [u8]) -> Result<(), Fault> {
        let mut into = into.iter_mut();
        for &(address, length) in pieces {
            let from = address.checked_sub(BLOCK_AT).ok_or(Fault::Unmapped)? as usize;
            let bytes = self.0.get(from..from + length).ok_or(Fault::Unmapped)?;
            into.by_ref()
                .zip(bytes)
                .for_each(|(into, byte)| *into = *byte);
        }
        Ok(())
    }

    fn residency(&self, _: u64, _: u64, _: &mut [bool]) -> Result<bool, Fault> {
        Ok(false)
    }
}

const BLOCK_AT: u64 = 0x7000_0000_1000;

#[test]
fn a_block_that_the_loader_has_not_come_to_is_none_yet() {
    static HERE: Block = thmalloc_core::heap::BLOCK;
    let mut bytes = [0; size_of::<Block>()];
    let own = ProcessMemory::new(std::process::id());
    let read = own.read((&raw const HERE).addr() as u64, &mut bytes);
    read.expect("our own memory");
    let table = offset_of!(Block, classes) + offset_of!(ClassesLayout, table);
    for address in [0_u64, 0x6000] {
        let mut bytes = bytes;
        for at in [offset_of!(Block, heap), table] {
            bytes[at..at + 8].copy_from_slice(&address.to_le_bytes());
        }
        let read = Layout::read(&InItsFile(bytes), BLOCK_AT, BLOCK_AT - 0x1000);
        assert_eq!(read.err(), Some(BadBlock::NotRelocated), "{address:#x}");
    }
}
