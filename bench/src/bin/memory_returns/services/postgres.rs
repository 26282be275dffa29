//! PostgreSQL after a large query: the memory of the session's process.

use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::{check_mapped, command, is_root, prepare, program, seen, until};
use crate::allocators::Allocator;
use crate::run::{Tail, tail};
use crate::watch::Watch;
use thmalloc_bench::guard::{Directory, Group};

/// PostgreSQL refuses to run as root: this user runs it then.
const USER: &str = "postgres";
/// Sorts and hashes in memory.
const QUERY: &str = "SET work_mem = '1GB'; SET jit = off; SELECT count(*) FROM (SELECT h, \
    row_number() OVER (ORDER BY h) n FROM (SELECT DISTINCT md5(x::text) h FROM \
    generate_series(1, 1500000) x) d) s WHERE n % 2 = 0;";

/// A command of PostgreSQL's, as its user, with `environment`.
fn postgres(name: &str, environment: &Command) -> io::Result<Command> {
    let path = program(name).ok_or_else(|| io::Error::other(format!("{name} is not there")))?;
    let variables: Vec<_> = environment
        .get_envs()
        .filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())))
        .collect();
    let mut command = if is_root() {
        let mut command = command("setpriv")?;
        command.args(["--reuid", USER, "--regid", USER, "--clear-groups", "env"]);
        // By env: it is the server that is to run on the allocator, not setpriv.
        for (name, value) in &variables {
            let mut setting = name.clone();
            setting.push("=");
            setting.push(value);
            command.arg(setting);
        }
        command.arg(path);
        command
    } else {
        let mut command = command(name)?;
        command.envs(variables);
        command
    };
    command.env_remove("LD_PRELOAD");
    Ok(command)
}

/// A cluster in `directory`, with one user who needs no password.
fn initialise(directory: &Path) -> io::Result<()> {
    if is_root() {
        command("chown")?.arg(USER).arg(directory).status()?;
    }
    let mut initdb = postgres("initdb", &Command::new("initdb"))?;
    initdb.arg("-D").arg(directory.join("data"));
    initdb.args([
        "-U",
        USER,
        "-A",
        "trust",
        "--no-sync",
        "--no-locale",
        "-E",
        "UTF8",
    ]);
    match initdb.current_dir(directory).status()?.success() {
        true => Ok(()),
        false => Err(io::Error::other("initdb failed")),
    }
}

/// The server is asked to end: killed, it would leave its shared memory.
struct Server(
    Option<Group>,
    #[expect(dead_code, reason = "removed with the server")] Directory,
);

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(server) = self.0.take() {
            server.end(Signal::SIGINT);
        }
    }
}

/// Runs it.
pub fn run(allocator: &Allocator) -> io::Result<Tail> {
    let (directory, allocator) = prepare("postgres", allocator)?;
    let place = directory.path().to_path_buf();
    initialise(&place)?;
    let mut environment = Command::new("postgres");
    allocator.apply(&mut environment);
    let mut server = postgres("postgres", &environment)?;
    server
        .arg("-D")
        .arg(place.join("data"))
        .arg("-k")
        .arg(&place);
    server
        .args(["-c", "listen_addresses=", "-c", "fsync=off"])
        .current_dir(&place);
    let server = Server(Some(Group::start(&mut server)?), directory);

    let client = || -> io::Result<Command> {
        let mut psql = command("psql")?;
        psql.args(["-X", "-q", "-A", "-t", "-U", USER, "-d", "postgres", "-h"])
            .arg(&place);
        Ok(psql)
    };
    until("postgres accepts", || {
        let status = client().ok()?.args(["-c", "SELECT 1"]).status();
        status.ok().filter(|status| status.success())
    })?;
    let mut psql = client()?;
    psql.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut psql = Group::start(&mut psql)?;
    let mut input = psql.child.stdin.take().expect("piped");
    let mut lines = BufReader::new(psql.child.stdout.take().expect("piped")).lines();
    let mut ask = |query: &str| -> io::Result<String> {
        writeln!(input, "{query}")?;
        input.flush()?;
        lines
            .next()
            .unwrap_or_else(|| Err(io::Error::other("psql ended")))
    };
    let pid = ask("SELECT pg_backend_pid();")?;
    let pid = pid
        .parse()
        .map_err(|_| io::Error::other(format!("a process number: {pid}")))?;
    check_mapped(pid, &allocator)?;
    let watch = Watch::start(vec![pid]);
    let mut seen = seen("postgres", &allocator);
    thread::sleep(Duration::from_millis(300));
    seen.start = watch.now();
    ask(QUERY)?;
    Ok(tail(
        seen,
        watch,
        Instant::now(),
        None,
        (input, psql, server),
    ))
}
