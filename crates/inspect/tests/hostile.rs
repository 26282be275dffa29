//! A process whose heap shows nonsense: the reader says so, or reads what there
//! is, and always ends.

mod mangled;

use std::path::Path;

use proptest::prelude::*;

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
    let config = ProptestConfig {
        cases: 150,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
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
