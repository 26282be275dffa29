//! Redis, filled with 600 MB and flushed.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use super::{check_mapped, command, prepare, seen, until};
use crate::allocators::Allocator;
use crate::run::{Tail, tail};
use crate::watch::Watch;
use thmalloc_bench::guard::Group;

/// 600 000 strings of 1000 bytes.
const FILL: [&str; 5] = ["DEBUG", "POPULATE", "600000", "key", "1000"];

/// Runs it.
pub fn run(allocator: &Allocator) -> io::Result<Tail> {
    let (directory, allocator) = prepare("redis", allocator)?;
    let socket = directory.path().join("redis.sock");
    let mut server = command("redis-server")?;
    server.args([
        "--port",
        "0",
        "--save",
        "",
        "--appendonly",
        "no",
        "--daemonize",
        "no",
    ]);
    server.args(["--enable-debug-command", "local"]);
    server
        .arg("--dir")
        .arg(directory.path())
        .arg("--unixsocket")
        .arg(&socket);
    allocator.apply(&mut server);
    let server = Group::start(&mut server)?;
    let ask = |words: &[&str]| -> io::Result<bool> {
        let out = command("redis-cli")?
            .arg("-s")
            .arg(&socket)
            .args(words)
            .stdout(std::process::Stdio::piped())
            .output()?;
        let answer = String::from_utf8_lossy(&out.stdout);
        Ok(out.status.success() && ["PONG", "OK"].contains(&answer.trim()))
    };
    until("redis accepts", || {
        ask(&["PING"]).ok().filter(|accepts| *accepts)
    })?;
    check_mapped(server.id(), &allocator)?;
    let watch = Watch::start(vec![server.id()]);
    let mut seen = seen("redis", &allocator);
    seen.start = watch.now();
    let expect = |words: &[&str]| match ask(words) {
        Ok(true) => Ok(()),
        _ => Err(io::Error::other(format!(
            "redis refused {}",
            words.join(" ")
        ))),
    };
    expect(&FILL)?;
    seen.peaks.push(watch.now());
    thread::sleep(Duration::from_millis(300));
    expect(&["FLUSHALL", "SYNC"])?;
    Ok(tail(seen, watch, Instant::now(), None, (server, directory)))
}
