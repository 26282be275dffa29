//! The rules: what a process's memory is held by, from readings alone.
//!
//! Always: pure functions; equal readings give equal verdicts. Growth comes first,
//! since it has no end; then what the allocator has and the program does not use;
//! then whoever has most.

use serde::Serialize;
use thmalloc_inspect::Snapshot;
use thmalloc_inspect::snapshot::{PageOwner, ScavengerState};

/// Less than this is no growth: caches alone move by as much.
const GROWTH_LEAST: u64 = 1 << 20;
/// Nor is less than this part of what was there at first.
const GROWTH_PART: u64 = 1000;
/// What fell between two readings is at most this part of what was gained.
const FALLS_PART: u64 = 10;
/// Each half of the time brought at least this part of the gain: a program that
/// has just taken what it needs does not grow.
const HALF_PART: u64 = 5;
/// Unused memory is the verdict from this part of the process's memory on.
const UNUSED_PART: u64 = 4;
/// A process with less has nothing worth a verdict.
const LITTLE: u64 = 8 << 20;

/// What holds a process's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Verdict {
    /// Live objects of one size class become more.
    GrowingClass {
        /// Which class.
        class: u32,
        /// The size of its objects.
        object_bytes: u64,
    },
    /// Live objects of several classes become more.
    GrowingObjects,
    /// Large objects become more.
    GrowingLarge,
    /// Anonymous memory grows that is neither the heap's nor a stack.
    GrowingOther,
    /// Stacks grow.
    GrowingStacks,
    /// Resident pages of files and of shared memory become more.
    GrowingFiles,
    /// Free objects that share spans with live ones.
    Fragmented,
    /// Free objects in caches.
    Cached,
    /// Whole free spans, which stay since giving back is switched off.
    FreeKept,
    /// Whole free spans, which go back soon.
    FreeWaiting,
    /// Live objects.
    Live,
    /// The allocator's own books.
    Metadata,
    /// Anonymous memory that is neither the heap's nor a stack.
    Other,
    /// Stacks.
    Stacks,
    /// Files and shared memory.
    Files,
    /// There is hardly any.
    Little,
}

/// What became more while it was watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Growth {
    /// What.
    pub verdict: Verdict,
    /// By how many bytes.
    pub bytes: u64,
}

/// The verdict on readings in the order of their time, at least one.
pub fn verdict(readings: &[Snapshot]) -> Verdict {
    let Some(last) = readings.last() else {
        return Verdict::Little;
    };
    if let Some(growth) = growth(readings) {
        return growth.verdict;
    }
    let total = total(last);
    if total < LITTLE {
        return Verdict::Little;
    }
    let words = &last.bytes;
    let free = match last.scavenger.state {
        ScavengerState::Off => Verdict::FreeKept,
        _ => Verdict::FreeWaiting,
    };
    let unused = largest([
        (words.fragmented, Verdict::Fragmented),
        (words.cached, Verdict::Cached),
        (words.free, free),
    ]);
    if unused.0 >= total / UNUSED_PART {
        return unused.1;
    }
    largest([
        (words.live, Verdict::Live),
        (words.metadata, Verdict::Metadata),
        (last.resident.other_anonymous, Verdict::Other),
        (last.resident.stacks, Verdict::Stacks),
        (last.resident.file_and_shared, Verdict::Files),
    ])
    .1
}

/// What the whole process has.
pub fn total(snapshot: &Snapshot) -> u64 {
    snapshot.resident.total.max(snapshot.bytes.resident)
}

/// The first of the largest.
fn largest<const N: usize>(shares: [(u64, Verdict); N]) -> (u64, Verdict) {
    let mut best = shares[0];
    for share in shares {
        if share.0 > best.0 {
            best = share;
        }
    }
    best
}

/// The live bytes of a class, as far as its spans are resident.
pub fn live_of(snapshot: &Snapshot, class: u32) -> u64 {
    let found = snapshot
        .size_classes
        .iter()
        .find(|view| view.class == class);
    found.map_or(0, |view| view.live.saturating_mul(view.bytes))
}

/// What grew most, if anything did all the time.
pub fn growth(readings: &[Snapshot]) -> Option<Growth> {
    let mut found: Vec<Growth> = Vec::new();
    let mut look = |verdict, pick: &dyn Fn(&Snapshot) -> u64| {
        let series: Vec<u64> = readings.iter().map(pick).collect();
        let growth = steady(&series).map(|bytes| Growth { verdict, bytes });
        found.extend(growth);
        growth
    };
    for view in &readings.last()?.size_classes {
        let class = view.class;
        let verdict = Verdict::GrowingClass {
            class,
            object_bytes: view.bytes,
        };
        look(verdict, &|snapshot| live_of(snapshot, class));
    }
    look(Verdict::GrowingLarge, &|snapshot| snapshot.large.resident);
    look(Verdict::GrowingOther, &|snapshot| {
        snapshot.resident.other_anonymous
    });
    look(Verdict::GrowingStacks, &|snapshot| snapshot.resident.stacks);
    look(Verdict::GrowingFiles, &|snapshot| {
        snapshot.resident.file_and_shared
    });
    let all = look(Verdict::GrowingObjects, &|snapshot| {
        let small = snapshot.bytes.live.checked_sub(snapshot.large.resident);
        small.unwrap_or(0)
    });
    // Objects of all classes together grow at least as much as those of one; one
    // is to blame if it has more than half of it.
    if let Some(all) = all {
        let one = found.iter().any(|growth| {
            matches!(growth.verdict, Verdict::GrowingClass { .. }) && growth.bytes > all.bytes / 2
        });
        found.retain(|growth| match growth.verdict {
            Verdict::GrowingClass { .. } => one,
            Verdict::GrowingObjects => !one,
            _ => true,
        });
    }
    found.into_iter().max_by_key(|growth| growth.bytes)
}

/// By how much a series grew, if it did so from beginning to end.
fn steady(series: &[u64]) -> Option<u64> {
    let (&first, &last) = (series.first()?, series.last()?);
    let grown = last.checked_sub(first)?;
    if series.len() < 3 || grown < GROWTH_LEAST.max(first / GROWTH_PART) {
        return None;
    }
    let fell = |pair: &[u64]| pair[0].saturating_sub(pair[1]);
    let falls: u64 = series.windows(2).map(fell).sum();
    let middle = series[series.len() / 2];
    let least = grown / HALF_PART;
    let halves = middle.saturating_sub(first) >= least && last.saturating_sub(middle) >= least;
    (halves && falls <= grown / FALLS_PART).then_some(grown)
}

/// Bytes of small spans' resident pages that hold nothing of the program's: a trim
/// gives them back, those that caches hold included.
pub fn without_live(snapshot: &Snapshot) -> u64 {
    let pages = snapshot.regions.iter().flat_map(|region| &region.pages);
    let empty = pages.filter(|page| {
        page.resident && page.live == 0 && matches!(page.owner, PageOwner::Small(_))
    });
    empty.count() as u64 * 4096
}

#[cfg(test)]
mod tests {
    use super::*;
    use thmalloc_inspect::sample::{Sample, Slot};

    fn every(n: u64) -> impl Fn(u64) -> Slot {
        move |object| {
            if object.is_multiple_of(n) {
                Slot::Live
            } else {
                Slot::Free
            }
        }
    }

    /// Readings a second apart of what grows by steps.
    fn watched(heap: impl Fn(u32) -> Sample) -> Vec<Snapshot> {
        let reading = |step| {
            let mut snapshot = heap(step).snapshot();
            snapshot.time_ms += 1000 * u64::from(step);
            snapshot
        };
        (0..6).map(reading).collect()
    }

    fn still(snapshot: Snapshot) -> Verdict {
        verdict(&[snapshot.clone(), snapshot.clone(), snapshot])
    }

    #[test]
    fn objects_of_a_class_that_become_more_are_growth() {
        let leak = watched(|step| {
            Sample::new()
                .small(4, 200 + 20 * step, every(1))
                .small(20, 50, every(2))
        });
        let class = Verdict::GrowingClass {
            class: 4,
            object_bytes: 48,
        };
        assert_eq!(verdict(&leak), class);
        // A slow one, in a heap that is much larger.
        let slow = watched(|step| Sample::new().small(4, 8000 + 4 * step, every(1)));
        assert_eq!(verdict(&slow), class);
    }

    #[test]
    fn objects_of_many_classes_and_large_ones_grow_too() {
        let many = watched(|step| {
            (2..12).fold(Sample::new(), |heap, class| {
                heap.small(class, 50 + 10 * step, every(1))
            })
        });
        assert_eq!(verdict(&many), Verdict::GrowingObjects);
        let large = watched(|step| {
            Sample::new().large(1000 * (1 + step as usize), 500 * (1 + step as usize))
        });
        assert_eq!(verdict(&large), Verdict::GrowingLarge);
        let untouched = watched(|step| {
            Sample::new()
                .small(4, 300, every(1))
                .large(10_000 * (1 + step as usize), 10)
        });
        assert_eq!(verdict(&untouched), Verdict::Live);
    }

    #[test]
    fn what_is_not_the_heaps_grows_too() {
        for (verdict_is, pick) in [
            (Verdict::GrowingOther, 0),
            (Verdict::GrowingStacks, 1),
            (Verdict::GrowingFiles, 2),
        ] {
            let mut readings = watched(|_| Sample::new().small(4, 300, every(1)));
            for (step, snapshot) in readings.iter_mut().enumerate() {
                let grown = (step as u64 + 1) << 22;
                let resident = &mut snapshot.resident;
                *[
                    &mut resident.other_anonymous,
                    &mut resident.stacks,
                    &mut resident.file_and_shared,
                ][pick] += grown;
                resident.total += grown;
            }
            assert_eq!(verdict(&readings), verdict_is);
        }
    }

    #[test]
    fn what_rises_once_or_swings_does_not_grow() {
        const MIB: u64 = 1 << 20;
        assert_eq!(steady(&[10, 10 + MIB, 10 + 2 * MIB]), Some(2 * MIB));
        assert_eq!(steady(&[10, 10 + MIB]), None, "two readings say nothing");
        let of = |series: &[u64]| {
            let series: Vec<u64> = series.iter().map(|mib| mib * MIB).collect();
            steady(&series).map(|bytes| bytes / MIB)
        };
        assert_eq!(of(&[10, 20, 30, 40, 50, 60]), Some(50));
        assert_eq!(of(&[10, 60, 60, 60, 60, 60]), None, "one step, at first");
        assert_eq!(of(&[10, 10, 10, 10, 10, 60]), None, "one step, at last");
        assert_eq!(of(&[10, 60, 10, 60, 10, 60]), None, "a swing");
        assert_eq!(of(&[10, 40, 20, 50, 30, 60]), None, "one that rises");
        assert_eq!(of(&[60, 50, 40, 30]), None);
        assert_eq!(of(&[100, 110, 109, 121, 130]), Some(30), "a small fall");
        let slight = [4096 * MIB, 4097 * MIB, 4098 * MIB];
        assert_eq!(steady(&slight), None, "below a thousandth");
    }

    #[test]
    fn unused_memory_is_the_verdict_from_a_quarter_on() {
        assert_eq!(
            still(Sample::new().small(4, 300, every(50)).snapshot()),
            Verdict::Fragmented
        );
        assert_eq!(
            still(Sample::new().small(4, 300, every(1)).snapshot()),
            Verdict::Live
        );
        let cached = Sample::new().small(40, 300, |_| Slot::Cached);
        assert_eq!(still(cached.snapshot()), Verdict::Cached);
        let free = Sample::new().small(4, 300, every(1)).free(4000, true);
        let mut snapshot = free.clone().snapshot();
        assert_eq!(still(snapshot.clone()), Verdict::FreeWaiting);
        snapshot.scavenger.state = ScavengerState::Off;
        assert_eq!(still(snapshot), Verdict::FreeKept);
        let less = Sample::new().small(4, 300, every(1)).free(1000, true);
        assert_eq!(still(less.snapshot()), Verdict::Live);
        // Of the process, not of the heap.
        let mut elsewhere = Sample::new().small(4, 300, every(50)).snapshot();
        elsewhere.resident.file_and_shared += 100 << 20;
        elsewhere.resident.total += 100 << 20;
        assert_eq!(still(elsewhere), Verdict::Files);
        let released = Sample::new().small(4, 300, every(1)).free(40_000, false);
        assert_eq!(still(released.snapshot()), Verdict::Live);
    }

    #[test]
    fn who_has_most_is_the_verdict_where_nothing_is_unused() {
        let heap = || Sample::new().small(4, 300, every(1)).snapshot();
        for (pick, expected) in [Verdict::Other, Verdict::Stacks, Verdict::Files]
            .into_iter()
            .enumerate()
        {
            let mut snapshot = heap();
            let resident = &mut snapshot.resident;
            *[
                &mut resident.other_anonymous,
                &mut resident.stacks,
                &mut resident.file_and_shared,
            ][pick] += 100 << 20;
            resident.total += 100 << 20;
            assert_eq!(still(snapshot), expected);
        }
        let mut snapshot = heap();
        snapshot.bytes.metadata += 100 << 20;
        snapshot.bytes.resident += 100 << 20;
        assert_eq!(still(snapshot), Verdict::Metadata);
        assert_eq!(
            still(Sample::new().small(4, 3, every(1)).snapshot()),
            Verdict::Little
        );
        assert_eq!(verdict(&[]), Verdict::Little);
    }

    #[test]
    fn pages_without_a_live_object_are_what_a_trim_brings() {
        let rare = Sample::new().small(4, 10, every(850));
        let before = without_live(&rare.clone().snapshot());
        assert!(before > 64 * 4096 && before < 160 * 4096, "{before}");
        assert_eq!(without_live(&rare.trimmed().snapshot()), 0);
    }
}
