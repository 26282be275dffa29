//! What has to go when the driver goes: processes and directories.
//!
//! Everything that the driver starts leads a process group of its own. A group
//! is killed when its [`Group`] is dropped, and when a signal ends the driver.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::{Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

struct Registry {
    groups: Vec<Pid>,
    directories: Vec<PathBuf>,
}

static REGISTRY: Mutex<Registry> = Mutex::new(Registry {
    groups: Vec::new(),
    directories: Vec::new(),
});

fn registry() -> MutexGuard<'static, Registry> {
    REGISTRY.lock().expect("a panic ends the program")
}

/// Cleans up when a signal ends the driver.
pub fn on_signals() -> io::Result<()> {
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM])?;
    thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            let registry = registry();
            // Services clean up at the first, all is over at the second.
            for last in [Signal::SIGINT, Signal::SIGKILL] {
                for group in &registry.groups {
                    let _ = killpg(*group, last);
                }
                thread::sleep(Duration::from_millis(500));
            }
            for directory in &registry.directories {
                let _ = std::fs::remove_dir_all(directory);
            }
            // With the registry locked: nothing is started any more.
            std::process::exit(128 + signal);
        }
    });
    Ok(())
}

/// A process in a group of its own, killed with all of it when dropped.
pub struct Group {
    /// The process.
    pub child: Child,
}

impl Group {
    /// Starts `command`.
    pub fn start(command: &mut Command) -> io::Result<Group> {
        let mut registry = registry();
        let child = command.process_group(0).spawn()?;
        registry.groups.push(Pid::from_raw(child.id() as i32));
        Ok(Group { child })
    }

    /// The process's number.
    pub fn id(&self) -> i32 {
        self.child.id() as i32
    }

    /// Asks the process to end, as `signal` does, and waits for it.
    pub fn end(self, signal: Signal) {
        let _ = nix::sys::signal::kill(Pid::from_raw(self.id()), signal);
        self.wait();
    }

    /// Waits for the process to end, but not longer than it may take.
    pub fn wait(mut self) {
        for _ in 0..100 {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                break;
            }
            thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let group = Pid::from_raw(self.id());
        // Killed before it is waited for: the number is not another's yet.
        let _ = killpg(group, Signal::SIGKILL);
        let _ = self.child.wait();
        registry().groups.retain(|other| *other != group);
    }
}

/// A new directory, removed with all in it when dropped.
pub struct Directory(PathBuf);

impl Directory {
    /// A directory for `what`, below the system's temporary directory.
    pub fn new(what: &str) -> io::Result<Directory> {
        Directory::below(&std::env::temp_dir(), what)
    }

    /// A directory for `what` whose files are in memory, where there is one.
    pub fn in_memory(what: &str) -> io::Result<Directory> {
        let shared = Path::new("/dev/shm");
        if shared.is_dir() {
            Directory::below(shared, what)
        } else {
            Directory::new(what)
        }
    }

    fn below(parent: &Path, what: &str) -> io::Result<Directory> {
        let name = format!("thmalloc-bench-{}-{what}", std::process::id());
        let path = parent.join(name);
        registry().directories.push(path.clone());
        std::fs::create_dir_all(&path)?;
        Ok(Directory(path))
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
        registry().directories.retain(|other| other != &self.0);
    }
}
