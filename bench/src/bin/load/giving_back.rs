//! How long each malloc and free takes while another thread's memory goes back.
//!
//! A call that took long is told apart by the kernel's counters of the thread:
//! preempted (an involuntary context switch: the machine's doing) or not. The
//! counters are read again after whatever took more than [`REFRESH_NS`], in a
//! call or between two, so a switch is never blamed on a later call: no thread
//! loses its CPU and gets it back in less.

use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use nix::sys::resource::{UsageWho, getrusage};
use thmalloc_bench::latency::{Latencies, Slow};

use crate::object::{ALLOCATOR, Calls, HEAD_BYTES, NOTHING, write_head};
use crate::random::{Random, Sizes};
use crate::telling::print;

const REFRESH_NS: u64 = 2_000;
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

/// The kernel's counters of a thread.
#[derive(Clone, Copy)]
struct Counters {
    preempted: u32,
    waited: u32,
    faults: u32,
}

impl Counters {
    fn read() -> Counters {
        let usage = getrusage(UsageWho::RUSAGE_THREAD).expect("this thread's counters");
        Counters {
            preempted: usage.involuntary_context_switches() as u32,
            waited: usage.voluntary_context_switches() as u32,
            faults: usage.minor_page_faults() as u32,
        }
    }
}

struct Timer {
    calls: Calls,
    random: Random,
    latencies: Latencies,
    counters: Counters,
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
        if (start - self.last).as_nanos() as u64 > REFRESH_NS {
            self.counters = Counters::read();
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
                self.latencies.keep(Slow {
                    ns,
                    preempted: now.preempted - self.counters.preempted,
                    waited: now.waited - self.counters.waited,
                    faults: now.faults - self.counters.faults,
                    free,
                });
            }
            self.counters = now;
        }
        self.last = Instant::now();
        result
    }
}
