use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use super::*;
use crate::survey::made_up::snapshot;

/// A server of made-up processes, and how often they were read. It ends with the
/// test's process.
fn server() -> (SocketAddr, Arc<AtomicU32>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    let readings = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&readings);
    let page = Page::new(false, move || {
        // Relaxed: a count, which publishes nothing.
        count.fetch_add(1, Ordering::Relaxed);
        Ok(Reading {
            snapshots: vec![snapshot(7, "redis", 16)],
            ..Reading::default()
        })
    });
    thread::spawn(move || serve(listener, page));
    (address, readings)
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("it listens");
    // Only ends what hangs.
    let limit = Some(Duration::from_secs(60));
    stream.set_read_timeout(limit).expect("a limit");
    stream
}

/// What is answered to a request: its head, and its body.
#[track_caller]
fn ask(address: SocketAddr, request: &str) -> (String, String) {
    let mut stream = connect(address);
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    (head.to_lowercase(), body.to_owned())
}

#[track_caller]
fn get(address: SocketAddr, path: &str) -> (String, String) {
    ask(address, &format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"))
}

#[test]
fn the_metrics_are_at_their_place() {
    let (address, _) = server();
    for path in ["/metrics", "/metrics?collect=x"] {
        let (head, body) = get(address, path);
        assert!(head.starts_with("http/1.1 200 ok\r\n"), "{head}");
        assert!(
            head.contains("content-type: text/plain; version=0.0.4"),
            "{head}"
        );
        assert!(body.contains("thmalloc_bytes{pid=\"7\""), "{body}");
    }
}

#[test]
fn the_root_leads_to_them_and_other_paths_are_not_found() {
    let (address, readings) = server();
    let (head, body) = get(address, "/");
    assert!(head.starts_with("http/1.1 200"), "{head}");
    assert!(body.contains("href=\"/metrics\""), "{body}");
    for path in ["/favicon.ico", "/metrics/", "//", "/../etc/passwd"] {
        let (head, _) = get(address, path);
        assert!(head.starts_with("http/1.1 404"), "{path}: {head}");
    }
    assert_eq!(readings.load(Ordering::Relaxed), 0);
}

#[test]
fn a_head_has_the_length_and_no_body_and_nothing_can_be_sent() {
    let (address, _) = server();
    let (head, body) = ask(address, "HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(head.starts_with("http/1.1 200"), "{head}");
    assert!(head.contains("content-length: "), "{head}");
    assert_eq!(body, "");
    let post = "POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n";
    let (head, _) = ask(address, post);
    assert!(head.starts_with("http/1.1 405"), "{head}");
    assert!(head.contains("allow: get, head"), "{head}");
}

#[test]
fn nonsense_and_heads_without_end_are_refused() {
    let (address, _) = server();
    let (head, _) = ask(address, "\u{1}\u{2}\r\n\r\n");
    assert!(head.starts_with("http/1.1 400"), "{head}");
    let long = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(HEAD_BYTES));
    let mut stream = connect(address);
    let _ = stream.write_all(long.as_bytes());
    let mut answer = Vec::new();
    // It may hang up before it has read all.
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer);
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 4"),
        "{answer}"
    );
    assert!(get(address, "/").0.starts_with("http/1.1 200"));
}

#[test]
fn clients_that_say_nothing_are_dropped_and_others_served() {
    let (address, _) = server();
    // More than are served at a time: they are let go before an answer comes.
    let silent: Vec<_> = (0..CONNECTIONS + 3).map(|_| connect(address)).collect();
    let (head, _) = get(address, "/metrics");
    assert!(head.starts_with("http/1.1 200"), "{head}");
    drop(silent);
}

#[test]
fn a_client_that_leaves_at_once_harms_nobody() {
    let (address, _) = server();
    for _ in 0..2 * CONNECTIONS {
        let mut stream = connect(address);
        let _ = stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
        let _ = stream.shutdown(Shutdown::Both);
    }
    assert!(get(address, "/metrics").0.starts_with("http/1.1 200"));
}

#[test]
fn the_processes_are_not_read_again_for_each_of_a_crowd() {
    let page = Page::new(false, {
        let mut left = 1;
        move || {
            left -= 1;
            assert!(left >= 0, "read again at once");
            Ok(Reading::default())
        }
    });
    let first = page.text().expect("a text");
    // Long enough for the second to come after the first on any machine.
    if let Some((when, _)) = &mut page.state.lock().expect("a state").last {
        *when += Duration::from_secs(3600);
    }
    assert_eq!(page.text().expect("a text"), first);
}

#[test]
fn an_answer_that_is_old_is_made_anew() {
    let (address, readings) = server();
    get(address, "/metrics");
    thread::sleep(FRESH);
    get(address, "/metrics");
    assert_eq!(readings.load(Ordering::Relaxed), 2);
}
