use super::*;
use crate::survey::made_up::{MIB, snapshot};

fn exported(snapshots: Vec<Snapshot>) -> String {
    let mut reading = Reading {
        snapshots,
        ..Reading::default()
    };
    reading.unread.not_permitted = 3;
    text(&reading, Duration::from_millis(1500), true).expect("it can be written")
}

#[track_caller]
fn has(text: &str, line: &str) {
    assert!(text.lines().any(|l| l == line), "no line {line}\n{text}");
}

#[test]
fn a_process_is_a_sample_of_each_metric_with_its_number_and_name() {
    let text = exported(vec![snapshot(7, "redis", 16), snapshot(8, "node", 1)]);
    has(&text, "# TYPE thmalloc_bytes gauge");
    for (state, bytes) in [
        ("live", 16 * MIB),
        ("cached", 2 * MIB),
        ("fragmented", 2 * MIB),
        ("free", 5 * MIB),
        ("metadata", MIB / 2),
        ("released", 7 * MIB),
    ] {
        let labels = format!("command=\"redis\",state=\"{state}\"");
        has(
            &text,
            &format!("thmalloc_bytes{{pid=\"7\",{labels}}} {bytes}"),
        );
    }
    has(
        &text,
        "thmalloc_resident_bytes{pid=\"7\",command=\"redis\"} 26738688",
    );
    has(&text, "# TYPE thmalloc_drawn_bytes_total counter");
    has(
        &text,
        "thmalloc_drawn_bytes_total{pid=\"8\",command=\"node\"} 104857600",
    );
    let last = "thmalloc_last_release_timestamp_seconds{pid=\"8\",command=\"node\"} 1699999998.5";
    has(&text, last);
    let class = "{pid=\"7\",command=\"redis\",size=\"48\",state=\"live\"} 4320000";
    has(&text, &format!("thmalloc_size_class_bytes{class}"));
    has(&text, "thmalloc_processes 2");
    has(
        &text,
        "thmalloc_unread_processes{reason=\"not_permitted\"} 3",
    );
    has(&text, "thmalloc_reading_duration_seconds 1.5");
}

#[test]
fn without_a_process_the_exporter_still_speaks_of_itself() {
    let text = exported(Vec::new());
    has(&text, "thmalloc_processes 0");
    has(&text, "thmalloc_unread_processes{reason=\"corrupt\"} 0");
    assert!(!text.contains("thmalloc_bytes"), "{text}");
}

#[test]
fn size_classes_are_there_only_if_they_are_wanted() {
    let reading = Reading {
        snapshots: vec![snapshot(7, "redis", 16)],
        ..Reading::default()
    };
    let text = text(&reading, Duration::ZERO, false).expect("it can be written");
    assert!(!text.contains("size_class"), "{text}");
}

#[test]
fn a_name_does_not_leave_its_label() {
    let evil = "x\"} 1\nthmalloc_processes 99\\";
    let text = exported(vec![snapshot(7, evil, 1)]);
    let escaped = r#"thmalloc_resident_bytes{pid="7",command="x\"} 1\nthmalloc_processes 99\\"}"#;
    assert!(text.contains(escaped), "{text}");
    let own: Vec<_> = text
        .lines()
        .filter(|line| line.starts_with("thmalloc_processes"))
        .collect();
    assert_eq!(own, ["thmalloc_processes 1"]);
}

#[test]
fn names_are_by_prometheus_conventions_and_each_is_explained() {
    let text = exported(vec![snapshot(7, "redis", 16)]);
    let mut seen = 0;
    for line in text.lines().filter(|line| line.starts_with("# TYPE ")) {
        let [name, kind] = line["# TYPE ".len()..].split(' ').collect::<Vec<_>>()[..] else {
            panic!("{line}");
        };
        assert!(text.contains(&format!("# HELP {name} ")), "{name}");
        assert!(name.starts_with("thmalloc_"), "{name}");
        assert_eq!(name.ends_with("_total"), kind == "counter", "{name}");
        for unit in ["kib", "mib", "milliseconds", "_ms"] {
            assert!(!name.contains(unit), "{name}");
        }
        seen += 1;
    }
    assert!(seen > 15, "{text}");
}
