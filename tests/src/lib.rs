//! Support for tests that run real processes on thmalloc.
//!
//! A test gets the library under test from [`library`], a compiled C or C++
//! program from [`compile`], and runs it with [`on_thmalloc`] and [`run`], in
//! each [`Mode`] of the CPU caches. What a machine lacks is skipped with a
//! printed reason ([`skip`]), never silently.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, SystemTime};

use wait_timeout::ChildExt;

/// How the CPU caches are entered; forced through `THMALLOC_CONF`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// By restartable sequences: the default where the system has them.
    Rseq,
    /// With a lock: valgrind, older glibc, sandboxes.
    Lock,
    /// By restartable sequences, by the CPU's number: Linux before 6.3.
    Cpu,
}

impl Mode {
    /// The two that differ in more than where a cache's number is read.
    pub const ALL: [Mode; 2] = [Mode::Rseq, Mode::Lock];

    /// The value of `THMALLOC_CONF` that forces this mode.
    pub fn conf(self) -> &'static str {
        match self {
            Mode::Rseq => "cache=rseq",
            Mode::Lock => "cache=lock",
            Mode::Cpu => "cache=cpu",
        }
    }
}

/// Which build of the library runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Build {
    /// What users get.
    Release,
    /// The release build with debug assertions: lock ranks are checked.
    Checked,
}

/// The repository's root.
pub fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests
        .parent()
        .expect("tests/ stands in the root")
        .to_path_buf()
}

/// Cargo's target directory.
pub fn target_dir() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => root().join(dir),
        None => root().join("target"),
    }
}

fn cargo_build(args: &[&str]) {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let out = Command::new(cargo)
        .current_dir(root())
        .args(["build", "--quiet"])
        .args(args)
        .output()
        .expect("cargo runs");
    assert!(
        out.status.success(),
        "cargo build {args:?} failed:\n{}",
        String::from_utf8_lossy(&out.stderr)
    );
}

/// The path of `libthmalloc.so`, built first where it is missing or old.
pub fn library(build: Build) -> PathBuf {
    static RELEASE: OnceLock<()> = OnceLock::new();
    static CHECKED: OnceLock<()> = OnceLock::new();
    let directory = match build {
        Build::Release => {
            RELEASE.get_or_init(|| cargo_build(&["--release"]));
            "release"
        }
        Build::Checked => {
            CHECKED.get_or_init(|| cargo_build(&["--profile", "checked", "-p", "thmalloc-capi"]));
            "checked"
        }
    };
    target_dir().join(directory).join("libthmalloc.so")
}

/// The path of the `thmalloc` command, built first where it is missing or old.
pub fn thmalloc() -> PathBuf {
    library(Build::Release).with_file_name("thmalloc")
}

/// A command that runs `program` under the library, in a mode.
pub fn on_thmalloc(build: Build, mode: Mode, program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command
        .env("LD_PRELOAD", library(build))
        .env("THMALLOC_CONF", mode.conf());
    command
}

/// Compiles `tests/c/NAME` (`.c` or `.cpp`) with `flags`, unless a newer
/// program is there, and returns the program's path.
pub fn compile(name: &str, flags: &[&str]) -> PathBuf {
    let source = root().join("tests/c").join(name);
    let directory = target_dir().join("c");
    std::fs::create_dir_all(&directory).expect("a directory for compiled programs");
    let tag: String = flags
        .concat()
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .collect();
    let program = directory.join(format!("{}-{tag}", name.replace('.', "-")));
    let compiler = if name.ends_with(".c") { "gcc" } else { "g++" };
    let modified = |path: &Path| path.metadata().and_then(|m| m.modified());
    let newest = std::fs::read_dir(root().join("tests/c"))
        .expect("tests/c")
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|e| e == "h"))
        .chain([source.clone()])
        .map(|path| modified(&path).expect("a source file"))
        .max()
        .unwrap_or(SystemTime::UNIX_EPOCH);
    if modified(&program).is_ok_and(|built| built > newest) {
        return program;
    }
    // Tests run side by side, in processes and in threads: each writes a file
    // of its own and renames it. Relaxed: only the number has to be unique.
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let unique = program.with_extension(format!("{}-{count}", std::process::id()));
    let out = Command::new(compiler)
        .args([
            "-O1",
            "-g",
            "-Wall",
            "-Wno-unused-result",
            "-fno-builtin",
            "-pthread",
        ])
        .arg("-I")
        .arg(root().join("include"))
        .arg(&source)
        .arg("-o")
        .arg(&unique)
        .args(flags)
        .output()
        .unwrap_or_else(|e| panic!("{compiler} runs (package {compiler}): {e}"));
    assert!(
        out.status.success(),
        "{compiler} {name}:\n{}",
        String::from_utf8_lossy(&out.stderr)
    );
    std::fs::rename(&unique, &program).expect("the compiled program takes its place");
    program
}

/// Compiles `tests/c/NAME`, linked with a build of the library.
pub fn compile_linked(name: &str, build: Build) -> PathBuf {
    let library = library(build);
    let directory = library.parent().expect("a directory").display();
    let search = [
        format!("-L{directory}"),
        // By DT_RPATH, which goes before LD_LIBRARY_PATH: cargo has that lead to
        // where a debug build may have left a library.
        format!("-Wl,-rpath,{directory},--disable-new-dtags"),
    ];
    compile(name, &[&search[0], &search[1], "-lthmalloc"])
}

/// What a finished process left.
#[derive(Debug)]
pub struct Outcome {
    /// Its exit status; a signal where it died of one.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Outcome {
    /// Panics with all that the process said unless it ended with status 0.
    #[track_caller]
    pub fn expect_success(&self, what: &str) -> &Self {
        assert!(self.status.success(), "{what}: {self:#?}");
        self
    }

    /// The signal that ended the process.
    pub fn signal(&self) -> Option<i32> {
        self.status.signal()
    }
}

/// Runs a command to its end, at most `limit`; kills it and panics after that.
#[track_caller]
pub fn run(command: &mut Command, limit: Duration) -> Outcome {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command
        .spawn()
        .unwrap_or_else(|e| panic!("{command:?} starts: {e}"));
    let read = |pipe: Option<Box<dyn Read + Send>>| {
        thread::spawn(move || {
            let mut bytes = Vec::new();
            if let Some(mut pipe) = pipe {
                let _ = pipe.read_to_end(&mut bytes);
            }
            String::from_utf8_lossy(&bytes).into_owned()
        })
    };
    let stdout = read(child.stdout.take().map(|p| Box::new(p) as _));
    let stderr = read(child.stderr.take().map(|p| Box::new(p) as _));
    let status = match child.wait_timeout(limit).expect("wait") {
        Some(status) => status,
        None => {
            let _ = child.kill();
            let _ = child.wait();
            panic!(
                "{command:?} did not end within {limit:?}; stdout:\n{}\nstderr:\n{}",
                stdout.join().unwrap_or_default(),
                stderr.join().unwrap_or_default()
            );
        }
    };
    Outcome {
        status,
        stdout: stdout.join().expect("reads stdout"),
        stderr: stderr.join().expect("reads stderr"),
    }
}

/// A limit that only ends what hangs: `seconds`, times `THMALLOC_STRESS`, by
/// which the stress programs lengthen their runs.
pub fn hang_guard(seconds: u64) -> Duration {
    let factor = std::env::var("THMALLOC_STRESS")
        .ok()
        .and_then(|factor| factor.parse().ok())
        .map_or(1.0, |factor: f64| factor.max(1.0));
    Duration::from_secs(seconds).mul_f64(factor)
}

/// Runs `program` with `args` on the library in both modes. Each run ends with
/// status 0, says nothing on stderr, and names the cache's mode on stdout
/// (`cache lock`) where it names one.
#[track_caller]
pub fn passes_in_both_modes(build: Build, program: &Path, args: &[&str]) {
    for mode in Mode::ALL {
        let what = format!("{} {args:?} {mode:?} {build:?}", program.display());
        let mut command = on_thmalloc(build, mode, program);
        let outcome = run(command.args(args), hang_guard(300));
        outcome.expect_success(&what);
        assert_eq!(outcome.stderr, "", "{what}");
        assert!(
            !outcome.stdout.contains("cache none"),
            "{what}: {outcome:?}"
        );
        let locked = outcome.stdout.contains("cache lock");
        assert!(!locked || mode == Mode::Lock, "{what}: {outcome:?}");
    }
}

/// Copies a file to a path, with a mode.
///
/// By another process: while a thread of ours has a file open for writing, a child
/// that another thread forks has so, too, and nobody can execute the file.
#[track_caller]
pub fn install(file: &Path, path: &Path, mode: u32) {
    let mut install = Command::new("install");
    install.arg("-m").arg(format!("{mode:04o}"));
    let status = install.arg(file).arg(path).status().expect("install runs");
    assert!(status.success(), "install {}: {status}", path.display());
}

/// Is `program` on the PATH?
pub fn installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

/// Says on stderr that `test` is skipped, and why.
pub fn skip(test: &str, reason: &str) {
    // Not by `eprintln!`, which the test harness keeps back where a test passes.
    let _ = writeln!(std::io::stderr(), "skipped: {test}: {reason}");
}
