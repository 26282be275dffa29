//! Which pages have memory: by the ioctl PAGEMAP_SCAN on /proc/self/pagemap (Linux
//! 6.7; `Documentation/admin-guide/mm/pagemap.rst`), else by mincore(2).
//!
//! They differ in two things. A page that was only ever read is the system's page of
//! zeros, which costs nothing: the first knows it, the second counts it. And a page
//! that was swapped out has memory, elsewhere: the first says so, the second does not
//! see it.
#![allow(unsafe_code)] // System calls take raw addresses.

use super::PAGE_BYTES;
use super::linux::call;

/// Pages that one look covers: 2 MiB.
pub const LOOK_PAGES: usize = 512;

/// Which of [`LOOK_PAGES`] pages have memory, a bit each.
#[derive(Clone, Copy, Debug, Default)]
pub struct Resident([u64; LOOK_PAGES / 64]);

impl Resident {
    /// All of them.
    pub const ALL: Self = Self([u64::MAX; LOOK_PAGES / 64]);

    /// Has this page memory?
    #[inline]
    pub fn has(&self, page: usize) -> bool {
        self.0[page / 64] >> (page % 64) & 1 != 0
    }

    /// How many pages of `[first, end)` have.
    pub fn count(&self, first: usize, end: usize) -> usize {
        let mut count = 0;
        let mut page = first;
        while page < end {
            let in_word = (64 - page % 64).min(end - page);
            let word = self.0[page / 64] >> (page % 64);
            count += (word & (u64::MAX >> (64 - in_word))).count_ones() as usize;
            page += in_word;
        }
        count
    }

    /// Sets whether a page has.
    pub fn set(&mut self, page: usize, resident: bool) {
        let bit = 1 << (page % 64);
        match resident {
            true => self.0[page / 64] |= bit,
            false => self.0[page / 64] &= !bit,
        }
    }
}

/// What the ioctl is told (`struct pm_scan_arg` of `include/uapi/linux/fs.h`).
#[repr(C)]
#[derive(Default)]
struct ScanArgument {
    size: u64,
    flags: u64,
    start: u64,
    end: u64,
    walk_end: u64,
    ranges: u64,
    ranges_length: u64,
    most_pages: u64,
    inverted: u64,
    all_of: u64,
    any_of: u64,
    wanted: u64,
}

/// What it tells (`struct page_region`).
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Range {
    start: u64,
    end: u64,
    categories: u64,
}

/// `_IOWR('f', 16, struct pm_scan_arg)`.
const PAGEMAP_SCAN: usize = 0xc060_6610;
const PRESENT: u64 = 1 << 3;
const SWAPPED: u64 = 1 << 4;
const OF_ZEROS: u64 = 1 << 5;

/// Ranges taken from one call.
const RANGES: usize = 32;

/// Looks at pages of this process.
pub struct PageScan {
    /// A descriptor; negative: there is none.
    file: isize,
}

impl PageScan {
    /// Ready for looks. While it lives, it may have a descriptor open.
    pub fn open() -> Self {
        let path = c"/proc/self/pagemap";
        let flags = (libc::O_RDONLY | libc::O_CLOEXEC) as usize;
        let arguments = [
            libc::AT_FDCWD as usize,
            path.as_ptr().addr(),
            flags,
            0,
            0,
            0,
        ];
        // SAFETY: the path is a C string.
        let file = unsafe { call(libc::SYS_openat, arguments) };
        Self { file }
    }

    /// Which of so many pages from an address on, at most [`LOOK_PAGES`], have
    /// memory. `None` where not all of them are mapped, or the system does not tell.
    pub fn look(&mut self, start: usize, pages: usize) -> Option<Resident> {
        if self.file >= 0 {
            if let Some(resident) = self.scan(start, pages) {
                return Some(resident);
            }
            self.close();
        }
        let mut bytes = [0_u8; LOOK_PAGES];
        let room = bytes.get_mut(..pages)?;
        let arguments = [start, pages * PAGE_BYTES, room.as_mut_ptr().addr(), 0, 0, 0];
        // SAFETY: the system writes a byte for each page.
        if unsafe { call(libc::SYS_mincore, arguments) } != 0 {
            return None;
        }
        let mut resident = Resident::default();
        for (page, byte) in room.iter().enumerate() {
            resident.set(page, byte & 1 != 0);
        }
        Some(resident)
    }

    fn scan(&self, start: usize, pages: usize) -> Option<Resident> {
        let end = start + pages * PAGE_BYTES;
        let mut resident = Resident::default();
        let mut ranges = [Range::default(); RANGES];
        let mut at = start;
        while at < end {
            let mut argument = ScanArgument {
                size: size_of::<ScanArgument>() as u64,
                start: at as u64,
                end: end as u64,
                ranges: ranges.as_mut_ptr().addr() as u64,
                ranges_length: RANGES as u64,
                inverted: OF_ZEROS,
                all_of: OF_ZEROS,
                any_of: PRESENT | SWAPPED,
                wanted: PRESENT | SWAPPED,
                ..ScanArgument::default()
            };
            let place: *mut ScanArgument = &mut argument;
            let arguments = [self.file as usize, PAGEMAP_SCAN, place.addr(), 0, 0, 0];
            // SAFETY: the argument and the room for ranges outlive the call.
            let found = unsafe { call(libc::SYS_ioctl, arguments) };
            let found = usize::try_from(found).ok()?;
            for range in ranges.get(..found)? {
                let first = (range.start as usize).checked_sub(start)? / PAGE_BYTES;
                let last = (range.end as usize).checked_sub(start)? / PAGE_BYTES;
                (first..last.min(LOOK_PAGES)).for_each(|page| resident.set(page, true));
            }
            let walked = argument.walk_end as usize;
            if walked <= at {
                return None;
            }
            at = walked;
        }
        Some(resident)
    }

    fn close(&mut self) {
        if self.file >= 0 {
            // SAFETY: the descriptor is ours.
            unsafe { call(libc::SYS_close, [self.file as usize, 0, 0, 0, 0, 0]) };
            self.file = -1;
        }
    }
}

impl Drop for PageScan {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Protection, map, unmap};
    use super::*;

    const PAGES: usize = 100;

    /// Writes to every third page of new memory, reads every third, and leaves the
    /// others.
    fn used(test: impl FnOnce(usize)) {
        let start = map(PAGES * PAGE_BYTES, Protection::ReadWrite).expect("memory");
        for page in 0..PAGES {
            // SAFETY: just mapped, and ours.
            unsafe {
                let byte = start.add(page * PAGE_BYTES);
                match page % 3 {
                    0 => byte.write_volatile(1),
                    1 => _ = byte.read_volatile(),
                    _ => {}
                }
            }
        }
        test(start.addr());
        // SAFETY: ours, and no longer used.
        unsafe { unmap(start, PAGES * PAGE_BYTES) };
    }

    #[test]
    fn pages_that_were_written_have_memory() {
        used(|start| {
            for mut scan in [PageScan::open(), PageScan { file: -1 }] {
                let zeros = scan.file < 0;
                let resident = scan.look(start, PAGES).expect("mapped");
                for page in 0..PAGES {
                    let expected = page % 3 == 0 || zeros && page % 3 == 1;
                    assert_eq!(resident.has(page), expected, "{page}, {zeros}");
                }
                let expected = (10..90).filter(|&page| resident.has(page)).count();
                assert_eq!(resident.count(10, 90), expected);
            }
        });
    }

    #[test]
    fn what_is_not_mapped_has_none() {
        let mut scan = PageScan { file: -1 };
        // Another thread may map its own in the hole.
        let found = (0..10).any(|_| {
            let start = map(PAGES * PAGE_BYTES, Protection::ReadWrite).expect("memory");
            // SAFETY: ours, and not used.
            unsafe { unmap(start.wrapping_add(PAGES / 2 * PAGE_BYTES), PAGE_BYTES) };
            let look = scan.look(start.addr(), PAGES);
            // SAFETY: as above, but for the hole.
            unsafe {
                unmap(start, PAGES / 2 * PAGE_BYTES);
                let behind = (PAGES / 2 + 1) * PAGE_BYTES;
                unmap(start.wrapping_add(behind), PAGES * PAGE_BYTES - behind);
            }
            look.is_none()
        });
        assert!(found);
    }
}
