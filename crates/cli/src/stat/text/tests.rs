//! What `thmalloc stat` prints of made-up readings.

use super::*;
use thmalloc_inspect::sample::{Sample, Slot};

const PLAIN: Look = Look { colour: false };

fn heap() -> Sample {
    let half = |object: u64| match object % 2 {
        0 => Slot::Live,
        _ => Slot::Free,
    };
    Sample::new()
        .small(4, 100, half)
        .small(20, 10, |_| Slot::Cached)
        .large(500, 200)
        .free(300, true)
}

/// The line that begins with a word; blanks are one.
#[track_caller]
fn line(text: &str, start: &str) -> String {
    let mut lines = text.lines().map(|line| {
        let words: Vec<_> = line.split_whitespace().collect();
        words.join(" ")
    });
    let found = lines.find(|line| line.starts_with(start));
    found.unwrap_or_else(|| panic!("no {start}: {text}"))
}

#[test]
fn the_bar_is_as_long_as_a_line_and_has_a_letter_for_each_word() {
    let snapshot = heap().snapshot();
    let text = stat(&PLAIN, &snapshot, None);
    let bar = text
        .lines()
        .find(|line| line.starts_with("##"))
        .expect("a bar");
    assert_eq!(bar.len(), 80);
    for (part, bytes) in PARTS.iter().zip([
        snapshot.bytes.live,
        snapshot.bytes.cached,
        snapshot.bytes.fragmented,
        snapshot.bytes.free,
        snapshot.bytes.metadata,
    ]) {
        let letters = bar.chars().filter(|&letter| letter == part.letter).count() as u64;
        let share = bytes * 80 / snapshot.bytes.resident;
        assert!(letters.abs_diff(share) <= 1, "{}: {bar}", part.name);
    }
    assert!(
        text.lines().all(|line| line.chars().count() <= 80),
        "{text}"
    );
}

#[test]
fn a_class_says_its_occupancy_in_bytes() {
    let text = stat(&PLAIN, &heap().snapshot(), None);
    // 100 spans of 64 KiB hold 1365 objects of 48 bytes each, half of them live.
    let class = line(&text, "48 B 68250 ");
    assert!(class.contains(" 100 50 % "), "{class}");
    assert_eq!(
        line(&text, "1 large object"),
        "1 large object, 2.0 MiB, of which 800.0 KiB resident:"
    );
}

#[test]
fn differences_have_their_sign_and_still_fit() {
    let before = heap().snapshot();
    let mut now = before.clone();
    now.bytes.live -= 3 << 20;
    now.bytes.free += 2 << 20;
    now.bytes.untouched += 1 << 30;
    let text = stat(&PLAIN, &now, Some(&before));
    assert!(line(&text, "# live").ends_with(" -3.0 MiB"), "{text}");
    assert!(line(&text, ". free").ends_with(" +2.0 MiB"), "{text}");
    assert!(line(&text, "+ cached").ends_with(" ="), "{text}");
    assert!(
        text.lines().all(|line| line.chars().count() <= 80),
        "{text}"
    );
    // Of the classes, those that have changed.
    assert!(!text.contains("48 B"), "{text}");
    now.size_classes[0].live += 7;
    let text = stat(&PLAIN, &now, Some(&before));
    assert!(text.contains("\n                  +7\n"), "{text}");
}

#[test]
fn who_gives_back_is_told_and_when() {
    let mut snapshot = heap().snapshot();
    let said = |snapshot: &Snapshot| giving_back(PLAIN, snapshot, None);
    let text = said(&snapshot);
    assert!(
        text.contains("it sleeps until something is freed"),
        "{text}"
    );
    assert!(
        text.contains("last turn 1.2 s ago; last given back 1.5 s ago"),
        "{text}"
    );
    for (state, next, told) in [
        (
            ScavengerState::Waiting,
            Some(75),
            "its next turn comes in 75 ms.",
        ),
        (ScavengerState::Waiting, Some(0), "its next turn is due."),
        (ScavengerState::Waiting, None, "is at work."),
        (
            ScavengerState::InLine,
            None,
            "No thread does it: a free that leaves too much",
        ),
        (
            ScavengerState::Off,
            None,
            "It is switched off (release_delay=off).",
        ),
        (ScavengerState::Gone, None, "Nobody does it any more"),
    ] {
        snapshot.scavenger.state = state;
        snapshot.scavenger.next_turn_in_ms = next;
        let text = said(&snapshot);
        assert!(text.contains(told), "{state:?}: {text}");
        assert_eq!(
            text.contains("Unused memory waits"),
            state != ScavengerState::Off
        );
    }
    snapshot.totals.released = 10 << 20;
    snapshot.totals.refaulted = 1 << 20;
    let text = said(&snapshot);
    assert!(
        text.contains("Given back so far: 10.0 MiB; wanted again, by page faults: 1.0 MiB (10 %)."),
        "{text}"
    );
    // Of several heaps, each.
    let mut other = snapshot.heaps[0].clone();
    other.library = "/opt/other".into();
    other.scavenger.state = ScavengerState::Off;
    snapshot.heaps.push(other);
    let text = said(&snapshot);
    assert!(
        text.contains("/usr/lib/libthmalloc.so:\nA thread does it;"),
        "{text}"
    );
    assert!(text.contains("/opt/other:\nIt is switched off"), "{text}");
}
