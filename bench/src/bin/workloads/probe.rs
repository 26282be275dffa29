//! Looks which library serves malloc in this process, and whether it does.
#![allow(unsafe_code, reason = "symbols are looked up and called as C does")]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::path::Path;
use std::process::ExitCode;

/// What must come from the library.
const FAMILY: [&str; 8] = [
    "malloc",
    "free",
    "calloc",
    "realloc",
    "posix_memalign",
    "aligned_alloc",
    "memalign",
    "malloc_usable_size",
];

/// Ends well if the family comes from `library` and works; says the version
/// that the library gives itself.
pub fn probe(library: &str) -> ExitCode {
    match look(Path::new(library)) {
        Ok(version) => {
            println!("{version}");
            ExitCode::SUCCESS
        }
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}

fn symbol(name: &str) -> Option<*mut c_void> {
    let name = CString::new(name).expect("no zero in a name");
    // SAFETY: the name ends with a zero.
    let address = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
    (!address.is_null()).then_some(address)
}

fn look(library: &Path) -> Result<String, String> {
    let real = library.canonicalize().map_err(|error| error.to_string())?;
    for name in FAMILY {
        let address = symbol(name).ok_or(format!("{name} is nowhere"))?;
        // SAFETY: all-zero is a `Dl_info`, which dladdr fills.
        let file = unsafe {
            let mut info: libc::Dl_info = std::mem::zeroed();
            if libc::dladdr(address, &mut info) == 0 || info.dli_fname.is_null() {
                return Err(format!("{name} is in no file"));
            }
            CStr::from_ptr(info.dli_fname).to_string_lossy().to_string()
        };
        let file = Path::new(&file).canonicalize().map_err(|e| e.to_string())?;
        if file != real {
            return Err(format!("{name} comes from {}", file.display()));
        }
    }
    serve()?;
    Ok(version())
}

/// Blocks of many sizes are aligned, large enough, and each other's neighbours
/// at most.
fn serve() -> Result<(), String> {
    let mut blocks = Vec::new();
    for size in (1..2000).chain([10_000, 100_000, 1 << 20, 40 << 20]) {
        // SAFETY: malloc takes any size, and usable_size what it returned.
        let (block, usable) = unsafe {
            let block = libc::malloc(size);
            (block, libc::malloc_usable_size(block))
        };
        if block.is_null() || usable < size {
            return Err(format!("malloc({size}) has {usable} bytes"));
        }
        let align = if size >= 16 { 16 } else { 8 };
        if !(block as usize).is_multiple_of(align) {
            return Err(format!("malloc({size}) is not aligned to {align}"));
        }
        // SAFETY: the block has `size` bytes.
        unsafe { block.cast::<u8>().write_bytes(size as u8, size) };
        blocks.push((block, size));
    }
    for (block, size) in blocks {
        // SAFETY: written above, freed once.
        unsafe {
            let (first, last) = (block.cast::<u8>(), block.cast::<u8>().add(size - 1));
            if first.read() != size as u8 || last.read() != size as u8 {
                return Err(format!("a block of {size} bytes was overwritten"));
            }
            libc::free(block);
        }
    }
    Ok(())
}

/// The version that the library tells, if it does.
fn version() -> String {
    if let Some(address) = symbol("mi_version") {
        // SAFETY: mimalloc declares `int mi_version(void)`.
        let version = unsafe {
            let version: extern "C" fn() -> c_int = std::mem::transmute(address);
            version()
        };
        // Version 3 counts the patches in two digits, as version 2 does since 2.2.
        return format!(
            "{}.{}.{}",
            version / 10000,
            version / 100 % 100,
            version % 100
        );
    }
    if let Some(address) = symbol("mallctl") {
        type Mallctl =
            extern "C" fn(*const c_char, *mut c_void, *mut usize, *mut c_void, usize) -> c_int;
        let mut text: *const c_char = std::ptr::null();
        let mut bytes = size_of_val(&text);
        // SAFETY: jemalloc's declaration; "version" is a string that stays.
        unsafe {
            let mallctl: Mallctl = std::mem::transmute(address);
            let place = (&raw mut text).cast();
            let none = std::ptr::null_mut();
            if mallctl(c"version".as_ptr(), place, &mut bytes, none, 0) == 0 && !text.is_null() {
                let text = CStr::from_ptr(text).to_string_lossy();
                return text.split('-').next().unwrap_or("").to_string();
            }
        }
    }
    String::new()
}
