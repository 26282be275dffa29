//! Which pages of another process have memory, by the ioctl PAGEMAP_SCAN (Linux 6.7;
//! `Documentation/admin-guide/mm/pagemap.rst`): in memory or swapped out, and not the
//! system's page of zeros, which is there where a page was only read.

use std::fs::File;
use std::os::fd::AsRawFd;

/// What the ioctl is told (`struct pm_scan_arg` of `include/uapi/linux/fs.h`).
#[repr(C)]
#[derive(Debug, Default)]
pub struct Argument {
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
#[derive(Clone, Copy, Debug, Default)]
struct Range {
    start: u64,
    end: u64,
    categories: u64,
}

const PRESENT: u64 = 1 << 3;
const SWAPPED: u64 = 1 << 4;
const OF_ZEROS: u64 = 1 << 5;

/// Ranges taken from one call.
const RANGES: usize = 256;

/// The unit of what the system tells.
const PAGE: u64 = 4096;

#[allow(unsafe_code, reason = "the macro declares what takes a raw pointer")]
mod system {
    nix::ioctl_readwrite!(pagemap_scan, b'f', 16, super::Argument);
}

/// Marks those of the pages from `first` on that have memory. `None`: this system
/// does not tell it so.
pub fn mark(pagemap: &File, first: u64, page_bytes: u64, pages: &mut [bool]) -> Option<()> {
    let end = first.checked_add(page_bytes.checked_mul(pages.len() as u64)?)?;
    pages.fill(false);
    let mut ranges = [Range::default(); RANGES];
    let mut at = first;
    while at < end {
        let mut argument = Argument {
            size: size_of::<Argument>() as u64,
            start: at,
            end,
            ranges: ranges.as_mut_ptr().addr() as u64,
            ranges_length: RANGES as u64,
            inverted: OF_ZEROS,
            all_of: OF_ZEROS,
            any_of: PRESENT | SWAPPED,
            wanted: PRESENT | SWAPPED,
            ..Argument::default()
        };
        #[allow(unsafe_code, reason = "the system writes where the argument says")]
        // SAFETY: the argument and the room for ranges are ours, as long as the call
        // takes, and it writes no more ranges than it is told there is room for.
        let found = unsafe { system::pagemap_scan(pagemap.as_raw_fd(), &raw mut argument) };
        for range in ranges.get(..found.ok()?.try_into().ok()?)? {
            // A page here may be several of the system's.
            let from = range.start.checked_sub(first)? / page_bytes;
            let to = range.end.checked_sub(first)?.div_ceil(page_bytes);
            let marked = pages.get_mut(from as usize..to as usize)?;
            marked.fill(true);
        }
        if argument.walk_end <= at || !argument.walk_end.is_multiple_of(PAGE) {
            return None;
        }
        at = argument.walk_end;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_that_were_written_have_memory_and_those_only_read_have_none() {
        let pagemap = File::open("/proc/self/pagemap").expect("our own pagemap");
        const PAGES: usize = 1000;
        let mut memory = vec![0_u8; (PAGES + 1) * PAGE as usize];
        let offset = memory.as_ptr().align_offset(PAGE as usize);
        let mut sum = 0;
        for page in 0..PAGES {
            let at = offset + page * PAGE as usize;
            match page % 3 {
                0 => memory[at] = 1,
                1 => sum += std::hint::black_box(&memory)[at],
                _ => {}
            }
        }
        assert_eq!(sum, 0);
        let mut pages = vec![true; PAGES];
        let first = memory[offset..].as_ptr().addr() as u64;
        if mark(&pagemap, first, PAGE, &mut pages).is_none() {
            println!("skipped: this system has no PAGEMAP_SCAN (Linux 6.7)");
            return;
        }
        let setting = "/sys/kernel/mm/transparent_hugepage/enabled";
        let setting = std::fs::read_to_string(setting).unwrap_or_default();
        if !setting.contains("[always]") {
            for (number, &has) in pages.iter().enumerate() {
                assert_eq!(has, number % 3 == 0, "{number}");
            }
        }
        // In larger units.
        let mut units = vec![false; PAGES / 4];
        mark(&pagemap, first, 4 * PAGE, &mut units).expect("as before");
        assert!(units.iter().all(|unit| *unit));
        // Nothing is there, and more than the address space has.
        let mut none = [true; 3];
        assert!(mark(&pagemap, 1 << 62, PAGE, &mut none).is_none());
    }
}
