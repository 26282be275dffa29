//! nginx after wrk: the memory of its workers.

use std::fs;
use std::io;
use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

use super::{check_mapped, command, is_root, prepare, seen, until};
use crate::allocators::Allocator;
use crate::procfs::children;
use crate::run::{Tail, tail};
use crate::watch::Watch;
use thmalloc_bench::guard::Group;

/// Runs it: each answer is compressed for the client and comes through a proxy.
pub fn run(allocator: &Allocator) -> io::Result<Tail> {
    let (directory, allocator) = prepare("nginx", allocator)?;
    let root = directory.path().display().to_string();
    let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
    let user = if is_root() { "user root; " } else { "" };
    fs::write(
        directory.path().join("nginx.conf"),
        format!(
            "daemon off; worker_processes 2; {user}pid {root}/pid; error_log {root}/errors;\n\
             events {{ worker_connections 1024; }}\n\
             http {{ access_log off; gzip on; gzip_types *; gzip_min_length 100;\n\
             client_body_temp_path {root}/t1; proxy_temp_path {root}/t2; fastcgi_temp_path {root}/t3;\n\
             uwsgi_temp_path {root}/t4; scgi_temp_path {root}/t5;\n\
             server {{ listen 127.0.0.1:{port}; root {root}/site;\n\
             location /plain/ {{ alias {root}/site/; gzip off; }}\n\
             location / {{ proxy_pass http://127.0.0.1:{port}/plain/; proxy_buffers 32 16k; }} }} }}\n"
        ),
    )?;
    fs::create_dir(directory.path().join("site"))?;
    let text: String = (0..20_000)
        .map(|n| format!("line {n} of {}\n", n * 7919 % 1000))
        .collect();
    fs::write(directory.path().join("site/page"), text)?;
    let mut server = command("nginx")?;
    server.args([
        "-p",
        &root,
        "-e",
        "errors",
        "-c",
        &format!("{root}/nginx.conf"),
    ]);
    allocator.apply(&mut server);
    let server = Group::start(&mut server)?;
    let workers = until("nginx's workers", || {
        Some(children(server.id())).filter(|workers| workers.len() == 2)
    })?;
    thread::sleep(Duration::from_millis(300));
    for worker in &workers {
        check_mapped(*worker, &allocator)?;
    }
    let watch = Watch::start(workers);
    let mut seen = seen("nginx", &allocator);
    seen.start = watch.now();
    let mut wrk = command("wrk")?;
    wrk.args([
        "-t1",
        "-c200",
        "-d3s",
        "--timeout",
        "60s",
        "-H",
        "Accept-Encoding: gzip",
    ]);
    wrk.arg(format!("http://127.0.0.1:{port}/page"));
    let mut wrk = Group::start(&mut wrk)?;
    let status = wrk.child.wait()?;
    if !status.success() {
        return Err(io::Error::other("wrk failed"));
    }
    Ok(tail(seen, watch, Instant::now(), None, (server, directory)))
}
