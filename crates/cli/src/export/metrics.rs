//! A reading in Prometheus' text format.
//!
//! Always: each metric has HELP and TYPE, names and units are by Prometheus'
//! conventions, and what a process calls itself cannot leave its label: the
//! encoder escapes it.

use std::time::Duration;

use prometheus::proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType};
use prometheus::{Encoder, TextEncoder};
use thmalloc_inspect::Snapshot;
use thmalloc_inspect::snapshot::ClassView;

use crate::survey::Reading;
use crate::words::Word;

/// The media type of what [`text`] gives.
pub const MEDIA_TYPE: &str = prometheus::TEXT_FORMAT;

/// The metrics of a reading that took so long.
pub fn text(reading: &Reading, took: Duration, size_classes: bool) -> Result<String, String> {
    let mut families = processes(&reading.snapshots);
    if size_classes {
        families.push(classes(&reading.snapshots));
    }
    families.extend(ours(reading, took));
    // The encoder takes a family without a sample for a mistake.
    families.retain(|family| !family.get_metric().is_empty());
    let mut text = Vec::new();
    TextEncoder::new()
        .encode(&families, &mut text)
        .map_err(|error| error.to_string())?;
    String::from_utf8(text).map_err(|error| error.to_string())
}

/// A metric, and its samples.
struct Family(MetricFamily);

impl Family {
    fn gauge(name: &str, help: &str) -> Self {
        Self::new(name, help, MetricType::GAUGE)
    }

    fn counter(name: &str, help: &str) -> Self {
        Self::new(name, help, MetricType::COUNTER)
    }

    fn new(name: &str, help: &str, kind: MetricType) -> Self {
        let mut family = MetricFamily::default();
        family.set_name(name.into());
        family.set_help(help.into());
        family.set_field_type(kind);
        Self(family)
    }

    fn add(&mut self, labels: &[(&str, &str)], value: f64) {
        let labels = labels
            .iter()
            .map(|&(name, value)| {
                let mut pair = LabelPair::default();
                pair.set_name(name.into());
                pair.set_value(value.into());
                pair
            })
            .collect();
        let mut metric = Metric::from_label(labels);
        match self.0.get_field_type() {
            MetricType::COUNTER => {
                let mut counter = Counter::default();
                counter.set_value(value);
                metric.set_counter(counter);
            }
            _ => {
                let mut gauge = Gauge::default();
                gauge.set_value(value);
                metric.set_gauge(gauge);
            }
        }
        self.0.mut_metric().push(metric);
    }

    /// A sample for each process that `value` has one of.
    fn of_each(
        mut self,
        snapshots: &[Snapshot],
        value: impl Fn(&Snapshot) -> Option<f64>,
    ) -> MetricFamily {
        for snapshot in snapshots {
            if let Some(value) = value(snapshot) {
                let pid = snapshot.process.pid.to_string();
                self.add(&labels(&pid, snapshot), value);
            }
        }
        self.0
    }

    /// A sample for each process and each of the values of a further label.
    fn of_each_by<const N: usize>(
        mut self,
        snapshots: &[Snapshot],
        label: &str,
        values: impl Fn(&Snapshot) -> [(&'static str, u64); N],
    ) -> MetricFamily {
        for snapshot in snapshots {
            let pid = snapshot.process.pid.to_string();
            let [pid, command] = labels(&pid, snapshot);
            for (name, value) in values(snapshot) {
                self.add(&[pid, command, (label, name)], value as f64);
            }
        }
        self.0
    }
}

fn labels<'a>(pid: &'a str, snapshot: &'a Snapshot) -> [(&'static str, &'a str); 2] {
    [("pid", pid), ("command", &snapshot.process.name)]
}

/// What is said of each process.
fn processes(snapshots: &[Snapshot]) -> Vec<MetricFamily> {
    let mut info = Family::gauge(
        "thmalloc_process_info",
        "1, with the version of thmalloc that the process runs on, and how its CPU caches are \
         entered.",
    );
    for snapshot in snapshots {
        let process = &snapshot.process;
        let pid = process.pid.to_string();
        let [pid, command] = labels(&pid, snapshot);
        let release = ("release", process.release.as_str());
        let mode = ("cache_mode", process.cache_mode.as_str());
        info.add(&[pid, command, release, mode], 1.0);
    }
    vec![
        info.0,
        Family::gauge(
            "thmalloc_bytes",
            "Where the heap's memory is. live: handed out to the program; cached: free objects \
             in CPU and transfer caches; fragmented: free objects in spans that hold others; \
             free: whole spans that wait; metadata: the allocator's own books; released: \
             address space without memory. All but released add up to thmalloc_resident_bytes.",
        )
        .of_each_by(snapshots, "state", |s| {
            Word::ALL.map(|word| (word.name(), word.of(&s.bytes)))
        }),
        Family::gauge(
            "thmalloc_resident_bytes",
            "The heap's memory: live, cached, fragmented, free and metadata.",
        )
        .of_each(snapshots, |s| Some(s.bytes.resident as f64)),
        Family::gauge(
            "thmalloc_untouched_bytes",
            "The part of the released bytes that lies in live objects: never touched by the \
             program.",
        )
        .of_each(snapshots, |s| Some(s.bytes.untouched as f64)),
        Family::gauge("thmalloc_large_objects", "Live objects above 256 KiB.")
            .of_each(snapshots, |s| Some(s.large.count as f64)),
        Family::gauge(
            "thmalloc_large_object_bytes",
            "The size of the live objects above 256 KiB, resident or not.",
        )
        .of_each(snapshots, |s| Some(s.large.bytes as f64)),
        Family::counter(
            "thmalloc_drawn_bytes_total",
            "Bytes that went from spans and transfer caches into CPU caches, and to the program \
             as large objects: what the program allocated, without what its CPU caches served by \
             themselves.",
        )
        .of_each(snapshots, |s| Some(s.totals.drawn as f64)),
        Family::counter(
            "thmalloc_released_bytes_total",
            "Bytes given back to the system.",
        )
        .of_each(snapshots, |s| Some(s.totals.released as f64)),
        Family::counter(
            "thmalloc_refaulted_bytes_total",
            "Bytes that were wanted again after they were given back.",
        )
        .of_each(snapshots, |s| Some(s.totals.refaulted as f64)),
        Family::gauge(
            "thmalloc_last_release_timestamp_seconds",
            "When memory was given back last, in seconds since 1970; not there if it never was.",
        )
        .of_each(snapshots, |s| {
            let ago = s.scavenger.last_release_ago_ms?;
            Some(s.time_ms.saturating_sub(ago) as f64 / 1000.0)
        }),
        Family::gauge(
            "thmalloc_reading_exact",
            "1 if the figures are of one moment, 0 if the heap changed while it was read.",
        )
        .of_each(snapshots, |s| {
            Some(f64::from(u8::from(s.consistency.exact)))
        }),
        Family::gauge(
            "thmalloc_process_resident_bytes",
            "The whole process's memory as the kernel counts it. heap: thmalloc's, its books \
             included; stacks: of threads; other_anonymous: the program's own mappings; \
             file_and_shared: pages of files and shared memory.",
        )
        .of_each_by(snapshots, "kind", |s| {
            [
                ("heap", s.resident.heap),
                ("stacks", s.resident.stacks),
                ("other_anonymous", s.resident.other_anonymous),
                ("file_and_shared", s.resident.file_and_shared),
            ]
        }),
        Family::gauge(
            "thmalloc_process_swapped_bytes",
            "The whole process's memory that is swapped out.",
        )
        .of_each(snapshots, |s| Some(s.resident.swapped as f64)),
        Family::counter(
            "thmalloc_process_minor_faults_total",
            "Page faults of the whole process that read nothing from a disk.",
        )
        .of_each(snapshots, |s| Some(s.resident.minor_faults as f64)),
    ]
}

/// What is said of each size class of each process.
fn classes(snapshots: &[Snapshot]) -> MetricFamily {
    let mut family = Family::gauge(
        "thmalloc_size_class_bytes",
        "Objects of a size class, by what they are: handed out (live), free in caches (cached), \
         free in spans that hold others (fragmented, as far as resident). size is an object's \
         size in bytes.",
    );
    for snapshot in snapshots {
        let pid = snapshot.process.pid.to_string();
        let [pid, command] = labels(&pid, snapshot);
        for class in &snapshot.size_classes {
            let size = class.bytes.to_string();
            for (state, bytes) in class_bytes(class) {
                let labels = [pid, command, ("size", size.as_str()), ("state", state)];
                family.add(&labels, bytes as f64);
            }
        }
    }
    family.0
}

fn class_bytes(class: &ClassView) -> [(&'static str, u64); 3] {
    [
        (Word::Live.name(), class.live.saturating_mul(class.bytes)),
        (
            Word::Cached.name(),
            class.cached.saturating_mul(class.bytes),
        ),
        (Word::Fragmented.name(), class.fragmented),
    ]
}

/// What is said of the exporter and of its reading.
fn ours(reading: &Reading, took: Duration) -> Vec<MetricFamily> {
    let mut found = Family::gauge(
        "thmalloc_processes",
        "Processes on thmalloc that were read.",
    );
    found.add(&[], reading.snapshots.len() as f64);
    let mut unread = Family::gauge(
        "thmalloc_unread_processes",
        "Processes on thmalloc that could not be read, by reason. Of those in not_permitted it \
         may be unknown what they run on.",
    );
    for (reason, count) in reading.unread.by_reason() {
        unread.add(&[("reason", reason)], count as f64);
    }
    let mut duration = Family::gauge(
        "thmalloc_reading_duration_seconds",
        "How long it took to read all processes.",
    );
    duration.add(&[], took.as_secs_f64());
    let mut info = Family::gauge("thmalloc_exporter_info", "1, with the exporter's version.");
    info.add(&[("release", env!("CARGO_PKG_VERSION"))], 1.0);
    vec![found.0, unread.0, duration.0, info.0]
}

#[cfg(test)]
mod tests;
