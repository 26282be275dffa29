//! The scenarios of the load.

/// A scenario with a peak, after which the process is idle.
#[derive(Debug)]
pub struct Scenario {
    /// Its name.
    pub name: &'static str,
    /// The load's arguments.
    pub arguments: &'static [&'static str],
    /// What its panel of the picture is called.
    pub title: &'static str,
    /// The bar that it is held to.
    pub bar: Bar,
}

/// What a scenario is held to 1 s after its load is gone.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bar {
    /// Live bytes.
    Live,
    /// The pages that hold live objects.
    Pages,
    /// So many MiB above what there was before the load.
    AboveStart(f64),
    /// Nothing: it is shown.
    None,
}

/// All of them, in the order in which they run.
pub const PEAKS: [Scenario; 9] = [
    scenario("all-freed", &["all-freed"], "16 workers block, all freed"),
    Scenario {
        bar: Bar::Pages,
        ..scenario("scattered", &["scattered"], "one object in 50 survives")
    },
    scenario("exited", &["exited"], "16 workers exit"),
    scenario("large", &["large"], "large objects only"),
    scenario("one-worker", &["one-worker"], "one worker"),
    scenario("workers-200", &["workers-200"], "200 workers"),
    scenario(
        "single-threaded",
        &["single-threaded"],
        "a process with one thread",
    ),
    Scenario {
        bar: Bar::None,
        ..scenario("shift", &["shift"], "small objects, then large ones")
    },
    // What is wanted again in a moment stays longer: no bar.
    Scenario {
        bar: Bar::None,
        ..scenario(
            "bursts",
            &[
                "sawtooth",
                "--period-ms=500",
                "--peak-mib=256",
                "--seconds=3",
            ],
            "a burst each half a second",
        )
    },
];

/// Real services.
pub const SERVICES: [Scenario; 5] = [
    Scenario {
        bar: Bar::AboveStart(8.0),
        ..scenario("redis", &[], "redis, 600 MB, then FLUSHALL")
    },
    Scenario {
        bar: Bar::AboveStart(16.0),
        ..scenario("python", &[], "Python drops 400 MB")
    },
    Scenario {
        bar: Bar::AboveStart(16.0),
        ..scenario("python-malloc", &[], "the same with PYTHONMALLOC=malloc")
    },
    Scenario {
        bar: Bar::None,
        ..scenario("postgres", &[], "a PostgreSQL session, large query")
    },
    Scenario {
        bar: Bar::None,
        ..scenario("nginx", &[], "nginx after wrk")
    },
];

const fn scenario(
    name: &'static str,
    arguments: &'static [&'static str],
    title: &'static str,
) -> Scenario {
    Scenario {
        name,
        arguments,
        title,
        bar: Bar::Live,
    }
}

/// Fixed work that is measured with giving back on and off.
pub const STEADY: &str = "steady";
/// Bursts and pauses.
pub const SAWTOOTH: &str = "sawtooth";
/// Latencies.
pub const GIVING_BACK: &str = "giving-back";

/// A sawtooth: its period, how much is live in a burst, and the threads.
pub struct Sawtooth {
    /// From one burst to the next, in ms.
    pub period_ms: u64,
    /// What a burst allocates, in MiB: about half a period's work.
    pub mib: u64,
    /// Whether the process has one thread.
    pub single_threaded: bool,
    /// Whether the bar is for it: not where there is one thread, which has no clock
    /// and must not keep more than a small bound after any free. What that costs is
    /// shown.
    pub barred: bool,
}

/// All sawtooth loads.
pub const SAWTEETH: [Sawtooth; 6] = [
    sawtooth(20, 8, false),
    sawtooth(100, 48, false),
    sawtooth(1000, 256, false),
    sawtooth(20, 8, true),
    sawtooth(100, 48, true),
    sawtooth(1000, 256, true),
];

const fn sawtooth(period_ms: u64, mib: u64, single_threaded: bool) -> Sawtooth {
    Sawtooth {
        period_ms,
        mib,
        single_threaded,
        barred: period_ms <= 100 && !single_threaded,
    }
}

impl Sawtooth {
    /// What it is called.
    pub fn name(&self) -> String {
        let threads = if self.single_threaded {
            ", one thread"
        } else {
            ""
        };
        format!("{SAWTOOTH} {} ms{threads}", self.period_ms)
    }

    /// The load's arguments, for a run of `seconds`.
    pub fn arguments(&self, seconds: u64) -> Vec<String> {
        let mut arguments = vec![
            SAWTOOTH.to_string(),
            format!("--period-ms={}", self.period_ms),
            format!("--seconds={seconds}"),
            format!("--peak-mib={}", self.mib),
        ];
        if self.single_threaded {
            arguments.push("--single-threaded".to_string());
        }
        arguments
    }
}
