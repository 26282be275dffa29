//! Real services under a load of their own: redis, Python, PostgreSQL, nginx.
//!
//! Each runs in a directory of its own, reached through a socket there (nginx:
//! through a port on loopback), and is killed when its run is over.

mod nginx;
mod postgres;
mod python;
mod redis;

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::allocators::{Allocator, OURS};
use crate::run::{Seen, Tail};
use thmalloc_bench::guard::Directory;

/// Only ends what hangs.
const HANGS: Duration = Duration::from_secs(120);

/// A service: what it needs, and how it is run under an allocator.
pub struct Service {
    /// The scenario's name.
    pub name: &'static str,
    /// Programs that must be there, and the packages that have them.
    needs: &'static [(&'static str, &'static str)],
    /// Runs it.
    pub run: fn(&Allocator) -> io::Result<Tail>,
    /// About how many seconds that takes.
    pub seconds: u64,
}

/// All services.
pub const ALL: [Service; 5] = [
    Service {
        name: "redis",
        needs: &[
            ("redis-server", "redis-server"),
            ("redis-cli", "redis-tools"),
        ],
        run: redis::run,
        seconds: 5,
    },
    Service {
        name: "python",
        needs: &[("python3", "python3")],
        run: |allocator| python::run("python", allocator),
        seconds: 4,
    },
    Service {
        name: "python-malloc",
        needs: &[("python3", "python3")],
        run: |allocator| python::run("python-malloc", allocator),
        seconds: 4,
    },
    Service {
        name: "postgres",
        needs: &[
            ("postgres", "postgresql-15"),
            ("initdb", "postgresql-15"),
            ("psql", "postgresql-client-15"),
        ],
        run: postgres::run,
        seconds: 12,
    },
    Service {
        name: "nginx",
        needs: &[("nginx", "nginx-light"), ("wrk", "wrk")],
        run: nginx::run,
        seconds: 6,
    },
];

impl Service {
    /// The packages that it needs and that are not installed.
    pub fn missing(&self) -> Vec<&'static str> {
        let missing = self.needs.iter().filter(|need| program(need.0).is_none());
        let mut packages: Vec<_> = missing.map(|need| need.1).collect();
        packages.dedup();
        packages
    }
}

/// Where a program is: Debian's first, so that no wrapper comes before it.
fn program(name: &str) -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let postgres = versions.flatten().map(|entry| entry.path().join("bin"));
    let system = ["/usr/bin", "/usr/sbin"].map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let others: Vec<PathBuf> = std::env::split_paths(&path).collect();
    system
        .into_iter()
        .chain(postgres)
        .chain(others)
        .map(|directory| directory.join(name))
        .find(|path| path.is_file())
}

/// A command for a program that `missing` has found.
fn command(name: &str) -> io::Result<Command> {
    let path = program(name).ok_or_else(|| io::Error::other(format!("{name} is not there")))?;
    let mut command = Command::new(path);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    Ok(command)
}

/// Whether the driver runs as root.
fn is_root() -> bool {
    Path::new("/proc/self")
        .metadata()
        .is_ok_and(|own| own.uid() == 0)
}

/// A directory for a service, and the allocator with a library that a service
/// which runs as another user can read.
fn prepare(name: &str, allocator: &Allocator) -> io::Result<(Directory, Allocator)> {
    let directory = Directory::new(&format!("{name}-{}", allocator.name))?;
    let mut allocator = allocator.clone();
    if allocator.name == OURS {
        let copy = directory.path().join("libthmalloc.so");
        fs::copy(&allocator.library, &copy)?;
        fs::set_permissions(&copy, fs::Permissions::from_mode(0o755))?;
        allocator.library = copy;
    }
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755))?;
    Ok((directory, allocator))
}

/// Tries until it succeeds.
fn until<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> io::Result<T> {
    let start = Instant::now();
    while start.elapsed() < HANGS {
        if let Some(result) = attempt() {
            return Ok(result);
        }
        thread::sleep(Duration::from_millis(50));
    }
    Err(io::Error::other(format!("{what}: not within {HANGS:?}")))
}

/// Ends with an error unless the process runs on `allocator`.
fn check_mapped(pid: i32, allocator: &Allocator) -> io::Result<()> {
    let library = allocator.library.canonicalize()?;
    let maps = fs::read_to_string(format!("/proc/{pid}/maps"))?;
    if maps.contains(&*library.to_string_lossy()) {
        Ok(())
    } else {
        Err(io::Error::other(format!(
            "it does not run on {}",
            allocator.name
        )))
    }
}

/// What will be seen of a service.
fn seen(name: &str, allocator: &Allocator) -> Seen {
    Seen {
        scenario: name.to_string(),
        allocator: allocator.name.to_string(),
        ..Seen::default()
    }
}
