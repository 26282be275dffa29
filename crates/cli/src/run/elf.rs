//! Would the loader preload the library into this ELF program?
//!
//! The file may be anything: only its header, its program headers and the
//! name of its loader are read, each no larger than the kernel takes them.

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use object::LittleEndian;
use object::elf::{self, FileHeader64};
use object::read::elf::{FileHeader, ProgramHeader};
use object::read::{ReadCache, ReadRef};

use super::file_name;
use crate::error::Fault;

/// What an ELF file starts with.
pub const MAGIC: &[u8] = &elf::ELFMAG;

/// The kernel executes no file with more program headers than fit in this.
const MAX_PROGRAM_HEADERS_BYTES: u64 = 64 << 10;
/// The kernel takes no loader with a longer name: PATH_MAX.
const MAX_LOADER_BYTES: u64 = 4096;

/// Starts of the names of loaders that are not glibc's, and whose they are.
const OTHER_LOADERS: [(&str, &str); 5] = [
    ("ld-musl", "musl"),
    ("linker", "Android's libc"),
    ("ld-uClibc", "uClibc"),
    ("ld64-uClibc", "uClibc"),
    ("ld-elf", "a BSD's libc"),
];

/// glibc's loader, which is a program, too: `ld-linux-x86-64.so.2 PROGRAM`.
const GLIBC_LOADER: &[u8] = b"ld-linux-x86-64.so.2";

type Header = FileHeader64<LittleEndian>;

/// Refuses the program at `path`, opened as `file`, unless a loader of glibc
/// for this machine will start it.
pub fn check_program(path: &Path, file: &File) -> Result<(), Fault> {
    match loader(&ReadCache::new(file))? {
        Some(loader) => check_loader(loader),
        None if is_glibc_loader(path) => Ok(()),
        None => Err(Fault::Static),
    }
}

/// Refuses a file that is no shared library for this machine.
pub fn check_library(file: &File) -> Result<(), &'static str> {
    let data = ReadCache::new(file);
    match header(&data) {
        Ok(header) if header.e_type(LittleEndian) == elf::ET_DYN => Ok(()),
        Ok(_) => Err("it is no shared library"),
        Err(Fault::OtherMachine(_)) => Err("it is not for 64-bit x86-64"),
        Err(_) => Err("it is no ELF file, or a damaged one"),
    }
}

/// The loader that a program names.
fn loader<'d>(data: impl ReadRef<'d>) -> Result<Option<PathBuf>, Fault> {
    let header = header(data)?;
    let what = match header.e_type(LittleEndian) {
        elf::ET_EXEC | elf::ET_DYN => None,
        elf::ET_REL => Some("an object file (.o)"),
        elf::ET_CORE => Some("a core dump"),
        _ => Some("an ELF file of another type"),
    };
    if let Some(what) = what {
        return Err(Fault::NotProgram(what));
    }
    let count = u64::from(header.e_phnum(LittleEndian));
    let each = u64::from(header.e_phentsize(LittleEndian));
    if count == 0 || count * each > MAX_PROGRAM_HEADERS_BYTES {
        return Err(Fault::Damaged("it has no program headers, or too many"));
    }
    let segments = header
        .program_headers(LittleEndian, data)
        .map_err(|_| Fault::Damaged("its program headers are not all in the file"))?;
    let wanted = |s: &&elf::ProgramHeader64<_>| s.p_type(LittleEndian) == elf::PT_INTERP;
    let Some(segment) = segments.iter().find(wanted) else {
        return Ok(None);
    };
    let unusable = Fault::Damaged("the name of its dynamic loader is not in the file");
    if !(2..=MAX_LOADER_BYTES).contains(&segment.p_filesz(LittleEndian)) {
        return Err(unusable);
    }
    match segment.interpreter(LittleEndian, data) {
        Ok(Some(name)) => Ok(Some(OsStr::from_bytes(name).into())),
        _ => Err(unusable),
    }
}

/// The header of an ELF file for this machine.
fn header<'d>(data: impl ReadRef<'d>) -> Result<&'d Header, Fault> {
    let too_short = Fault::Damaged("it ends within its header");
    // What says which machine it is for stands first in a 32-bit file, too,
    // and is shorter than this.
    let start = data.read_bytes_at(0, 20).map_err(|()| too_short)?;
    if !start.starts_with(MAGIC) {
        return Err(Fault::UnknownFormat);
    }
    let bits = match elf::FileClass(start[4]) {
        elf::ELFCLASS64 => "64-bit",
        elf::ELFCLASS32 => "32-bit",
        _ => return Err(Fault::Damaged("it is neither 32-bit nor 64-bit")),
    };
    let machine = [start[18], start[19]];
    let machine = match elf::DataEncoding(start[5]) {
        elf::ELFDATA2LSB => u16::from_le_bytes(machine),
        elf::ELFDATA2MSB => u16::from_be_bytes(machine),
        _ => return Err(Fault::Damaged("it is neither little-endian nor big-endian")),
    };
    let machine = elf::Machine(machine);
    if machine != elf::EM_X86_64 || bits != "64-bit" {
        return Err(Fault::OtherMachine(format!("{bits} {}", name(machine))));
    }
    Header::parse(data)
        .map_err(|_| Fault::Damaged("its header is incomplete or contradicts itself"))
}

fn name(machine: elf::Machine) -> String {
    match machine {
        elf::EM_386 | elf::EM_X86_64 => "x86".into(),
        elf::EM_ARM | elf::EM_AARCH64 => "Arm".into(),
        elf::EM_RISCV => "RISC-V".into(),
        elf::EM_PPC | elf::EM_PPC64 => "POWER".into(),
        elf::EM_S390 => "S/390".into(),
        elf::EM_MIPS => "MIPS".into(),
        elf::EM_LOONGARCH => "LoongArch".into(),
        elf::Machine(number) => format!("machines of ELF's number {number}"),
    }
}

fn check_loader(loader: PathBuf) -> Result<(), Fault> {
    let real = loader.canonicalize();
    let libc = |path: &Path| {
        let starts = |(start, _): &&(&str, _)| file_name(path).starts_with(start.as_bytes());
        OTHER_LOADERS.iter().find(starts).map(|(_, libc)| *libc)
    };
    // glibc's name may be a link to another libc's loader.
    if let Some(libc) = libc(&loader).or_else(|| real.as_deref().ok().and_then(libc)) {
        return Err(Fault::OtherLibc { libc, loader });
    }
    match real {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Err(Fault::LoaderMissing { loader }),
        _ => Ok(()),
    }
}

fn is_glibc_loader(path: &Path) -> bool {
    let is = |path: &Path| file_name(path) == GLIBC_LOADER;
    is(path) || path.canonicalize().is_ok_and(|real| is(&real))
}

#[cfg(test)]
mod tests;
