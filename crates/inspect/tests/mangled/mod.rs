//! A heap whose books lie: our own is read, and what is read is changed on the
//! way, as the input says.
//!
//! One interpreter for the property tests, the corpus and the fuzz target
//! (`fuzz/fuzz_targets/inspect.rs`): any bytes are a list of changes. It holds
//! the reader to this: it comes to an end, does not panic, keeps what it returns
//! small, and what it returns adds up.

use std::cell::RefCell;
use std::sync::OnceLock;

use thmalloc_core::fatal::Call;
use thmalloc_core::heap::{BLOCK, HEAP};
use thmalloc_inspect::find;
use thmalloc_inspect::layout::Layout;
use thmalloc_inspect::memory::{Fault, Memory, ProcessMemory};
use thmalloc_inspect::proc;
use thmalloc_inspect::reading::{self, Budget, Reading};

/// The block of this process; of the same content as the one that is found by
/// its note.
static HERE: thmalloc_format::Block = BLOCK;

/// What is to be changed: in which of the copies from here on, where, and by
/// what.
#[derive(Clone, Copy, Debug)]
struct Change {
    copies: u8,
    at: u32,
    value: u64,
    width: u8,
}

/// What a reading may copy and look up here: twenty times what our heap takes, so
/// that inputs which want everything cost no more than a moment.
const MOST_BYTES: u64 = 1 << 26;
const MOST_PAGES: u64 = 1 << 21;

/// Bytes of a change in the input.
const CHANGE: usize = 14;

/// Our own memory, with changes.
struct Mangled {
    memory: ProcessMemory,
    changes: RefCell<Vec<Change>>,
}

impl Mangled {
    fn new(input: &[u8]) -> Self {
        let mut changes: Vec<Change> = input.chunks_exact(CHANGE).map(parse).collect();
        changes.reverse();
        Self {
            memory: ProcessMemory::new(std::process::id()),
            changes: RefCell::new(changes),
        }
    }

    /// The changes that are due in this copy.
    fn due(&self) -> Vec<Change> {
        let mut due = Vec::new();
        let mut changes = self.changes.borrow_mut();
        while let Some(next) = changes.last_mut() {
            if next.copies != 0 {
                next.copies -= 1;
                break;
            }
            due.extend(changes.pop());
        }
        due
    }
}

fn parse(bytes: &[u8]) -> Change {
    let number = |from: usize, to: usize| {
        let bytes = bytes[from..to].iter().rev();
        bytes.fold(0_u64, |sum, &byte| sum << 8 | u64::from(byte))
    };
    Change {
        copies: bytes[0],
        at: number(1, 5) as u32,
        value: number(5, 13),
        width: bytes[13] % 4,
    }
}

impl Memory for Mangled {
    fn gather(&self, pieces: &[(u64, usize)], into: &mut [u8]) -> Result<(), Fault> {
        self.memory.gather(pieces, into)?;
        for change in self.due() {
            let width = 1 << change.width;
            let Some(places) = (into.len() / width).checked_sub(1) else {
                continue;
            };
            let at = change.at as usize % (places + 1) * width;
            into[at..at + width].copy_from_slice(&change.value.to_le_bytes()[..width]);
        }
        Ok(())
    }

    fn residency(&self, first: u64, page_bytes: u64, pages: &mut [bool]) -> Result<bool, Fault> {
        self.memory.residency(first, page_bytes, pages)
    }
}

/// Fills our heap with some of everything, once.
pub fn fill() {
    static FILLED: OnceLock<()> = OnceLock::new();
    FILLED.get_or_init(|| {
        let mut objects = Vec::new();
        for index in 0..6000_usize {
            let bytes = match index % 40 {
                0 => 20_000 + index,
                1 => 300_000,
                2 if index < 200 => 5 << 20,
                kind => 8 + kind * 13,
            };
            objects.push(HEAP.allocate(bytes));
        }
        for (index, object) in objects.into_iter().enumerate() {
            if index % 3 != 0 {
                #[allow(unsafe_code, reason = "gives objects back that it has just got")]
                // SAFETY: allocated above, and known to nobody else.
                unsafe {
                    HEAP.free(object, Call::Free);
                }
            }
        }
    });
}

/// Reads our heap through the changes; `None`: it was refused.
pub fn run(input: &[u8]) -> Option<Reading> {
    fill();
    let (first, input) = input.split_first()?;
    let memory = Mangled::new(input);
    let layout = match first % 4 {
        // The way to the block lies, too.
        0 => {
            let mappings = proc::mappings(std::process::id(), false).expect("our mappings");
            let heaps = find::find(&memory, &mappings).ok()?;
            heaps.found.into_iter().next()?.layout
        }
        // The block does.
        1 => Layout::read(&memory, (&raw const HERE).addr() as u64, 0).ok()?,
        // Only the heap does.
        _ => Layout::read(&memory.memory, (&raw const HERE).addr() as u64, 0).expect("our block"),
    };
    let full = first & 4 != 0;
    let budget = Budget::new(MOST_BYTES, MOST_PAGES);
    let reading = reading::read(&memory, &layout, &budget, full, 1).ok()?;
    let words = &reading.words;
    let parts = [
        words.live,
        words.cached,
        words.fragmented,
        words.free,
        words.metadata,
    ];
    assert_eq!(parts.iter().sum::<u64>(), words.resident);
    assert!(words.untouched <= words.released);
    assert!(reading.regions.len() <= 1 << 16);
    assert!(reading.large.largest.len() <= 10);
    Some(reading)
}
