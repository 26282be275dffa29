//! Builds what is measured, where it is missing or old.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The library and the load.
pub struct Built {
    /// `libthmalloc.so`.
    pub library: PathBuf,
    /// The load.
    pub load: PathBuf,
}

/// The repository's root.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("bench/ stands in the root")
}

/// Builds the load, and the library unless one is given.
pub fn all(library: Option<PathBuf>) -> io::Result<Built> {
    // This program stands in the target directory that the others go to.
    let program = std::env::current_exe()?;
    let release = program.parent().expect("a file has a directory");
    let target = release.parent().expect("and that has one");
    cargo(target, &["-p", "thmalloc-bench", "--bin", "load"])?;
    let library = match library {
        Some(library) => library.canonicalize()?,
        None => {
            cargo(target, &["-p", "thmalloc-capi"])?;
            target.join("release/libthmalloc.so")
        }
    };
    Ok(Built {
        library,
        load: target.join("release/load"),
    })
}

fn cargo(target: &Path, what: &[&str]) -> io::Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .current_dir(root())
        .args(["build", "--release", "--quiet", "--target-dir"])
        .arg(target)
        .args(what)
        .status()?;
    if status.success() {
        Ok(())
    } else {
        Err(io::Error::other(format!("cargo build {what:?} failed")))
    }
}
