//! The statistics block is found in the file that holds the heap, by its note: in
//! the library, in programs that have the heap in themselves, and without symbols.

use std::path::{Path, PathBuf};
use std::process::Command;

use object::read::elf::{ElfFile64, FileHeader, ProgramHeader};
use object::{Endianness, Object, ObjectSegment, ObjectSymbol};
use thmalloc_tests::{Build, hang_guard, installed, library, root, run, skip, target_dir};

/// What `crates/format` says.
const NOTE: (&[u8], u32) = (b"thmalloc", 1);
const MAGIC: &[u8] = b"thmalloc";
const VERSION: u32 = 1;

type Elf<'a> = ElfFile64<'a, Endianness>;

fn word(bytes: &[u8]) -> u32 {
    u32::from_le_bytes(bytes.try_into().expect("four bytes"))
}

/// The bytes of a file that are mapped at an address.
fn mapped<'a>(file: &Elf<'a>, address: u64, length: u64) -> &'a [u8] {
    file.segments()
        .find_map(|segment| segment.data_range(address, length).ok()?)
        .unwrap_or_else(|| panic!("{address:#x} is not mapped from the file"))
}

/// The address of the block that a file's only note of ours leads to.
#[track_caller]
fn block_address(what: &Path, bytes: &[u8]) -> u64 {
    let file = Elf::parse(bytes).expect("an ELF file");
    let endian = file.endian();
    let mut found = Vec::new();
    for segment in file
        .elf_header()
        .program_headers(endian, bytes)
        .expect("segments")
    {
        let Some(mut notes) = segment.notes(endian, bytes).expect("notes") else {
            continue;
        };
        while let Some(note) = notes.next().expect("a note") {
            if (note.name(), note.n_type(endian).0) == NOTE {
                let description = note.desc();
                let offset = description.as_ptr().addr() - bytes.as_ptr().addr();
                let address = segment.p_vaddr(endian) + offset as u64 - segment.p_offset(endian);
                let distance = i64::from_le_bytes(description.try_into().expect("an i64"));
                found.push(address.wrapping_add_signed(distance));
            }
        }
    }
    assert_eq!(found.len(), 1, "{} has one note of ours", what.display());
    found[0]
}

/// Checks that a file's note leads to a block; its bytes in the file.
#[track_caller]
fn has_block(path: &Path) -> Vec<u8> {
    let bytes = std::fs::read(path).expect("a file");
    let file = Elf::parse(&*bytes).expect("an ELF file");
    let address = block_address(path, &bytes);
    let head = mapped(&file, address, 32);
    assert_eq!(&head[..8], MAGIC, "{}", path.display());
    assert_eq!(word(&head[8..12]), VERSION);
    let release = env!("CARGO_PKG_VERSION").as_bytes();
    assert_eq!(&head[16..][..release.len()], release);
    let length = word(&head[12..16]);
    mapped(&file, address, length.into()).to_vec()
}

/// The example `words`, which has the heap in itself.
fn words(profile: &str) -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build
        .current_dir(root())
        .args(["build", "--quiet", "-p", "thmalloc", "--example", "words"])
        .args(["--profile", profile]);
    run(&mut build, hang_guard(600)).expect_success("the example words");
    let folder = if profile == "dev" { "debug" } else { profile };
    target_dir().join(folder).join("examples/words")
}

#[test]
fn the_librarys_note_leads_to_what_its_symbol_names() {
    let path = library(Build::Release);
    let block = has_block(&path);
    let bytes = std::fs::read(&path).expect("the library");
    let file = Elf::parse(&*bytes).expect("an ELF file");
    let symbol = file
        .dynamic_symbols()
        .find(|symbol| symbol.name() == Ok("thmalloc_block"))
        .expect("the symbol");
    assert_eq!(symbol.size(), block.len() as u64);
    assert_eq!(mapped(&file, symbol.address(), symbol.size()), block);
}

#[test]
fn the_library_with_its_checks_has_it_too() {
    has_block(&library(Build::Checked));
}

#[test]
fn a_program_that_has_the_heap_in_itself_has_it_whether_optimized_or_not() {
    has_block(&words("release"));
    has_block(&words("dev"));
}

#[test]
fn it_is_found_without_symbols() {
    if !installed("strip") {
        return skip(
            "it_is_found_without_symbols",
            "strip is not installed (package binutils)",
        );
    }
    for (name, path) in [
        ("library", library(Build::Release)),
        ("words", words("release")),
    ] {
        let stripped = target_dir().join(format!("stripped-{name}-{}", std::process::id()));
        let mut strip = Command::new("strip");
        strip.args(["--strip-all", "-o"]).args([&stripped, &path]);
        run(&mut strip, hang_guard(60)).expect_success("strip");
        has_block(&stripped);
        std::fs::remove_file(&stripped).expect("removed");
    }
}
