//! The sum rule over real programs, in many states.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::Duration;

use thmalloc_tests::{Build, Mode, compile, installed, on_thmalloc, skip};

use crate::harness::{self, Running, assert_sum, number, signal, wait_for_state};

/// The program's path, or a line that says that the test is skipped.
fn program(test: &str, names: &[&str], package: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // The system's own first: others may be scripts that start them.
    let directories = ["/usr/bin".into()]
        .into_iter()
        .chain(std::env::split_paths(&path));
    let found = directories
        .flat_map(|directory: PathBuf| names.iter().map(move |name| directory.join(name)))
        .find(|file| file.is_file());
    if found.is_none() {
        skip(
            test,
            &format!("{} is not installed (Debian package {package})", names[0]),
        );
    }
    found
}

/// Has an interpreter take steps: each prints its last line when it is done.
fn interpret(command: &mut Command, steps: &[(&str, &str)]) -> Vec<serde_json::Value> {
    let mut running = Running::start(command);
    let mut readings = Vec::new();
    for (name, step) in steps {
        running.say(step);
        running.until("done");
        // The scavenger's thread may be at work; the kernel is asked a moment
        // later than the heap is read.
        readings.push(assert_sum(running.pid(), name));
    }
    readings
}

#[test]
fn python() {
    let Some(python) = program("python", &["python3"], "python3") else {
        return;
    };
    let steps = [
        ("start", "print('done', flush=True)"),
        (
            "fill",
            "a = [bytes(50 + i % 5000) for i in range(40000)]; print('done', flush=True)",
        ),
        ("thin", "a = a[::7]; print('done', flush=True)"),
        (
            "large",
            "b = [bytearray(3 << 20) for _ in range(9)]; print('done', flush=True)",
        ),
        (
            "sparse",
            "c = bytearray(200 << 20); print('done', flush=True)",
        ),
        ("drop", "del b, c; print('done', flush=True)"),
        (
            "grow",
            "d = []; [d.append(i) for i in range(2000000)]; print('done', flush=True)",
        ),
        ("all", "del a, d; print('done', flush=True)"),
    ];
    for mode in Mode::ALL {
        let mut command = on_thmalloc(Build::Release, mode, &python);
        // As it is read: line by line.
        command.args([
            "-c",
            "import sys\nfor line in iter(sys.stdin.readline, ''): exec(line)",
        ]);
        command.env("PYTHONMALLOC", "malloc");
        let readings = interpret(&mut command, &steps);
        let live = |index: usize| number(&readings[index], "/bytes/live");
        assert!(live(1) > live(0) + (80 << 20), "{:?}", readings[1]);
        assert!(live(2) < live(1) / 2, "{:?}", readings[2]);
    }
}

#[test]
fn perl() {
    let Some(perl) = program("perl", &["perl"], "perl") else {
        return;
    };
    let steps = [
        ("start", "1"),
        ("fill", "$h{$_} = 'x' x ($_ % 300) for 1 .. 100000"),
        ("thin", "delete $h{$_ * 3} for 1 .. 30000"),
        ("string", "$s = 'y' x 30000000"),
        ("drop", "%h = (); undef $s"),
    ];
    let mut command = on_thmalloc(Build::Release, Mode::Rseq, perl);
    command.args(["-e", "$| = 1; while (<STDIN>) { eval; print qq(done\\n) }"]);
    interpret(&mut command, &steps);
}

#[test]
fn sqlite() {
    let Some(sqlite) = program("sqlite", &["sqlite3"], "sqlite3") else {
        return;
    };
    let steps = [
        ("start", ".print done"),
        (
            "fill",
            "create table t(a, b); with recursive n(i) as (select 1 union all select i + 1 from n \
             where i < 200000) insert into t select i, printf('%.*c', i % 200, 'x') from n;\n\
             create index i on t(b);\n.print done",
        ),
        ("thin", "delete from t where a % 3;\n.print done"),
        ("vacuum", "vacuum;\n.print done"),
        ("drop", "drop table t; vacuum;\n.print done"),
    ];
    let mut command = on_thmalloc(Build::Release, Mode::Lock, sqlite);
    command.args(["-batch", ":memory:"]);
    interpret(&mut command, &steps);
}

#[test]
fn redis() {
    let Some(server) = program("redis", &["redis-server"], "redis-server") else {
        return;
    };
    if !installed("redis-cli") {
        return skip(
            "redis",
            "redis-cli is not installed (Debian package redis-tools)",
        );
    }
    let directory = std::env::temp_dir().join(format!("thmalloc-inside-{}", std::process::id()));
    fs::create_dir_all(&directory).expect("a directory");
    let socket = directory.join("redis.sock");
    let mut command = on_thmalloc(Build::Release, Mode::Rseq, server);
    command
        .current_dir(&directory)
        .args(["--port", "0", "--save", "", "--unixsocket"]);
    command
        .arg(&socket)
        .args(["--enable-debug-command", "local"]);
    let mut redis = Running::start(&mut command);
    while !redis.line().contains("eady to accept") {}
    let ask = |args: &[&str]| {
        let out = Command::new("redis-cli")
            .arg("-s")
            .arg(&socket)
            .args(args)
            .output();
        let out = out.expect("redis-cli runs");
        assert!(out.status.success(), "{args:?}: {out:?}");
    };
    assert_sum(redis.pid(), "start");
    ask(&["debug", "populate", "300000", "key", "100"]);
    let filled = assert_sum(redis.pid(), "filled");
    assert!(number(&filled, "/bytes/live") > 30 << 20, "{filled}");
    ask(&[
        "eval",
        "for i = 0, 299999, 2 do redis.call('del', 'key:' .. i) end",
        "0",
    ]);
    assert_sum(redis.pid(), "thinned");
    ask(&["flushall"]);
    let flushed = assert_sum(redis.pid(), "flushed");
    assert!(number(&flushed, "/bytes/live") < 20 << 20, "{flushed}");
    drop(redis);
    let _ = fs::remove_dir_all(directory);
}

/// Looks at a process that is at work: stops it where it is, since the kernel
/// must count the same as we.
fn assert_sum_at_work(pid: u32, what: &str) {
    signal(pid, "STOP");
    wait_for_state(pid, "TZ");
    assert_sum(pid, what);
    signal(pid, "CONT");
}

#[test]
fn a_compiler_at_work() {
    let Some(gcc) = program("a compiler", &["g++"], "g++") else {
        return;
    };
    let ask = |what: &str| {
        let said = Command::new(&gcc)
            .arg(what)
            .output()
            .expect("g++ runs")
            .stdout;
        String::from_utf8(said).expect("a line").trim().to_owned()
    };
    let named = ask("-print-prog-name=cc1plus");
    let multiarch = ask("-print-multiarch");
    let source = std::env::temp_dir().join(format!("thmalloc-inside-{}.cpp", std::process::id()));
    let text = "#include <regex>\n#include <map>\n#include <string>\n#include <algorithm>\n\
                #include <iostream>\nint main() { std::map<std::string, std::regex> m;\n\
                for (auto &p : m) std::cout << std::regex_match(p.first, p.second); }\n";
    fs::write(&source, text).expect("a source file");
    // The same again, as the driver would start it: it need not search.
    let mut command = on_thmalloc(Build::Release, Mode::Rseq, named);
    command
        .args(["-quiet", "-O2", "-D_GNU_SOURCE", "-imultiarch", &multiarch])
        .arg(&source)
        .args(["-o", "/dev/null"]);
    let mut compiler = Running::start(&mut command);
    // On a busy machine the loader may take longer than the first look.
    let pid = compiler.pid().to_string();
    while harness::command(&["stat", &pid]).status.code() == Some(4) && !compiler.has_ended() {
        thread::sleep(Duration::from_millis(5));
    }
    let mut looks = 0;
    while looks < 12 && !compiler.has_ended() {
        thread::sleep(Duration::from_millis(60));
        signal(compiler.pid(), "STOP");
        wait_for_state(compiler.pid(), "TZ");
        if compiler.has_ended() {
            break;
        }
        assert_sum(compiler.pid(), &format!("look {looks}"));
        compiler.signal("CONT");
        looks += 1;
    }
    let _ = fs::remove_file(source);
    assert!(looks > 0, "it ended before anybody looked");
}

#[test]
fn threads_at_work() {
    for mode in Mode::ALL {
        let program = compile("inside_busy.c", &[]);
        let mut running = Running::start(&mut on_thmalloc(Build::Release, mode, program));
        running.until("ready");
        for look in 0..8 {
            thread::sleep(Duration::from_millis(40));
            assert_sum_at_work(running.pid(), &format!("{mode:?} {look}"));
        }
    }
}
