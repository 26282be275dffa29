//! redis: the server runs on the allocator, the client does not.

use std::fs;
use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use thmalloc_bench::guard::Group;

use crate::allocators::{Allocator, clean};
use crate::calls;
use crate::process::{self, Usage};

/// The workload's name.
pub const NAME: &str = "redis";

/// One server, and a client that sends the same requests each time. With `list`
/// the server's system calls are counted there, and the rest says nothing.
pub fn run(allocator: &Allocator, directory: &Path, list: Option<&Path>) -> io::Result<Usage> {
    let socket = directory.join("redis.sock");
    let _ = fs::remove_file(&socket);
    let mut command = Command::new("/usr/bin/redis-server");
    command
        .current_dir(directory)
        .args(["--port", "0", "--save", "", "--appendonly", "no"])
        .args(["--daemonize", "no", "--unixsocket"])
        .arg(&socket);
    allocator.apply(&mut command);
    if let Some(list) = list {
        command = calls::counted(&command, list);
    }
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command.stderr(fs::File::create(directory.join("errors"))?);
    let server = Group::start(&mut command)?;
    for _ in 0..200 {
        if UnixStream::connect(&socket).is_ok() {
            break;
        }
        thread::sleep(Duration::from_millis(20));
    }
    let before = process::faults(server.id());
    let start = Instant::now();
    for (tests, size) in [("set,lpush,sadd,hset,get", "64"), ("set,lrange_100", "900")] {
        let requests = if size == "64" { "60000" } else { "8000" };
        let mut client = Command::new("/usr/bin/redis-benchmark");
        client
            .arg("-s")
            .arg(&socket)
            .args(["-q", "-t", tests, "-d", size]);
        client.args(["-n", requests, "-r", "100000", "-P", "16", "-c", "20"]);
        clean(&mut client);
        client
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut client = Group::start(&mut client)?;
        if !client.child.wait()?.success() {
            return Err(io::Error::other("redis-benchmark failed"));
        }
    }
    let usage = Usage {
        wall_s: start.elapsed().as_secs_f64(),
        peak_bytes: process::peak_bytes(server.id()),
        faults: process::faults(server.id()).saturating_sub(before),
        cpu_s: 0.0,
    };
    let cpu = cpu_s();
    // Asked by its socket, since the process that was started may be its watcher.
    UnixStream::connect(&socket)?.write_all(b"SHUTDOWN NOSAVE\r\n")?;
    server.wait();
    Ok(Usage {
        cpu_s: cpu_s() - cpu,
        ..usage
    })
}

fn cpu_s() -> f64 {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).expect("the kernel knows this process");
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    micros as f64 / 1e6
}
