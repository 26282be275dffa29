//! One run of a program under an allocator: its memory before the load, at the
//! peak, and after the load is gone.

use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use thmalloc_bench::latency::Latencies;
use thmalloc_bench::phase::{DONE, GONE, PAGES, PEAK, Phase, START};

use crate::allocators::Allocator;
use crate::procfs::{Activity, activity, anonymous_bytes, tasks};
use crate::watch::Watch;
use thmalloc_bench::guard::Group;

/// Other loads wait so long after one is gone: its memory goes back meanwhile.
const QUIET: Duration = Duration::from_millis(1500);
/// Only ends what hangs.
const HANGS: Duration = Duration::from_secs(300);

/// What was seen of one run.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// The scenario.
    pub scenario: String,
    /// The allocator's name.
    pub allocator: String,
    /// Anonymous memory before the load.
    pub start: u64,
    /// The most that there was, and the most before the load moved (`shift`).
    pub peak: u64,
    /// Anonymous memory at each phase named `peak`.
    pub peaks: Vec<u64>,
    /// Exactly 1 s after the load was gone.
    pub after_1s: u64,
    /// Exactly 10 s after.
    pub after_10s: u64,
    /// What the process's threads did from 10 s to 15 s after.
    pub idle: Option<Activity>,
    /// Live bytes when the load was gone, if the program knows them.
    pub live: u64,
    /// Bytes of the pages that held live objects then.
    pub page_bytes: u64,
    /// Every sample: ms since the load was gone, bytes.
    pub samples: Vec<(i64, u64)>,
    /// All lines of the load.
    pub phases: Vec<Phase>,
}

/// A run whose load is gone, and which is still watched.
pub type Tail = JoinHandle<Seen>;

/// A load's process: its lines, and its input.
pub struct Load {
    group: Group,
    input: ChildStdin,
    lines: Receiver<(Instant, String)>,
}

impl Load {
    /// Starts the load with `arguments`.
    pub fn start(load: &Path, arguments: &[&str], allocator: &Allocator) -> io::Result<Load> {
        let mut command = Command::new(load);
        command.args(arguments).arg("--driven");
        allocator.apply(&mut command);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut group = Group::start(&mut command)?;
        let input = group.child.stdin.take().expect("piped");
        let output = BufReader::new(group.child.stdout.take().expect("piped"));
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if sender.send((Instant::now(), line)).is_err() {
                    break;
                }
            }
        });
        Ok(Load {
            group,
            input,
            lines,
        })
    }

    /// The process's number.
    pub fn id(&self) -> i32 {
        self.group.id()
    }

    /// The load's next line, and when it was said.
    pub fn line(&self) -> io::Result<(Instant, String)> {
        self.lines
            .recv_timeout(HANGS)
            .map_err(|_| io::Error::other("the load ended, or said nothing for minutes"))
    }

    /// The next phase.
    pub fn phase(&self) -> io::Result<(Instant, Phase)> {
        let (at, line) = self.line()?;
        Ok((at, serde_json::from_str(&line)?))
    }

    /// Lets the load go on.
    pub fn go(&mut self) -> io::Result<()> {
        self.input.write_all(b"\n")
    }
}

/// Runs a load with a peak; returns when it has been gone for a moment. Its
/// tail is watched beside the next run, which it does not disturb: an idle
/// process takes memory and nothing else.
pub fn peak(
    load: &Path,
    scenario: &str,
    arguments: &[&str],
    allocator: &Allocator,
) -> io::Result<Tail> {
    let mut load = Load::start(load, arguments, allocator)?;
    let watch = Watch::start(vec![load.id()]);
    let mut seen = Seen {
        scenario: scenario.to_string(),
        allocator: allocator.name.to_string(),
        ..Seen::default()
    };
    let mut gone = None;
    // The line with the pages comes right behind the one that all is gone.
    while seen.page_bytes == 0 {
        let (at, phase) = load.phase()?;
        match &*phase.phase {
            START => {
                seen.start = watch.now();
                load.go()?;
            }
            PEAK => {
                seen.peaks.push(watch.now());
                load.go()?;
            }
            GONE => {
                seen.live = phase.live_bytes;
                gone = Some(at);
            }
            PAGES => seen.page_bytes = phase.page_bytes,
            _ => {}
        }
        seen.phases.push(phase);
    }
    let gone = gone.ok_or_else(|| io::Error::other("the load did not say that it was gone"))?;
    let pid = load.id();
    Ok(tail(seen, watch, gone, Some(pid), load))
}

/// Watches what is idle since `gone`, and drops `alive` at the end. Returns
/// when the next load may begin.
pub fn tail<T: Send + 'static>(
    mut seen: Seen,
    watch: Watch,
    gone: Instant,
    idle: Option<i32>,
    alive: T,
) -> Tail {
    let tail = thread::spawn(move || {
        sleep_until(gone + Duration::from_secs(1));
        seen.after_1s = watch.now();
        sleep_until(gone + Duration::from_secs(10));
        seen.after_10s = watch.now();
        seen.samples = watch.stop(gone);
        let before = idle.map(tasks);
        sleep_until(gone + Duration::from_secs(15));
        let after = idle.map(tasks);
        seen.idle = before.zip(after).map(|(b, a)| activity(&b, &a));
        seen.peak = seen
            .samples
            .iter()
            .map(|sample| sample.1)
            .max()
            .unwrap_or(0);
        drop(alive);
        seen
    });
    sleep_until(gone + QUIET);
    tail
}

/// Runs fixed work to its end; returns its last measurement.
pub fn work(load: &Path, arguments: &[&str], allocator: &Allocator) -> io::Result<Phase> {
    let mut load = Load::start(load, arguments, allocator)?;
    loop {
        let (_, phase) = load.phase()?;
        match &*phase.phase {
            START => load.go()?,
            DONE => return Ok(phase),
            _ => {}
        }
    }
}

/// Runs a load that times its calls; also says how much memory went back
/// meanwhile.
pub fn latencies(
    load: &Path,
    arguments: &[&str],
    allocator: &Allocator,
) -> io::Result<(Latencies, u64)> {
    let mut load = Load::start(load, arguments, allocator)?;
    let memory = |load: &Load| anonymous_bytes(&[load.id()]);
    let mut peak = 0_u64;
    loop {
        let (_, line) = load.line()?;
        if let Ok(latencies) = serde_json::from_str(&line) {
            return Ok((latencies, peak.saturating_sub(memory(&load))));
        }
        let phase: Phase = serde_json::from_str(&line)?;
        if phase.phase == PEAK {
            peak = memory(&load);
        }
        if phase.phase == START || phase.phase == PEAK {
            load.go()?;
        }
    }
}

fn sleep_until(moment: Instant) {
    thread::sleep(moment.saturating_duration_since(Instant::now()));
}
