//! What is said of a process that has several heaps: a program with thmalloc in it
//! on which the library is preloaded, or whose plug-ins bring one of their own.

use thmalloc_inspect::Snapshot;

use crate::size::{bytes, line};

/// Sentences; none where there is one heap, as nearly always.
pub fn sentences(snapshot: &Snapshot) -> Vec<String> {
    let mut sentences = Vec::new();
    let heaps = &snapshot.heaps;
    if heaps.len() > 1 {
        let each: Vec<_> = heaps
            .iter()
            .map(|heap| format!("{} {}", line(&heap.library), bytes(heap.bytes.resident)))
            .collect();
        sentences.push(format!(
            "The process has {} heaps of thmalloc, and the figures are their sums: {}.",
            heaps.len(),
            each.join(", ")
        ));
    }
    match snapshot.process.heaps_left_out {
        0 => {}
        1 => sentences.push(
            "One more heap in it is of another version of thmalloc, and not counted here.".into(),
        ),
        more => sentences.push(format!(
            "{more} more heaps in it are of other versions of thmalloc, and not counted here."
        )),
    }
    sentences
}

#[cfg(test)]
mod tests {
    use super::*;
    use thmalloc_inspect::sample::{Sample, Slot};

    #[test]
    fn one_heap_is_not_worth_a_word_and_several_are_named() {
        let mut snapshot = Sample::new().small(4, 1, |_| Slot::Live).snapshot();
        assert!(sentences(&snapshot).is_empty());
        let mut other = snapshot.heaps[0].clone();
        other.library = "/opt/prog\n".into();
        snapshot.heaps.push(other);
        snapshot.process.heaps_left_out = 2;
        let [named, left_out] = &sentences(&snapshot)[..] else {
            panic!("two sentences");
        };
        assert!(named.contains("2 heaps"), "{named}");
        assert!(named.contains(r"/opt/prog\n 1.1 MiB"), "{named}");
        assert!(left_out.starts_with("2 more heaps"), "{left_out}");
    }
}
