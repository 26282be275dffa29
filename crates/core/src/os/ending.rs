//! The end of the process, and where its last words go.
#![allow(unsafe_code)] // Functions of libc's, and system calls.

use core::ffi::{CStr, c_int, c_void};
use core::mem::MaybeUninit;

use super::linux::call;

unsafe extern "C" {
    // What atexit(3) calls, which glibc offers only as a static library (LSB 5.0).
    fn __cxa_atexit(
        handler: extern "C" fn(*mut c_void),
        argument: *mut c_void,
        library: *const c_void,
    ) -> c_int;
}

/// Has `handler` called when the process ends by exit(3) or by a return from main:
/// after the handlers that are registered later. May allocate.
pub fn at_exit(handler: extern "C" fn(*mut c_void)) {
    // SAFETY: the handler is a static function of a file that is never unloaded: see `at_fork`.
    unsafe { __cxa_atexit(handler, core::ptr::null_mut(), core::ptr::null()) };
}

/// This process's number.
pub fn process_number() -> u32 {
    // SAFETY: takes no arguments.
    unsafe { call(libc::SYS_getpid, [0; 6]) as u32 }
}

/// Reads the beginning of a file: how many bytes.
fn read_file(path: &CStr, room: &mut [u8]) -> usize {
    // SAFETY: the room is valid for its length, the descriptor nobody else's.
    unsafe {
        let file = open(path, libc::O_RDONLY | libc::O_CLOEXEC);
        if file < 0 {
            return 0;
        }
        let place = room.as_mut_ptr().addr();
        let length = call(libc::SYS_read, [file as usize, place, room.len(), 0, 0, 0]);
        call(libc::SYS_close, [file as usize, 0, 0, 0, 0, 0]);
        usize::try_from(length).unwrap_or(0)
    }
}

fn open(path: &CStr, flags: c_int) -> isize {
    let arguments = [
        libc::AT_FDCWD as usize,
        path.as_ptr().addr(),
        flags as usize,
        0o666,
        0,
        0,
    ];
    // SAFETY: the path is a C string.
    unsafe { call(libc::SYS_openat, arguments) }
}

/// The name of the process, in `room`; none where /proc does not tell.
pub fn process_name(room: &mut [u8; 16]) -> &[u8] {
    let length = read_file(c"/proc/self/comm", room);
    let name = room.get(..length).unwrap_or_default();
    name.strip_suffix(b"\n").unwrap_or(name)
}

/// The working directory, in `room`; none where it has no name.
pub fn working_directory(room: &mut [u8]) -> &[u8] {
    let arguments = [room.as_mut_ptr().addr(), room.len(), 0, 0, 0, 0];
    // SAFETY: the room is valid for its length.
    let length = unsafe { call(libc::SYS_getcwd, arguments) };
    let directory = usize::try_from(length).ok().and_then(|l| room.get(..l));
    let directory = directory.and_then(|d| d.strip_suffix(b"\0"));
    directory
        .filter(|d| d.starts_with(b"/"))
        .unwrap_or_default()
}

/// Which file a descriptor leads to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// Its device.
    pub device: u64,
    /// Its number there.
    pub number: u64,
}

/// Which file a descriptor leads to; `None`: it is not open.
pub fn identity(file: u32) -> Option<Identity> {
    let mut status = MaybeUninit::<libc::stat>::zeroed();
    let arguments = [file as usize, status.as_mut_ptr().addr(), 0, 0, 0, 0];
    // SAFETY: the status has the kernel's type. It is zeroed, which is a value of
    // it, and the kernel fills it.
    let status = unsafe {
        if call(libc::SYS_fstat, arguments) != 0 {
            return None;
        }
        status.assume_init()
    };
    Some(Identity {
        device: status.st_dev,
        number: status.st_ino,
    })
}

/// Another descriptor for the same, far from those that programs count on; closed
/// when another program is executed.
pub fn duplicate(file: u32) -> Option<u32> {
    let with_least = |least: usize| {
        let command = libc::F_DUPFD_CLOEXEC as usize;
        // SAFETY: changes no descriptor that is there.
        let copy = unsafe { call(libc::SYS_fcntl, [file as usize, command, least, 0, 0, 0]) };
        u32::try_from(copy).ok()
    };
    with_least(200).or_else(|| with_least(3))
}

/// Writes all of a text to a descriptor, or as much as goes.
pub fn write_all(file: u32, text: &[u8]) {
    let mut rest = text;
    while !rest.is_empty() {
        let arguments = [file as usize, rest.as_ptr().addr(), rest.len(), 0, 0, 0];
        // SAFETY: the text is valid for its length.
        let written = unsafe { call(libc::SYS_write, arguments) };
        match usize::try_from(written) {
            Ok(count) if count != 0 => rest = rest.get(count..).unwrap_or_default(),
            _ if written == -(libc::EINTR as isize) => {}
            _ => return,
        }
    }
}

/// Adds a text to the end of a file, which is made if it is not there. False where
/// it cannot be opened.
pub fn append(path: &CStr, text: &[u8]) -> bool {
    let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_APPEND | libc::O_CLOEXEC;
    // A pipe that nobody reads is not waited for, and a terminal not taken over.
    let file = open(path, flags | libc::O_NONBLOCK | libc::O_NOCTTY);
    let Ok(file) = u32::try_from(file) else {
        return false;
    };
    write_all(file, text);
    // SAFETY: the descriptor is ours.
    unsafe { call(libc::SYS_close, [file as usize, 0, 0, 0, 0, 0]) };
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_working_directory_is_the_one_that_libc_tells() {
        let mut room = [0; 4096];
        let told = std::env::current_dir().expect("a directory");
        let path = told.to_str().expect("UTF-8");
        assert_eq!(working_directory(&mut room), path.as_bytes());
        assert_eq!(working_directory(&mut [0; 1]), b"");
    }

    #[test]
    fn a_duplicate_leads_to_the_same() {
        let copy = duplicate(2).expect("a descriptor");
        assert!(copy > 2);
        assert_eq!(identity(copy), identity(2));
        // SAFETY: ours.
        unsafe { call(libc::SYS_close, [copy as usize, 0, 0, 0, 0, 0]) };
        assert_eq!(identity(copy), None);
    }
}
