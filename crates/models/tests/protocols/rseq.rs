//! Restartable sequences on a list of a CPU cache, against preemption,
//! migration, the slow path and remote draining: every reachable state.
//!
//! One slot with one list, and a pool below it. A sequence is its loads and
//! stores one by one; on its way it may be aborted at any step, and is whenever
//! its thread leaves the slot's CPU, another one comes, or a barrier reaches
//! it. The steps mirror `rseq_take!`, `rseq_put!`, `x86_64::stop`,
//! `Slot::{take, put, go}`, `Slot::stop_remotely`, `Slot::restart_unless_moved`
//! and `Slot::drain`. What the threads do on other CPUs ends in the pool.

use std::collections::HashSet;

const STOPPED: u8 = u8::MAX;
/// Objects that the list may hold; the array's lowest word is 0.
const ROOM: u8 = 2;
const WORDS: usize = ROOM as usize + 1;

/// The objects that the first threads bring along.
const BROUGHT: [Object; 2] = [10, 11];

/// An object: 1 and up; 0 is none.
type Object = u8;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Job {
    Take,
    Put,
    Drain,
}

/// Where a thread is in its job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum At {
    /// Before it.
    Begin,
    /// In a sequence: `top` is read next.
    ReadTop,
    /// In a sequence: the object under `top` is read, or written above it.
    Access,
    /// In a sequence: the store that makes it count.
    Commit,
    /// The sequence came to nothing.
    Slow,
    /// In a sequence, with the slot's lock: `top` is read to stop the list.
    StopRead,
    /// In a sequence: the store that stops it.
    StopCommit,
    /// With the stopped list.
    Own,
    /// About to set the list going at that top.
    Go(u8),
    /// Draining: swaps `top`.
    Swap,
    /// Draining: the barrier.
    Barrier,
    /// Draining: the barrier was refused.
    Restart,
    /// Draining: the list is stopped.
    Empty,
}

impl At {
    fn in_sequence(self) -> bool {
        use At::*;
        matches!(self, ReadTop | Access | Commit | StopRead | StopCommit)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Thread {
    jobs: Vec<Job>,
    at: At,
    /// It runs on the slot's CPU.
    here: bool,
    /// What it read: registers.
    top: u8,
    object: Object,
    /// Objects that the program has from it.
    held: Vec<Object>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct State {
    top: u8,
    array: [Object; WORDS],
    pool: Vec<Object>,
    locked_by: Option<usize>,
    threads: Vec<Thread>,
}

/// What the model does otherwise than the code, to see that it is noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Variant {
    AsItIs,
    /// The system refuses the barrier.
    BarrierRefused,
    /// The barrier aborts nobody.
    NoBarrier,
    /// The drainer does not look again after the barrier.
    NoSecondLook,
    /// `top` is put back after a refused barrier whatever became of it.
    RestartBlindly,
    /// A put publishes `top` before the object.
    TopFirst,
    /// Who finds the slot's lock taken stops the list all the same.
    NoLock,
    /// A preempted sequence goes on.
    NoAbort,
}

impl State {
    fn new(scripts: &[&[Job]]) -> Self {
        let thread = |(index, jobs): (usize, &&[Job])| Thread {
            jobs: jobs.to_vec(),
            at: At::Begin,
            here: index == 0,
            top: 0,
            object: 0,
            held: BROUGHT.get(index).copied().into_iter().collect(),
        };
        Self {
            top: 1,
            array: [0, 1, 0],
            pool: vec![2, 3],
            locked_by: None,
            threads: scripts.iter().enumerate().map(thread).collect(),
        }
    }

    /// The word under an offset: that of a stopped list is 0.
    fn word(&self, top: u8) -> Object {
        self.array.get(top as usize).copied().unwrap_or(0)
    }

    fn abort(&mut self, index: usize) {
        let thread = &mut self.threads[index];
        match thread.at {
            At::ReadTop | At::Access | At::Commit => thread.at = At::Slow,
            // With the lock: gives up, and serves itself from the pool.
            At::StopRead | At::StopCommit => self.use_pool(index),
            _ => {}
        }
    }

    /// The program gets an object; nobody else has it.
    fn hand_out(&mut self, index: usize, object: Object) -> Result<(), String> {
        let all = self.threads.iter().flat_map(|thread| &thread.held);
        if object == 0 || all.chain(&self.pool).any(|&other| other == object) {
            return Err(format!("object {object} handed out, and elsewhere"));
        }
        self.threads[index].held.push(object);
        Ok(())
    }

    /// The job is done.
    fn end(&mut self, index: usize) {
        let thread = &mut self.threads[index];
        thread.jobs.remove(0);
        (thread.at, thread.top, thread.object) = (At::Begin, 0, 0);
        if self.locked_by == Some(index) {
            self.locked_by = None;
        }
    }

    /// Does the job with the pool alone.
    fn use_pool(&mut self, index: usize) {
        let thread = &mut self.threads[index];
        match thread.jobs[0] {
            Job::Take => thread.held.extend(self.pool.pop()),
            Job::Put => self.pool.extend(thread.held.pop()),
            Job::Drain => {}
        }
        self.pool.sort_unstable();
        self.end(index);
    }

    /// One step of a thread; false if it has to wait.
    fn step(&mut self, index: usize, variant: Variant) -> Result<bool, String> {
        let (at, here) = (self.threads[index].at, self.threads[index].here);
        let (top, object) = (self.threads[index].top, self.threads[index].object);
        let job = self.threads[index].jobs[0];
        let next = match at {
            At::Begin if job == Job::Drain => {
                if self.locked_by.is_some() {
                    return Ok(false);
                }
                self.locked_by = Some(index);
                At::Swap
            }
            At::Begin if here => At::ReadTop,
            At::Begin => {
                self.use_pool(index);
                return Ok(true);
            }
            At::ReadTop => {
                self.threads[index].top = self.top;
                At::Access
            }
            At::Access if job == Job::Take => {
                self.threads[index].object = self.word(top);
                if self.word(top) == 0 {
                    At::Slow
                } else {
                    At::Commit
                }
            }
            At::Access if top >= ROOM => At::Slow,
            At::Access => {
                if variant == Variant::TopFirst {
                    self.top = top + 1;
                } else {
                    self.array[top as usize + 1] = self.threads[index].held[0];
                }
                At::Commit
            }
            At::Commit if job == Job::Take => {
                self.top = top - 1;
                self.hand_out(index, object)?;
                self.end(index);
                return Ok(true);
            }
            At::Commit => {
                let given = self.threads[index].held.remove(0);
                self.array[top as usize + 1] = given;
                self.top = top + 1;
                self.end(index);
                return Ok(true);
            }
            At::Slow => {
                let free = self.locked_by.is_none() || variant == Variant::NoLock;
                if !here || !free {
                    self.use_pool(index);
                    return Ok(true);
                }
                self.locked_by = Some(index);
                At::StopRead
            }
            At::StopRead => {
                self.threads[index].top = self.top;
                At::StopCommit
            }
            At::StopCommit => {
                if top == STOPPED {
                    return Err("a stopped list was stopped again".into());
                }
                self.top = STOPPED;
                At::Own
            }
            At::Own => At::Go(self.work(index, job, top)?),
            At::Go(top) => {
                self.top = top;
                self.end(index);
                return Ok(true);
            }
            At::Swap => {
                let old = std::mem::replace(&mut self.top, STOPPED);
                if old == STOPPED {
                    At::Empty
                } else {
                    self.threads[index].top = old;
                    At::Barrier
                }
            }
            At::Barrier => self.barrier(variant),
            At::Restart => {
                if self.top == STOPPED || variant == Variant::RestartBlindly {
                    self.top = top;
                }
                self.end(index);
                return Ok(true);
            }
            At::Empty => {
                self.pool.extend(&self.array[1..=top as usize]);
                self.pool.sort_unstable();
                At::Go(0)
            }
        };
        self.threads[index].at = next;
        Ok(true)
    }

    /// `Slot::take` and `Slot::put` on a stopped list; its new top.
    fn work(&mut self, index: usize, job: Job, top: u8) -> Result<u8, String> {
        if job == Job::Take {
            let object = self.word(top);
            if object != 0 {
                self.hand_out(index, object)?;
                return Ok(top - 1);
            }
            let mut new_top = top;
            self.threads[index].held.extend(self.pool.pop());
            if let Some(object) = self.pool.pop() {
                new_top += 1;
                self.array[new_top as usize] = object;
            }
            return Ok(new_top);
        }
        let given = self.threads[index].held.remove(0);
        if top < ROOM {
            self.array[top as usize + 1] = given;
            return Ok(top + 1);
        }
        self.pool
            .push(std::mem::replace(&mut self.array[top as usize], given));
        self.pool.sort_unstable();
        Ok(top)
    }

    /// membarrier(2) for restartable sequences: none that was under way is so
    /// behind it.
    fn barrier(&mut self, variant: Variant) -> At {
        match variant {
            Variant::BarrierRefused | Variant::RestartBlindly => At::Restart,
            Variant::NoBarrier => At::Swap,
            _ => {
                (0..self.threads.len()).for_each(|other| self.abort(other));
                match variant {
                    Variant::NoSecondLook => At::Empty,
                    _ => At::Swap,
                }
            }
        }
    }

    /// Another thread runs on the slot's CPU, or none.
    fn switch(&mut self, to: Option<usize>, variant: Variant) {
        for index in 0..self.threads.len() {
            if self.threads[index].here && variant != Variant::NoAbort {
                self.abort(index);
            }
            self.threads[index].here = to == Some(index);
        }
    }

    /// All that may happen next.
    fn successors(&self, variant: Variant) -> Result<Vec<State>, String> {
        let mut next = Vec::new();
        for (index, thread) in self.threads.iter().enumerate() {
            if thread.jobs.is_empty() {
                continue;
            }
            let mut state = self.clone();
            if state.step(index, variant)? {
                next.push(state);
            }
            if thread.here && thread.at.in_sequence() {
                // A signal.
                let mut state = self.clone();
                state.abort(index);
                next.push(state);
            }
            if !thread.here {
                let mut state = self.clone();
                state.switch(Some(index), variant);
                next.push(state);
            }
        }
        Ok(next)
    }

    /// At the end, every object is in one place, and the list goes.
    fn check_end(&self) -> Result<(), String> {
        if self.locked_by.is_some() || self.top == STOPPED {
            return Err(format!("left locked or stopped: {self:?}"));
        }
        let mut all = self.array[1..=self.top as usize].to_vec();
        all.extend(&self.pool);
        all.extend(self.threads.iter().flat_map(|thread| &thread.held));
        all.sort_unstable();
        let expected: Vec<_> = [1, 2, 3].into_iter().chain(BROUGHT).collect();
        match all == expected {
            true => Ok(()),
            false => Err(format!("objects {all:?} of {expected:?}: {self:?}")),
        }
    }
}

/// Explores every state; how many there are, or what went wrong.
fn explore(variant: Variant) -> Result<usize, String> {
    use Job::*;
    let start = State::new(&[&[Put, Take], &[Take, Put], &[Drain]]);
    let mut seen = HashSet::from([start.clone()]);
    let mut open = vec![start];
    while let Some(state) = open.pop() {
        let next = state.successors(variant)?;
        if state.threads.iter().all(|thread| thread.jobs.is_empty()) {
            state.check_end()?;
        } else if next.is_empty() {
            return Err(format!("nobody can go on: {state:?}"));
        }
        open.extend(next.into_iter().filter(|state| seen.insert(state.clone())));
    }
    Ok(seen.len())
}

#[test]
fn no_object_is_lost_or_handed_out_twice() {
    for variant in [Variant::AsItIs, Variant::BarrierRefused] {
        let states = explore(variant).unwrap_or_else(|error| panic!("{variant:?}: {error}"));
        println!("{variant:?}: {states} states");
        assert!(states > 1000, "{variant:?}: only {states} states");
    }
}

#[test]
fn each_part_of_the_protocol_is_needed() {
    use Variant::*;
    for variant in [
        NoBarrier,
        NoSecondLook,
        RestartBlindly,
        TopFirst,
        NoLock,
        NoAbort,
    ] {
        let error = explore(variant).expect_err("an object is lost, or handed out twice");
        println!("{variant:?}: {error}");
    }
}
