//! What is said of made-up readings.

use super::*;
use thmalloc_inspect::sample::{Sample, Slot};
use thmalloc_inspect::snapshot::MappedFile;

fn survivors() -> Vec<Snapshot> {
    let kept = |object: u64| {
        if object.is_multiple_of(50) {
            Slot::Live
        } else {
            Slot::Free
        }
    };
    let mut snapshot = Sample::new()
        .small(4, 400, kept)
        .small(20, 40, kept)
        .snapshot();
    let mut all = Vec::new();
    for _ in 0..3 {
        all.push(snapshot.clone());
        snapshot.time_ms += 2500;
    }
    all
}

fn said(readings: &[Snapshot], files: &[MappedFile]) -> String {
    text(&words::report(readings, files).expect("readings"))
}

/// The text with each run of white space as one blank.
fn flat(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn the_verdict_comes_first_and_then_what_was_seen_and_what_to_do() {
    let text = said(&survivors(), &[]);
    let flat = flat(&text);
    let places = [
        "sample, process 4711, read 3 times in 5.0 s",
        "Fragmentation holds it: ",
        "What was seen",
        "the live bytes hardly changed",
        "Objects of 48 bytes: 10920 of 546000 places in 400 spans are live (2 %), and 24.5 MiB are \
         pinned by them.",
        "What to do",
        "A trim would bring little",
    ];
    let mut rest = &flat[..];
    for place in places {
        let found = rest
            .find(place)
            .unwrap_or_else(|| panic!("{place:?} in {text}"));
        rest = &rest[found..];
    }
    assert!(
        text.lines().all(|line| line.chars().count() <= 78),
        "{text}"
    );
}

#[test]
fn what_a_trim_brings_is_said_where_it_is_worth_one() {
    let rare = Sample::new().small(4, 400, |object| match object % 850 {
        0 => Slot::Live,
        _ => Slot::Free,
    });
    let text = flat(&said(&[rare.snapshot()], &[]));
    assert!(
        text.contains("thmalloc trim 4711 gives the pages without a live object back, about "),
        "{text}"
    );
    assert!(!text.contains("A trim would bring little"), "{text}");
}

#[test]
fn what_becomes_less_shrinks_and_those_that_pin_most_come_first() {
    let mut readings = survivors();
    readings[0].bytes.live += 3 << 20;
    let text = flat(&said(&readings, &[]));
    assert!(
        text.contains("the live bytes shrank by 3.0 MiB, from "),
        "{text}"
    );
    let place = |bytes: u32| {
        let sign = format!("Objects of {bytes} bytes: ");
        text.find(&sign).unwrap_or_else(|| panic!("{sign}: {text}"))
    };
    // 400 spans, and 40.
    assert!(place(48) < place(352), "{text}");
}

#[test]
fn what_is_not_the_allocators_is_told_by_kind() {
    let mut readings = survivors();
    let resident = &mut readings[2].resident;
    resident.file_and_shared = 1 << 20;
    resident.stacks = 2 << 20;
    resident.other_anonymous = 3 << 20;
    let text = flat(&said(&readings, &[]));
    assert!(
        text.contains(
            "Not the allocator's: files and shared memory 1.0 MiB, stacks 2.0 MiB, other \
             anonymous memory 3.0 MiB."
        ),
        "{text}"
    );
}

#[test]
fn a_name_and_a_file_are_shown_on_one_line_whatever_is_in_them() {
    let mut readings = survivors();
    readings[2].process.name = "evil\n\u{1b}[2J; rm -rf /".into();
    let files = [MappedFile {
        name: "/tmp/a\u{7}b".into(),
        resident: 3 << 20,
    }];
    let text = said(&readings, &files);
    assert!(
        !text.contains('\u{1b}') && !text.contains('\u{7}'),
        "{text:?}"
    );
    assert!(flat(&text).contains("The most: /tmp/a\\u{7}b 3.0 MiB."));
    assert!(flat(&text).contains("-o evil2Jrmrf.html"), "{text}");
}

#[test]
fn growth_is_told_with_its_rate_and_its_size() {
    let reading = |step: u32| {
        let heap = Sample::new().small(4, 400 + 64 * step, |_| Slot::Live);
        let mut snapshot = heap.snapshot();
        snapshot.time_ms += 1000 * u64::from(step);
        snapshot
    };
    let readings: Vec<_> = (0..6).map(reading).collect();
    let text = flat(&said(&readings, &[]));
    assert!(
        text.contains("live objects of 48 bytes become more, by 4.0 MiB a second"),
        "{text}"
    );
    assert!(
        text.contains("Objects of 48 bytes: 436800 more, which are 20.0 MiB;"),
        "{text}"
    );
    let report = words::report(&readings, &[]).expect("readings");
    let json = serde_json::to_value(&report).expect("JSON");
    assert_eq!(json["verdict"]["kind"], "growing_class");
    assert_eq!(json["verdict"]["object_bytes"], 48);
    assert_eq!(json["version"], 1);
}

#[test]
fn it_is_read_once_a_second_and_three_times_at_least() {
    let count = |seconds| readings(Duration::from_secs_f64(seconds));
    assert_eq!(
        [count(0.0), count(1.0), count(5.0), count(3600.0)],
        [3, 3, 6, 61]
    );
    for wrong in ["", "x", "-1", "nan", "inf", "1e9"] {
        assert!(seconds(wrong).is_err(), "{wrong}");
    }
    assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
}
