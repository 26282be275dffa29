//! Another process's memory: what can be read of it, and which pages it has.
//!
//! Always: nothing here writes, stops the process, or allocates by a number
//! that comes from it.

use std::fs::File;
use std::io::{ErrorKind, IoSliceMut};
use std::os::unix::fs::FileExt;

use nix::errno::Errno;
use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use nix::unistd::Pid;

use crate::bytes::u64_at;
use crate::scan;

/// Why memory could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing is there, or nothing that can be read.
    Unmapped,
    /// The process has ended.
    Ended,
    /// The system does not let us.
    NotPermitted,
    /// The system has no such call, or forbids it.
    System(Errno),
    /// What is there cannot be right.
    Corrupt(&'static str),
}

/// Memory that is looked into.
pub trait Memory {
    /// Fills `into` with pieces (an address, a length), one behind the other.
    /// Their lengths add up to that of `into`.
    fn gather(&self, pieces: &[(u64, usize)], into: &mut [u8]) -> Result<(), Fault>;

    /// Which of the pages from `first` on have memory: resident or swapped out,
    /// and not the system's page of zeros. False: it cannot be told.
    fn residency(&self, first: u64, page_bytes: u64, pages: &mut [bool]) -> Result<bool, Fault>;

    /// Fills `into` from an address.
    fn read(&self, address: u64, into: &mut [u8]) -> Result<(), Fault> {
        let length = into.len();
        self.gather(&[(address, length)], into)
    }
}

/// A process's memory, by process_vm_readv(2) and /proc/PID/pagemap.
///
/// Before Linux 6.7, what the pagemap says of a page does not tell the system's page
/// of zeros from one that a fork shares: it counts as having memory.
#[derive(Debug)]
pub struct ProcessMemory {
    pid: Pid,
    pagemap: Option<File>,
}

/// The most pieces that one call takes (UIO_MAXIOV).
const MOST_PIECES: usize = 1024;

/// Bytes of an entry of the pagemap.
const ENTRY: usize = 8;

/// Behind it is no heap: the system gives such addresses only to who asks for them.
const END: u64 = 1 << 47;

/// An entry's bit: the page is in memory.
const PRESENT: u64 = 1 << 63;
/// An entry's bit: the page is swapped out.
const SWAPPED: u64 = 1 << 62;

impl ProcessMemory {
    /// The memory of a process.
    pub fn new(pid: u32) -> Self {
        Self {
            pid: Pid::from_raw(i32::try_from(pid).unwrap_or(i32::MAX)),
            // Where it may not be read, the books say what is resident.
            pagemap: File::open(format!("/proc/{pid}/pagemap")).ok(),
        }
    }

    fn gather_some(&self, pieces: &[RemoteIoVec], into: &mut [u8]) -> Result<(), Fault> {
        let mut done = 0;
        let mut rest = pieces.to_vec();
        while done < into.len() {
            let mut local = [IoSliceMut::new(&mut into[done..])];
            let read = match process_vm_readv(self.pid, &mut local, &rest) {
                Ok(0) | Err(Errno::EFAULT) => return Err(Fault::Unmapped),
                Ok(read) => read,
                Err(Errno::ESRCH) => return Err(Fault::Ended),
                Err(Errno::EPERM | Errno::EACCES) => return Err(Fault::NotPermitted),
                Err(error) => return Err(Fault::System(error)),
            };
            done += read;
            advance(&mut rest, read);
        }
        Ok(())
    }
}

/// Takes the first `bytes` of the pieces away.
fn advance(pieces: &mut Vec<RemoteIoVec>, bytes: usize) {
    let mut left = bytes;
    let mut whole = 0;
    for piece in pieces.iter_mut() {
        if left < piece.len {
            piece.base += left;
            piece.len -= left;
            break;
        }
        left -= piece.len;
        whole += 1;
    }
    pieces.drain(..whole);
}

impl Memory for ProcessMemory {
    fn gather(&self, pieces: &[(u64, usize)], into: &mut [u8]) -> Result<(), Fault> {
        let mut into = into;
        for pieces in pieces.chunks(MOST_PIECES) {
            let remote: Vec<_> = pieces
                .iter()
                .map(|&(address, len)| RemoteIoVec {
                    base: address as usize,
                    len,
                })
                .collect();
            let length = pieces.iter().map(|piece| piece.1).sum();
            let Some((now, later)) = into.split_at_mut_checked(length) else {
                return Err(Fault::Unmapped);
            };
            self.gather_some(&remote, now)?;
            into = later;
        }
        Ok(())
    }

    fn residency(&self, first: u64, page_bytes: u64, pages: &mut [bool]) -> Result<bool, Fault> {
        let Some(pagemap) = &self.pagemap else {
            return Ok(false);
        };
        let bytes = page_bytes.saturating_mul(pages.len() as u64);
        if first.saturating_add(bytes) > END {
            pages.fill(false);
            return Ok(true);
        }
        if scan::mark(pagemap, first, page_bytes, pages).is_some() {
            return Ok(true);
        }
        let first = (first / page_bytes).saturating_mul(ENTRY as u64);
        let mut entries = vec![0; pages.len() * ENTRY];
        let mut done = 0;
        while done < entries.len() {
            let at = first.saturating_add(done as u64);
            match pagemap.read_at(&mut entries[done..], at) {
                // Behind the end of the address space; or the process is gone.
                Ok(0) if done == 0 => return Err(Fault::Ended),
                Ok(0) => break,
                Ok(read) => done += read,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Ok(false),
            }
        }
        for (page, entry) in pages.iter_mut().zip(entries.chunks_exact(ENTRY)) {
            *page = u64_at(entry, 0) & (PRESENT | SWAPPED) != 0;
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partial_read_goes_on_where_it_ended() {
        let pieces = [(100, 10), (200, 5), (300, 1)];
        let remote = |pieces: &[(usize, usize)]| -> Vec<RemoteIoVec> {
            let pieces = pieces.iter();
            pieces
                .map(|&(base, len)| RemoteIoVec { base, len })
                .collect()
        };
        let after = |bytes| {
            let mut rest = remote(&pieces);
            advance(&mut rest, bytes);
            rest
        };
        assert_eq!(after(4), remote(&[(104, 6), (200, 5), (300, 1)]));
        assert_eq!(after(10), remote(&[(200, 5), (300, 1)]));
        assert_eq!(after(12), remote(&[(202, 3), (300, 1)]));
        assert_eq!(after(16), remote(&[]));
    }

    #[test]
    fn our_own_memory_reads_as_it_is() {
        let memory = ProcessMemory::new(std::process::id());
        let (a, b) = (vec![7_u8; 5000], vec![9_u8; 3]);
        let pieces = [(a.as_ptr() as u64, a.len()), (b.as_ptr() as u64, b.len())];
        let mut into = vec![0; 5003];
        memory.gather(&pieces, &mut into).expect("our own memory");
        assert_eq!(into, [a, b].concat());
        assert_eq!(memory.read(8, &mut [0]), Err(Fault::Unmapped));
    }
}
