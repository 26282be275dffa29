//! Finds the file that a command's name stands for, as execvp(3) does.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::sys::statvfs::{FsFlags, statvfs};
use nix::unistd::{AccessFlags, faccessat};

use crate::error::{Error, Fault};

/// The value of PATH where there is none, as in glibc.
const DEFAULT_PATH: &str = "/bin:/usr/bin";

/// The file to execute for the command `name`: itself where it has a slash,
/// else the first of that name that we may execute, in the directories of
/// `path`.
pub fn find(name: &OsStr, path: Option<&OsStr>) -> Result<PathBuf, Error> {
    if name.as_bytes().contains(&b'/') {
        let file = PathBuf::from(name);
        return match check(&file) {
            Ok(()) => Ok(file),
            Err(fault) => Err(fault.of(&file)),
        };
    }
    // A file that we may not execute is reported only where no later
    // directory has one that we may.
    let mut refused = None;
    if !name.is_empty() {
        let path = path.unwrap_or(OsStr::new(DEFAULT_PATH));
        for directory in path.as_bytes().split(|&b| b == b':') {
            // An empty entry is the working directory.
            let directory = if directory.is_empty() {
                b"."
            } else {
                directory
            };
            let file = Path::new(OsStr::from_bytes(directory)).join(name);
            match check(&file) {
                Ok(()) => return Ok(file),
                Err(fault @ (Fault::NotExecutable { .. } | Fault::NoExecMount)) => {
                    refused.get_or_insert_with(|| fault.of(&file));
                }
                Err(_) => {}
            }
        }
    }
    Err(refused.unwrap_or_else(|| {
        let here = Path::new(".").join(name);
        Error::NotOnPath {
            name: name.into(),
            here: check(&here).is_ok().then_some(here),
        }
    }))
}

/// Is `file` a regular file that we may execute?
pub fn check(file: &Path) -> Result<(), Fault> {
    let metadata = file.metadata().map_err(|error| missing(file, &error))?;
    if metadata.is_dir() {
        return Err(Fault::Directory);
    }
    if !metadata.is_file() {
        return Err(Fault::NotRegular);
    }
    match faccessat(AT_FDCWD, file, AccessFlags::X_OK, AtFlags::AT_EACCESS) {
        Ok(()) => Ok(()),
        Err(Errno::EACCES) if mounted(file, FsFlags::ST_NOEXEC) => Err(Fault::NoExecMount),
        Err(Errno::EACCES) => Err(Fault::NotExecutable {
            mode: metadata.mode() & 0o7777,
        }),
        Err(errno) => Err(Fault::Unreachable(errno)),
    }
}

/// Is the file system with `file` mounted with `flag`?
pub fn mounted(file: &Path, flag: FsFlags) -> bool {
    statvfs(file).is_ok_and(|system| system.flags().contains(flag))
}

fn missing(file: &Path, error: &io::Error) -> Fault {
    let errno = Errno::from_raw(error.raw_os_error().unwrap_or(0));
    match (errno, file.read_link()) {
        (Errno::ENOENT, Ok(target)) => Fault::DanglingLink { target },
        (Errno::ENOENT, Err(_)) => Fault::Missing,
        _ => Fault::Unreachable(errno),
    }
}
