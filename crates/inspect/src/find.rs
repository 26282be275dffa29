//! Finds the blocks of a process: by the ELF notes of the objects that hold them.
//!
//! Headers are read from the process's memory, not from files: these may be
//! deleted, replaced, or in another mount namespace.

use object::LittleEndian;
use object::elf::{self, FileHeader64, PT_LOAD, PT_NOTE, ProgramHeader64};
use object::read::elf::{FileHeader, NoteIterator, ProgramHeader};
use thmalloc_format::{NOTE_NAME, NOTE_TYPE};

use crate::bytes::{u32_at, u64_at};
use crate::layout::{BadBlock, Layout};
use crate::memory::{Fault, Memory};
use crate::proc::Mapping;

/// A heap that was found.
#[derive(Clone, Debug)]
pub struct Found {
    /// Where its block is.
    pub block: u64,
    /// What the block says.
    pub layout: Layout,
    /// The file that holds it.
    pub library: String,
}

/// The program headers stand in an object's first page, with every linker.
const HEAD_BYTES: u64 = 4096;

/// Notes are short.
const MOST_NOTE_BYTES: u64 = 1 << 16;

/// A process with more notes than this has made them up.
const MOST_ALL_NOTES: u64 = 1 << 26;

/// The same of blocks.
const MOST_BLOCKS: usize = 64;

/// So many heaps are added up: the library's, the program's, and those of some
/// plug-ins.
const MOST_HEAPS: usize = 8;

/// The heaps of a process.
#[derive(Clone, Debug, Default)]
pub struct Heaps {
    /// Those that can be read together, in the order of the mappings. One that was
    /// not used yet is among them only where there is no other.
    pub found: Vec<Found>,
    /// Others: of another version of the format, or with other size classes, so
    /// that nothing can be added up.
    pub left_out: u32,
}

/// Looks through the mappings of a process for all heaps in it: that of the library,
/// and those of programs and libraries that are linked with one of their own.
pub fn find(memory: &impl Memory, mappings: &[Mapping]) -> Result<Heaps, BadBlock> {
    let mut blocks = Blocks {
        left: MOST_ALL_NOTES,
        found: Vec::new(),
    };
    let mut heaps = Heaps::default();
    let (mut unused, mut bad) = (None, None);
    for mapping in mappings {
        let is_file = !mapping.name.is_empty() && !mapping.name.starts_with('[');
        if !is_file || !mapping.readable || mapping.offset != 0 {
            continue;
        }
        let known = blocks.found.len();
        blocks.collect(memory, mapping)?;
        for &block in &blocks.found[known..] {
            let layout = match Layout::read(memory, block, mapping.start) {
                Ok(layout) => layout,
                Err(BadBlock::NotRelocated) => continue,
                Err(error) => {
                    let other = matches!(error, BadBlock::OtherVersion(_));
                    heaps.left_out += u32::from(other);
                    bad = Some(error);
                    continue;
                }
            };
            let found = Found {
                block,
                layout,
                library: mapping.name.clone(),
            };
            match is_started(memory, &found.layout) {
                true => heaps.add(found),
                false => unused = unused.or(Some(found)),
            }
        }
    }
    if heaps.found.is_empty() {
        match (unused, bad) {
            (Some(unused), _) => heaps.found.push(unused),
            (None, Some(error)) => return Err(error),
            (None, None) => {}
        }
    }
    Ok(heaps)
}

impl Heaps {
    /// Where their blocks are.
    pub fn blocks(&self) -> impl Iterator<Item = u64> {
        self.found.iter().map(|found| found.block)
    }

    fn add(&mut self, found: Found) {
        let heap = found.layout.heap;
        // A file may be mapped twice.
        if self.found.iter().any(|other| other.layout.heap == heap) {
            return;
        }
        let first = self.found.first();
        let fits = first.is_none_or(|first| first.layout.classes == found.layout.classes);
        if fits && self.found.len() < MOST_HEAPS {
            self.found.push(found);
        } else {
            self.left_out += 1;
        }
    }
}

/// Was a heap ever used?
fn is_started(memory: &impl Memory, layout: &Layout) -> bool {
    let mut word = [0; 4];
    let at = layout.heap.saturating_add(layout.started_at as u64);
    memory.read(at, &mut word).is_ok() && u32_at(&word, 0) != 0
}

/// The addresses of the blocks that notes name.
struct Blocks {
    /// Bytes of notes that are still read.
    left: u64,
    found: Vec<u64>,
}

impl Blocks {
    /// Those of the object that begins with a mapping.
    fn collect(&mut self, memory: &impl Memory, mapping: &Mapping) -> Result<(), Fault> {
        let length = mapping.end.saturating_sub(mapping.start).min(HEAD_BYTES);
        let mut head = vec![0; length as usize];
        if !read_if_there(memory, mapping.start, &mut head)? || !head.starts_with(&elf::ELFMAG) {
            return Ok(());
        }
        let Ok(header) = FileHeader64::<LittleEndian>::parse(head.as_slice()) else {
            return Ok(());
        };
        let Ok(programs) = header.program_headers(LittleEndian, head.as_slice()) else {
            return Ok(());
        };
        let is_first = |program: &&ProgramHeader64<LittleEndian>| {
            program.p_type(LittleEndian) == PT_LOAD && program.p_offset(LittleEndian) == 0
        };
        let Some(first) = programs.iter().find(is_first) else {
            return Ok(());
        };
        let bias = mapping.start.wrapping_sub(first.p_vaddr(LittleEndian));
        for program in programs {
            if program.p_type(LittleEndian) != PT_NOTE {
                continue;
            }
            let start = bias.wrapping_add(program.p_vaddr(LittleEndian));
            let length = program
                .p_memsz(LittleEndian)
                .min(MOST_NOTE_BYTES)
                .min(self.left);
            self.left -= length;
            let mut notes = vec![0; length as usize];
            if read_if_there(memory, start, &mut notes)? {
                self.collect_notes(&notes, program.p_align(LittleEndian), start);
            }
        }
        Ok(())
    }

    fn collect_notes(&mut self, bytes: &[u8], align: u64, start: u64) {
        type Notes<'a> = NoteIterator<'a, FileHeader64<LittleEndian>>;
        let Ok(mut notes) = Notes::new(LittleEndian, align, bytes) else {
            return;
        };
        while let Ok(Some(note)) = notes.next() {
            let kind = (note.name(), note.n_type(LittleEndian).0);
            let ours = kind == (NOTE_NAME.as_bytes(), NOTE_TYPE) && note.desc().len() >= 8;
            if ours && self.found.len() < MOST_BLOCKS {
                let offset = note.desc().as_ptr().addr() - bytes.as_ptr().addr();
                let descriptor = start.wrapping_add(offset as u64);
                self.found
                    .push(descriptor.wrapping_add(u64_at(note.desc(), 0)));
            }
        }
    }
}

/// Reads memory; false where there is none. An object may be shorter than its
/// mapping, and a mapping may be gone.
fn read_if_there(memory: &impl Memory, address: u64, into: &mut [u8]) -> Result<bool, Fault> {
    match memory.read(address, into) {
        Ok(()) => Ok(true),
        Err(Fault::Unmapped) => Ok(false),
        Err(other) => Err(other),
    }
}
