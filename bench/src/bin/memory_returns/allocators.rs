//! The allocators that are compared: where their libraries are.

use std::path::{Path, PathBuf};
use std::process::Command;

use thmalloc_bench::build;

/// An allocator, by its library and its settings.
#[derive(Clone, Debug)]
pub struct Allocator {
    /// What it is called here.
    pub name: &'static str,
    /// The library to preload.
    pub library: PathBuf,
    /// The environment that it runs in.
    pub settings: Vec<(&'static str, &'static str)>,
    /// The Debian package that has the library, where one does.
    pub package: Option<&'static str>,
}

/// The name of the allocator that the bars are for.
pub const OURS: &str = "thmalloc";
/// Where Debian puts libraries.
const LIBRARIES: &str = "/usr/lib/x86_64-linux-gnu";
/// The option that switches giving back off.
pub const OFF: (&str, &str) = ("THMALLOC_CONF", "release_delay=off");

/// An allocator as the table below has it: name, library, package, settings.
type Entry = (
    &'static str,
    &'static str,
    Option<&'static str>,
    &'static [(&'static str, &'static str)],
);

/// glibc is preloaded, too: a program may be linked with another allocator.
const PEERS: [Entry; 6] = [
    ("glibc", "libc.so.6", Some("libc6"), &[]),
    ("jemalloc", "libjemalloc.so.2", Some("libjemalloc2"), &[]),
    (
        "jemalloc-bg",
        "libjemalloc.so.2",
        Some("libjemalloc2"),
        &[("MALLOC_CONF", "background_thread:true")],
    ),
    ("mimalloc", "libmimalloc.so.2", Some("libmimalloc2.0"), &[]),
    (
        "tcmalloc",
        "libtcmalloc_minimal.so.4",
        Some("libtcmalloc-minimal4"),
        &[],
    ),
    (
        "tbbmalloc",
        "libtbbmalloc_proxy.so.2",
        Some("libtbbmalloc2"),
        &[],
    ),
];

/// thmalloc first, then its peers.
pub fn all(thmalloc: &Path) -> Vec<Allocator> {
    let ours = Allocator {
        name: OURS,
        library: thmalloc.to_path_buf(),
        settings: Vec::new(),
        package: None,
    };
    let peer = |(name, library, package, settings): Entry| Allocator {
        name,
        library: Path::new(LIBRARIES).join(library),
        settings: settings.to_vec(),
        package,
    };
    [ours].into_iter().chain(PEERS.map(peer)).collect()
}

/// Every name that `--allocators` takes.
pub fn names() -> Vec<&'static str> {
    [OURS].into_iter().chain(PEERS.map(|peer| peer.0)).collect()
}

impl Allocator {
    /// Whether its library is on this machine.
    pub fn installed(&self) -> bool {
        self.library.is_file()
    }

    /// Lets `command` run on it, with nothing of the driver's own settings.
    pub fn apply(&self, command: &mut Command) {
        for name in ["THMALLOC_CONF", "MALLOC_CONF"] {
            command.env_remove(name);
        }
        command.env("LD_PRELOAD", &self.library);
        command.envs(self.settings.iter().copied());
    }

    /// The version of its package, as dpkg has it; ours with the commit.
    pub fn version(&self) -> String {
        match self.package {
            None => build::version(),
            Some(package) => {
                build::package_version(package).unwrap_or("of unknown version".to_string())
            }
        }
    }
}
