//! Runs a program's scenario without the library and on it, and compares.
//!
//! Always: the three runs of a scenario see the same paths, environment and
//! empty directory, so that what they print is equal word for word unless the
//! program itself says otherwise; no run leaves a process or a file behind.

use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use thmalloc_tests::{Build, Mode, library};
use wait_timeout::ChildExt;

use crate::catalogue::{Heap, Program};

/// How long one command may take before it counts as hung.
pub const LIMIT: Duration = Duration::from_secs(900);

/// Runs `scenario` without the library and then on it in each mode, and
/// compares what the runs recorded. Skips, and says so, where one of
/// `programs` is not installed.
#[track_caller]
pub fn compare(test: &str, programs: &[&Program], scenario: impl Fn(&mut Session)) {
    if let Some(program) = programs.iter().find(|p| p.find().is_none()) {
        return skip(
            test,
            &format!(
                "{} is not installed (Debian package {})",
                program.name(),
                program.package
            ),
        );
    }
    let ground = Ground::new(test);
    let run = |under: Option<Mode>| {
        let mut session = Session::new(&ground, under);
        if under.is_some() {
            for program in programs {
                session.assert_preloads(program);
            }
        }
        scenario(&mut session);
        session.transcript
    };
    let expected = run(None);
    for mode in Mode::ALL {
        let found = run(Some(mode));
        assert_same(&expected, &found, &format!("{test}, {mode:?}"));
    }
}

/// Says that a test is skipped, past the capture of the tests' output: a
/// test that passes without having run anything must be seen.
pub fn skip(test: &str, reason: &str) {
    let _ = writeln!(std::io::stderr(), "skipped: {test}: {reason}");
}

/// Panics with the first line that differs, and what stands around it.
#[track_caller]
fn assert_same(expected: &str, found: &str, what: &str) {
    if expected == found {
        return;
    }
    let (old, new): (Vec<_>, Vec<_>) = (expected.lines().collect(), found.lines().collect());
    let line = (0..old.len().max(new.len()))
        .find(|&i| old.get(i) != new.get(i))
        .unwrap_or(0);
    let around = |lines: &[&str]| {
        let from = line.saturating_sub(5).min(lines.len());
        lines[from..(line + 10).min(lines.len())].join("\n")
    };
    panic!(
        "{what}: line {} differs from the run without the library.\n\
         --- without:\n{}\n--- on thmalloc:\n{}",
        line + 1,
        around(&old),
        around(&new)
    );
}

/// A directory of one test's own: the library that all users may read, the
/// sessions' working directory, and what their commands printed. Removed
/// at the end, whichever way the test ends.
struct Ground {
    path: PathBuf,
}

impl Ground {
    fn new(test: &str) -> Ground {
        let name = format!("thmalloc-{}-{test}", std::process::id());
        let path = std::env::temp_dir().join(name);
        make_directory(&path);
        let ground = Ground { path };
        let copy = ground.library();
        fs::copy(library(Build::Release), &copy).expect("a copy of the library");
        fs::set_permissions(&copy, Permissions::from_mode(0o755)).expect("its permissions");
        ground
    }

    fn library(&self) -> PathBuf {
        self.path.join("libthmalloc.so")
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

fn make_directory(path: &Path) {
    fs::create_dir_all(path).expect("a directory");
    fs::set_permissions(path, Permissions::from_mode(0o755)).expect("its permissions");
}

/// One run of a scenario: an empty directory, an environment, and a record of
/// what happened.
pub struct Session<'a> {
    ground: &'a Ground,
    under: Option<Mode>,
    transcript: String,
}

impl<'a> Session<'a> {
    fn new(ground: &'a Ground, under: Option<Mode>) -> Session<'a> {
        for name in ["work", "home", "output"] {
            let _ = fs::remove_dir_all(ground.path.join(name));
            make_directory(&ground.path.join(name));
        }
        Session {
            ground,
            under,
            transcript: String::new(),
        }
    }

    /// The directory in which the commands run.
    pub fn work(&self) -> PathBuf {
        self.ground.path.join("work")
    }

    /// A path in that directory.
    pub fn file(&self, name: &str) -> PathBuf {
        self.work().join(name)
    }

    /// Writes a file there.
    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.file(name);
        fs::write(&path, text).expect("a file is written");
        path
    }

    /// The text of a file there.
    pub fn read(&self, name: &str) -> String {
        let bytes = fs::read(self.file(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Does this session run on the library?
    pub fn on_thmalloc(&self) -> bool {
        self.under.is_some()
    }

    /// Adds a fact that must be the same in every run.
    pub fn note(&mut self, fact: &str) {
        self.transcript.push_str(fact);
        self.transcript.push('\n');
    }

    /// A file's size and checksum must be the same in every run.
    pub fn note_file(&mut self, name: &str) {
        let bytes = fs::read(self.file(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
        // FNV-1a: any difference between two runs changes it.
        let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
        });
        self.note(&format!("{name}: {} bytes, {hash:016x}", bytes.len()));
    }

    /// The variables that put a program on the library; none without it.
    pub fn preload(&self) -> Vec<(&'static str, String)> {
        let Some(mode) = self.under else {
            return Vec::new();
        };
        let library = self.ground.library().display().to_string();
        vec![
            ("LD_PRELOAD", library),
            ("THMALLOC_CONF", mode.conf().to_string()),
        ]
    }

    /// A command in this session's directory and environment, but with the
    /// system's allocator: for what surrounds a program under test.
    pub fn plain_command(&self, program: impl AsRef<Path>) -> Command {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut command = Command::new(program.as_ref());
        command
            .current_dir(self.work())
            .env_clear()
            .env("PATH", path)
            .env("HOME", self.ground.path.join("home"))
            .env("LANG", "C.UTF-8")
            .env("SHELL", "/bin/sh")
            .env("TERM", "dumb")
            .env("TZ", "UTC0")
            // OpenMP's threads would spin on a busy machine.
            .env("OMP_WAIT_POLICY", "passive")
            .stdin(Stdio::null());
        command
    }

    /// A command of `program` in this session.
    pub fn command(&self, program: &Program, args: &[&str]) -> Command {
        let mut command = self.plain_command(program.path());
        command.args(args).envs(self.preload());
        command
    }

    /// Runs a program to its end; its status and all it prints must be the
    /// same in every run.
    #[track_caller]
    pub fn run(&mut self, program: &Program, args: &[&str]) -> Finished {
        let finished = self.run_quietly(self.command(program, args));
        self.note(&format!(
            "$ {} {}\n{}\n{}{}",
            program.name(),
            args.join(" "),
            finished.status,
            finished.stdout,
            finished.stderr
        ));
        finished
    }

    /// Runs a command to its end and records nothing: for what differs from
    /// run to run. The caller notes what must be equal.
    #[track_caller]
    pub fn run_quietly(&self, command: Command) -> Finished {
        let process = self.start(command);
        let finished = process.wait(LIMIT);
        assert!(
            finished.status.code().is_some(),
            "died of a signal: {finished:#?}"
        );
        finished
    }

    /// Starts a command in a process group of its own; its output goes to
    /// files, so that a process that outlives it holds up nobody.
    #[track_caller]
    pub fn start(&self, mut command: Command) -> Process {
        let output = self.ground.path.join("output");
        let number = fs::read_dir(&output).expect("the output directory").count();
        let (out, err) = (
            output.join(format!("{number}.out")),
            output.join(format!("{number}.err")),
        );
        command
            .process_group(0)
            .stdout(File::create(&out).expect("a file for stdout"))
            .stderr(File::create(&err).expect("a file for stderr"));
        let child = command
            .spawn()
            .unwrap_or_else(|e| panic!("{command:?} starts: {e}"));
        Process {
            what: format!("{command:?}"),
            on_thmalloc: self.on_thmalloc(),
            child,
            out,
            err,
        }
    }

    /// Asks the dynamic loader to which library it binds `malloc`.
    #[track_caller]
    fn assert_preloads(&self, program: &Program) {
        let reports = self.ground.path.join("bindings");
        make_directory(&reports);
        let mut probe = self.command(program, program.probe);
        probe
            .env("LD_DEBUG", "bindings")
            .env("LD_DEBUG_OUTPUT", reports.join("report"));
        let finished = self.run_quietly(probe);
        let bound = fs::read_dir(&reports)
            .expect("the loader's reports")
            .flatten()
            .map(|entry| fs::read_to_string(entry.path()).unwrap_or_default())
            .any(|report| {
                report
                    .lines()
                    .any(|line| line.contains("libthmalloc.so [0]: normal symbol `malloc'"))
            });
        fs::remove_dir_all(&reports).expect("the reports are removed");
        assert_eq!(
            bound,
            program.heap == Heap::Preloaded,
            "{}: is malloc bound to libthmalloc.so? {finished:#?}",
            program.name()
        );
    }
}

/// A process that was started and has not been waited for; killed with its
/// group when it is dropped.
pub struct Process {
    what: String,
    on_thmalloc: bool,
    child: Child,
    out: PathBuf,
    err: PathBuf,
}

impl Process {
    /// Its number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it printed until now, on both channels.
    pub fn printed(&self) -> String {
        read(&self.out) + &read(&self.err)
    }

    /// Waits for its end and returns what it left.
    #[track_caller]
    pub fn wait(mut self, limit: Duration) -> Finished {
        let Some(status) = self.child.wait_timeout(limit).expect("wait") else {
            panic!(
                "{} did not end within {limit:?}:\n{}",
                self.what,
                self.printed()
            );
        };
        let finished = Finished {
            status,
            stdout: read(&self.out),
            stderr: read(&self.err),
        };
        assert_silent(&finished.stdout, &self.what);
        assert_silent(&finished.stderr, &self.what);
        finished
    }

    /// Sends it a signal, by name.
    pub fn signal(&self, name: &str) {
        let _ = Command::new("kill")
            .args(["-s", name, "--", &self.id().to_string()])
            .stderr(Stdio::null())
            .status();
    }

    /// Waits until `ready`, which is given what the process printed so far;
    /// panics when the process ends before that.
    #[track_caller]
    pub fn until(&mut self, what: &str, mut ready: impl FnMut(&str) -> bool) {
        let end = Instant::now() + Duration::from_secs(120);
        while !ready(&self.printed()) {
            let status = self.child.try_wait().expect("wait");
            assert!(
                status.is_none() && Instant::now() < end,
                "{}: {status:?} before {what}:\n{}",
                self.what,
                self.printed()
            );
            thread::sleep(Duration::from_millis(50));
        }
        assert_mapped(self.id(), self.on_thmalloc);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Ok(Some(_)) = self.child.try_wait() {
            return;
        }
        let group = format!("-{}", self.id());
        let _ = Command::new("kill")
            .args(["-s", "KILL", "--", &group])
            .status();
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}

/// Asserts that a live process has the library mapped, or that it has not.
#[track_caller]
pub fn assert_mapped(pid: u32, expected: bool) {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).expect("the process's maps");
    let mapped = maps.contains("libthmalloc.so");
    assert_eq!(mapped, expected, "libthmalloc.so in the maps of {pid}");
}

/// Asserts that neither the library nor the loader complained in `text`.
#[track_caller]
pub fn assert_silent(text: &str, what: &str) {
    let complaint = text.lines().find(|line| {
        line.starts_with("thmalloc:")
            || (line.contains("ERROR: ld.so: object") && line.contains("thmalloc"))
    });
    assert_eq!(complaint, None, "{what}:\n{text}");
}

/// What a finished command left.
#[derive(Debug)]
pub struct Finished {
    /// Its exit status.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Finished {
    /// Panics unless it ended with status 0; gives its standard output.
    #[track_caller]
    pub fn stdout(&self) -> &str {
        assert!(self.status.success(), "{self:#?}");
        &self.stdout
    }
}
