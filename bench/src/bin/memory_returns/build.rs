//! Builds what is measured, where it is missing or old.

use std::io;
use std::path::PathBuf;

use thmalloc_bench::build;

/// The library and the load.
pub struct Built {
    /// `libthmalloc.so`.
    pub library: PathBuf,
    /// The load.
    pub load: PathBuf,
}

/// Builds the load, and the library unless one is given.
pub fn all(library: Option<PathBuf>) -> io::Result<Built> {
    let target = build::target()?;
    build::cargo(
        build::root(),
        &target,
        &["-p", "thmalloc-bench", "--bin", "load"],
    )?;
    Ok(Built {
        library: build::library(library.as_deref())?,
        load: target.join("release/load"),
    })
}
