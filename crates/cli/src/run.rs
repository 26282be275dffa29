//! `thmalloc run`: executes a command with libthmalloc.so preloaded.
//!
//! First everything is checked that the dynamic loader would pass over in
//! silence, then `execve` puts the command in our place: its exit status, its
//! signals and its process ID are what they are without us.

mod elf;
mod lookup;
mod preload;
mod privilege;
mod program;
mod script;

use std::convert::Infallible;
use std::env;
use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use clap::Args;
use nix::errno::Errno;

use crate::error::{Error, Fault};
use program::Format;

const AFTER_HELP: &str = "\
COMMAND is looked up on PATH, as a shell does. libthmalloc.so is expected beside
the thmalloc executable, or in ../lib, ../lib64 or ../lib/x86_64-linux-gnu from
there. It comes first in LD_PRELOAD; what LD_PRELOAD has already is kept, and
programs that COMMAND starts inherit it.

Exit status: that of COMMAND, or
  127  COMMAND is not found
  126  COMMAND is found, but cannot be executed, or not with a preloaded library
       (set-user-ID, statically linked, for another machine or another libc)
  125  thmalloc itself failed: libthmalloc.so is not found
    2  the arguments make no sense

Examples:
  thmalloc run -- top -bn3
  thmalloc run sh -c 'sort big | uniq -c'
  THMALLOC_CONF=cache=lock thmalloc run ./server --port 8080";

/// The shell for files that are text without a `#!`, as in execvp(3).
const SHELL: &str = "/bin/sh";

/// Run a program on thmalloc
#[derive(Debug, Args)]
#[command(override_usage = "thmalloc run [--] COMMAND [ARG]...", after_help = AFTER_HELP)]
pub struct Run {
    /// The program, and its arguments: options after COMMAND are COMMAND's
    #[arg(required = true, trailing_var_arg = true, value_names = ["COMMAND", "ARG"])]
    pub command: Vec<OsString>,
}

impl Run {
    /// Becomes the command; returns only where that fails.
    pub fn execute(self) -> Result<(), Error> {
        let library = preload::find_library()?;
        let name = self.command[0].as_os_str();
        let path = lookup::find(name, env::var_os("PATH").as_deref())?;
        let format = program::check(&path)?;
        let environment = environment(&library);

        let mut args = self.command;
        let error = exec(&path, &args, &environment);
        if error != Errno::ENOEXEC {
            return Err(Error::Exec { path, errno: error });
        }
        if format != Format::Text {
            return Err(Fault::UnknownFormat.of(&path));
        }
        let shell = Path::new(SHELL);
        program::check(shell)?;
        args.splice(..1, [SHELL.into(), path.into_os_string()]);
        Err(Error::Exec {
            errno: exec(shell, &args, &environment),
            path: shell.to_path_buf(),
        })
    }
}

/// Our environment, with the library in LD_PRELOAD.
fn environment(library: &Path) -> Vec<CString> {
    let old = env::var_os(preload::VARIABLE);
    let value = preload::prepend(library, old.as_deref());
    let mut variables: Vec<_> = env::vars_os().collect();
    match variables.iter_mut().find(|(k, _)| k == preload::VARIABLE) {
        Some(variable) => variable.1 = value,
        None => variables.push((preload::VARIABLE.into(), value)),
    }
    variables
        .into_iter()
        .map(|(mut variable, value)| {
            variable.push("=");
            variable.push(value);
            c_string(variable)
        })
        .collect()
}

fn exec(path: &Path, args: &[OsString], environment: &[CString]) -> Errno {
    let path = c_string(path.as_os_str().to_owned());
    let args: Vec<_> = args.iter().cloned().map(c_string).collect();
    let never: Result<Infallible, Errno> = nix::unistd::execve(&path, &args, environment);
    match never {
        Err(errno) => errno,
    }
}

/// Strings from the system (arguments, environment) and what is made of them
/// have no NUL inside; were there one, the string would end there, as in C.
fn c_string(string: OsString) -> CString {
    let bytes = string.into_vec();
    let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
    CString::new(&bytes[..end]).unwrap_or_default()
}

/// The file name of `path`; empty where it has none.
fn file_name(path: &Path) -> &[u8] {
    path.file_name().map_or(&[], OsStr::as_bytes)
}
