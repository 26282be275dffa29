//! The scenarios: which steps the crew takes, in which order.

use std::thread;
use std::time::{Duration, Instant};

use thmalloc_bench::phase::{DONE, GONE, PAGES, PEAK, Phase, START};

use crate::books::{Books, PAGE_BYTES};
use crate::crew::{Crew, Step};
use crate::object;
use crate::random::Sizes;
use crate::telling::{Telling, cpu_ns, minor_faults};
use crate::{Arguments, Scenario, giving_back};

const MIB: usize = 1 << 20;
/// What stays when the load goes: configuration, connections, hot data.
const BASE_BYTES: usize = 26 * MIB;
/// How long the peak lasts, for whoever looks at it.
const PEAK_LASTS: Duration = Duration::from_millis(300);
/// One object in so many survives in `scattered`.
const SURVIVORS: usize = 50;
/// `large` has two objects of this size.
const HUGE_BYTES: usize = 64 * MIB;
/// What is live during `steady`, over all workers.
const STEADY_BYTES: usize = 64 * MIB;

/// Runs the scenario that was asked for.
pub fn run(arguments: &Arguments) {
    let telling = Telling::new(arguments.driven);
    let bytes = arguments.peak_mib * MIB;
    let fill = Step::Fill {
        bytes,
        sizes: Sizes::ALL,
    };
    let all = Step::Free { survivors: 0 };
    let mut load = match arguments.scenario {
        Scenario::OneWorker => Load::new(arguments, telling, 1, bytes, Sizes::ALL),
        Scenario::Workers200 => Load::new(arguments, telling, 200, bytes, Sizes::ALL),
        Scenario::Large => Load::new(arguments, telling, arguments.workers, bytes, Sizes::LARGE),
        Scenario::Shift => Load::new(arguments, telling, arguments.workers, bytes, Sizes::SMALL),
        Scenario::Steady { .. } => {
            let (workers, bytes) = (arguments.workers, STEADY_BYTES);
            Load::new(arguments, telling, workers, bytes, Sizes::ALL)
        }
        _ => Load::new(arguments, telling, arguments.workers, bytes, Sizes::ALL),
    };
    match arguments.scenario {
        Scenario::AllFreed
        | Scenario::OneWorker
        | Scenario::Workers200
        | Scenario::SingleThreaded => {
            load.base();
            load.peak(&[fill]);
            load.goes(&[all]);
        }
        Scenario::Exited => {
            load.base();
            load.peak(&[fill]);
            load.goes(&[all, Step::Exit]);
        }
        Scenario::Scattered => {
            load.base();
            load.peak(&[fill]);
            load.goes(&[Step::Free {
                survivors: SURVIVORS,
            }]);
        }
        Scenario::Large => {
            load.base();
            let huge = Step::Huge {
                bytes: HUGE_BYTES,
                workers: 2.min(load.workers),
            };
            let rest = Step::Fill {
                bytes: bytes.saturating_sub(2 * HUGE_BYTES),
                sizes: Sizes::LARGE,
            };
            load.peak(&[huge, rest]);
            load.goes(&[all]);
        }
        Scenario::Shift => {
            load.base();
            let fill = |sizes| Step::Fill { bytes, sizes };
            load.peak(&[fill(Sizes::SMALL)]);
            load.peak(&[all, fill(Sizes::LARGE)]);
            load.goes(&[all]);
        }
        Scenario::Sawtooth { period_ms, seconds } => load.sawtooth(period_ms, seconds, bytes),
        Scenario::Steady { operations } => load.steady(operations),
        Scenario::GivingBack {
            nothing,
            threads,
            after_ms,
        } => {
            load.base();
            let after = Duration::from_millis(after_ms);
            let timers = giving_back::Timers::start(threads, nothing);
            load.peak(&[fill]);
            load.crew.take(all);
            load.tell(GONE);
            timers.measure();
            thread::sleep(after);
            timers.stop(if nothing {
                "nothing"
            } else {
                "malloc and free"
            });
        }
    }
    load.telling.wait_for_the_end();
}

/// A crew, and whom it tells what it does.
struct Load {
    crew: Crew,
    telling: Telling,
    workers: usize,
}

impl Load {
    /// A crew whose objects are at most `bytes` of `sizes`; tells `start`.
    fn new(
        arguments: &Arguments,
        telling: Telling,
        workers: usize,
        bytes: usize,
        sizes: Sizes,
    ) -> Load {
        let single =
            arguments.single_threaded || matches!(arguments.scenario, Scenario::SingleThreaded);
        let workers = if single { 1 } else { workers };
        let base = Sizes::MEDIUM.capacity(BASE_BYTES / workers);
        let places = base + sizes.capacity(bytes / workers);
        // Each survivor and each object of the base may lie in a page of its
        // own, and the larger ones in more.
        let objects = workers * (base + places / SURVIVORS);
        let pages = objects + (BASE_BYTES + bytes / SURVIVORS * 4) / PAGE_BYTES;
        let books = Books::new(workers, places, pages);
        let table_bytes = books.bytes() as u64;
        let load = Load {
            crew: Crew::new(workers, !single, books),
            telling,
            workers,
        };
        let phase = load.telling.phase(START, load.crew.account());
        load.telling.tell_and_wait(&Phase {
            table_bytes,
            ..phase
        });
        load
    }

    fn tell(&self, name: &'static str) {
        let phase = self.telling.phase(name, self.crew.account());
        self.telling.tell(&phase);
    }

    fn base(&mut self) {
        self.crew.take(Step::Base { bytes: BASE_BYTES });
    }

    fn peak(&mut self, steps: &[Step]) {
        for step in steps {
            self.crew.take(*step);
        }
        let phase = self.telling.phase(PEAK, self.crew.account());
        self.telling.tell_and_wait(&phase);
        thread::sleep(PEAK_LASTS);
    }

    /// The load goes. From `gone` on, no thread calls malloc or free.
    fn goes(&mut self, steps: &[Step]) {
        for step in steps {
            self.crew.take(*step);
        }
        self.tell(GONE);
        let page_bytes = self.crew.books().page_bytes(object::length) as u64;
        let phase = self.telling.phase(PAGES, self.crew.account());
        self.telling.tell(&Phase {
            page_bytes,
            ..phase
        });
    }

    fn sawtooth(&mut self, period_ms: u64, seconds: u64, bytes: usize) {
        let period = Duration::from_millis(period_ms);
        let bursts = (seconds * 1000 / period_ms).max(1);
        self.base();
        self.tell(PEAK);
        let faults = minor_faults();
        let (start, cpu) = (Instant::now(), cpu_ns());
        for burst in 1..=bursts {
            self.crew.take(Step::Fill {
                bytes,
                sizes: Sizes::ALL,
            });
            self.crew.take(Step::Free { survivors: 0 });
            let end = period * burst as u32;
            if burst < bursts {
                thread::sleep(end.saturating_sub(start.elapsed()));
            }
        }
        let phase = self.telling.phase(DONE, self.crew.account());
        self.telling.tell(&Phase {
            operations: bursts,
            minor_faults: phase.minor_faults - faults,
            wall_ns: start.elapsed().as_nanos() as u64,
            cpu_ns: cpu_ns() - cpu,
            ..phase
        });
        self.goes(&[]);
    }

    fn steady(&mut self, operations: usize) {
        let sizes = Sizes::ALL;
        self.base();
        self.crew.take(Step::Fill {
            bytes: STEADY_BYTES,
            sizes,
        });
        let replace = |times| Step::Replace { times, sizes };
        self.crew.take(replace(operations / 10));
        self.tell(PEAK);
        let faults = minor_faults();
        let (start, cpu) = (Instant::now(), cpu_ns());
        self.crew.take(replace(operations));
        let phase = self.telling.phase(DONE, self.crew.account());
        self.telling.tell(&Phase {
            operations: (operations * self.workers) as u64,
            minor_faults: phase.minor_faults - faults,
            wall_ns: start.elapsed().as_nanos() as u64,
            cpu_ns: cpu_ns() - cpu,
            ..phase
        });
        self.goes(&[Step::Free { survivors: 0 }]);
    }
}
