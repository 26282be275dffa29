//! A process's memory as the kernel counts it.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::error::Error;
use crate::memory::{Memory, ProcessMemory};
use crate::proc::{self, Mapping};
use crate::snapshot::{MappedFile, Resident};

/// Bytes of a page, where a mapping is told apart page by page.
const PAGE: u64 = 4096;

/// Reads what the kernel says of a process, whose heap has the memory in
/// `ranges`.
pub fn read(pid: u32, ranges: &[(u64, u64)], minor_faults: u64) -> Result<Resident, Error> {
    let mappings = proc::mappings(pid, true)?;
    if mappings.is_empty() {
        return Err(Error::Ended(pid));
    }
    let memory = ProcessMemory::new(pid);
    let stacks = stacks(pid, &mappings);
    let mut resident = Resident {
        minor_faults,
        ..Resident::default()
    };
    for mapping in &mappings {
        resident.total += mapping.rss;
        resident.anonymous += mapping.anonymous;
        resident.swapped += mapping.swap;
        let heap = heap_part(&memory, mapping, ranges);
        resident.heap += heap;
        // What is swapped out is the heap's before it is another's.
        let other = mapping.anonymous.saturating_sub(heap);
        if stacks.contains(&mapping.start) {
            resident.stacks += other;
        } else {
            resident.other_anonymous += other;
        }
    }
    resident.file_and_shared = resident.total.saturating_sub(resident.anonymous);
    Ok(resident)
}

/// The bytes of a mapping that are the heap's, in memory or swapped out: those
/// that the kernel has counted there, less what is not in the heap's ranges.
fn heap_part(memory: &ProcessMemory, mapping: &Mapping, ranges: &[(u64, u64)]) -> u64 {
    let all = mapping.rss + mapping.swap;
    let from = ranges.partition_point(|range| range.1 <= mapping.start);
    let (mut inside, mut at) = (false, mapping.start);
    let mut others = 0;
    for &(start, end) in &ranges[from..] {
        if start >= mapping.end || all == 0 {
            break;
        }
        inside = true;
        others += counted(memory, at, start);
        at = end;
    }
    if !inside {
        return 0;
    }
    others += counted(memory, at, mapping.end);
    all.saturating_sub(others)
}

/// Bytes of `[start, end)` that have memory.
fn counted(memory: &ProcessMemory, start: u64, end: u64) -> u64 {
    /// As much is looked up: no program puts more beside the heap.
    const MOST: u64 = 1 << 24;
    let mut bytes = 0;
    let mut at = start;
    while at < end.min(start.saturating_add(MOST * PAGE)) {
        let mut pages = vec![false; ((end - at) / PAGE).clamp(1, 1 << 14) as usize];
        let known = memory.residency(at, PAGE, &mut pages).unwrap_or(false);
        if !known {
            break;
        }
        bytes += pages.iter().filter(|page| **page).count() as u64 * PAGE;
        at += pages.len() as u64 * PAGE;
    }
    bytes
}

/// The files and the shared memory that a process has mapped, those with most
/// memory first. Several mappings of a file are one.
pub fn files(pid: u32) -> Result<Vec<MappedFile>, Error> {
    let mappings = proc::mappings(pid, true)?;
    if mappings.is_empty() {
        return Err(Error::Ended(pid));
    }
    let mut by_name: BTreeMap<&str, u64> = BTreeMap::new();
    for mapping in &mappings {
        let resident = mapping.rss.saturating_sub(mapping.anonymous);
        *by_name.entry(&mapping.name).or_default() += resident;
    }
    let mut files: Vec<MappedFile> = by_name
        .into_iter()
        .filter(|(name, resident)| !name.is_empty() && *resident > 0)
        .map(|(name, resident)| MappedFile {
            name: name.to_owned(),
            resident,
        })
        .collect();
    files.sort_by_key(|file| Reverse(file.resident));
    Ok(files)
}

/// Where the mappings begin in which threads have their stacks.
fn stacks(pid: u32, mappings: &[Mapping]) -> Vec<u64> {
    let mut stacks: Vec<u64> = mappings
        .iter()
        .filter(|mapping| mapping.name == "[stack]")
        .map(|mapping| mapping.start)
        .collect();
    for thread in proc::threads(pid) {
        let Some(pointer) = proc::stack_pointer(pid, thread) else {
            continue;
        };
        let found = mappings.partition_point(|mapping| mapping.end <= pointer);
        if let Some(mapping) = mappings
            .get(found)
            .filter(|mapping| mapping.start <= pointer)
        {
            stacks.push(mapping.start);
        }
    }
    stacks
}
