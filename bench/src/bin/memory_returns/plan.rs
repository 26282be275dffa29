//! What is run, in which order, and how far it is.

use std::io;
use std::time::{Duration, Instant};

use thmalloc_bench::progress::show as progress;

use crate::Arguments;
use crate::allocators::{Allocator, OFF, OURS};
use crate::build::Built;
use crate::results::{Faults, Results, Round};
use crate::run::{self, Tail};
use crate::scenarios::{GIVING_BACK, PEAKS, SAWTEETH, SAWTOOTH, STEADY, Sawtooth, Scenario};
use crate::services::{self, Service};

/// Ends with an error that names what `--only` does not know.
pub fn check_names(only: &[String]) -> io::Result<()> {
    let names = names();
    match only.iter().find(|name| !names.contains(&name.as_str())) {
        None => Ok(()),
        Some(name) => Err(io::Error::other(format!(
            "no scenario is called {name}; there are: {}",
            names.join(", ")
        ))),
    }
}

fn names() -> Vec<&'static str> {
    let peaks = PEAKS.iter().map(|scenario| scenario.name);
    let services = services::ALL.iter().map(|service| service.name);
    peaks
        .chain(services)
        .chain([STEADY, SAWTOOTH, GIVING_BACK])
        .collect()
}

/// A run, and about how many seconds it takes.
struct Job<'a> {
    name: String,
    seconds: u64,
    run: Work<'a>,
}

type Work<'a> = Box<dyn FnOnce(&mut Doing) -> io::Result<()> + 'a>;

/// What the jobs leave.
#[derive(Default)]
struct Doing {
    results: Results,
    tails: Vec<Tail>,
}

/// Runs everything that `arguments` ask for.
pub fn run(arguments: &Arguments, built: &Built, allocators: &[Allocator]) -> io::Result<Results> {
    let wanted = |name: &str| arguments.only.is_empty() || arguments.only.iter().any(|n| n == name);
    let mut jobs = Vec::new();
    for scenario in PEAKS.iter().filter(|scenario| wanted(scenario.name)) {
        jobs.extend(
            allocators
                .iter()
                .map(|allocator| peak(built, scenario, allocator)),
        );
    }
    for service in services::ALL.iter().filter(|service| wanted(service.name)) {
        let missing = service.missing();
        if arguments.no_services {
            continue;
        } else if missing.is_empty() {
            jobs.extend(allocators.iter().map(|allocator| serve(service, allocator)));
        } else {
            let packages = missing.join(" ");
            println!("{} is left out: apt-get install {packages}", service.name);
        }
    }
    if let Some(on) = allocators.iter().find(|allocator| allocator.name == OURS) {
        let off = Allocator {
            settings: vec![OFF],
            ..on.clone()
        };
        let rounds = if arguments.quick { 1 } else { arguments.rounds };
        let seconds = if arguments.quick { 3 } else { 10 };
        let pair = (on, off);
        if wanted(STEADY) {
            let pairs = if arguments.quick { 1 } else { 4 * rounds + 3 };
            jobs.extend((0..pairs).map(|_| steady(built, pair.clone())));
        }
        if wanted(SAWTOOTH) {
            for saw in &SAWTEETH {
                let pairs = if saw.barred { SAWTOOTH_PAIRS } else { 1 };
                let job = |_| sawtooth(built, saw, pair.clone(), seconds);
                jobs.extend((0..pairs.min(rounds)).map(job));
            }
        }
        if wanted(GIVING_BACK) {
            jobs.extend((0..rounds).map(|_| giving_back(built, pair.clone())));
        }
    }
    carry_out(jobs)
}

/// Pairs of a sawtooth that is held to a bar: faults differ from run to run.
const SAWTOOTH_PAIRS: u32 = 7;

fn carry_out(jobs: Vec<Job>) -> io::Result<Results> {
    let count = jobs.len();
    let mut left: u64 = jobs.iter().map(|job| job.seconds).sum();
    let mut doing = Doing::default();
    let start = Instant::now();
    let mut planned = 0;
    for (number, job) in jobs.into_iter().enumerate() {
        // As slow as it was until now.
        let pace = match planned {
            0 => 1.0,
            planned => start.elapsed().as_secs_f64() / planned as f64,
        };
        let rest = Duration::from_secs_f64(left as f64 * pace).as_secs();
        progress(&format!(
            "{}/{count} {}, {rest} s left",
            number + 1,
            job.name
        ));
        (job.run)(&mut doing)
            .map_err(|error| io::Error::other(format!("{}: {error}", job.name)))?;
        left -= job.seconds;
        planned += job.seconds;
    }
    progress("waiting for the last processes to be idle for 15 s");
    for tail in doing.tails {
        doing
            .results
            .seen
            .push(tail.join().expect("a watching thread does not panic"));
    }
    progress("");
    Ok(doing.results)
}

fn peak<'a>(built: &'a Built, scenario: &'a Scenario, allocator: &'a Allocator) -> Job<'a> {
    Job {
        name: format!("{} under {}", scenario.name, allocator.name),
        seconds: 4,
        run: Box::new(move |doing| {
            let name = scenario.name;
            doing
                .tails
                .push(run::peak(&built.load, name, scenario.arguments, allocator)?);
            Ok(())
        }),
    }
}

fn serve<'a>(service: &'a Service, allocator: &'a Allocator) -> Job<'a> {
    Job {
        name: format!("{} under {}", service.name, allocator.name),
        seconds: service.seconds,
        run: Box::new(move |doing| {
            doing.tails.push((service.run)(allocator)?);
            Ok(())
        }),
    }
}

/// An allocator as it is, and with giving back off.
type Pair<'a> = (&'a Allocator, Allocator);

/// About a second of work: many short pairs say more than few long ones.
const STEADY_OPERATIONS: &str = "--operations=300000";

fn steady<'a>(built: &'a Built, (on, off): Pair<'a>) -> Job<'a> {
    Job {
        name: "steady, on and off".to_string(),
        seconds: 3,
        run: Box::new(move |doing| {
            // Which of the two runs first changes from round to round.
            let rounds = &mut doing.results.steady;
            let work = |allocator| run::work(&built.load, &[STEADY, STEADY_OPERATIONS], allocator);
            rounds.push(if rounds.len() % 2 == 0 {
                let on = work(on)?;
                Round {
                    on,
                    off: work(&off)?,
                }
            } else {
                let off = work(&off)?;
                Round { on: work(on)?, off }
            });
            Ok(())
        }),
    }
}

fn sawtooth<'a>(built: &'a Built, saw: &'a Sawtooth, (on, off): Pair<'a>, seconds: u64) -> Job<'a> {
    Job {
        name: format!("{}, on and off", saw.name()),
        seconds: 2 * seconds,
        run: Box::new(move |doing| {
            let arguments = saw.arguments(seconds);
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            let faults = |allocator| {
                run::work(&built.load, &arguments, allocator).map(|phase| phase.minor_faults)
            };
            let (on, off) = (faults(on)?, faults(&off)?);
            let rows = &mut doing.results.faults;
            match rows.iter_mut().find(|row| row.name == saw.name()) {
                Some(row) => {
                    row.on.push(on);
                    row.off.push(off);
                }
                None => rows.push(Faults {
                    name: saw.name(),
                    barred: saw.barred,
                    on: vec![on],
                    off: vec![off],
                }),
            }
            Ok(())
        }),
    }
}

fn giving_back<'a>(built: &'a Built, (on, off): Pair<'a>) -> Job<'a> {
    Job {
        name: "giving-back: on, off, and calls that do nothing".to_string(),
        seconds: 15,
        run: Box::new(move |doing| {
            let timed = &mut doing.results.timed;
            let time =
                |arguments: &[&str], allocator| run::latencies(&built.load, arguments, allocator);
            let (latencies, returned) = time(&[GIVING_BACK], on)?;
            timed.on.push(latencies);
            timed.returned.push(returned);
            timed.off.push(time(&[GIVING_BACK], &off)?.0);
            timed.nothing.push(time(&[GIVING_BACK, "--nothing"], on)?.0);
            Ok(())
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_scenario_is_named_with_those_that_there_are() {
        let all: Vec<String> = names().iter().map(ToString::to_string).collect();
        assert!(check_names(&all).is_ok());
        let error = check_names(&["al-freed".to_string()]).expect_err("unknown");
        let text = error.to_string();
        assert!(
            text.contains("al-freed") && text.contains("all-freed"),
            "{text}"
        );
    }
}
