//! What libthmalloc.so exports and what it needs, as reviewed lists
//! (`tests/symbols/`). A name that comes or goes is a decision: review it, then
//! change the list.

use std::collections::BTreeSet;

use object::elf;
use object::read::elf::{Dyn, ElfFile64, FileHeader};
use object::{Endianness, Object, ObjectSymbol};
use thmalloc_tests::{Build, library, root};

/// The names in a reviewed list: one a line, `#` begins a comment.
fn reviewed(list: &str) -> BTreeSet<String> {
    let text = std::fs::read_to_string(root().join("tests/symbols").join(list)).expect(list);
    let names: Vec<&str> = text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect();
    let unique: BTreeSet<String> = names.iter().map(|&name| name.to_owned()).collect();
    assert_eq!(unique.len(), names.len(), "{list} names something twice");
    unique
}

#[track_caller]
fn expect_equal(what: &str, found: &BTreeSet<String>, list: &str) {
    let reviewed = reviewed(list);
    let more: Vec<_> = found.difference(&reviewed).collect();
    let fewer: Vec<_> = reviewed.difference(found).collect();
    assert!(
        more.is_empty() && fewer.is_empty(),
        "{what} differ from tests/symbols/{list}\nonly in the library: {more:#?}\nonly in the list: {fewer:#?}"
    );
}

fn library_bytes() -> Vec<u8> {
    std::fs::read(library(Build::Release)).expect("libthmalloc.so")
}

/// The names of the dynamic symbols that are defined here, or that are not.
fn dynamic_symbols(defined: bool) -> BTreeSet<String> {
    let bytes = library_bytes();
    let file = object::File::parse(&*bytes).expect("an ELF file");
    file.dynamic_symbols()
        .filter(|symbol| symbol.is_undefined() != defined)
        .map(|symbol| symbol.name().expect("a name").to_owned())
        .filter(|name| !name.is_empty())
        .collect()
}

#[test]
fn exported_symbols_are_the_reviewed_ones() {
    expect_equal(
        "the exported symbols",
        &dynamic_symbols(true),
        "exported.txt",
    );
}

#[test]
fn undefined_symbols_are_the_reviewed_ones() {
    expect_equal(
        "the undefined symbols",
        &dynamic_symbols(false),
        "undefined.txt",
    );
}

/// The strings of the dynamic entries with a tag.
fn dynamic_strings(tag: elf::DynamicTag) -> BTreeSet<String> {
    let bytes = library_bytes();
    let file = ElfFile64::<Endianness>::parse(&*bytes).expect("an ELF file");
    let (endian, header) = (file.endian(), file.elf_header());
    let sections = header.sections(endian, &*bytes).expect("sections");
    let (entries, strings) = sections
        .dynamic(endian, &*bytes)
        .expect("a dynamic section")
        .expect("a dynamic section");
    let strings = sections
        .strings(endian, &*bytes, strings)
        .expect("its strings");
    entries
        .iter()
        .filter(|entry| entry.tag(endian) == tag)
        .map(|entry| entry.string(endian, strings).expect("a string"))
        .map(|name| String::from_utf8_lossy(name).into_owned())
        .collect()
}

#[test]
fn the_c_library_is_all_that_it_needs() {
    let allowed = ["libc.so.6", "ld-linux-x86-64.so.2"].map(str::to_owned);
    let needed = dynamic_strings(elf::DT_NEEDED);
    assert!(
        needed.is_subset(&BTreeSet::from(allowed)),
        "needed: {needed:?}"
    );
}

/// `__tls_get_addr` may allocate, and it doubles the price of a malloc.
#[test]
fn thread_locals_are_reached_without_a_call() {
    assert!(!dynamic_symbols(false).contains("__tls_get_addr"));
}
