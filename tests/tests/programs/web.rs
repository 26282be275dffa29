//! nginx under wrk, and curl as a careful reader.

use std::net::TcpListener;
use std::time::Duration;

use crate::catalogue::{CURL, NGINX, WRK};
use crate::harness::{assert_mapped, assert_silent, compare};
use crate::shell::text;

/// A port on loopback that was free a moment ago; below those that the system gives to
/// whoever asks for any (`ip_local_port_range`).
fn free_port() -> u16 {
    let first = 20_000 + u16::try_from(std::process::id() % 10_000).expect("small");
    let listener = (first..32_768).find_map(|port| TcpListener::bind(("127.0.0.1", port)).ok());
    let address = listener.expect("a free port").local_addr();
    address.expect("its address").port()
}

#[test]
fn nginx_serves_the_same_bytes_under_wrk() {
    compare("nginx", &[&NGINX, &WRK, &CURL], |s| {
        let port = free_port();
        let root = s.work().display().to_string();
        s.write(
            "nginx.conf",
            format!(
                "daemon off; worker_processes 2; pid {root}/pid; error_log {root}/errors;\n\
                 events {{ worker_connections 256; }}\n\
                 http {{\n\
                 access_log {root}/access combined buffer=64k;\n\
                 client_body_temp_path {root}/t1; proxy_temp_path {root}/t2;\n\
                 fastcgi_temp_path {root}/t3; uwsgi_temp_path {root}/t4; scgi_temp_path {root}/t5;\n\
                 gzip on; gzip_types *; gzip_min_length 100;\n\
                 server {{ listen 127.0.0.1:{port}; root {root}/site;\n\
                 location /plain {{ alias {root}/site; gzip off; sendfile on; }}\n\
                 location /status {{ return 200 \"fine\\n\"; }}\n\
                 location /again/ {{ proxy_pass http://127.0.0.1:{port}/plain/; proxy_buffers 4 4k; }}\n\
                 }} }}\n"
            ),
        );
        std::fs::create_dir(s.file("site")).expect("a directory");
        for (name, lines) in [("small", 20), ("middle", 3000), ("large", 30_000)] {
            s.write(&format!("site/{name}"), text(lines));
        }
        // nginx's workers, which are not root's when root starts them.
        let mut open = s.plain_command("chmod");
        open.args(["-R", "a+rX", "."]);
        s.run_quietly(open).stdout();

        let configuration = format!("{root}/nginx.conf");
        let prefix = ["-p", &root, "-e", "errors", "-c", &configuration];
        let mut server = s.start(s.command(&NGINX, &prefix));
        let pid = s.file("pid");
        server.until("it accepts", |_| pid.exists());
        let main = server.id();
        let children = format!("/proc/{main}/task/{main}/children");
        let workers = || std::fs::read_to_string(&children).expect("nginx's children");
        // It writes its number before it has them.
        server.until("its workers run", |_| {
            workers().split_whitespace().count() >= 2
        });
        for worker in workers().split_whitespace() {
            assert_mapped(worker.parse().expect("a number"), s.on_thmalloc());
        }

        let url = |path: &str| format!("http://127.0.0.1:{port}/{path}");
        for path in [
            "status",
            "small",
            "middle",
            "large",
            "plain/large",
            "again/large",
            "again/middle",
            "missing",
        ] {
            let args = ["-sS", "--compressed", "-w", "%{http_code}", "-o", "answer"];
            let finished = s.run_quietly(s.command(&CURL, &[&args[..], &[&url(path)]].concat()));
            s.note(&format!("{path}: {}", finished.stdout()));
            s.note_file("answer");
        }
        for path in ["small", "middle", "again/middle"] {
            let args = [
                "-t2",
                "-c40",
                "-d2s",
                "--timeout",
                "60s",
                "-H",
                "Accept-Encoding: gzip",
                &url(path),
            ];
            let finished = s.run_quietly(s.command(&WRK, &args));
            let report = finished.stdout();
            assert!(report.contains("requests in"), "{report}");
            assert!(!report.contains("Non-2xx"), "{report}");
            assert!(!report.contains("Socket errors"), "{report}");
        }
        server.signal("HUP");
        std::thread::sleep(Duration::from_millis(300));
        let finished = s.run_quietly(s.command(&CURL, &["-sS", &url("status")]));
        s.note(finished.stdout());
        server.signal("QUIT");
        server.wait(Duration::from_secs(60)).stdout();
        let errors = s.read("errors");
        assert_silent(&errors, "nginx's log");
        let alarm = errors.lines().find(|line| {
            line.contains("[alert]") || line.contains("[emerg]") || line.contains("signal 6")
        });
        assert_eq!(alarm, None, "{errors}");
    });
}
