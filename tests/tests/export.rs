//! `thmalloc export`: what Prometheus gets, and that the configuration and the
//! dashboard in docs/ go with it.

mod patient;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use patient::Patient;
use serde_json::Value;
use thmalloc_tests::{Mode, hang_guard, installed, root, run, skip, thmalloc};

/// An exporter, until it is dropped.
struct Exporter {
    child: Child,
    address: String,
}

impl Exporter {
    /// Starts one at a port that the system chooses.
    #[track_caller]
    fn new(more: &[&str]) -> Exporter {
        let mut child = Command::new(thmalloc())
            .args(["export", "--listen", "127.0.0.1:0"])
            .args(more)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("thmalloc starts");
        let stdout = child.stdout.take().expect("a pipe");
        let mut exporter = Exporter {
            child,
            address: String::new(),
        };
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).expect("reads");
        let address = line
            .strip_prefix("listening on http://")
            .and_then(|rest| rest.strip_suffix("/metrics\n"));
        exporter.address = address.unwrap_or_else(|| panic!("{line}")).into();
        exporter
    }

    /// The metrics.
    #[track_caller]
    fn metrics(&self) -> String {
        let mut stream = TcpStream::connect(&self.address).expect("it listens");
        let limit = Some(hang_guard(120));
        stream.set_read_timeout(limit).expect("a limit");
        let request = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";
        stream.write_all(request).expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        assert!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
        body.to_owned()
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The value of a process's metric.
fn value(metrics: &str, name: &str, pid: &str, more: &str) -> Option<f64> {
    let start = format!("{name}{{pid=\"{pid}\",");
    let mut lines = metrics.lines();
    let line = lines.find(|line| line.starts_with(&start) && line.contains(more))?;
    line.rsplit(' ').next()?.parse().ok()
}

#[test]
fn a_process_is_exported_while_it_lives() {
    let exporter = Exporter::new(&[]);
    for mode in Mode::ALL {
        let patient = Patient::new(mode, "", &["healthy"]);
        let pid = patient.pid();
        let metrics = exporter.until(|metrics| {
            value(
                metrics,
                "thmalloc_resident_bytes",
                &pid,
                "command=\"illness",
            )
            .is_some()
        });
        let bytes = |state: &str| value(&metrics, "thmalloc_bytes", &pid, state).expect("a state");
        // It holds 32 MiB of objects up to 6 KiB.
        let live = bytes("state=\"live\"");
        assert!((33e6..45e6).contains(&live), "{live}");
        let parts = ["live", "cached", "fragmented", "free", "metadata"];
        let sum: f64 = parts.iter().map(|s| bytes(&format!("state=\"{s}\""))).sum();
        let resident = value(&metrics, "thmalloc_resident_bytes", &pid, "").expect("it is there");
        assert_eq!(sum, resident, "{metrics}");
        let drawn = value(&metrics, "thmalloc_drawn_bytes_total", &pid, "");
        assert!(drawn.is_some_and(|drawn| drawn >= 33e6), "{drawn:?}");
        let mode = format!(
            "cache_mode=\"{}\"",
            mode.conf().trim_start_matches("cache=")
        );
        let info = value(&metrics, "thmalloc_process_info", &pid, &mode);
        assert_eq!(info, Some(1.0), "{metrics}");
        drop(patient);
        exporter.until(|metrics| !metrics.contains(&format!("pid=\"{pid}\"")));
    }
}

impl Exporter {
    /// The first metrics for which something is true: a reading is served for a
    /// moment again.
    #[track_caller]
    fn until(&self, wanted: impl Fn(&str) -> bool) -> String {
        let end = Instant::now() + hang_guard(120);
        loop {
            let metrics = self.metrics();
            if wanted(&metrics) {
                return metrics;
            }
            assert!(Instant::now() < end, "{metrics}");
            thread::sleep(Duration::from_millis(50));
        }
    }
}

#[test]
fn an_address_in_use_or_of_another_machine_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = listener.local_addr().expect("its address").to_string();
    for (address, said) in [
        (taken.as_str(), "Address already in use"),
        ("192.0.2.1:9750", "Cannot assign requested address"),
        ("127.0.0.1", "invalid socket address"),
    ] {
        let mut command = Command::new(thmalloc());
        let outcome = run(
            command.args(["export", "--listen", address]),
            hang_guard(60),
        );
        assert_eq!(outcome.status.code(), Some(125), "{outcome:?}");
        let expected = format!("thmalloc: cannot listen on {address}: {said}");
        assert!(outcome.stderr.starts_with(&expected), "{outcome:?}");
        assert!(outcome.stderr.contains("\n  to do: "), "{outcome:?}");
    }
}

#[test]
fn a_client_that_hangs_up_in_the_middle_does_not_end_it() {
    let exporter = Exporter::new(&["--size-classes"]);
    let _patient = Patient::new(Mode::Rseq, "", &["healthy"]);
    for _ in 0..50 {
        let mut stream = TcpStream::connect(&exporter.address).expect("it listens");
        let request = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";
        stream.write_all(request).expect("it reads");
    }
    assert!(exporter.metrics().contains("thmalloc_processes "));
}

/// The labels of each metric in a text.
fn exported(metrics: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut exported: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in metrics.lines().filter(|line| !line.starts_with('#')) {
        let end = line.find(['{', ' ']).expect("a name");
        let labels = line[end..].split("=\"").filter_map(|part| {
            let start = part.rfind(['{', ',']).map(|at| at + 1)?;
            Some(part[start..].to_owned())
        });
        exported
            .entry(line[..end].into())
            .or_default()
            .extend(labels);
    }
    exported
}

/// The metrics that a query names, with the labels by which it selects.
fn queried(query: &str) -> Vec<(String, Vec<String>)> {
    let word = |letter: char| letter.is_alphanumeric() || letter == '_';
    let mut found = Vec::new();
    for (at, _) in query.match_indices("thmalloc_") {
        let rest = &query[at..];
        let end = rest.find(|c| !word(c)).unwrap_or(rest.len());
        let selector = rest[end..].strip_prefix('{');
        let selector = selector.and_then(|rest| rest.split('}').next());
        let labels = selector.unwrap_or("").split(',').filter_map(|part| {
            let name = &part[..part.find(|c| !word(c))?];
            Some(name.to_owned())
        });
        found.push((rest[..end].to_owned(), labels.collect()));
    }
    found
}

/// All texts of a field, wherever it is.
fn texts<'a>(value: &'a Value, field: &str, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(text) if name == field => found.push(text),
                    _ => texts(value, field, found),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|v| texts(v, field, found)),
        _ => {}
    }
}

#[test]
fn the_dashboard_asks_for_what_is_exported() {
    let exporter = Exporter::new(&["--size-classes"]);
    // In need of nothing, and freed: each metric has a sample.
    let patient = Patient::new(Mode::Rseq, "", &["freed"]);
    let released = "thmalloc_last_release_timestamp_seconds";
    let metrics = exporter.until(|metrics| value(metrics, released, &patient.pid(), "").is_some());
    let exported = exported(&metrics);
    let path = root().join("docs/grafana-dashboard.json");
    let dashboard = std::fs::read_to_string(path).expect("the dashboard");
    let dashboard: Value = serde_json::from_str(&dashboard).expect("JSON");
    let mut queries = Vec::new();
    texts(&dashboard, "expr", &mut queries);
    texts(&dashboard, "definition", &mut queries);
    assert!(queries.len() > 10, "{queries:?}");
    for query in queries {
        let metrics = queried(query);
        assert!(!metrics.is_empty(), "{query}");
        for (name, labels) in metrics {
            let known = exported.get(&name);
            let known = known.unwrap_or_else(|| panic!("{name} of {query} is not exported"));
            for label in labels {
                // The scrape adds the machine.
                let known = label == "instance" || known.contains(&label);
                assert!(known, "{name} has no label {label}: {query}");
            }
        }
    }
}

#[test]
fn promtool_accepts_the_metrics_and_the_configuration() {
    let test = "promtool_accepts_the_metrics_and_the_configuration";
    if !installed("promtool") {
        return skip(
            test,
            "promtool is not installed (Debian package prometheus)",
        );
    }
    let config = root().join("docs/prometheus.yml");
    let mut check = Command::new("promtool");
    check.args(["check", "config"]).arg(config);
    run(&mut check, hang_guard(60)).expect_success("promtool check config");

    let exporter = Exporter::new(&["--size-classes"]);
    let _patient = Patient::new(Mode::Rseq, "", &["freed"]);
    let metrics = exporter.metrics();
    let mut check = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool starts");
    let mut stdin = check.stdin.take().expect("a pipe");
    stdin.write_all(metrics.as_bytes()).expect("it reads");
    drop(stdin);
    let out = check.wait_with_output().expect("it ends");
    // It also ends with another status for what it would only rather have.
    assert!(out.status.success(), "{out:?}\n{metrics}");
}

#[test]
fn the_configuration_scrapes_the_port_of_the_help() {
    let config = std::fs::read_to_string(root().join("docs/prometheus.yml")).expect("it is there");
    let mut command = Command::new(thmalloc());
    let help = run(command.args(["export", "--help"]), hang_guard(60));
    help.expect_success("the help");
    let address = "127.0.0.1:9750";
    assert!(config.contains(&format!("\"{address}\"")), "{config}");
    assert!(help.stdout.contains(address), "{help:?}");
}

#[test]
fn the_scans_see_names_and_labels() {
    let text = "# HELP a b\na{x=\"1,y=\",z=\"\"} 1\nb 2\n";
    let exported = exported(text);
    assert_eq!(exported.len(), 2);
    assert!(exported["a"].contains("x") && exported["a"].contains("z"));
    let queried = queried("sum(thmalloc_a{b=~\"$b\",c!=\"d\"}) / thmalloc_e > 0");
    let labels = vec!["b".to_owned(), "c".to_owned()];
    let e = ("thmalloc_e".to_owned(), Vec::new());
    assert_eq!(queried, [("thmalloc_a".to_owned(), labels), e]);
}
