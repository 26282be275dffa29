//! States of pages that the heap does not know of: only read, swapped out; and what
//! is given back at once.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use thmalloc_tests::{Build, Mode, compile, on_thmalloc, skip, target_dir};

use crate::harness::{Running, assert_sum, is_root, number, stat};

fn steps(mode: Mode) -> Running {
    let program = compile("inside_steps.c", &[]);
    Running::start(&mut on_thmalloc(Build::Release, mode, program))
}

/// What thmalloc says in the process itself to be live.
fn told(running: &mut Running) -> u64 {
    let words = running.step("tell");
    let live = words.split(' ').next().and_then(|live| live.parse().ok());
    live.expect("a number")
}

/// Linux 6.7 and later tell pages of zeros from others.
fn tells_zeros() -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = release
        .split(['.', '-'])
        .map_while(|n| n.parse::<u32>().ok());
    (numbers.next(), numbers.next()) >= (Some(6), Some(7))
}

#[test]
fn pages_that_were_only_read_have_no_memory() {
    if !tells_zeros() {
        return skip("pages that were only read", "takes Linux 6.7");
    }
    let mut running = steps(Mode::Rseq);
    running.step("sparse");
    running.step("look");
    let full = assert_sum(running.pid(), "64 MiB that were only read");
    assert!(number(&full, "/bytes/untouched") >= 64 << 20, "{full}");
    assert!(number(&full, "/bytes/live") < 1 << 20, "{full}");
    assert!(told(&mut running) < 1 << 20);
}

/// A file to swap to, while it lives.
struct Swap(PathBuf);

impl Swap {
    fn new() -> Option<Swap> {
        let path = target_dir().join(format!("swap-{}", std::process::id()));
        let swap = Swap(path);
        let path = swap.0.to_str()?;
        let of = format!("of={path}");
        let steps: [&[&str]; 4] = [
            &["dd", "if=/dev/zero", &of, "bs=1M", "count=96"],
            &["chmod", "600", path],
            &["mkswap", path],
            &["swapon", path],
        ];
        let done = |args: &&[&str]| {
            let output = Command::new(args[0]).args(&args[1..]).output();
            output.is_ok_and(|output| output.status.success())
        };
        steps.iter().all(done).then_some(swap)
    }
}

impl Drop for Swap {
    fn drop(&mut self) {
        let _ = Command::new("swapoff").arg(&self.0).output();
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
fn pages_that_were_swapped_out_count_where_they_were() {
    let swaps = || fs::read_to_string("/proc/swaps").map_or(0, |text| text.lines().count());
    // The first line is a heading.
    let swap = if swaps() < 2 && is_root() {
        Swap::new()
    } else {
        None
    };
    if swaps() < 2 {
        return skip("swapped pages", "there is no swap, and none can be made");
    }
    let mut running = steps(Mode::Rseq);
    running.step("fill");
    let before = assert_sum(running.pid(), "before");
    let told_before = told(&mut running);
    running.step("pageout");
    let after = assert_sum(running.pid(), "swapped out");
    let swapped = number(&after, "/resident/swapped");
    if swapped < 16 << 20 {
        return skip("swapped pages", "the system did not swap them out");
    }
    let live = |full| number(full, "/bytes/live");
    assert!(live(&before).abs_diff(live(&after)) < 1 << 20, "{after}");
    if tells_zeros() {
        assert!(told_before.abs_diff(told(&mut running)) < 1 << 20);
    }
    drop(running);
    drop(swap);
}

#[test]
fn what_a_freed_gib_leaves_counts_as_given_back() {
    for mode in Mode::ALL {
        let mut running = steps(mode);
        running.step("huge");
        let full = stat(running.pid());
        let released = number(&full, "/totals/released");
        assert!(
            (1 << 30..(1 << 30) + (8 << 20)).contains(&released),
            "{full}"
        );
        assert!(full["scavenger"]["last_release_ago_ms"].is_u64(), "{full}");
    }
}
