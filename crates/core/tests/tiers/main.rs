//! Every tier below the heap against a plain model of it.

mod central;
mod page_heap;
mod page_map;
mod placement;
mod region;
mod size_class;
mod span;
mod transfer_cache;

use std::process::{Command, Output};

use proptest::prelude::ProptestConfig;
use thmalloc_core::metadata::Metadata;
use thmalloc_core::os::PAGE_BYTES;
use thmalloc_core::page_heap::PageHeap;
use thmalloc_core::page_map::PageMap;
use thmalloc_core::span::Span;

/// The tiers that everything above stands on. They live for good, as those of
/// the one heap do.
struct Ground {
    map: PageMap,
    pages: PageHeap,
    metadata: Metadata,
}

impl Ground {
    fn new() -> &'static Self {
        Box::leak(Box::new(Self {
            map: PageMap::new(),
            pages: PageHeap::new(),
            metadata: Metadata::new(),
        }))
    }

    /// A span of so many granules.
    fn take(&self, granules: usize) -> &'static Span {
        let span = self.pages.allocate(&self.map, &self.metadata, granules, 1);
        span.expect("memory")
    }
}

/// Of a mapped range, which of its pages are resident.
#[allow(unsafe_code)] // Asks the system about pages.
fn residency(start: usize, bytes: usize) -> Vec<bool> {
    let mut pages = vec![0_u8; bytes / PAGE_BYTES];
    let place = std::ptr::with_exposed_provenance_mut(start);
    // SAFETY: the range is mapped, and there is a byte for each page.
    let result = unsafe { libc::mincore(place, bytes, pages.as_mut_ptr()) };
    assert_eq!(result, 0);
    pages.iter().map(|&page| page & 1 != 0).collect()
}

/// How many pages of a mapped range are resident.
fn resident_pages(start: usize, bytes: usize) -> usize {
    residency(start, bytes).iter().filter(|&&has| has).count()
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
        config.rng_seed = proptest::test_runner::RngSeed::Fixed(1);
    }
    config
}

const FATAL: &str = "THMALLOC_TEST_FATAL";

/// Runs `fatal`, which ends the process, in another one: this program again,
/// with only the test of that name. Returns what it wrote, and its end.
fn dies(test: &str, fatal: fn()) -> Option<(String, i32)> {
    use std::os::unix::process::ExitStatusExt;

    if std::env::var_os(FATAL).is_some() {
        fatal();
        return None;
    }
    let program = std::env::current_exe().expect("this test's program");
    let mut command = Command::new(program);
    command
        .args(["--exact", test, "--nocapture"])
        .env(FATAL, "1");
    let Output { status, stderr, .. } = command.output().expect("this test's program runs");
    let text = String::from_utf8_lossy(&stderr).into_owned();
    Some((text, status.signal().unwrap_or(0)))
}

/// Checks that a call ends the process with SIGABRT and these words.
fn assert_dies(test: &str, words: &str, fatal: fn()) {
    const SIGABRT: i32 = 6;
    match dies(test, fatal) {
        Some((text, signal)) => {
            assert_eq!(signal, SIGABRT, "{text}");
            assert!(text.contains(words), "{text}");
        }
        None => panic!("the process lives on"),
    }
}
