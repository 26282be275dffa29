//! Another user than root: its own processes can be looked into, those of others not.

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use thmalloc_tests::{
    Build, Mode, Outcome, compile, hang_guard, install, installed, library, on_thmalloc, run, skip,
    thmalloc,
};

use crate::errors::expect;
use crate::harness::{Running, is_root};

/// Nobody, with copies of what it needs where it gets at them.
struct Nobody {
    directory: PathBuf,
}

impl Nobody {
    /// `None`, with a reason printed: that cannot be.
    fn new(test: &str) -> Option<Nobody> {
        if !is_root() || !installed("setpriv") {
            skip(test, "takes root, and setpriv (util-linux)");
            return None;
        }
        let name = format!("thmalloc-inside-{test}-{}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        fs::create_dir_all(&directory).expect("a directory");
        fs::set_permissions(&directory, Permissions::from_mode(0o755)).expect("its mode");
        let nobody = Nobody { directory };
        nobody.copy("thmalloc", &thmalloc());
        nobody.copy("libthmalloc.so", &library(Build::Release));
        nobody.copy("steps", &compile("inside_steps.c", &[]));
        Some(nobody)
    }

    fn copy(&self, name: &str, file: &Path) {
        install(file, &self.directory.join(name), 0o755);
    }

    /// Starts one of the copies as this user.
    fn start(&self, name: &str) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
        command.arg(self.directory.join(name)).current_dir("/");
        command
    }

    fn thmalloc(&self, args: &[&str]) -> Outcome {
        run(self.start("thmalloc").args(args), hang_guard(120))
    }

    /// A process of its own, on thmalloc.
    fn steps(&self) -> Running {
        let mut command = self.start("thmalloc");
        command
            .args(["run", "--"])
            .arg(self.directory.join("steps"));
        let mut running = Running::start(&mut command);
        running.step("fill");
        running
    }
}

impl Drop for Nobody {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Does this system let a user look into its own processes?
fn own_are_open() -> bool {
    let scope = fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope");
    scope.is_ok_and(|scope| scope.trim() == "0") || !Path::new("/proc/sys/kernel/yama").exists()
}

/// What is done with a process, each way.
fn each_command(pid: &str) -> [Vec<&str>; 5] {
    [
        vec!["stat", pid],
        vec!["trim", pid, "--wait", "0.05"],
        vec!["explain", pid, "--for", "0.1"],
        vec!["map", pid, "--format", "svg", "-o", "-"],
        vec!["top", "-b", "-n", "1", "-p", pid],
    ]
}

#[test]
fn a_users_own_processes_are_looked_into() {
    let Some(nobody) = Nobody::new("own") else {
        return;
    };
    let running = nobody.steps();
    for args in each_command(&running.pid().to_string()) {
        let outcome = nobody.thmalloc(&args);
        if own_are_open() {
            outcome.expect_success("own");
        } else {
            expect(&outcome, 5, "sysctl kernel.yama.ptrace_scope=0");
        }
    }
}

#[test]
fn those_of_another_user_are_refused_with_what_to_do() {
    let Some(nobody) = Nobody::new("others") else {
        return;
    };
    let program = compile("inside_steps.c", &[]);
    let mut running = Running::start(&mut on_thmalloc(Build::Release, Mode::Rseq, program));
    running.step("fill");
    for args in each_command(&running.pid().to_string()) {
        let outcome = nobody.thmalloc(&args);
        expect(&outcome, 5, "may not be read");
        expect(
            &outcome,
            5,
            "run this as the process's own user, or as root",
        );
    }
    assert_eq!(running.step("still there?"), running.step("still there?"));
}

#[test]
fn top_and_export_show_ones_own_and_count_the_others() {
    let Some(nobody) = Nobody::new("all") else {
        return;
    };
    let program = compile("inside_steps.c", &[]);
    let roots = Running::start(&mut on_thmalloc(Build::Release, Mode::Rseq, program));
    let own = nobody.steps();
    let (own_pid, roots_pid) = (own.pid().to_string(), roots.pid().to_string());

    let top = nobody.thmalloc(&["top", "-b", "-n", "1"]);
    top.expect_success("thmalloc top");
    let listed = |pid: &str| {
        let mut rows = top.stdout.lines();
        rows.any(|row| row.split_whitespace().next() == Some(pid))
    };
    assert_eq!(listed(&own_pid), own_are_open(), "{top:?}");
    assert!(!listed(&roots_pid), "{top:?}");
    assert!(top.stdout.contains(" not readable"), "{top:?}");

    let mut exporter = nobody.start("thmalloc");
    exporter.args(["export", "--listen", "127.0.0.1:0"]);
    let mut exporter = exporter.stdout(Stdio::piped()).spawn().expect("it starts");
    let mut line = String::new();
    let mut stdout = BufReader::new(exporter.stdout.take().expect("a pipe"));
    stdout.read_line(&mut line).expect("its address");
    let address = line.trim().strip_prefix("listening on http://");
    let address = address.and_then(|address| address.strip_suffix("/metrics"));
    let mut stream = TcpStream::connect(address.expect("an address")).expect("it listens");
    stream
        .write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .expect("it reads");
    let mut metrics = String::new();
    stream.read_to_string(&mut metrics).expect("it answers");
    exporter.kill().expect("it is ours");
    exporter.wait().expect("it is ours");

    let has = |pid: &str| metrics.contains(&format!("thmalloc_resident_bytes{{pid=\"{pid}\""));
    assert_eq!(has(&own_pid), own_are_open(), "{metrics}");
    assert!(!has(&roots_pid), "{metrics}");
    let unread = metrics
        .lines()
        .find_map(|line| line.strip_prefix("thmalloc_unread_processes{reason=\"not_permitted\"} "));
    let unread: f64 = unread.and_then(|n| n.parse().ok()).expect("a number");
    assert!(unread >= 1.0, "{metrics}");
}
