//! Threads of the process: those of the program, and the one that the scavenger
//! starts.

use core::ffi::{CStr, c_void};
use std::sync::Mutex;

use loom::thread::{self, JoinHandle};

use crate::sync::atomic::forget_last_read;

loom::lazy_static! {
    static ref PROCESS: Mutex<Process> = Mutex::new(Process::new());
}

type Ended = extern "C" fn(*mut c_void);

/// As libc knows it; none is 0.
pub type Thread = u64;

struct Process {
    /// Threads of the program.
    own: usize,
    /// Those that the scavenger started, until somebody joins them.
    started: Vec<Option<JoinHandle<()>>>,
    /// How many of them run.
    running: usize,
    /// Starts to refuse.
    refusals: usize,
    /// Did one of those end after all of the program's?
    outlived: bool,
    ended: Option<Ended>,
}

impl Process {
    fn new() -> Self {
        Self {
            own: 1,
            started: Vec::new(),
            running: 0,
            refusals: 0,
            outlived: false,
            ended: None,
        }
    }
}

/// Looks at the process; not to be called by what it is given.
fn process<R>(act: impl FnOnce(&mut Process) -> R) -> R {
    act(&mut PROCESS.lock().expect("never poisoned"))
}

/// What a starting thread is told.
struct Started(extern "C" fn(*mut c_void) -> *mut c_void);

impl Started {
    fn run(self) {
        (self.0)(core::ptr::null_mut());
        forget_last_read();
        process(|process| {
            process.running -= 1;
            process.outlived |= process.own == 0;
        });
    }
}

/// A thread of the program.
pub fn spawn(run: impl FnOnce() + 'static) -> JoinHandle<()> {
    process(|process| process.own += 1);
    thread::spawn(move || {
        run();
        end_thread();
    })
}

/// The calling thread of the program ends.
fn end_thread() {
    forget_last_read();
    process(|process| process.own -= 1);
}

/// The main thread ends; others go on.
pub fn end_main_thread() {
    let ended = process(|process| process.ended.take());
    ended.expect("watched")(core::ptr::null_mut());
    end_thread();
}

/// There is one more thread, which does nothing.
pub fn have_an_idle_thread() {
    process(|process| process.own += 1);
}

/// Waits for the threads that nobody joined: loom wants the first one to be the
/// last.
pub fn wait_for_all() {
    for thread in 0..started_count() {
        forget_last_read();
        if let Some(handle) = process(|process| process.started[thread].take()) {
            handle.join().expect("no panic");
        }
    }
}

/// Has so many starts of a thread fail.
pub fn refuse_threads(count: usize) {
    process(|process| process.refusals = count);
}

/// How many threads were started.
pub fn started_count() -> usize {
    process(|process| process.started.len())
}

/// How many of those run.
pub fn running_count() -> usize {
    process(|process| process.running)
}

/// Did one of those end after all threads of the program?
pub fn outlived_the_program() -> bool {
    process(|process| process.outlived)
}

/// Starts a thread, or not.
pub fn start_thread(entry: extern "C" fn(*mut c_void) -> *mut c_void) -> Option<Thread> {
    forget_last_read();
    let place = process(|process| {
        if process.refusals > 0 {
            process.refusals -= 1;
            return None;
        }
        process.running += 1;
        process.started.push(None);
        Some(process.started.len() - 1)
    })?;
    let started = Started(entry);
    let handle = thread::spawn(move || started.run());
    process(|process| process.started[place] = Some(handle));
    Some(place as Thread + 1)
}

/// Waits for its end.
pub fn join_thread(thread: Thread) {
    forget_last_read();
    let place = thread.checked_sub(1).expect("written") as usize;
    let handle = process(|process| process.started[place].take());
    handle.expect("joined once").join().expect("no panic");
}

/// Is there one thread, of the program's and others?
pub fn is_only_thread() -> bool {
    process(|process| process.own + process.running) == 1
}

/// Has it been one of several threads from the beginning?
pub fn is_single_threaded() -> bool {
    false
}

/// Anything but 0.
pub fn thread_number() -> u32 {
    1
}

/// Only that one asks.
pub fn is_main_thread() -> bool {
    true
}

/// Has the end of the main thread noticed.
pub fn watch_main_thread(ended: Ended) -> bool {
    process(|process| process.ended = Some(ended));
    true
}

/// The same in the child of a fork, of which there is none.
pub fn watch_this_thread() -> bool {
    false
}

/// Nothing that a model sees.
pub fn leave_cpus_to_main_thread() {}

/// Nothing that a model sees.
pub fn name_thread(_name: &CStr, _slack: usize) {}
