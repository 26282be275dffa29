//! Builds what is measured, where it is missing or old.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The repository's root.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("bench/ stands in the root")
}

/// The target directory that this program stands in: the others go there, too.
pub fn target() -> io::Result<PathBuf> {
    let program = std::env::current_exe()?;
    let release = program.parent().expect("a file has a directory");
    let target = release.parent().expect("and that has one");
    Ok(target.to_path_buf())
}

/// Runs `cargo build --release` for `what` in `directory`, into `target`.
pub fn cargo(directory: &Path, target: &Path, what: &[&str]) -> io::Result<()> {
    let status = Command::new(program())
        .current_dir(directory)
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

/// The cargo that started this program, or the one on the path.
pub fn program() -> std::ffi::OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// `libthmalloc.so`: the one that is given, or the one that is built now.
pub fn library(given: Option<&Path>) -> io::Result<PathBuf> {
    if let Some(library) = given {
        return library.canonicalize();
    }
    let target = target()?;
    cargo(root(), &target, &["-p", "thmalloc-capi"])?;
    Ok(target.join("release/libthmalloc.so"))
}

/// What a program says on its output, if it ends well.
pub fn said(program: &str, arguments: &[&str]) -> Option<String> {
    let out = Command::new(program)
        .current_dir(root())
        .args(arguments)
        .stderr(Stdio::null())
        .output();
    let out = out.ok().filter(|out| out.status.success())?;
    Some(String::from_utf8_lossy(&out.stdout).trim().to_string())
}

/// thmalloc's version, with the commit.
pub fn version() -> String {
    let version = env!("CARGO_PKG_VERSION");
    said("git", &["describe", "--always", "--dirty"]).map_or(version.to_string(), |commit| {
        format!("{version} ({commit})")
    })
}

/// The version of a Debian package that is installed.
pub fn package_version(package: &str) -> Option<String> {
    said("dpkg-query", &["-W", "-f", "${Version}", package])
}
