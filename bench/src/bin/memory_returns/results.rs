//! Everything that was measured.

use thmalloc_bench::latency::Latencies;
use thmalloc_bench::phase::Phase;

use crate::allocators::OURS;
use crate::run::Seen;

/// A sawtooth load with giving back on and off: page faults.
pub struct Faults {
    /// Which sawtooth.
    pub name: String,
    /// Whether a bar is for it.
    pub barred: bool,
    /// With giving back, in each round.
    pub on: Vec<u64>,
    /// Without.
    pub off: Vec<u64>,
}

/// The same fixed work with giving back on and off, right after one another.
pub struct Round {
    /// With giving back.
    pub on: Phase,
    /// Without.
    pub off: Phase,
}

/// Latencies of one kind, in each round.
#[derive(Default)]
pub struct Timed {
    /// While memory goes back.
    pub on: Vec<Latencies>,
    /// How many bytes went back in each of these rounds.
    pub returned: Vec<u64>,
    /// With giving back off.
    pub off: Vec<Latencies>,
    /// Calls that do nothing.
    pub nothing: Vec<Latencies>,
}

/// All results.
#[derive(Default)]
pub struct Results {
    /// Loads with a peak, and services, each under each allocator.
    pub seen: Vec<Seen>,
    /// The steady load.
    pub steady: Vec<Round>,
    /// Sawtooth loads.
    pub faults: Vec<Faults>,
    /// Latencies.
    pub timed: Timed,
}

impl Results {
    /// thmalloc's run of `scenario`.
    pub fn ours(&self, scenario: &str) -> Option<&Seen> {
        self.of(scenario, OURS)
    }

    /// The run of `scenario` under `allocator`.
    pub fn of(&self, scenario: &str, allocator: &str) -> Option<&Seen> {
        self.seen
            .iter()
            .find(|seen| seen.scenario == scenario && seen.allocator == allocator)
    }
}
