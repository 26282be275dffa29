//! The allocators that are compared: how their libraries come to be, and how a
//! program runs on them.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use thmalloc_bench::build;

use crate::peers::{self, Recipe, Sources};

/// The name of the allocator that the bars are for.
pub const OURS: &str = "thmalloc";
/// Where Debian puts libraries.
const LIBRARIES: &str = "/usr/lib/x86_64-linux-gnu";

/// Where an allocator's library comes from.
#[derive(Clone, Copy)]
enum Origin {
    /// This repository.
    Ours,
    /// A crate of `bench/peers`, and how it is built.
    Crate(&'static str, Recipe),
    /// A library that Debian has, and its package.
    Debian(&'static str, &'static str),
}

const MIMALLOC: [&str; 7] = [
    "-std=gnu11",
    "-fvisibility=hidden",
    "-ftls-model=initial-exec",
    "-fno-builtin-malloc",
    "-DMI_MALLOC_OVERRIDE",
    "-DMI_SHARED_LIB",
    "-DMI_SHARED_LIB_EXPORT",
];
const MIMALLOC_2: [&str; 8] = with(MIMALLOC, "-Ic_src/mimalloc/v2/include");
const MIMALLOC_3: [&str; 8] = with(MIMALLOC, "-Ic_src/mimalloc/v3/include");

const fn with(flags: [&'static str; 7], more: &'static str) -> [&'static str; 8] {
    let [a, b, c, d, e, f, g] = flags;
    [a, b, c, d, e, f, g, more]
}

/// Every allocator: its name, its origin, and the program of `bench/peers` that
/// has it as GlobalAlloc.
const ALL: [(&str, Origin, Option<&str>); 10] = [
    (OURS, Origin::Ours, Some("thmalloc")),
    (
        "glibc",
        Origin::Debian("libc.so.6", "libc6"),
        Some("system"),
    ),
    (
        "mimalloc2",
        Origin::Crate(
            "libmimalloc-sys",
            Recipe::C(&["c_src/mimalloc/v2/src/static.c"], &MIMALLOC_2),
        ),
        None,
    ),
    (
        "mimalloc3",
        Origin::Crate(
            "libmimalloc-sys",
            Recipe::C(&["c_src/mimalloc/v3/src/static.c"], &MIMALLOC_3),
        ),
        Some("mimalloc3"),
    ),
    (
        "jemalloc",
        Origin::Crate("tikv-jemalloc-sys", Recipe::Jemalloc),
        Some("jemalloc"),
    ),
    (
        "snmalloc",
        Origin::Crate(
            "snmalloc-sys",
            Recipe::Cxx(
                &[
                    "upstream/src/snmalloc/override/malloc.cc",
                    "upstream/src/snmalloc/override/new.cc",
                ],
                &[
                    "-std=c++20",
                    "-mcx16",
                    "-mprfchw",
                    "-fvisibility=hidden",
                    "-fomit-frame-pointer",
                    "-ffunction-sections",
                    "-ftls-model=initial-exec",
                    "-DSNMALLOC_USE_CXX11_THREAD_ATEXIT_DIRECT",
                    "-DSNMALLOC_USE_WAIT_ON_ADDRESS=1",
                    "-DSNMALLOC_CHECK_LOADS=false",
                    "-DSNMALLOC_PAGEID=false",
                    "-DSNMALLOC_EXPORT=__attribute__((visibility(\"default\")))",
                    "-Iupstream/src",
                    "-static-libstdc++",
                ],
            ),
        ),
        Some("snmalloc"),
    ),
    (
        "rpmalloc",
        Origin::Crate(
            "rpmalloc-sys",
            Recipe::C(
                &["rpmalloc/rpmalloc/rpmalloc.c"],
                &[
                    "-std=gnu11",
                    "-fvisibility=hidden",
                    "-ftls-model=initial-exec",
                    "-DENABLE_PRELOAD=1",
                    "-DENABLE_OVERRIDE=1",
                    "-ldl",
                ],
            ),
        ),
        Some("rpmalloc"),
    ),
    (
        "tcmalloc",
        Origin::Crate(
            "libtcmalloc-sys",
            Recipe::Tcmalloc(&[
                "c_src/tcmalloc/tcmalloc/tcmalloc.cc",
                "c_src/tcmalloc/tcmalloc/want_hpaa.cc",
            ]),
        ),
        Some("tcmalloc"),
    ),
    (
        "gperftools",
        Origin::Debian("libtcmalloc_minimal.so.4", "libtcmalloc-minimal4"),
        None,
    ),
    (
        "rusty_alloc",
        Origin::Crate(
            "rusty_alloc",
            Recipe::Member("peer-rusty-alloc", "librusty_alloc_preload.so"),
        ),
        Some("rusty_alloc"),
    ),
];

/// An allocator that programs can run on.
#[derive(Clone, Debug)]
pub struct Allocator {
    /// What it is called here.
    pub name: &'static str,
    /// The library to preload.
    pub library: PathBuf,
    /// Its version, and where that is from.
    pub version: String,
    /// The program of `bench/peers` that has it as GlobalAlloc.
    pub global: Option<&'static str>,
}

/// As many more of thmalloc as there are peers.
const ITSELF: [&str; ALL.len() - 1] = [
    "itself-1", "itself-2", "itself-3", "itself-4", "itself-5", "itself-6", "itself-7", "itself-8",
    "itself-9",
];

/// thmalloc, and as its peers only more of itself: every difference is chance.
pub fn itself(ours: Option<&Path>) -> io::Result<Vec<Allocator>> {
    let mut found = prepare(&[OURS.to_string()], ours)?;
    if let Some(ours) = found.first().cloned() {
        found.extend(ITSELF.map(|name| Allocator {
            name,
            ..ours.clone()
        }));
    }
    Ok(found)
}

/// Every name that `--allocators` takes.
pub fn names() -> Vec<&'static str> {
    ALL.iter().map(|entry| entry.0).collect()
}

/// Builds those of `wanted` (all if that is empty) that can be had, and names
/// the others.
pub fn prepare(wanted: &[String], ours: Option<&Path>) -> io::Result<Vec<Allocator>> {
    let directory = build::target()?.join("peers");
    std::fs::create_dir_all(&directory)?;
    let mut sources = None;
    let mut found = Vec::new();
    for (name, origin, global) in ALL {
        if !wanted.is_empty() && !wanted.iter().any(|n| n == name) {
            continue;
        }
        let (library, version) = match origin {
            Origin::Ours => (build::library(ours)?, build::version()),
            Origin::Debian(file, package) => {
                let library = Path::new(LIBRARIES).join(file);
                let Some(version) = build::package_version(package).filter(|_| library.is_file())
                else {
                    println!("{name} is left out: apt-get install {package}");
                    continue;
                };
                (library, format!("{version} (Debian's {package})"))
            }
            Origin::Crate(package, recipe) => {
                if sources.is_none() {
                    sources = Some(Sources::fetch()?);
                }
                let sources = sources.as_ref().expect("fetched above");
                match peers::build(name, package, recipe, sources, &directory) {
                    Ok(library) => {
                        let version = &sources.of(package)?.version;
                        (library, format!("(crate {package} {version})"))
                    }
                    Err(error) => {
                        println!("{name} is left out, it was not built: {error}");
                        continue;
                    }
                }
            }
        };
        let mut allocator = Allocator {
            name,
            library,
            version,
            global,
        };
        match allocator.probe() {
            Ok(said) => allocator.version = format!("{said} {}", allocator.version),
            Err(error) => {
                println!("{name} is left out: {error}");
                continue;
            }
        }
        allocator.version = allocator.version.trim().to_string();
        found.push(allocator);
    }
    Ok(found)
}

impl Allocator {
    /// Lets `command` run on it, with nothing of the user's own settings.
    pub fn apply(&self, command: &mut Command) {
        clean(command);
        command.env("LD_PRELOAD", &self.library);
    }

    /// Runs a program on it that looks who serves malloc; what version the
    /// library says it is, if it says so.
    fn probe(&self) -> io::Result<String> {
        let mut command = Command::new(workloads()?);
        self.apply(&mut command);
        command.arg("probe").arg(&self.library);
        let out = command.stdin(Stdio::null()).output()?;
        if out.status.success() {
            return Ok(String::from_utf8_lossy(&out.stdout).trim().to_string());
        }
        let said = String::from_utf8_lossy(&out.stderr);
        Err(io::Error::other(format!(
            "it does not serve malloc when preloaded ({}): {}",
            out.status,
            said.trim()
        )))
    }
}

/// Takes from `command`'s environment what would change an allocator, and the directories that
/// cargo has the loader search first: that of a library which is preloaded finds libc in the
/// last place, but glibc's own not at all.
pub fn clean(command: &mut Command) {
    for name in [
        "LD_PRELOAD",
        "LD_LIBRARY_PATH",
        "THMALLOC_CONF",
        "MALLOC_CONF",
        "GLIBC_TUNABLES",
    ] {
        command.env_remove(name);
    }
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if ["MIMALLOC_", "MALLOC_", "TCMALLOC_", "RUSTY_ALLOC_"]
            .iter()
            .any(|start| text.starts_with(start))
        {
            command.env_remove(name);
        }
    }
}

/// The program with the loads that this suite brings.
pub fn workloads() -> io::Result<PathBuf> {
    Ok(build::target()?.join("release/workloads"))
}
