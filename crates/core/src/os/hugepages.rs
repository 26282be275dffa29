//! Transparent hugepages (`Documentation/admin-guide/mm/transhuge.rst`,
//! madvise(2)).
#![allow(unsafe_code)] // System calls take raw addresses.

use libc::c_int;

use super::linux::{advise, call};

/// Collapses a range into hugepages at once, whatever its flags (Linux 6.1).
const MADV_COLLAPSE: c_int = 25;

/// What the system does with transparent hugepages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HugePages {
    /// Nothing, or it does not say.
    Never,
    /// Where it is told to.
    Madvise,
    /// Wherever it can.
    Always,
}

/// What the system does with transparent hugepages, as of now.
pub fn huge_pages() -> HugePages {
    let mut text = [0_u8; 64];
    let path = c"/sys/kernel/mm/transparent_hugepage/enabled";
    let flags = libc::O_RDONLY | libc::O_CLOEXEC;
    let directory = libc::AT_FDCWD as usize;
    // SAFETY: the path is a C string, the buffer valid for its length, and the
    // descriptor nobody else's.
    let length = unsafe {
        let arguments = [directory, path.as_ptr().addr(), flags as usize, 0, 0, 0];
        let file = call(libc::SYS_openat, arguments);
        if file < 0 {
            return HugePages::Never;
        }
        let place = text.as_mut_ptr().addr();
        let read = [file as usize, place, text.len(), 0, 0, 0];
        let length = call(libc::SYS_read, read);
        call(libc::SYS_close, [file as usize, 0, 0, 0, 0, 0]);
        length
    };
    let text = text.get(..length.max(0) as usize).unwrap_or_default();
    let says = |word: &[u8]| text.windows(word.len()).any(|part| part == word);
    if says(b"[always]") {
        HugePages::Always
    } else if says(b"[madvise]") {
        HugePages::Madvise
    } else {
        HugePages::Never
    }
}

/// Makes one hugepage of a range that is one in size and place: content stays.
/// False where the system cannot.
pub fn collapse(address: *mut u8, bytes: usize) -> bool {
    // SAFETY: changes no content.
    unsafe { advise(address.addr(), bytes, MADV_COLLAPSE) }
}

/// Keeps the system from making hugepages of a range. False where it cannot be
/// told.
pub fn forbid_hugepages(address: *mut u8, bytes: usize) -> bool {
    // SAFETY: changes no content.
    unsafe { advise(address.addr(), bytes, libc::MADV_NOHUGEPAGE) }
}

/// Splits the hugepage around an address, if there is one: giving back a part
/// of it only unmaps that part, and the memory stays taken until the system runs
/// short. Calling a page cold splits it at once (measured with Linux 6.18).
pub fn split_hugepage(address: *mut u8) {
    // SAFETY: changes no content.
    unsafe { advise(address.addr(), super::PAGE_BYTES, libc::MADV_COLD) };
}
