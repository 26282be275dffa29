//! Is a file a program that the library can be preloaded into? Follows
//! scripts to their interpreters.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::{elf, lookup, privilege, script};
use crate::error::{Error, Fault};

/// How many scripts the kernel follows from one to the next.
const MAX_SCRIPTS: usize = 5;

/// What a file that may be executed looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// An ELF program.
    Elf,
    /// A script that names its interpreter.
    Script,
    /// Text without a first line: a script for the shell.
    Text,
    /// Something else, which the kernel may know (binfmt_misc), or a file
    /// that we may execute and not read.
    Other,
}

/// Refuses the file at `path`, which we may execute, where the library would
/// not be preloaded into it.
pub fn check(path: &Path) -> Result<Format, Error> {
    check_nested(path, 0)
}

fn check_nested(path: &Path, scripts: usize) -> Result<Format, Error> {
    let unreachable = |error: io::Error| {
        let errno = nix::errno::Errno::from_raw(error.raw_os_error().unwrap_or(0));
        Fault::Unreachable(errno).of(path)
    };
    let metadata = path.metadata().map_err(unreachable)?;
    let privilege = privilege::check(path, &metadata).map_err(|fault| fault.of(path));
    let Ok(file) = File::open(path) else {
        // The kernel can read it all the same, and so execute it.
        return privilege.map(|()| Format::Other);
    };
    let mut head = Vec::new();
    (&file)
        .take(script::HEAD_BYTES as u64)
        .read_to_end(&mut head)
        .map_err(unreachable)?;

    if head.is_empty() {
        Err(Fault::Empty.of(path))
    } else if head.starts_with(elf::MAGIC) {
        privilege?;
        elf::check_program(path, &file).map_err(|fault| fault.of(path))?;
        Ok(Format::Elf)
    } else if script::is_script(&head) {
        // Here the interpreter's privileges count, and not the script's.
        check_script(path, &head, scripts)?;
        Ok(Format::Script)
    } else if head.contains(&0) {
        Ok(Format::Other)
    } else {
        Ok(Format::Text)
    }
}

fn check_script(path: &Path, head: &[u8], scripts: usize) -> Result<(), Error> {
    if scripts == MAX_SCRIPTS {
        return Err(Fault::TooManyScripts.of(path));
    }
    let line = script::first_line(head).ok_or_else(|| Fault::NoInterpreter.of(path))?;
    let interpreter = |cause| match cause {
        // The innermost script is the one to look at.
        cause @ Error::Interpreter { .. } => cause,
        cause => Error::Interpreter {
            script: path.to_path_buf(),
            cause: Box::new(cause),
        },
    };
    let check = |program: &Path| check_nested(program, scripts + 1).map_err(interpreter);
    lookup::check(&line.interpreter).map_err(|fault| interpreter(fault.of(&line.interpreter)))?;
    check(&line.interpreter)?;
    if let Some(name) = line.program_of_env() {
        let path = std::env::var_os("PATH");
        check(&lookup::find(name, path.as_deref()).map_err(interpreter)?)?;
    }
    Ok(())
}
