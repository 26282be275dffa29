//! Runs the screen: three threads send what happens (keys, signals, readings), and
//! one acts on it.
//!
//! Always: nothing is waited for by looking again and again; a reading that takes
//! long holds up no key.

use std::io;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use crossterm::event::{self, Event, KeyEventKind};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

use super::app::{App, Effect};
use super::batch::now_ms;
use super::screen::{self, Screen};
use super::theme::Theme;
use crate::error::Error;
use crate::survey::{Reading, Survey};

/// Something that happened.
enum Happened {
    /// A key was pressed, or the terminal has another size.
    Input(Event),
    /// There is nothing more to read from the terminal.
    Lost(io::Error),
    /// The processes were read.
    Read(Result<Reading, thmalloc_inspect::Error>),
    /// A signal came.
    Signal(i32),
}

/// What the thread that reads is asked for.
enum Ask {
    Now,
    Pace(Duration),
}

/// How the screen ended.
enum End {
    Quit,
    By(i32),
}

/// Shows the processes until `count` readings were shown, or the user leaves.
pub fn show(survey: Survey, mut app: App, count: Option<u64>) -> Result<(), Error> {
    screen::check(std::env::var("TERM").ok().as_deref())?;
    app.theme = Theme::of(|name| std::env::var(name).ok());
    let (send, happened) = mpsc::channel();
    // Before the terminal is taken, so that no signal finds it taken and us
    // unprepared.
    watch_signals(send.clone()).map_err(Error::Terminal)?;
    let mut screen = Screen::open().map_err(Error::Terminal)?;
    let (ask, asked) = mpsc::channel();
    let delay = app.delay;
    let readings = send.clone();
    thread::spawn(move || read(survey, delay, &asked, &readings));
    thread::spawn(move || keys(&send));
    let end = run(&mut screen, &mut app, count, &happened, &ask);
    drop(screen);
    match end.map_err(Error::Terminal)? {
        End::Quit => Ok(()),
        End::By(signal) => {
            // Our parent sees what ended us.
            emulate_default_handler(signal).map_err(Error::Terminal)
        }
    }
}

fn run(
    screen: &mut Screen,
    app: &mut App,
    mut count: Option<u64>,
    happened: &Receiver<Happened>,
    ask: &Sender<Ask>,
) -> io::Result<End> {
    loop {
        screen.draw(app)?;
        if count == Some(0) {
            return Ok(End::Quit);
        }
        // Whatever has happened meanwhile is drawn at once.
        let first = happened.recv().ok();
        for happened in first.into_iter().chain(happened.try_iter()) {
            let effect = match happened {
                Happened::Lost(error) => return Err(error),
                Happened::Signal(SIGTSTP) => {
                    screen.suspend()?;
                    Effect::Draw
                }
                Happened::Signal(SIGCONT) => {
                    screen.resume()?;
                    Effect::Draw
                }
                Happened::Signal(signal) => return Ok(End::By(signal)),
                Happened::Read(reading) => {
                    match reading {
                        Ok(reading) => app.take(reading, now_ms()),
                        Err(error) => app.message = Some(error.to_string()),
                    }
                    count = count.map(|count| count.saturating_sub(1));
                    Effect::Draw
                }
                Happened::Input(Event::Key(key)) if key.kind != KeyEventKind::Release => {
                    app.key(key)
                }
                Happened::Input(_) => Effect::Draw,
            };
            match effect {
                Effect::Draw => {}
                Effect::Redraw => screen.forget()?,
                // If that thread is gone, there is nothing to ask.
                Effect::Read => drop(ask.send(Ask::Now)),
                Effect::Pace(delay) => drop(ask.send(Ask::Pace(delay))),
                // The whole group, as the terminal does it; it comes back to us as
                // a signal.
                Effect::Suspend => kill(Pid::from_raw(0), Signal::SIGTSTP)?,
                Effect::Quit => return Ok(End::Quit),
            }
        }
    }
}

/// Sends the signals that end, stop, or go on.
fn watch_signals(send: Sender<Happened>) -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGCONT])?;
    thread::spawn(move || {
        for signal in signals.forever() {
            if send.send(Happened::Signal(signal)).is_err() {
                return;
            }
        }
    });
    Ok(())
}

/// Sends the keys.
fn keys(send: &Sender<Happened>) {
    loop {
        let (happened, last) = match event::read() {
            Ok(event) => (Happened::Input(event), false),
            Err(error) => (Happened::Lost(error), true),
        };
        if send.send(happened).is_err() || last {
            return;
        }
    }
}

/// Reads the processes, at a pace and when it is asked to.
fn read(mut survey: Survey, mut delay: Duration, asked: &Receiver<Ask>, send: &Sender<Happened>) {
    loop {
        if send.send(Happened::Read(survey.read())).is_err() {
            return;
        }
        match asked.recv_timeout(delay) {
            Ok(Ask::Pace(new)) => delay = new,
            Ok(Ask::Now) | Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}
