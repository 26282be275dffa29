//! The metadata arena: memory for the allocator's own books.
//!
//! Always: what it hands out is zero, lies in mappings of its own between
//! guard pages, never in a page of the program's objects, and is never handed
//! back to the system. Who no longer needs a piece keeps it for the next of
//! its kind.
//! Lock: `Metadata::state`, rank `Metadata`, the last of all. A new mapping is
//! made under it: it is rare, and nothing else waits for it but other books.
#![allow(unsafe_code)] // Pieces are raw memory.

use core::mem::offset_of;
use core::ptr::NonNull;

use thmalloc_format::MetadataLayout;

use crate::os::{self, OutOfMemory, PAGE_BYTES, Protection};
use crate::sync::{Mutex, Rank};

/// The least that is mapped at once. Untouched pages cost address space only.
const CHUNK_BYTES: usize = 1 << 20;

/// What a chunk begins with, so that all are found from the newest.
#[repr(C)]
struct Chunk {
    /// The address of the one before it; 0: none.
    before: usize,
    bytes: usize,
}

struct State {
    next: usize,
    end: usize,
    /// The address of the newest chunk.
    newest: usize,
    mapped_bytes: usize,
    used_bytes: usize,
}

/// The arena.
pub struct Metadata {
    state: Mutex<State>,
}

impl Metadata {
    /// Where a reader finds its words.
    pub const LAYOUT: MetadataLayout = {
        let state = offset_of!(Self, state) + Mutex::<State>::VALUE_AT;
        MetadataLayout {
            generation_at: (offset_of!(Self, state) + Mutex::<State>::GENERATION_AT) as u32,
            mapped_at: (state + offset_of!(State, mapped_bytes)) as u32,
            used_at: (state + offset_of!(State, used_bytes)) as u32,
            newest_at: (state + offset_of!(State, newest)) as u32,
        }
    };

    /// An arena that has nothing mapped yet.
    pub const fn new() -> Self {
        Self {
            state: Mutex::new(
                Rank::Metadata,
                State {
                    next: 0,
                    end: 0,
                    newest: 0,
                    mapped_bytes: 0,
                    used_bytes: 0,
                },
            ),
        }
    }

    /// The lock, for fork.
    pub fn lock_for_fork(&self) {
        self.state.lock_for_fork();
    }

    /// Ends [`Metadata::lock_for_fork`].
    ///
    /// # Safety
    /// As [`Mutex::unlock_after_fork`].
    pub unsafe fn unlock_after_fork(&self) {
        // SAFETY: by contract.
        unsafe { self.state.unlock_after_fork() }
    }

    /// Address space and bytes handed out, both in bytes.
    pub fn usage(&self) -> (usize, usize) {
        let state = self.state.lock();
        (state.mapped_bytes, state.used_bytes)
    }

    /// Calls `visit` with each chunk, as first byte and length. Large pieces have
    /// mappings of their own, which whoever asked for them knows.
    pub fn each_chunk(&self, mut visit: impl FnMut(usize, usize)) {
        let mut at = self.state.lock().newest;
        while at != 0 {
            let chunk: *const Chunk = core::ptr::with_exposed_provenance(at);
            // SAFETY: a chunk is never unmapped, and its head written once, before
            // the lock that it was found under was let go.
            let (before, bytes) = unsafe { ((*chunk).before, (*chunk).bytes) };
            visit(at, bytes);
            at = before;
        }
    }

    /// Zeroed memory for a `T`, for good.
    pub fn allocate<T>(&self) -> Result<NonNull<T>, OutOfMemory> {
        Ok(self.allocate_bytes(size_of::<T>(), align_of::<T>())?.cast())
    }

    /// `bytes` of zeroed memory at a multiple of `align` (a power of two, at
    /// most a page), for good.
    pub fn allocate_bytes(&self, bytes: usize, align: usize) -> Result<NonNull<u8>, OutOfMemory> {
        let mut state = self.state.lock();
        let mut start = state.next.next_multiple_of(align);
        if start + bytes > state.end {
            if bytes > CHUNK_BYTES / 4 {
                // Large pieces get a mapping each, and the chunk lives on.
                let bytes = bytes.next_multiple_of(PAGE_BYTES);
                start = map_guarded(bytes)?;
                state.mapped_bytes += bytes;
                state.used_bytes += bytes;
                return NonNull::new(core::ptr::with_exposed_provenance_mut(start))
                    .ok_or(OutOfMemory);
            }
            let head = size_of::<Chunk>();
            let chunk = map_guarded(CHUNK_BYTES).map(|first| (first, CHUNK_BYTES));
            let (first, length) = chunk.or_else(|_| {
                let least = head.next_multiple_of(align) + bytes;
                let least = least.next_multiple_of(PAGE_BYTES);
                map_guarded(least).map(|first| (first, least))
            })?;
            let place: *mut Chunk = core::ptr::with_exposed_provenance_mut(first);
            // SAFETY: just mapped, long enough, and known to nobody else.
            unsafe {
                place.write(Chunk {
                    before: state.newest,
                    bytes: length,
                });
            }
            state.newest = first;
            state.mapped_bytes += length;
            state.used_bytes += head;
            state.next = first + head;
            state.end = first + length;
            start = state.next.next_multiple_of(align);
        }
        state.next = start + bytes;
        state.used_bytes += bytes;
        NonNull::new(core::ptr::with_exposed_provenance_mut(start)).ok_or(OutOfMemory)
    }
}

impl Default for Metadata {
    fn default() -> Self {
        Self::new()
    }
}

/// Maps `bytes` between two pages that nobody may touch.
fn map_guarded(bytes: usize) -> Result<usize, OutOfMemory> {
    let whole = os::map(bytes + 2 * PAGE_BYTES, Protection::None)?;
    let inner = whole.wrapping_add(PAGE_BYTES);
    // SAFETY: just mapped, and known to nobody else.
    let opened = unsafe { os::protect(inner, bytes, Protection::ReadWrite) };
    if opened.is_err() {
        // SAFETY: as above.
        unsafe { os::unmap(whole, bytes + 2 * PAGE_BYTES) };
        return Err(OutOfMemory);
    }
    Ok(inner.expose_provenance())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_chunk_is_found_from_the_newest() {
        let arena = Metadata::new();
        let mut pieces = Vec::new();
        for _ in 0..20 {
            let piece = arena.allocate_bytes(CHUNK_BYTES / 5, 64).expect("memory");
            pieces.push(piece.addr().get());
        }
        let mut chunks = Vec::new();
        arena.each_chunk(|start, bytes| chunks.push(start..start + bytes));
        assert_eq!(chunks.len(), 5);
        for piece in pieces {
            assert!(chunks.iter().any(|chunk| chunk.contains(&piece)));
        }
        let bytes: usize = chunks.iter().map(|chunk| chunk.len()).sum();
        assert_eq!(bytes, arena.usage().0);
    }

    #[test]
    fn pieces_are_zero_aligned_and_apart() {
        let arena = Metadata::new();
        let mut ends = Vec::new();
        for (bytes, align) in [(1, 1), (24, 8), (128, 128), (3 << 20, 4096), (64, 64)] {
            let piece = arena.allocate_bytes(bytes, align).expect("memory");
            assert!(piece.addr().get().is_multiple_of(align));
            // SAFETY: the piece is ours for good.
            let slice = unsafe { core::slice::from_raw_parts_mut(piece.as_ptr(), bytes) };
            assert!(slice.iter().all(|&byte| byte == 0));
            slice.fill(0xff);
            let start = piece.addr().get();
            for &(other_start, other_end) in &ends {
                assert!(start >= other_end || start + bytes <= other_start);
            }
            ends.push((start, start + bytes));
        }
    }
}
