//! What can go wrong: what was found, what to do, and the exit status.
//!
//! The exit statuses are those of `env`, `nice` and the shell: 127 where the
//! command is not found, 126 where it is found but cannot run on thmalloc, 125
//! where thmalloc itself is at fault, 2 (by clap) for arguments that make no
//! sense. Where a process cannot be looked into, `inspect` has them.

pub mod inspect;

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

/// The exit status where thmalloc itself cannot go on.
pub const OWN_FAILURE: i32 = 125;
/// The exit status where the arguments make no sense, as clap has it.
const WRONG_ARGUMENTS: i32 = 2;
/// The exit status where the command cannot be executed, or not on thmalloc.
const CANNOT_RUN: i32 = 126;
/// The exit status where there is no such command.
const NOT_FOUND: i32 = 127;

/// How a path appears in a message.
trait Shown {
    /// On one line, whatever is in it, and never nothing.
    fn shown(&self) -> String;
}

impl Shown for Path {
    fn shown(&self) -> String {
        let mut shown = String::new();
        for c in self.to_string_lossy().chars() {
            if c.is_control() {
                shown.extend(c.escape_default());
            } else {
                shown.push(c);
            }
        }
        if shown.is_empty() { "''".into() } else { shown }
    }
}

/// Why a subcommand failed.
#[derive(Debug)]
pub enum Error {
    /// The system does not say where our executable is.
    OwnPathUnknown(io::Error),
    /// `libthmalloc.so` is in none of the places searched.
    LibraryNotFound { searched: Vec<PathBuf> },
    /// `libthmalloc.so` is there, and the loader could not load it.
    LibraryUnusable { library: PathBuf, reason: String },
    /// The library's path contains what LD_PRELOAD cannot carry.
    LibraryPathUnfit { library: PathBuf, found: String },
    /// No directory of PATH has the command; `here` is one of that name in
    /// the working directory.
    NotOnPath {
        name: PathBuf,
        here: Option<PathBuf>,
    },
    /// Something is wrong with one file.
    File { path: PathBuf, fault: Fault },
    /// A script is well, and what its first line names is not.
    Interpreter { script: PathBuf, cause: Box<Error> },
    /// That address cannot be listened on.
    Listen { address: String, error: io::Error },
    /// There is no terminal that `top` could use.
    NoTerminal(String),
    /// The terminal cannot be read or written.
    Terminal(io::Error),
    /// The system refused to execute the command.
    Exec { path: PathBuf, errno: Errno },
    /// A process could not be looked into.
    Inspect(thmalloc_inspect::Error),
    /// The file to write is called neither .svg nor .html.
    UnknownFormat(PathBuf),
    /// What was to be written could not be.
    Output { path: PathBuf, error: io::Error },
}

impl From<thmalloc_inspect::Error> for Error {
    fn from(error: thmalloc_inspect::Error) -> Self {
        Self::Inspect(error)
    }
}

/// What is wrong with a file that is to be executed.
#[derive(Debug, PartialEq, Eq)]
pub enum Fault {
    /// There is no such file.
    Missing,
    /// A symbolic link to `target`, which is not there.
    DanglingLink { target: PathBuf },
    /// Its metadata cannot be read.
    Unreachable(Errno),
    /// A directory.
    Directory,
    /// A device, a socket, a pipe.
    NotRegular,
    /// No execute permission for us.
    NotExecutable { mode: u32 },
    /// On a file system that is mounted noexec.
    NoExecMount,
    /// A set-user-ID bit would change the user.
    SetUser { uid: u32 },
    /// A set-group-ID bit would change the group.
    SetGroup { gid: u32 },
    /// File capabilities would be gained.
    Capabilities,
    /// We run set-user-ID or set-group-ID ourselves.
    MixedIds,
    /// Of no bytes.
    Empty,
    /// Neither ELF nor a script.
    UnknownFormat,
    /// An ELF file that the kernel or we cannot make sense of.
    Damaged(&'static str),
    /// An ELF file of another kind: an object file, a core dump.
    NotProgram(&'static str),
    /// For another processor or of another width.
    OtherMachine(String),
    /// It names no dynamic loader.
    Static,
    /// Its dynamic loader is not glibc's.
    OtherLibc { libc: &'static str, loader: PathBuf },
    /// Its dynamic loader is not there.
    LoaderMissing { loader: PathBuf },
    /// A script's first line names no interpreter.
    NoInterpreter,
    /// A script whose interpreters are scripts, too many deep.
    TooManyScripts,
}

impl Fault {
    /// This fault of the file at `path`.
    pub fn of(self, path: &Path) -> Error {
        Error::File {
            path: path.to_path_buf(),
            fault: self,
        }
    }
}

impl Error {
    /// The exit status.
    pub fn status(&self) -> i32 {
        match self {
            Self::OwnPathUnknown(_)
            | Self::LibraryNotFound { .. }
            | Self::LibraryUnusable { .. }
            | Self::LibraryPathUnfit { .. }
            | Self::Output { .. }
            | Self::Listen { .. }
            | Self::NoTerminal(_)
            | Self::Terminal(_) => OWN_FAILURE,
            Self::Inspect(error) => inspect::status(error),
            Self::UnknownFormat(_) => WRONG_ARGUMENTS,
            Self::NotOnPath { .. }
            | Self::File {
                fault: Fault::Missing | Fault::DanglingLink { .. },
                ..
            } => NOT_FOUND,
            Self::File { .. } | Self::Interpreter { .. } | Self::Exec { .. } => CANNOT_RUN,
        }
    }

    /// What stderr gets: what was found, and, on a line of its own, what to do.
    pub fn report(&self) -> String {
        let (found, advice) = self.explain();
        let kind = match self {
            Self::NotOnPath { .. } => "command not found: ",
            _ => "",
        };
        format!("thmalloc: {kind}{found}\n  to do: {advice}")
    }

    fn explain(&self) -> (String, String) {
        match self {
            Self::OwnPathUnknown(error) => (
                format!("cannot tell where thmalloc itself is, to find libthmalloc.so ({error})"),
                "mount /proc, where the system says so".into(),
            ),
            Self::LibraryNotFound { searched } => {
                let places: Vec<_> = searched.iter().map(|p| p.shown()).collect();
                (
                    format!("libthmalloc.so not found; searched: {}", places.join(", ")),
                    "put it into one of these directories (cargo build --release makes \
                     the command and the library side by side, in target/release)"
                        .into(),
                )
            }
            Self::LibraryUnusable { library, reason } => (
                format!("{} cannot be preloaded: {reason}", library.shown()),
                "install or build it again (cargo build --release)".into(),
            ),
            Self::LibraryPathUnfit { library, found } => (
                format!(
                    "LD_PRELOAD cannot carry the library's path, because of {found} in it: {}",
                    library.shown()
                ),
                "move thmalloc and libthmalloc.so to a directory whose path has no space, \
                 no colon and no dollar sign"
                    .into(),
            ),
            Self::NotOnPath { name, here } => (
                format!("{} is in no directory of PATH", name.shown()),
                match here {
                    Some(here) => format!(
                        "for the one in the working directory, type: thmalloc run {}",
                        here.shown()
                    ),
                    None => "check the spelling, or give the program's path".into(),
                },
            ),
            Self::File { path, fault } => {
                let (found, advice) = fault.explain(path);
                (format!("{} {found}", path.shown()), advice)
            }
            Self::Interpreter { script, cause } => {
                let (found, advice) = cause.explain();
                (
                    format!(
                        "{} is a script, and its interpreter {found}",
                        script.shown()
                    ),
                    advice,
                )
            }
            Self::Inspect(error) => (error.to_string(), inspect::advice(error)),
            Self::UnknownFormat(path) => (
                format!(
                    "{} does not say what to write: its name ends neither in .svg nor in .html",
                    path.shown()
                ),
                "choose a name that does, or add --format svg or --format html".into(),
            ),
            Self::Output { path, error } => (
                format!("{} cannot be written: {error}", path.shown()),
                "check the path, its permissions and the space on its file system".into(),
            ),
            Self::Listen { address, error } => (
                format!("cannot listen on {address}: {error}"),
                match error.kind() {
                    io::ErrorKind::AddrInUse => {
                        "choose another port, or end whoever listens there (ss -ltnp shows it)"
                    }
                    io::ErrorKind::PermissionDenied => "choose a port above 1023",
                    io::ErrorKind::AddrNotAvailable => {
                        "name an address of this machine (ip address shows them)"
                    }
                    _ => "name an address and a port, as in 127.0.0.1:9750",
                }
                .into(),
            ),
            Self::NoTerminal(why) => (
                format!("top needs a terminal: {why}"),
                "thmalloc top -b prints the same as plain text, -n COUNT times".into(),
            ),
            Self::Terminal(error) => (
                format!("the terminal failed: {error}"),
                "thmalloc top -b prints the same as plain text".into(),
            ),
            Self::Exec { path, errno } => (
                format!("{} cannot be executed: {}", path.shown(), errno.desc()),
                match errno {
                    Errno::E2BIG => {
                        "pass fewer arguments, or clear large environment variables".into()
                    }
                    Errno::ETXTBSY => "wait until nobody writes to the file any more".into(),
                    _ => "see whether it runs without thmalloc; if it does, report this".into(),
                },
            ),
        }
    }
}

impl Fault {
    /// What was found, as the rest of a sentence that starts with the path,
    /// and what to do.
    fn explain(&self, path: &Path) -> (String, String) {
        match self {
            Self::Missing => (
                "does not exist".into(),
                if path.as_os_str().as_bytes().ends_with(b"\r") {
                    "remove the line ends of Windows from the script (sed -i 's/\\r$//')"
                } else {
                    "check the path"
                }
                .into(),
            ),
            Self::DanglingLink { target } => (
                format!(
                    "is a symbolic link to {}, which does not exist",
                    target.shown()
                ),
                "install what the link points to, or correct the link".into(),
            ),
            Self::Unreachable(errno) => (
                format!("cannot be reached: {}", errno.desc()),
                "check the path, and the permissions of the directories on it".into(),
            ),
            Self::Directory => ("is a directory".into(), "name a program in it".into()),
            Self::NotRegular => ("is not a regular file".into(), "name a program".into()),
            Self::NotExecutable { mode } => (
                format!("may not be executed by this user (its mode is {mode:04o})"),
                format!(
                    "chmod +x {}, if it is a program; or name the interpreter, \
                     as in: thmalloc run python3 FILE",
                    path.shown()
                ),
            ),
            Self::NoExecMount => (
                "is on a file system from which nothing may be executed (mounted noexec)".into(),
                "copy it elsewhere, and run the copy".into(),
            ),
            Self::SetUser { uid } => {
                let user = match uid {
                    0 => "root".to_owned(),
                    _ => format!("user {uid}"),
                };
                (
                    format!("is set-user-ID {user}, so the loader would ignore LD_PRELOAD for it"),
                    format!(
                        "become {user} first ({} thmalloc run ...), or run a copy of it, which \
                         has no such bit",
                        match uid {
                            0 => "sudo".to_owned(),
                            _ => format!("sudo -u '#{uid}'"),
                        }
                    ),
                )
            }
            Self::SetGroup { gid } => (
                format!(
                    "is set-group-ID group {gid}, so the loader would ignore LD_PRELOAD for it"
                ),
                format!(
                    "enter the group first (sudo -g '#{gid}' thmalloc run ...), or run a copy of \
                     it, which has no such bit"
                ),
            ),
            Self::Capabilities => (
                "has file capabilities, so the loader would ignore LD_PRELOAD for it".into(),
                "become root first (sudo thmalloc run ...), or run a copy of it, which has none"
                    .into(),
            ),
            Self::MixedIds => (
                "would run with an effective user or group that is not the real one, so the \
                 loader would ignore LD_PRELOAD for it"
                    .into(),
                "do not install thmalloc set-user-ID or set-group-ID, nor start it from a \
                 program that is so and keeps both"
                    .into(),
            ),
            Self::Empty => (
                "is an empty file".into(),
                "build or install it again".into(),
            ),
            Self::UnknownFormat => (
                "is neither an ELF program nor a script".into(),
                "name a program, or the interpreter of this file".into(),
            ),
            Self::Damaged(why) => (
                format!("is a damaged ELF file: {why}"),
                "build or install it again".into(),
            ),
            Self::NotProgram(what) => {
                (format!("is no program but {what}"), "name a program".into())
            }
            Self::OtherMachine(machine) => (
                format!("is a program for {machine}; thmalloc is for 64-bit x86-64"),
                "use a build of it for x86-64".into(),
            ),
            Self::Static => (
                "is statically linked: no dynamic loader runs that could preload thmalloc".into(),
                "link it dynamically (without -static; in Rust, without +crt-static), or make \
                 thmalloc::ThMalloc the global allocator of a Rust program"
                    .into(),
            ),
            Self::OtherLibc { libc, loader } => (
                format!(
                    "is linked with {libc} (its loader is {}); thmalloc needs glibc",
                    loader.shown()
                ),
                "use a build of it for glibc".into(),
            ),
            Self::LoaderMissing { loader } => (
                format!(
                    "needs the dynamic loader {}, which does not exist",
                    loader.shown()
                ),
                "install the C library that it was built for, or another build of it".into(),
            ),
            Self::NoInterpreter => (
                "is a script whose first line (#!) names no interpreter".into(),
                "write the interpreter's path after the #!".into(),
            ),
            Self::TooManyScripts => (
                "is a script, too, and so on: deeper than the system follows".into(),
                "name a program in the first line (#!) of one of them".into(),
            ),
        }
    }
}
