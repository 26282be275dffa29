//! How long each malloc and free takes while another thread's memory goes back.
//!
//! Of a call that took long, what the thread ran is told apart from what it
//! lost (another thread had the CPU, or another virtual machine: the kernel's
//! clock of a thread leaves both out), and from waiting (the kernel counts how
//! often a thread gave its CPU away itself). Clock and counters are read after
//! whatever took more than [`REFRESH_NS`], in a call or between two, and each
//! [`REFRESH_CALLS`]; in between the thread ran all the time, since nobody loses
//! a CPU and gets it back in less.

use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use nix::time::ClockId;
use thmalloc_bench::latency::{Latencies, Slow};

use crate::object::{ALLOCATOR, Calls, HEAD_BYTES, NOTHING, write_head};
use crate::random::{Random, Sizes};
use crate::telling::print;

const REFRESH_NS: u64 = 2_000;
const REFRESH_CALLS: u32 = 1_000;
/// Objects that each timing thread has.
const OBJECTS: usize = 2000;

/// What the timing threads do: nothing yet, count, or end.
static STATE: AtomicU32 = AtomicU32::new(WARMING_UP);
const WARMING_UP: u32 = 0;
const MEASURING: u32 = 1;
const ENDING: u32 = 2;

/// Threads that allocate and free, and time each call.
pub struct Timers {
    threads: Vec<JoinHandle<Latencies>>,
}

impl Timers {
    /// Starts `count` threads; they warm up.
    pub fn start(count: usize, nothing: bool) -> Timers {
        let calls = if nothing { NOTHING } else { ALLOCATOR };
        let threads = (0..count as u64)
            .map(|number| thread::spawn(move || Timer::new(number, calls).run()))
            .collect();
        Timers { threads }
    }

    /// From now on their calls count.
    pub fn measure(&self) {
        // Relaxed: nothing is published by it.
        STATE.store(MEASURING, Ordering::Relaxed);
    }

    /// Ends them and prints what they measured.
    pub fn stop(self, name: &str) {
        STATE.store(ENDING, Ordering::Relaxed);
        let mut sum = Latencies::new(name);
        for thread in self.threads {
            sum.add(&thread.join().expect("the thread ends"));
        }
        let mut line = serde_json::to_string(&sum).expect("plain data");
        line.push('\n');
        print(line.as_bytes());
    }
}

/// The kernel's clock and counters of a thread at a moment.
#[derive(Clone, Copy)]
struct Counters {
    at: Instant,
    ran_ns: u64,
    preempted: u32,
    waited: u32,
    faults: u32,
}

impl Counters {
    fn read() -> Counters {
        let usage = getrusage(UsageWho::RUSAGE_THREAD).expect("this thread's counters");
        let ran = ClockId::CLOCK_THREAD_CPUTIME_ID
            .now()
            .expect("this thread's clock");
        Counters {
            at: Instant::now(),
            ran_ns: ran.num_nanoseconds() as u64,
            preempted: usage.involuntary_context_switches() as u32,
            waited: usage.voluntary_context_switches() as u32,
            faults: usage.minor_page_faults() as u32,
        }
    }

    /// What a call was that began at `start` and took `ns`, and that ended just
    /// before `now`; from `self` to its start the thread ran.
    fn call(&self, start: Instant, ns: u64, now: &Counters, free: bool) -> Slow {
        let before = self.ran_ns + (start - self.at).as_nanos() as u64;
        Slow {
            ns,
            ran_ns: now.ran_ns.saturating_sub(before).min(ns),
            preempted: now.preempted - self.preempted,
            waited: now.waited - self.waited,
            faults: now.faults - self.faults,
            free,
        }
    }
}

struct Timer {
    calls: Calls,
    random: Random,
    latencies: Latencies,
    counters: Counters,
    /// Calls since the counters were read.
    calls_since: u32,
    /// When the last call ended.
    last: Instant,
    counting: bool,
}

impl Timer {
    fn new(number: u64, calls: Calls) -> Timer {
        Timer {
            calls,
            random: Random::new(1000 + number),
            latencies: Latencies::new(""),
            counters: Counters::read(),
            calls_since: 0,
            last: Instant::now(),
            counting: false,
        }
    }

    fn run(mut self) -> Latencies {
        let mut objects: Vec<*mut u8> = vec![std::ptr::null_mut(); OBJECTS];
        loop {
            match STATE.load(Ordering::Relaxed) {
                WARMING_UP => {}
                MEASURING => self.counting = true,
                _ => break,
            }
            // In batches: a service frees several objects, then makes several.
            let batch = 1 + self.random.below(200);
            let first = self.random.below(OBJECTS - batch);
            for object in &mut objects[first..first + batch] {
                if !object.is_null() {
                    let old = *object;
                    self.time(true, |calls| (calls.free)(old));
                }
            }
            for object in &mut objects[first..first + batch] {
                let bytes = Sizes::MEDIUM.draw(&mut self.random);
                *object = self.time(false, |calls| (calls.malloc)(bytes.max(HEAD_BYTES)));
                write_head(*object, self.calls);
            }
        }
        for object in objects {
            (self.calls.free)(object);
        }
        self.latencies
    }

    fn time<T>(&mut self, free: bool, call: impl FnOnce(Calls) -> T) -> T {
        let start = Instant::now();
        self.calls_since += 1;
        let pause = (start - self.last).as_nanos() as u64;
        if pause > REFRESH_NS || self.calls_since > REFRESH_CALLS {
            self.counters = Counters::read();
            self.calls_since = 0;
        }
        let start = Instant::now();
        let result = call(self.calls);
        let end = Instant::now();
        let ns = (end - start).as_nanos() as u64;
        if self.counting {
            self.latencies.count(ns);
        }
        if ns > REFRESH_NS {
            let now = Counters::read();
            if self.counting {
                self.latencies
                    .keep(self.counters.call(start, ns, &now, free));
            }
            self.counters = now;
            self.calls_since = 0;
        }
        self.last = Instant::now();
        result
    }
}
