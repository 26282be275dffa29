//! A reading as text, in lines of 80 columns.

use std::fmt::Write;
use std::io::{self, IsTerminal};
use std::{env, iter};

use anstyle::{AnsiColor, Style};
use thmalloc_inspect::Snapshot;
use thmalloc_inspect::snapshot::{
    ClassView, CpuCacheView, Large, Scavenger, ScavengerState, Words,
};

use crate::{heaps, size};

/// What a line holds.
const WIDTH: usize = 80;

/// How text may look.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    colour: bool,
}

impl Look {
    /// As standard output takes it: colour only on a terminal, and never where
    /// NO_COLOR asks for none.
    pub fn of_stdout() -> Self {
        let set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = env::var_os("TERM").is_none_or(|term| term == "dumb" || term.is_empty());
        Self {
            colour: io::stdout().is_terminal() && !set("NO_COLOR") && !dumb,
        }
    }

    fn paint(self, style: Style, text: &str) -> String {
        match self.colour {
            true => format!("{style}{text}{style:#}"),
            false => text.to_owned(),
        }
    }
}

/// One of the words: its name, the letter of the bar, its colour, its bytes.
struct Part {
    name: &'static str,
    letter: char,
    colour: AnsiColor,
    bytes: fn(&Words) -> u64,
}

const PARTS: [Part; 5] = [
    Part {
        name: "live",
        letter: '#',
        colour: AnsiColor::Green,
        bytes: |words| words.live,
    },
    Part {
        name: "cached",
        letter: '+',
        colour: AnsiColor::Cyan,
        bytes: |words| words.cached,
    },
    Part {
        name: "fragmented",
        letter: ':',
        colour: AnsiColor::Yellow,
        bytes: |words| words.fragmented,
    },
    Part {
        name: "free",
        letter: '.',
        colour: AnsiColor::Blue,
        bytes: |words| words.free,
    },
    Part {
        name: "metadata",
        letter: '=',
        colour: AnsiColor::Magenta,
        bytes: |words| words.metadata,
    },
];

fn heading(look: Look, text: &str) -> String {
    look.paint(Style::new().bold(), text)
}

/// A whole reading; with the one before it, what has changed.
pub fn stat(look: &Look, now: &Snapshot, before: Option<&Snapshot>) -> String {
    let look = *look;
    let mut out = title(look, now);
    out.push('\n');
    let _ = writeln!(out, "{}", bar(look, &now.bytes));
    out.push_str(&words(look, &now.bytes, before.map(|before| &before.bytes)));
    out.push_str(&kernel(now));
    out.push_str(&classes(
        look,
        &now.size_classes,
        before.map(|before| &before.size_classes[..]),
    ));
    out.push_str(&caches(look, &now.cpu_caches));
    out.push_str(&large(look, &now.large));
    out.push_str(&giving_back(look, now, before));
    out
}

/// Whose it is.
fn title(look: Look, now: &Snapshot) -> String {
    let process = &now.process;
    let threads = match process.threads {
        1 => "1 thread".to_owned(),
        count => format!("{count} threads"),
    };
    let what = format!(
        "process {}, {threads}, thmalloc {}, cache={}",
        process.pid,
        size::line(&process.release),
        process.cache_mode
    );
    let mut out = format!("{}\n{what}\n", heading(look, &cut(&process.command)));
    if !now.consistency.exact {
        let _ = writeln!(
            out,
            "read {} times, each time while it changed: no figure is of one moment",
            now.consistency.attempts
        );
    }
    for sentence in heaps::sentences(now) {
        out.push_str(&textwrap::fill(&sentence, WIDTH));
        out.push('\n');
    }
    out
}

/// Text of the process's own, on one line.
fn cut(text: &str) -> String {
    let line = size::line(text);
    match line.char_indices().nth(WIDTH - 1) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

/// The words that are memory, each as wide as its share.
fn bar(look: Look, words: &Words) -> String {
    let mut out = String::new();
    let (mut sum, mut column) = (0_u128, 0);
    for part in &PARTS {
        sum += u128::from((part.bytes)(words));
        // Where a part ends is rounded, not its length: so the bar is full.
        let end = sum * WIDTH as u128 / u128::from(words.resident.max(1));
        let end = (end as usize).min(WIDTH);
        let letters: String = iter::repeat_n(part.letter, end.saturating_sub(column)).collect();
        column = end.max(column);
        if !letters.is_empty() {
            out.push_str(&look.paint(part.colour.on_default(), &letters));
        }
    }
    out
}

/// The six words, and their sum.
pub fn words(look: Look, now: &Words, before: Option<&Words>) -> String {
    let mut out = String::new();
    let change = |bytes: fn(&Words) -> u64| match before {
        Some(before) => format!("  {:>12}", difference(bytes(now), bytes(before))),
        None => String::new(),
    };
    for part in &PARTS {
        let bytes = (part.bytes)(now);
        let letter = look.paint(part.colour.on_default(), &part.letter.to_string());
        let _ = writeln!(
            out,
            "{letter} {:<10}  {:>10}  {:>5}{}",
            part.name,
            size::bytes(bytes),
            size::percent(bytes, now.resident),
            change(part.bytes)
        );
    }
    let sum = format!(
        "  {:<10}  {:>10}       ",
        "resident",
        size::bytes(now.resident)
    );
    let resident = change(|words| words.resident);
    let _ = writeln!(
        out,
        "{}",
        format!("{}{resident}", heading(look, &sum)).trim_end()
    );
    let released = format!(
        "  {:<10}  {:>10}       ",
        "released",
        size::bytes(now.released)
    );
    let mut line = format!("{released}{}", change(|words| words.released));
    if now.untouched != 0 {
        // Beside the differences, there is no room on this line.
        let place = if before.is_some() {
            "\n             "
        } else {
            ""
        };
        let _ = write!(
            line,
            "{place}  {} of it live, not touched yet",
            size::bytes(now.untouched)
        );
    }
    let _ = writeln!(out, "{}", line.trim_end());
    out
}

/// How much more or less it is.
fn difference(now: u64, before: u64) -> String {
    match now.checked_sub(before) {
        Some(0) => "=".into(),
        Some(more) => format!("+{}", size::bytes(more)),
        None => format!("-{}", size::bytes(before - now)),
    }
}

fn kernel(now: &Snapshot) -> String {
    let resident = &now.resident;
    let mut out = format!(
        "The kernel counts {} for the heap, and {} for the process: {} of other anonymous \
         memory, {} of stacks, {} of files and shared memory.",
        size::bytes(resident.heap),
        size::bytes(resident.total),
        size::bytes(resident.other_anonymous),
        size::bytes(resident.stacks),
        size::bytes(resident.file_and_shared)
    );
    if resident.swapped != 0 {
        let _ = write!(out, " {} are swapped out.", size::bytes(resident.swapped));
    }
    if !now.consistency.by_page {
        out.push_str(" Which pages are resident could not be read: it is what the books expect.");
    }
    format!("{}\n", textwrap::fill(&out, WIDTH))
}

fn classes(look: Look, now: &[ClassView], before: Option<&[ClassView]>) -> String {
    if now.is_empty() {
        return String::new();
    }
    let head = format!(
        "{:>9} {:>10} {:>10} {:>9} {:>10} {:>6} {:>8} {:>11}",
        "size", "live", "waste", "cached", "free", "spans", "occupied", "fragmented"
    );
    let mut out = format!("\n{}\n", heading(look, &head));
    for class in now {
        let change = before.map(|before| {
            let old = before.iter().find(|old| old.class == class.class);
            old.map_or(0, |old| old.live)
        });
        // With --watch, only the classes that have changed.
        if change == Some(class.live) {
            continue;
        }
        let capacity = class.spans.saturating_mul(class.span_bytes);
        let _ = writeln!(
            out,
            "{:>9} {:>10} {:>10} {:>9} {:>10} {:>6} {:>8} {:>11}{}",
            size::exact(class.bytes),
            class.live,
            at_most(class.waste_at_most),
            class.cached,
            class.free,
            class.spans,
            size::percent(class.live.saturating_mul(class.bytes), capacity),
            size::bytes(class.fragmented),
            match change {
                Some(old) if old > class.live =>
                    format!("\n{:>20}", format!("-{}", old - class.live)),
                Some(old) => format!("\n{:>20}", format!("+{}", class.live - old)),
                None => String::new(),
            }
        );
    }
    out.push_str("waste: at most, inside live objects, by rounding sizes up\n");
    out
}

fn at_most(bytes: u64) -> String {
    match bytes {
        0 => "0 B".into(),
        more => format!("≤{}", size::bytes(more)),
    }
}

fn caches(look: Look, caches: &[CpuCacheView]) -> String {
    let mut out = String::new();
    if !caches.is_empty() {
        let head = format!("{:>9} {:>10} {:>10}", "CPU cache", "objects", "bytes");
        out = format!("\n{}\n", heading(look, &head));
    }
    for cache in caches {
        let bytes = size::bytes(cache.bytes);
        let _ = writeln!(out, "{:>9} {:>10} {bytes:>10}", cache.slot, cache.objects);
    }
    out
}

fn large(look: Look, large: &Large) -> String {
    if large.count == 0 {
        return String::new();
    }
    let what = match large.count {
        1 => "1 large object".to_owned(),
        count => format!("{count} large objects"),
    };
    let mut out = format!(
        "\n{}, {}, of which {} resident",
        heading(look, &what),
        size::bytes(large.bytes),
        size::bytes(large.resident)
    );
    if (large.largest.len() as u64) < large.count {
        let _ = write!(out, "; the {} largest", large.largest.len());
    }
    out.push_str(":\n");
    for object in &large.largest {
        let _ = writeln!(
            out,
            "{:>#18x} {:>10} {:>10}",
            object.address,
            size::bytes(object.bytes),
            size::bytes(object.resident)
        );
    }
    out
}

fn giving_back(look: Look, now: &Snapshot, before: Option<&Snapshot>) -> String {
    let totals = &now.totals;
    let mut out = format!("\n{}\n", heading(look, "Giving back"));
    match &now.heaps[..] {
        several @ [_, _, ..] => {
            for heap in several {
                let _ = writeln!(out, "{}:", cut(&heap.library));
                out.push_str(&scavenger(&heap.scavenger));
            }
        }
        _ => out.push_str(&scavenger(&now.scavenger)),
    }
    let _ = writeln!(
        out,
        "Given back so far: {}; wanted again, by page faults: {} ({}).",
        size::bytes(totals.released),
        size::bytes(totals.refaulted),
        size::percent(totals.refaulted, totals.released)
    );
    if let Some(before) = before {
        let old = &before.totals;
        let _ = writeln!(
            out,
            "Since the reading before: allocated {}, given back {}, wanted again {}.",
            size::bytes(totals.drawn.saturating_sub(old.drawn)),
            size::bytes(totals.released.saturating_sub(old.released)),
            size::bytes(totals.refaulted.saturating_sub(old.refaulted))
        );
    }
    out
}

fn scavenger(scavenger: &Scavenger) -> String {
    let ago = |time: Option<u64>| match time {
        Some(time) => format!("{} ago", milliseconds(time)),
        None => "never".into(),
    };
    let does = match scavenger.state {
        ScavengerState::InLine => {
            "No thread does it: a free that leaves too much unused gives it back. (In a\n\
             program with threads, one of ours does once the heap has 6 MiB.)"
                .into()
        }
        ScavengerState::Waiting => match scavenger.next_turn_in_ms {
            Some(0) => "A thread does it; its next turn is due.".into(),
            Some(time) => format!(
                "A thread does it; its next turn comes in {}.",
                milliseconds(time)
            ),
            None => "A thread does it, and is at work.".into(),
        },
        ScavengerState::Asleep => {
            "A thread does it; it sleeps until something is freed: nothing is left to do.".into()
        }
        ScavengerState::Off => "It is switched off (release_delay=off).".to_owned(),
        ScavengerState::Gone => "Nobody does it any more: the main thread has ended.".into(),
    };
    let mut out = format!("{does}\n");
    if scavenger.state != ScavengerState::Off {
        let _ = write!(
            out,
            "Unused memory waits {}",
            milliseconds(scavenger.delay_ms)
        );
        if scavenger.last_turn_ago_ms.is_some() {
            let _ = write!(out, "; last turn {}", ago(scavenger.last_turn_ago_ms));
        }
        let _ = writeln!(
            out,
            "; last given back {}.",
            ago(scavenger.last_release_ago_ms)
        );
    }
    out
}

/// A time as people say it.
pub fn milliseconds(time: u64) -> String {
    match time {
        0..1000 => format!("{time} ms"),
        1000..120_000 => format!("{:.1} s", time as f64 / 1000.0),
        120_000..7_200_000 => format!("{} min", time / 60_000),
        _ => format!("{} h", time / 3_600_000),
    }
}

#[cfg(test)]
mod tests;
