//! `stats_at_exit`: what the heap has to say when the process ends.
//!
//! It speaks last: the handler is registered before others, so it runs after them,
//! when the program's own have freed what they free. By then some programs have
//! closed standard error, or have another file there. So a duplicate is kept from
//! the beginning, and nothing is written to what is not the same file any more.
//!
//! Lock: none. What is kept is written at start-up, before the handler is there.
#![allow(unsafe_code)] // Keeps a path in raw metadata.

use core::ffi::{CStr, c_void};
use core::ptr::null_mut;

use super::{HEAP, Heap, HeapStats};
use crate::config::{MAX_PATH_BYTES, Summary};
use crate::fatal::{Line, Text};
use crate::metadata::Metadata;
use crate::os::{self, Identity};
use crate::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Ordering};

const STDERR: u32 = 2;

/// Where the summary goes.
pub struct Destination {
    /// Is a summary wanted, by a handler that is not registered yet?
    pending: AtomicBool,
    /// A C string; null: to standard error.
    path: AtomicPtr<u8>,
    /// The duplicate of standard error, and what it leads to.
    stderr: AtomicU32,
    device: AtomicU64,
    number: AtomicU64,
}

impl Destination {
    /// Nowhere.
    pub const fn new() -> Self {
        Self {
            pending: AtomicBool::new(false),
            path: AtomicPtr::new(null_mut()),
            stderr: AtomicU32::new(0),
            device: AtomicU64::new(0),
            number: AtomicU64::new(0),
        }
    }

    /// Keeps what will be needed at the end. Called once, at start-up.
    #[cold]
    #[inline(never)]
    pub fn keep(&self, metadata: &Metadata, summary: Summary<'_>) {
        // Relaxed, here and below: start-up publishes them.
        match summary {
            Summary::Stderr => {
                let Some(identity) = os::identity(STDERR) else {
                    return;
                };
                let copy = os::duplicate(STDERR).unwrap_or(STDERR);
                self.stderr.store(copy, Ordering::Relaxed);
                self.device.store(identity.device, Ordering::Relaxed);
                self.number.store(identity.number, Ordering::Relaxed);
            }
            Summary::File(path) => {
                let Some(path) = keep_path(metadata, path) else {
                    return;
                };
                self.path.store(path, Ordering::Relaxed);
            }
        }
        self.pending.store(true, Ordering::Relaxed);
    }

    /// Registers the handler, if a summary is wanted. Libc may allocate.
    pub fn register(&self) {
        // Relaxed: only one is to do it.
        if self.pending.swap(false, Ordering::Relaxed) {
            os::at_exit(write_summary);
        }
    }

    fn write(&self, text: &[u8]) {
        let path = self.path.load(Ordering::Relaxed);
        if path.is_null() {
            let kept = Identity {
                device: self.device.load(Ordering::Relaxed),
                number: self.number.load(Ordering::Relaxed),
            };
            let places = [self.stderr.load(Ordering::Relaxed), STDERR];
            let same = |&file: &u32| os::identity(file) == Some(kept);
            if let Some(file) = places.into_iter().find(same) {
                os::write_all(file, text);
            }
            return;
        }
        // SAFETY: `keep_path` made it a C string, for good.
        let path = unsafe { CStr::from_ptr(path.cast()) };
        if !os::append(path, text) {
            Line::new()
                .text("stats_at_exit: cannot write to ")
                .bytes(path.to_bytes())
                .write();
        }
    }
}

/// A copy of a path, absolute if that is known: programs change their directory, and
/// write over their environment.
fn keep_path(metadata: &Metadata, path: &[u8]) -> Option<*mut u8> {
    let mut room = [0; MAX_PATH_BYTES + 1];
    let directory = match path.starts_with(b"/") {
        true => b"",
        false => os::working_directory(&mut room),
    };
    let slash: &[u8] = if directory.is_empty() { b"" } else { b"/" };
    let length = directory.len() + slash.len() + path.len();
    let memory = metadata.allocate_bytes(length + 1, 1).ok()?;
    // SAFETY: zeroed metadata of that length, ours for good.
    let kept = unsafe { core::slice::from_raw_parts_mut(memory.as_ptr(), length) };
    let bytes = directory.iter().chain(slash).chain(path);
    kept.iter_mut()
        .zip(bytes)
        .for_each(|(to, from)| *to = *from);
    Some(memory.as_ptr())
}

extern "C" fn write_summary(_: *mut c_void) {
    HEAP.write_summary();
}

impl Heap {
    fn write_summary(&self) {
        let stats = self.stats();
        self.summary.write(summary_of(&stats).finish());
    }
}

fn summary_of(stats: &HeapStats) -> Text<1024> {
    let mut room = [0; 16];
    let pairs = |text: Text<1024>, pairs: &[(&str, usize)]| {
        let mut text = text;
        for &(name, bytes) in pairs {
            text = text.text(name).number(bytes);
        }
        text
    };
    let text = Text::new()
        .text("the heap of process ")
        .number(os::process_number() as usize)
        .text(" (")
        .bytes(os::process_name(&mut room))
        .text(") at its end, in bytes:")
        .line();
    let text = pairs(
        text,
        &[
            ("live ", stats.live),
            (", cached ", stats.cached),
            (", fragmented ", stats.fragmented),
            (", free ", stats.free),
            (", metadata ", stats.metadata),
        ],
    )
    .line();
    let text = pairs(
        text,
        &[
            ("resident ", stats.resident),
            (", released ", stats.released),
            (" (untouched ", stats.untouched),
        ],
    )
    .text(")")
    .line();
    let text = pairs(
        text,
        &[
            ("small objects ", stats.small_count),
            (" of ", stats.small_bytes),
            (", large objects ", stats.large_count),
            (" of ", stats.large_bytes),
        ],
    )
    .line();
    pairs(
        text,
        &[
            ("given back ", stats.ever_released),
            (", wanted again ", stats.ever_refaulted),
        ],
    )
}
