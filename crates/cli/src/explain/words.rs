//! The sentences: the verdict, what was seen, and what to do.

use serde::Serialize;
use thmalloc_inspect::Snapshot;
use thmalloc_inspect::snapshot::{ClassView, MappedFile, Resident, ScavengerState, Words};

use super::verdict::{self, Growth, Verdict};
use crate::heaps;
use crate::size::{bytes, line, percent};

/// As many classes and files are named.
const NAMED: usize = 3;

/// What there is to say of a process.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Raised when a field changes its meaning or goes.
    pub version: u32,
    /// The process.
    pub pid: u32,
    /// Its name.
    pub name: String,
    /// How long it was watched.
    pub seconds: f64,
    /// How often it was read.
    pub readings: usize,
    /// What holds its memory.
    pub verdict: Verdict,
    /// The same as a sentence.
    pub sentence: String,
    /// What was seen, in sentences.
    pub evidence: Vec<Evidence>,
    /// What to do about it.
    pub advice: Vec<String>,
    /// The six words at the end.
    pub bytes: Words,
    /// What the whole process had at the end.
    pub resident: Resident,
}

/// Something that was seen.
#[derive(Debug, Serialize)]
pub struct Evidence {
    /// What it is about: `process`, `heaps`, `growth`, `fragmented`, `cached`, `free`,
    /// `outside`, `released`, `swap` or `reading`.
    pub about: &'static str,
    /// In a sentence.
    pub sentence: String,
}

/// Says what readings, at least one, mean. `files` are the mapped files, those
/// with most memory first.
pub fn report(readings: &[Snapshot], files: &[MappedFile]) -> Option<Report> {
    let (first, last) = (readings.first()?, readings.last()?);
    let seconds = last.time_ms.saturating_sub(first.time_ms) as f64 / 1000.0;
    let told = Told {
        first,
        last,
        files,
        seconds,
        growth: verdict::growth(readings),
        total: verdict::total(last),
        trimmable: verdict::without_live(last),
    };
    let verdict = verdict::verdict(readings);
    Some(Report {
        version: 1,
        pid: last.process.pid,
        name: last.process.name.clone(),
        seconds,
        readings: readings.len(),
        verdict,
        sentence: told.sentence(verdict),
        evidence: told.evidence(),
        advice: told.advice(verdict),
        bytes: last.bytes,
        resident: last.resident,
    })
}

/// What the sentences are made of.
pub struct Told<'a> {
    first: &'a Snapshot,
    /// The last reading.
    pub last: &'a Snapshot,
    files: &'a [MappedFile],
    seconds: f64,
    growth: Option<Growth>,
    total: u64,
    /// What a trim would bring out of part-used spans.
    pub trimmable: u64,
}

impl Told<'_> {
    fn share(&self, part: u64) -> String {
        format!("{} ({})", bytes(part), percent(part, self.total))
    }

    /// How fast it grows.
    fn rate(&self) -> String {
        let grown = self.growth.map_or(0, |growth| growth.bytes);
        if self.seconds > 0.0 {
            format!("{} a second", bytes((grown as f64 / self.seconds) as u64))
        } else {
            bytes(grown)
        }
    }

    fn sentence(&self, verdict: Verdict) -> String {
        let words = &self.last.bytes;
        let resident = &self.last.resident;
        match verdict {
            Verdict::GrowingClass { object_bytes, .. } => format!(
                "It grows: live objects of {object_bytes} bytes become more, by {}.",
                self.rate()
            ),
            Verdict::GrowingObjects => format!(
                "It grows: live objects of several sizes become more, by {}.",
                self.rate()
            ),
            Verdict::GrowingLarge => {
                format!("It grows: large objects become more, by {}.", self.rate())
            }
            Verdict::GrowingOther => format!(
                "It grows outside the heap: anonymous memory that the program maps itself becomes \
                 more, by {}.",
                self.rate()
            ),
            Verdict::GrowingStacks => {
                format!(
                    "It grows outside the heap: stacks of threads, by {}.",
                    self.rate()
                )
            }
            Verdict::GrowingFiles => format!(
                "It grows outside the heap: pages of files and of shared memory, by {}.",
                self.rate()
            ),
            Verdict::Fragmented => format!(
                "Fragmentation holds it: {} are free, but in spans that live objects keep.",
                self.share(words.fragmented)
            ),
            Verdict::Cached => format!(
                "Caches hold it: {} are free objects that wait to be used again.",
                self.share(words.cached)
            ),
            Verdict::FreeKept => format!(
                "The allocator keeps it: {} are free, and giving back is switched off.",
                self.share(words.free)
            ),
            Verdict::FreeWaiting => format!(
                "The program has freed it: {} wait to go back to the system.",
                self.share(words.free)
            ),
            Verdict::Live => format!(
                "The program uses it: {} are live objects, and they do not grow.",
                self.share(words.live)
            ),
            Verdict::Metadata => format!(
                "The allocator's own books hold most: {}.",
                self.share(words.metadata)
            ),
            Verdict::Other => format!(
                "It is not the allocator's: {} are anonymous memory that the program maps itself.",
                self.share(resident.other_anonymous)
            ),
            Verdict::Stacks => format!(
                "It is not the allocator's: {} are stacks, of {} threads.",
                self.share(resident.stacks),
                self.last.process.threads
            ),
            Verdict::Files => format!(
                "It is not the allocator's: {} are pages of files or of shared memory.",
                self.share(resident.file_and_shared)
            ),
            Verdict::Little => format!("There is little to explain: it has {}.", bytes(self.total)),
        }
    }

    fn evidence(&self) -> Vec<Evidence> {
        let mut all = Vec::new();
        let mut add = |about, sentence| all.push(Evidence { about, sentence });
        let words = &self.last.bytes;
        add(
            "process",
            format!(
                "The process has {} resident. The heap has {} of it: live {}, cached {}, fragmented \
                 {}, free {}, metadata {}.",
                bytes(self.total),
                self.share(words.resident),
                bytes(words.live),
                bytes(words.cached),
                bytes(words.fragmented),
                bytes(words.free),
                bytes(words.metadata)
            ),
        );
        for sentence in heaps::sentences(self.last) {
            add("heaps", sentence);
        }
        for sentence in self.changes() {
            add("growth", sentence);
        }
        if words.fragmented >= 256 << 10 {
            add("fragmented", self.fragmented());
            for class in self.pinning() {
                add("fragmented", pinned(class));
            }
        }
        if words.cached >= 1 << 20 {
            add(
                "cached",
                format!(
                    "{} are free objects in the caches of CPUs ({} of them have any) and between \
                     them. The allocator hands them out without a lock.",
                    bytes(words.cached),
                    self.last
                        .cpu_caches
                        .iter()
                        .filter(|cache| cache.objects > 0)
                        .count()
                ),
            );
        }
        if words.free >= 1 << 20 {
            add("free", self.free());
        }
        add("outside", self.outside());
        if words.released > 0 {
            let mut sentence = format!(
                "{} of the heap's addresses have no memory and cost none",
                bytes(words.released)
            );
            if words.untouched > 0 {
                sentence += &format!(
                    ": {} of it the program has asked for and not touched yet",
                    bytes(words.untouched)
                );
            }
            add("released", sentence + ".");
        }
        if self.last.resident.swapped > 0 {
            add(
                "swap",
                format!("{} are swapped out.", bytes(self.last.resident.swapped)),
            );
        }
        if !self.last.consistency.exact {
            add(
                "reading",
                format!(
                    "The heap changed {} times while it was read last: the figures are not of one \
                     moment.",
                    self.last.consistency.changes
                ),
            );
        }
        all
    }

    /// What changed while it was watched.
    fn changes(&self) -> Vec<String> {
        let (before, now) = (self.first.bytes.live, self.last.bytes.live);
        let moved = now.abs_diff(before);
        if self.seconds <= 0.0 {
            return Vec::new();
        }
        let seconds = self.seconds;
        if moved < 64 << 10 && self.growth.is_none() {
            return vec![format!("In {seconds:.1} s the live bytes hardly changed.")];
        }
        let verb = if now >= before { "grew" } else { "shrank" };
        let mut sentences = vec![format!(
            "In {seconds:.1} s the live bytes {verb} by {}, from {} to {}.",
            bytes(moved),
            bytes(before),
            bytes(now)
        )];
        let mut classes: Vec<(u64, &ClassView, u64)> = Vec::new();
        for view in &self.last.size_classes {
            let old = verdict::live_of(self.first, view.class);
            let grown = (view.live.saturating_mul(view.bytes)).saturating_sub(old);
            classes.push((grown, view, grown / view.bytes.max(1)));
        }
        classes.sort_by_key(|(grown, view, _)| (std::cmp::Reverse(*grown), view.class));
        classes.retain(|(grown, ..)| *grown >= 64 << 10);
        for (grown, view, objects) in classes.into_iter().take(NAMED) {
            sentences.push(format!(
                "Objects of {} bytes: {objects} more, which are {}; {} live now.",
                view.bytes,
                bytes(grown),
                view.live
            ));
        }
        let (before, now) = (&self.first.large, &self.last.large);
        if now.resident.saturating_sub(before.resident) >= 64 << 10 {
            sentences.push(format!(
                "Large objects: from {} with {} to {} with {}.",
                before.count,
                bytes(before.resident),
                now.count,
                bytes(now.resident)
            ));
        }
        let outside = [
            (
                "Anonymous memory outside the heap",
                self.first.resident.other_anonymous,
                self.last.resident.other_anonymous,
            ),
            (
                "Stacks",
                self.first.resident.stacks,
                self.last.resident.stacks,
            ),
            (
                "Files and shared memory",
                self.first.resident.file_and_shared,
                self.last.resident.file_and_shared,
            ),
        ];
        for (what, before, now) in outside {
            if now.saturating_sub(before) >= 1 << 20 {
                let grown = bytes(now - before);
                sentences.push(format!("{what}: {grown} more, {} now.", bytes(now)));
            }
        }
        sentences
    }

    fn fragmented(&self) -> String {
        let words = &self.last.bytes;
        let trimmable = self.trimmable.min(words.fragmented);
        let mut sentence = format!(
            "{} are free objects in spans with live ones",
            bytes(words.fragmented)
        );
        if !self.last.regions.is_empty() {
            sentence += &format!(
                "; {} of it are pages without a live object, which can go back, the rest shares its \
                 pages with live objects",
                bytes(trimmable)
            );
        }
        sentence + "."
    }

    /// The classes that pin most.
    fn pinning(&self) -> Vec<&ClassView> {
        let mut classes: Vec<_> = self.last.size_classes.iter().collect();
        classes.retain(|class| class.fragmented >= 256 << 10);
        classes.sort_by_key(|class| (std::cmp::Reverse(class.fragmented), class.class));
        classes.truncate(NAMED);
        classes
    }

    fn free(&self) -> String {
        let scavenger = &self.last.scavenger;
        let when = match scavenger.state {
            ScavengerState::Off => "it stays, since release_delay=off".into(),
            ScavengerState::InLine => {
                "it goes back when the program next frees enough: there is no thread \
                 of ours that could do it"
                    .into()
            }
            ScavengerState::Gone => "it stays, since the main thread has ended".into(),
            ScavengerState::Waiting | ScavengerState::Asleep => match scavenger.next_turn_in_ms {
                Some(time) => format!("the next turn of giving back is in {time} ms"),
                None => "it is kept, since about as much is wanted again and again".into(),
            },
        };
        format!(
            "{} are whole spans that wait to be used again or to go back; {when}.",
            bytes(self.last.bytes.free)
        )
    }

    fn outside(&self) -> String {
        let resident = &self.last.resident;
        let mut sentence = format!(
            "Not the allocator's: files and shared memory {}, stacks {}, other anonymous memory {}.",
            bytes(resident.file_and_shared),
            bytes(resident.stacks),
            bytes(resident.other_anonymous)
        );
        let files = self.files.iter().filter(|file| file.resident >= 1 << 20);
        let named: Vec<_> = files
            .take(NAMED)
            .map(|file| format!("{} {}", line(&file.name), bytes(file.resident)))
            .collect();
        if !named.is_empty() {
            sentence += &format!(" The most: {}.", named.join(", "));
        }
        sentence
    }
}

fn pinned(class: &ClassView) -> String {
    let objects = class.spans.saturating_mul(class.span_objects);
    format!(
        "Objects of {} bytes: {} of {objects} places in {} spans are live ({}), and {} are pinned \
         by them.",
        class.bytes,
        class.live,
        class.spans,
        percent(class.live, objects),
        bytes(class.fragmented)
    )
}
