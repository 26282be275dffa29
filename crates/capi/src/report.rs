//! Figures and knobs that glibc has: mallinfo(3), malloc_info(3),
//! malloc_stats(3), mallopt(3), malloc_trim(3).
//!
//! Thread-safe; not async-signal-safe.
#![allow(unsafe_code)] // C symbols and streams.

use core::ffi::{CStr, c_int, c_void};
use core::fmt::{self, Write};

use thmalloc_core::fatal::Line;
use thmalloc_core::heap::{BLOCK, HEAP, HeapStats};
use thmalloc_core::size_class::SizeClass;
use thmalloc_format::Block;

use crate::c::set_errno;

/// Where another process finds the heap's books: what the library's note leads to,
/// by name.
#[unsafe(no_mangle)]
#[allow(non_upper_case_globals)]
pub static thmalloc_block: Block = BLOCK;

/// malloc_trim(3): gives back all that is free, the caches of all CPUs
/// included. 1 if that was anything. `pad` is not kept: what is free comes back
/// as fast as the system can.
#[unsafe(no_mangle)]
pub extern "C" fn malloc_trim(_pad: usize) -> c_int {
    (HEAP.trim() != 0).into()
}

/// Gives all memory that is free back to the system now, the caches of all CPUs
/// and the pages of part-used spans included. Returns how many bytes that were.
#[unsafe(no_mangle)]
pub extern "C" fn thmalloc_purge() -> usize {
    HEAP.trim()
}

/// `struct thmalloc_stats` of thmalloc.h, in the same order.
#[repr(C)]
struct Stats([u64; 14]);

impl Stats {
    fn now() -> Self {
        let stats = HEAP.stats();
        Self(
            [
                stats.live,
                stats.cached,
                stats.fragmented,
                stats.free,
                stats.metadata,
                stats.released,
                stats.untouched,
                stats.resident,
                stats.small_count,
                stats.small_bytes,
                stats.large_count,
                stats.large_bytes,
                stats.ever_released,
                stats.ever_refaulted,
            ]
            .map(|figure| figure as u64),
        )
    }
}

/// Where the heap's memory is: fills in the first `bytes` bytes of `*stats`, with
/// zeros where there is no figure. Returns how many bytes have figures.
///
/// # Safety
/// `stats` may be written to for that many bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn thmalloc_stats(stats: *mut c_void, bytes: usize) -> usize {
    let known = size_of::<Stats>();
    if !stats.is_null() {
        let now = Stats::now();
        let stats = stats.cast::<u8>();
        let count = bytes.min(known);
        // SAFETY: by contract; `now` has as many bytes.
        unsafe {
            stats.copy_from_nonoverlapping((&raw const now).cast(), count);
            stats.add(count).write_bytes(0, bytes - count);
        }
    }
    known
}

/// mallopt(3): 1 for the parameters that glibc has; none changes anything here.
/// 0 for others.
#[unsafe(no_mangle)]
pub extern "C" fn mallopt(parameter: c_int, _value: c_int) -> c_int {
    // M_MXFAST, and M_TRIM_THRESHOLD down to M_ARENA_MAX (malloc.h of glibc).
    matches!(parameter, 1 | -8..=-1).into()
}

/// mallinfo2(3). `arena` is what is mapped for objects, `hblks` and `hblkhd` are
/// large objects, `ordblks` small ones, `uordblks` what is handed out, touched or
/// not, `fsmblks` what is cached, `fordblks` all that is resident and not handed
/// out, `keepcost` the part of it that `malloc_trim` gives back whole.
#[unsafe(no_mangle)]
pub extern "C" fn mallinfo2() -> libc::mallinfo2 {
    let stats = HEAP.stats();
    libc::mallinfo2 {
        arena: stats.mapped,
        ordblks: stats.small_count,
        smblks: 0,
        hblks: stats.large_count,
        hblkhd: stats.large_bytes,
        usmblks: 0,
        fsmblks: stats.cached,
        uordblks: stats.small_bytes + stats.large_bytes,
        fordblks: stats.cached + stats.fragmented + stats.free,
        keepcost: stats.free,
    }
}

/// mallinfo(3): as [`mallinfo2`]; figures that do not fit are INT_MAX.
#[unsafe(no_mangle)]
pub extern "C" fn mallinfo() -> libc::mallinfo {
    let wide = mallinfo2();
    let narrow = |figure: usize| c_int::try_from(figure).unwrap_or(c_int::MAX);
    libc::mallinfo {
        arena: narrow(wide.arena),
        ordblks: narrow(wide.ordblks),
        smblks: narrow(wide.smblks),
        hblks: narrow(wide.hblks),
        hblkhd: narrow(wide.hblkhd),
        usmblks: narrow(wide.usmblks),
        fsmblks: narrow(wide.fsmblks),
        uordblks: narrow(wide.uordblks),
        fordblks: narrow(wide.fordblks),
        keepcost: narrow(wide.keepcost),
    }
}

/// malloc_stats(3): the figures on standard error.
#[unsafe(no_mangle)]
pub extern "C" fn malloc_stats() {
    let stats = HEAP.stats();
    for (name, bytes) in figures(&stats) {
        Line::new()
            .text(name)
            .text(": ")
            .number(bytes)
            .text(" bytes")
            .write();
    }
}

/// The six words for where memory is, what the first five add up to, and what is
/// mapped for objects, in bytes.
fn figures(stats: &HeapStats) -> [(&'static str, usize); 9] {
    [
        ("live", stats.live),
        ("cached", stats.cached),
        ("fragmented", stats.fragmented),
        ("free", stats.free),
        ("metadata", stats.metadata),
        ("released", stats.released),
        ("resident", stats.resident),
        ("untouched", stats.untouched),
        ("mapped", stats.mapped),
    ]
}

/// malloc_info(3): the figures as XML, with those of each size class. Returns 0;
/// -1 and EINVAL for options other than 0, or -1 where the stream fails.
///
/// # Safety
/// `stream` is an open stream.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn malloc_info(options: c_int, stream: *mut libc::FILE) -> c_int {
    if options != 0 || stream.is_null() {
        set_errno(libc::EINVAL);
        return -1;
    }
    // SAFETY: errno's address is valid for the calling thread.
    let errno = unsafe { *libc::__errno_location() };
    let written = write_xml(&mut Stream {
        stream,
        text: [0; 256],
        length: 0,
    });
    if written.is_err() {
        return -1;
    }
    set_errno(errno);
    0
}

fn write_xml(out: &mut Stream) -> fmt::Result {
    let stats = HEAP.stats();
    writeln!(out, "<malloc version=\"1\" allocator=\"thmalloc\">")?;
    writeln!(out, "<heap nr=\"0\">")?;
    writeln!(out, "<sizes>")?;
    for class in SizeClass::all() {
        let (spans, cached) = HEAP.class_stats(class);
        if spans.spans == 0 {
            continue;
        }
        let live = spans.live.saturating_sub(cached);
        write!(out, "<size bytes=\"{}\" live=\"{live}\"", class.bytes())?;
        write!(out, " cached=\"{cached}\" spans=\"{}\"", spans.spans)?;
        writeln!(out, "/>")?;
    }
    writeln!(out, "</sizes>")?;
    writeln!(out, "</heap>")?;
    for (name, bytes) in figures(&stats) {
        writeln!(out, "<total type=\"{name}\" size=\"{bytes}\"/>")?;
    }
    writeln!(out, "<system type=\"current\" size=\"{}\"/>", stats.mapped)?;
    writeln!(out, "</malloc>")?;
    out.flush()
}

/// A C stream, written to a piece at a time.
struct Stream {
    stream: *mut libc::FILE,
    text: [u8; 256],
    length: usize,
}

impl Stream {
    fn flush(&mut self) -> fmt::Result {
        if let Some(end) = self.text.get_mut(self.length) {
            *end = 0;
        }
        let text = CStr::from_bytes_until_nul(&self.text).map_err(|_| fmt::Error)?;
        // SAFETY: the stream is the caller's and open; the text is a C string.
        let result = unsafe { libc::fputs(text.as_ptr(), self.stream) };
        self.length = 0;
        if result < 0 { Err(fmt::Error) } else { Ok(()) }
    }
}

impl Write for Stream {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for &byte in text.as_bytes() {
            if self.length + 1 >= self.text.len() {
                self.flush()?;
            }
            if let Some(place) = self.text.get_mut(self.length) {
                *place = byte;
                self.length += 1;
            }
        }
        Ok(())
    }
}
