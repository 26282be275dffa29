//! The whole heap against a plain model: random sequences, the fuzz target's
//! corpus, threads; by restartable sequences of both kinds and in lock mode.

mod heap_ops;

use std::path::Path;
use std::process::Command;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, MutexGuard, PoisonError};

use heap_ops::{Others, Session};
use proptest::prelude::*;
use thmalloc_core::cpu_cache::{Mode, x86_64};
use thmalloc_core::heap::HEAP;

/// There is one heap in a process, and its figures are compared: one test at a
/// time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn run(input: &[u8]) {
    let mut session = Session::new(Others::Nobody);
    session.run(input);
    session.finish();
}

fn sequences() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 1..600),
        proptest::collection::vec(any::<u8>(), 600..6000),
    ]
}

#[test]
fn random_sequences_agree_with_the_model() {
    let _alone = alone();
    proptest!(cases(40), |(input in sequences())| run(&input));
}

#[test]
fn sequences_of_large_objects_agree_with_the_model() {
    let _alone = alone();
    let operation = (0..16_u8, 0..8_usize, any::<u16>(), any::<u16>());
    let sequence = proptest::collection::vec(operation, 1..120).prop_map(|operations| {
        let mut input = Vec::new();
        for (operation, kind, first, second) in operations {
            let [a, b] = first.to_le_bytes();
            let [c, d] = second.to_le_bytes();
            let kind = [4, 5, 5, 6, 6, 6, 7, 3][kind];
            match operation {
                0..=2 => input.extend([0, kind, a, b]),
                3..=5 => input.extend([3, kind, a, b]),
                6 => input.extend([5, c, kind, a, b]),
                7..=9 => input.extend([6, c, d]),
                10..=13 => input.extend([8, c, d, kind, a, b]),
                14 => input.push(13),
                _ => input.push(14),
            }
        }
        input
    });
    proptest!(cases(60), |(input in sequence)| run(&input));
}

#[test]
fn the_corpus_of_the_fuzz_target_agrees_with_the_model() {
    let _alone = alone();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/heap");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .expect("the corpus")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    assert!(files.len() > 20, "the corpus has {} files", files.len());
    for file in files {
        println!("{}", file.display());
        run(&std::fs::read(&file).expect("a readable file"));
    }
}

/// Lists grow to their limit and shrink again while nothing is drawn from them.
#[test]
fn many_more_objects_than_a_cache_holds_come_and_go() {
    let _alone = alone();
    for bytes in [8, 16, 64, 128, 1000, 5000] {
        let objects: Vec<_> = (0..150_000.min((64 << 20) / bytes))
            .map(|_| HEAP.allocate(bytes))
            .collect();
        let mut sorted = objects.clone();
        sorted.sort();
        sorted.dedup();
        assert_eq!(
            sorted.len(),
            objects.len(),
            "an object was handed out twice"
        );
        for object in objects {
            free(object);
        }
        HEAP.check_invariants();
        assert_eq!(HEAP.stats().small_count, 0);
    }
}

/// While the heap grows, caches give up the older half of what they hold, again and again.
#[test]
fn caches_give_up_what_they_hold_while_the_heap_grows() {
    let _alone = alone();
    // A thread that goes to another CPU meanwhile leaves its objects in the old one's cache.
    let tries: Vec<_> = (0..8).map(|_| cached_before_and_after_growth()).collect();
    assert!(
        tries.iter().any(|(before, after)| *after <= before / 8),
        "{tries:?}"
    );
    HEAP.check_invariants();
}

fn cached_before_and_after_growth() -> (usize, usize) {
    const BYTES: usize = 3000;
    HEAP.trim();
    assert_eq!(HEAP.stats().cached, 0);
    let objects: Vec<_> = (0..60).map(|_| HEAP.allocate(BYTES)).collect();
    for (index, &object) in objects.iter().enumerate() {
        fill(object, index as u8, BYTES);
        free(object);
    }
    let before = HEAP.stats().cached;
    assert!(before >= 30 * BYTES, "{before}");
    // Memory that nobody has had yet.
    let large: Vec<_> = (0..10).map(|_| HEAP.allocate(16 << 20)).collect();
    let after = HEAP.stats().cached;
    large.into_iter().for_each(free);
    (before, after)
}

#[allow(unsafe_code)] // Writes to an object.
fn fill(object: *mut u8, byte: u8, bytes: usize) {
    // SAFETY: the caller had so many bytes from the heap.
    unsafe { object.write_bytes(byte, bytes) };
}

#[allow(unsafe_code)] // Frees.
fn free(object: *mut u8) {
    // SAFETY: the caller had it from the heap and is done with it.
    unsafe { HEAP.free(object, thmalloc_core::fatal::Call::Free) };
}

#[test]
fn threads_at_once_each_agree_with_their_models() {
    let _alone = alone();
    std::thread::scope(|scope| {
        for thread in 0..6_u64 {
            scope.spawn(move || {
                let mut session = Session::new(Others::Threads);
                let mut state = thread + 1;
                for _ in 0..12 {
                    let input: Vec<u8> = (0..400)
                        .map(|_| {
                            // Knuth's constants for a linear congruential generator.
                            state = state
                                .wrapping_mul(6_364_136_223_846_793_005)
                                .wrapping_add(1_442_695_040_888_963_407);
                            (state >> 56) as u8
                        })
                        .collect();
                    session.run(&input);
                }
                session.finish();
            });
        }
    });
    assert_eq!(HEAP.stats().small_count, 0, "all threads freed all");
}

#[test]
fn the_mode_is_the_one_that_was_asked_for() {
    match std::env::var("THMALLOC_CONF").as_deref() {
        Ok("cache=lock") => assert_eq!(HEAP.cache_mode(), Mode::Lock),
        Ok("cache=cpu") if HEAP.cache_mode() == Mode::Rseq => {
            let entry = x86_64::entry();
            assert_eq!(entry.distance_with_id.load(Ordering::Relaxed), 0);
            assert_ne!(entry.distance.load(Ordering::Relaxed), 0);
        }
        _ => println!("the default: {:?}", HEAP.cache_mode()),
    }
}

/// The mode is chosen when a process starts, so another one runs these tests.
#[test]
fn all_this_holds_in_lock_mode_too() {
    run_all("cache=lock");
}

#[test]
fn all_this_holds_without_concurrency_ids_too() {
    run_all("cache=cpu");
}

fn run_all(options: &str) {
    let program = std::env::current_exe().expect("this test's program");
    let output = Command::new(program)
        .args(["--skip", "all_this_holds"])
        .env("THMALLOC_CONF", options)
        .output()
        .expect("this test's program runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}{errors}");
    assert!(text.contains("7 passed"), "{text}");
}

/// Cases of a property test: the same in each run, unless `PROPTEST_RNG_SEED`
/// asks for others.
fn cases(count: u32) -> ProptestConfig {
    let mut config = ProptestConfig {
        failure_persistence: None,
        max_shrink_iters: 200,
        ..ProptestConfig::default()
    };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = count;
    }
    if std::env::var_os("PROPTEST_RNG_SEED").is_none() {
        config.rng_seed = proptest::test_runner::RngSeed::Fixed(2);
    }
    config
}
