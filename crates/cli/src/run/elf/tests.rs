//! ELF files made byte by byte, sound and hostile ones.

use super::*;
use std::io::{Seek, Write};

const HEADER_BYTES: usize = 64;
const SEGMENT_BYTES: usize = 56;
const GLIBC: &str = "/lib64/ld-linux-x86-64.so.2";

/// An x86-64 program with one segment: PT_INTERP with `loader`.
fn program(loader: &str) -> Vec<u8> {
    let mut file = vec![0; HEADER_BYTES + SEGMENT_BYTES];
    file[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    let mut put = |at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
    put(16, &3u16.to_le_bytes()); // ET_DYN
    put(18, &62u16.to_le_bytes()); // EM_X86_64
    put(20, &1u32.to_le_bytes());
    put(32, &(HEADER_BYTES as u64).to_le_bytes()); // e_phoff
    put(54, &(SEGMENT_BYTES as u16).to_le_bytes()); // e_phentsize
    put(56, &1u16.to_le_bytes()); // e_phnum
    put(64, &3u32.to_le_bytes()); // PT_INTERP
    put(72, &((HEADER_BYTES + SEGMENT_BYTES) as u64).to_le_bytes()); // p_offset
    put(96, &(loader.len() as u64 + 1).to_le_bytes()); // p_filesz
    file.extend_from_slice(loader.as_bytes());
    file.push(0);
    file
}

fn check(bytes: &[u8]) -> Result<(), Fault> {
    check_named("program", bytes)
}

fn check_named(name: &str, bytes: &[u8]) -> Result<(), Fault> {
    check_program(Path::new(name), &file(bytes))
}

fn file(bytes: &[u8]) -> File {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Relaxed: only the number has to be another one each time.
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = format!("thmalloc-elf-{}-{number}", std::process::id());
    let path = std::env::temp_dir().join(name);
    let mut file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)
        .expect("a file of our own");
    std::fs::remove_file(&path).expect("remove it, and keep it open");
    file.write_all(bytes).expect("write");
    file.rewind().expect("rewind");
    file
}

fn with(loader: &str, at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut file = program(loader);
    file[at..at + bytes.len()].copy_from_slice(bytes);
    file
}

#[test]
fn a_program_with_the_loader_of_glibc_is_fine() {
    assert_eq!(check(&program(GLIBC)), Ok(()));
    // Both kinds of it: position-independent, and at a fixed address.
    assert_eq!(check(&with(GLIBC, 16, &2u16.to_le_bytes())), Ok(()));
}

#[test]
fn a_program_without_a_loader_is_static() {
    const PT_LOAD: u32 = 1;
    let file = with(GLIBC, 64, &PT_LOAD.to_le_bytes());
    assert_eq!(check(&file), Err(Fault::Static));
    assert_eq!(check_named("/x/ld-linux-x86-64.so.2", &file), Ok(()));
}

#[test]
fn a_loader_of_another_libc_is_refused_whether_it_exists_or_not() {
    for (loader, libc) in [
        ("/nowhere/ld-musl-x86_64.so.1", "musl"),
        ("/system/bin/linker64", "Android's libc"),
        ("/nowhere/ld64-uClibc.so.0", "uClibc"),
    ] {
        assert_eq!(
            check(&program(loader)),
            Err(Fault::OtherLibc {
                libc,
                loader: loader.into()
            })
        );
    }
}

#[test]
fn a_missing_loader_is_named() {
    let loader = "/nowhere/ld-linux-x86-64.so.2";
    let loader_missing = Fault::LoaderMissing {
        loader: loader.into(),
    };
    assert_eq!(check(&program(loader)), Err(loader_missing));
}

#[test]
fn another_machine_is_named() {
    for (class, data, machine, name) in [
        (1u8, 1u8, [3, 0], "32-bit x86"),
        (1, 1, [62, 0], "32-bit x86"),
        (2, 1, [183, 0], "64-bit Arm"),
        (1, 1, [40, 0], "32-bit Arm"),
        (2, 2, [0, 22], "64-bit S/390"),
        (2, 1, [243, 0], "64-bit RISC-V"),
        (2, 1, [1, 2], "64-bit machines of ELF's number 513"),
    ] {
        let mut file = with(GLIBC, 4, &[class, data]);
        file[18..20].copy_from_slice(&machine);
        assert_eq!(check(&file), Err(Fault::OtherMachine(name.into())));
    }
}

#[test]
fn object_files_and_core_dumps_are_no_programs() {
    for (kind, what) in [(1u16, "an object file (.o)"), (4, "a core dump")] {
        let file = with(GLIBC, 16, &kind.to_le_bytes());
        assert_eq!(check(&file), Err(Fault::NotProgram(what)));
    }
}

#[track_caller]
fn assert_damaged(file: &[u8]) {
    let outcome = check(file);
    assert!(matches!(outcome, Err(Fault::Damaged(_))), "{outcome:?}");
}

#[test]
fn sizes_and_offsets_out_of_the_file_are_damage() {
    for offset in [1 << 20, u64::MAX, u64::MAX - 55, 1 << 63] {
        assert_damaged(&with(GLIBC, 32, &offset.to_le_bytes())); // e_phoff
        assert_damaged(&with(GLIBC, 72, &offset.to_le_bytes())); // p_offset
        assert_damaged(&with(GLIBC, 96, &offset.to_le_bytes())); // p_filesz
    }
    for count in [0, 2, 1171, u16::MAX] {
        assert_damaged(&with(GLIBC, 56, &count.to_le_bytes()));
    }
    for each in [0, 32, 57, u16::MAX] {
        assert_damaged(&with(GLIBC, 54, &each.to_le_bytes()));
    }
    for bytes in [0u64, 1] {
        assert_damaged(&with(GLIBC, 96, &bytes.to_le_bytes()));
    }
    // A loader's name without its end.
    let mut endless = program(GLIBC);
    *endless.last_mut().expect("a last byte") = b'x';
    assert_damaged(&endless);
}

#[test]
fn a_huge_sparse_file_is_read_no_further_than_the_kernel_reads() {
    // PN_XNUM: the true number stands in the first section header, and says
    // that the program headers fill the whole file.
    let mut bytes = with(GLIBC, 56, &u16::MAX.to_le_bytes());
    let end = bytes.len() as u64;
    bytes[40..48].copy_from_slice(&end.to_le_bytes()); // e_shoff
    bytes[58..60].copy_from_slice(&64u16.to_le_bytes()); // e_shentsize
    let mut section = [0; 64];
    section[44..48].copy_from_slice(&u32::MAX.to_le_bytes()); // sh_info
    bytes.extend_from_slice(&section);
    let sparse = file(&bytes);
    sparse.set_len(1 << 40).expect("a sparse file");
    let outcome = check_program(Path::new("program"), &sparse);
    assert!(matches!(outcome, Err(Fault::Damaged(_))), "{outcome:?}");

    let endless_name = file(&with(GLIBC, 96, &(1u64 << 39).to_le_bytes()));
    endless_name.set_len(1 << 40).expect("a sparse file");
    let outcome = check_program(Path::new("program"), &endless_name);
    assert!(matches!(outcome, Err(Fault::Damaged(_))), "{outcome:?}");
}

#[test]
fn no_cut_and_no_changed_byte_makes_it_panic() {
    let sound = program(GLIBC);
    for length in 0..sound.len() {
        assert!(check(&sound[..length]).is_err(), "cut to {length} bytes");
    }
    for at in 0..sound.len() {
        for value in [0, 1, 0x7f, 0x80, 0xff] {
            let mut changed = sound.clone();
            changed[at] = value;
            let _ = check(&changed);
            let _ = check_library(&file(&changed));
        }
    }
}

#[test]
fn only_a_shared_library_for_this_machine_can_be_preloaded() {
    let check = |bytes: &[u8]| check_library(&file(bytes));
    assert_eq!(check(&program(GLIBC)), Ok(()));
    assert!(check(&with(GLIBC, 16, &2u16.to_le_bytes())).is_err());
    assert!(check(&with(GLIBC, 18, &3u16.to_le_bytes())).is_err());
    assert!(check(b"").is_err());
    assert!(check(b"#!/bin/sh\n").is_err());
}
