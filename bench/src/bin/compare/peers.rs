//! Builds the peers as libraries that can be preloaded.
//!
//! `bench/peers` pins the crates that carry their sources; cargo fetches them
//! and holds them against its checksums. Each is compiled here with the switches
//! that its own build has for a library that replaces malloc.
//!
//! Always: what is built is `NAME.so`, and `NAME.recipe` says from which sources
//! and by which commands. If one differs, it is built again.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::Deserialize;
use thmalloc_bench::build;
use thmalloc_bench::progress;

/// Packages of the pins, by name.
pub struct Sources {
    packages: BTreeMap<String, Source>,
}

/// One package: where its files are, and its version.
#[derive(Clone)]
pub struct Source {
    /// Its directory.
    pub directory: PathBuf,
    /// Its version, as the registry has it.
    pub version: String,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    manifest_path: PathBuf,
}

/// The workspace that pins the peers.
pub fn workspace() -> PathBuf {
    build::root().join("bench/peers")
}

impl Sources {
    /// Fetches what is pinned, where it is not there yet.
    pub fn fetch() -> io::Result<Sources> {
        let out = Command::new(build::program())
            .current_dir(workspace())
            .args(["metadata", "--quiet", "--format-version", "1"])
            .stderr(Stdio::inherit())
            .output()?;
        if !out.status.success() {
            return Err(io::Error::other("cargo metadata of bench/peers failed"));
        }
        let metadata: Metadata = serde_json::from_slice(&out.stdout)?;
        let source = |package: Package| {
            let directory = package.manifest_path.parent().expect("a file");
            let source = Source {
                directory: directory.to_path_buf(),
                version: package.version,
            };
            (package.name, source)
        };
        Ok(Sources {
            packages: metadata.packages.into_iter().map(source).collect(),
        })
    }

    /// The package `name`.
    pub fn of(&self, name: &str) -> io::Result<&Source> {
        self.packages
            .get(name)
            .ok_or_else(|| io::Error::other(format!("bench/peers does not pin {name}")))
    }
}

/// How a peer is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recipe {
    /// One command of the C compiler over these files of a package.
    C(&'static [&'static str], &'static [&'static str]),
    /// The same for C++.
    Cxx(&'static [&'static str], &'static [&'static str]),
    /// jemalloc's configure and make.
    Jemalloc,
    /// Every file that the crate's own build names, and these.
    Tcmalloc(&'static [&'static str]),
    /// A member of the workspace `bench/peers` that is such a library.
    Member(&'static str, &'static str),
}

/// What every C and C++ source is compiled with.
const COMMON: [&str; 6] = [
    "-O3",
    "-DNDEBUG",
    "-fPIC",
    "-w",
    "-pthread",
    "-D_GNU_SOURCE",
];

/// Builds `name` by its recipe into `directory`; returns the library.
pub fn build(
    name: &str,
    package: &str,
    recipe: Recipe,
    sources: &Sources,
    directory: &Path,
) -> io::Result<PathBuf> {
    let source = sources.of(package)?;
    let library = directory.join(format!("{name}.so"));
    if let Recipe::Member(member, file) = recipe {
        // Cargo knows itself whether it has to.
        let target = directory.join("cargo");
        build::cargo(&workspace(), &target, &["-p", member])?;
        fs::copy(target.join("release").join(file), &library)?;
        return Ok(library);
    }
    let written = directory.join(format!("{name}.recipe"));
    let said = format!("{package} {}\n{COMMON:?}\n{recipe:?}\n", source.version);
    if library.is_file() && fs::read_to_string(&written).is_ok_and(|there| there == said) {
        return Ok(library);
    }
    progress::show(&format!(
        "building {name} from {package} {}",
        source.version
    ));
    let work = directory.join(format!("{name}.build"));
    let _ = fs::remove_dir_all(&work);
    fs::create_dir_all(&work)?;
    match recipe {
        Recipe::C(files, flags) => whole("gcc", source, files, flags, &library)?,
        Recipe::Cxx(files, flags) => whole("g++", source, files, flags, &library)?,
        Recipe::Jemalloc => jemalloc(source, &work, &library)?,
        Recipe::Tcmalloc(more) => tcmalloc(source, more, &work, &library)?,
        Recipe::Member(..) => unreachable!("built above"),
    }
    fs::remove_dir_all(&work)?;
    fs::write(&written, said)?;
    progress::show("");
    Ok(library)
}

/// Runs `command`; an error names it, with what it wrote last.
fn run(command: &mut Command) -> io::Result<()> {
    let out = command.stdin(Stdio::null()).output()?;
    if out.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&out.stderr);
    let lines: Vec<&str> = said.lines().rev().take(20).collect();
    let end: Vec<&str> = lines.into_iter().rev().collect();
    let what = format!("{command:?} failed:\n{}", end.join("\n"));
    Err(io::Error::other(what))
}

fn whole(
    compiler: &str,
    source: &Source,
    files: &[&str],
    flags: &[&str],
    library: &Path,
) -> io::Result<()> {
    let mut command = Command::new(compiler);
    command.current_dir(&source.directory).args(COMMON);
    command.args(flags).arg("-shared").args(files);
    run(command.arg("-o").arg(library))
}

fn jemalloc(source: &Source, work: &Path, library: &Path) -> io::Result<()> {
    let copied = work.join("jemalloc");
    let from = source.directory.join("jemalloc");
    run(Command::new("cp").arg("-r").arg(&from).arg(&copied))?;
    run(Command::new("cp")
        .arg(source.directory.join("configure/configure"))
        .arg(&copied))?;
    run(Command::new("chmod").args(["-R", "u+w"]).arg(&copied))?;
    // `5.3.1-0-gHASH` is what jemalloc itself calls this state.
    let version = source.version.split_once('+').map_or("", |(_, own)| own);
    run(Command::new("./configure")
        .current_dir(&copied)
        .arg(format!("--with-version={version}"))
        .args(["--enable-doc=no", "--enable-shared", "--disable-static"]))?;
    let jobs = std::thread::available_parallelism().map_or(1, usize::from);
    run(Command::new("make")
        .current_dir(&copied)
        .arg(format!("-j{jobs}"))
        .arg("lib/libjemalloc.so.2"))?;
    fs::copy(copied.join("lib/libjemalloc.so.2"), library)?;
    Ok(())
}

/// The crate leaves malloc's own names out, since it is for Rust alone; without
/// its switch they are there. Its patch changes nothing but what a feature
/// would ask for, so it is not applied.
fn tcmalloc(source: &Source, more: &[&str], work: &Path, library: &Path) -> io::Result<()> {
    let script = fs::read_to_string(source.directory.join("build.rs"))?;
    let mut files: Vec<&str> = script
        .split('"')
        .filter(|text| text.starts_with("c_src/") && !text.contains("bridge"))
        .filter(|text| text.ends_with(".cc") || text.ends_with(".S"))
        .collect();
    files.extend(more);
    files.sort_unstable();
    files.dedup();
    let next = AtomicUsize::new(0);
    let failed = Mutex::new(None);
    let compile = || {
        loop {
            // Relaxed: only the number counts.
            let Some(file) = files.get(next.fetch_add(1, Ordering::Relaxed)) else {
                return;
            };
            let mut command = if file.ends_with(".S") {
                Command::new("gcc")
            } else {
                let mut command = Command::new("g++");
                command.arg("-std=c++17");
                command
            };
            command.current_dir(&source.directory).args(COMMON);
            command.args(["-DNOMINMAX", "-DTCMALLOC_INTERNAL_8K_PAGES"]);
            command.args(["-Ic_src/abseil-cpp", "-Ic_src/tcmalloc", "-c", file]);
            command
                .arg("-o")
                .arg(work.join(file.replace('/', "_") + ".o"));
            if let Err(error) = run(&mut command) {
                *failed.lock().expect("nobody panics") = Some(error);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(compile);
        }
    });
    if let Some(error) = failed.into_inner().expect("nobody panics") {
        return Err(error);
    }
    let mut command = Command::new("g++");
    command.args(["-shared", "-pthread", "-o"]).arg(library);
    for file in &files {
        command.arg(work.join(file.replace('/', "_") + ".o"));
    }
    run(&mut command)
}
