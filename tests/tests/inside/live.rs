//! Live bytes, against programs that know theirs.

use thmalloc_tests::{Build, Mode, compile, on_thmalloc};

use crate::harness::{Running, assert_sum, number, stat};

fn steps(mode: Mode) -> Running {
    let program = compile("inside_steps.c", &[]);
    let mut running = Running::start(&mut on_thmalloc(Build::Release, mode, program));
    assert_eq!(running.step("nothing"), "0");
    running
}

#[test]
fn live_bytes_are_those_that_the_program_holds() {
    for mode in Mode::ALL {
        let mut running = steps(mode);
        let first = number(&assert_sum(running.pid(), "at first"), "/bytes/live");
        for step in ["fill", "thin", "thin", "drop", "fill", "drop"] {
            let held: u64 = running.step(step).parse().expect("bytes");
            let stat = assert_sum(running.pid(), step);
            assert_eq!(
                number(&stat, "/bytes/live") - first,
                held,
                "{mode:?} {step}: {stat}"
            );
            assert_eq!(stat["consistency"]["exact"], true, "{stat}");
        }
    }
}

#[test]
fn what_another_thread_freed_is_not_live() {
    for mode in Mode::ALL {
        let mut running = steps(mode);
        let first = number(&stat(running.pid()), "/bytes/live");
        let held: u64 = running.step("fill").parse().expect("bytes");
        let left: u64 = running.step("thread").parse().expect("bytes");
        assert!(left < held);
        let stat = assert_sum(running.pid(), "thread");
        // A thread of libc's costs a block or two for its locals.
        let live = number(&stat, "/bytes/live") - first;
        assert!(live.abs_diff(left) < 8192, "{live}, {left}: {stat}");
    }
}

#[test]
fn a_class_has_as_many_live_objects_as_the_program() {
    let count = |stat: &serde_json::Value| {
        let classes = stat["size_classes"].as_array().expect("classes");
        let class = classes.iter().find(|class| class["bytes"] == 112);
        class.map_or(0, |class| number(class, "/live"))
    };
    for mode in Mode::ALL {
        let mut running = steps(mode);
        let first = count(&stat(running.pid()));
        running.step("exactly");
        let stat = stat(running.pid());
        assert_eq!(count(&stat) - first, 1000, "{mode:?}: {stat}");
        // They may have been of 97 bytes: the class below is that of 96.
        let classes = stat["size_classes"].as_array().expect("classes");
        for class in classes.iter().filter(|class| class["bytes"] == 112) {
            assert_eq!(class["waste_at_most"], 15 * number(class, "/live"));
        }
    }
}

#[test]
fn pages_that_were_never_touched_are_released_and_said_to_be_untouched() {
    let mut running = steps(Mode::Rseq);
    let before = stat(running.pid());
    running.step("sparse");
    let after = assert_sum(running.pid(), "sparse");
    let more = |path: &str| number(&after, path) - number(&before, path);
    assert_eq!(more("/bytes/untouched"), 64 << 20, "{after}");
    assert_eq!(number(&after, "/large/bytes"), 64 << 20);
    assert_eq!(number(&after, "/large/resident"), 0);
    assert_eq!(number(&after, "/large/largest/0/bytes"), 64 << 20);
    assert!(more("/bytes/live") == 0, "{after}");
}

#[test]
fn the_process_itself_says_the_same() {
    for mode in Mode::ALL {
        let mut running = steps(mode);
        for step in ["fill", "thin", "sparse", "drop"] {
            running.step(step);
            let told = running.step("tell");
            let told: Vec<u64> = told.split(' ').filter_map(|n| n.parse().ok()).collect();
            let words = [
                "live",
                "cached",
                "fragmented",
                "free",
                "metadata",
                "released",
                "untouched",
            ];
            assert_eq!(told.len(), words.len());
            let stat = stat(running.pid());
            for (word, told) in words.iter().zip(told) {
                let seen = number(&stat, &format!("/bytes/{word}"));
                // Between the two readings the program has written its figures.
                assert!(
                    seen.abs_diff(told) <= 128 << 10,
                    "{mode:?} {step} {word}: {told} told, {seen} seen: {stat}"
                );
            }
            assert!(
                step != "fill" || number(&stat, "/bytes/metadata") > 256 << 10,
                "{stat}"
            );
        }
    }
}

#[test]
fn what_an_object_gave_up_of_its_span_is_fragmented() {
    let mut running = steps(Mode::Rseq);
    let before = number(&stat(running.pid()), "/bytes/fragmented");
    running.step("shrink");
    let stat = assert_sum(running.pid(), "shrunken objects");
    let more = number(&stat, "/bytes/fragmented") - before;
    // 56 KiB of each of a hundred: up to the next 64.
    assert!((5600 << 10..5800 << 10).contains(&more), "{stat}");
}
