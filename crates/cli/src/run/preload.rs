//! Finds libthmalloc.so, and puts it into the value of LD_PRELOAD.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use super::elf;
use crate::error::Error;

/// The environment variable that names the libraries to load before a
/// program's own.
pub const VARIABLE: &str = "LD_PRELOAD";

const LIBRARY: &str = "libthmalloc.so";

/// Where the library may be, from the parent of our executable's directory.
const SIBLINGS: [&str; 3] = ["lib", "lib64", "lib/x86_64-linux-gnu"];

/// What the loader would replace in a path of LD_PRELOAD (ld.so(8)).
const LOADER_TOKENS: [&str; 6] = [
    "$ORIGIN",
    "${ORIGIN}",
    "$LIB",
    "${LIB}",
    "$PLATFORM",
    "${PLATFORM}",
];

/// The path of libthmalloc.so: one that the loader can load.
pub fn find_library() -> Result<PathBuf, Error> {
    // Symbolic links to our executable are resolved in it.
    let executable = env::current_exe().map_err(Error::OwnPathUnknown)?;
    let directory = executable.parent().unwrap_or(Path::new("/"));
    let library = find_from(directory)?;
    if let Some(found) = unfit(&library) {
        return Err(Error::LibraryPathUnfit { library, found });
    }
    let usable = File::open(&library)
        .map_err(|error| error.to_string())
        .and_then(|file| elf::check_library(&file).map_err(str::to_owned));
    match usable {
        Ok(()) => Ok(library),
        Err(reason) => Err(Error::LibraryUnusable { library, reason }),
    }
}

fn find_from(directory: &Path) -> Result<PathBuf, Error> {
    let mut searched = vec![directory.to_path_buf()];
    if let Some(parent) = directory.parent() {
        searched.extend(SIBLINGS.map(|sibling| parent.join(sibling)));
    }
    let candidates = searched.iter().map(|place| place.join(LIBRARY));
    match candidates.into_iter().find(|library| library.is_file()) {
        Some(library) => Ok(library),
        None => Err(Error::LibraryNotFound { searched }),
    }
}

/// What in the path keeps LD_PRELOAD from carrying it: the loader splits the
/// value at spaces and colons, with no way to quote them.
fn unfit(library: &Path) -> Option<String> {
    let bytes = library.as_os_str().as_bytes();
    let token = |token: &&&str| bytes.windows(token.len()).any(|w| w == token.as_bytes());
    if bytes.contains(&b' ') {
        Some("a space".into())
    } else if bytes.contains(&b':') {
        Some("a colon".into())
    } else {
        LOADER_TOKENS.iter().find(token).map(|t| (*t).to_owned())
    }
}

/// The value of LD_PRELOAD with `library` first and, once, the rest of `old`.
pub fn prepend(library: &Path, old: Option<&OsStr>) -> OsString {
    let library = library.as_os_str().as_bytes();
    let old = old.map_or(&[][..], OsStr::as_bytes);
    let mut value = library.to_vec();
    for other in old.split(|b| b" :".contains(b)) {
        if !other.is_empty() && other != library {
            value.push(b':');
            value.extend_from_slice(other);
        }
    }
    OsString::from_vec(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prepended(old: &str) -> OsString {
        prepend(Path::new("/t/libthmalloc.so"), Some(OsStr::new(old)))
    }

    #[test]
    fn the_library_comes_first_and_what_was_there_is_kept() {
        assert_eq!(prepend(Path::new("/t/l.so"), None), OsStr::new("/t/l.so"));
        assert_eq!(prepended(""), OsStr::new("/t/libthmalloc.so"));
        assert_eq!(
            prepended("/a.so:b.so c.so"),
            OsStr::new("/t/libthmalloc.so:/a.so:b.so:c.so")
        );
        assert_eq!(
            prepended("/t/libthmalloc.so.old"),
            OsStr::new("/t/libthmalloc.so:/t/libthmalloc.so.old")
        );
    }

    #[test]
    fn the_library_is_not_added_twice() {
        for old in [
            "/t/libthmalloc.so",
            "/t/libthmalloc.so: /t/libthmalloc.so",
            ":/t/libthmalloc.so ",
        ] {
            assert_eq!(prepended(old), OsStr::new("/t/libthmalloc.so"));
        }
        assert_eq!(
            prepended("/a.so:/t/libthmalloc.so:/b.so"),
            OsStr::new("/t/libthmalloc.so:/a.so:/b.so")
        );
    }

    #[test]
    fn other_libraries_need_not_be_utf8() {
        let old = OsString::from_vec(b"/\xe9.so".to_vec());
        assert_eq!(
            prepend(Path::new("/l.so"), Some(&old)).as_bytes(),
            b"/l.so:/\xe9.so"
        );
    }

    #[test]
    fn a_path_that_the_loader_would_split_or_expand_is_unfit() {
        for (path, found) in [
            ("/a b/l.so", "a space"),
            ("/a:b/l.so", "a colon"),
            ("/a/$LIB/l.so", "$LIB"),
            ("/a${ORIGIN}/l.so", "${ORIGIN}"),
        ] {
            assert_eq!(unfit(Path::new(path)).as_deref(), Some(found));
        }
        for path in ["/a/l.so", "/$a/l.so", "/a\tb/l.so", "/$lib/é.so"] {
            assert_eq!(unfit(Path::new(path)), None, "{path}");
        }
    }

    #[test]
    fn every_place_searched_is_named_when_the_library_is_nowhere() {
        let Err(error) = find_from(Path::new("/nonexistent/bin")) else {
            panic!("found in a directory that does not exist");
        };
        let report = error.report();
        for place in ["bin", "lib", "lib64", "lib/x86_64-linux-gnu"] {
            assert!(
                report.contains(&format!("/nonexistent/{place}")),
                "{report}"
            );
        }
    }
}
