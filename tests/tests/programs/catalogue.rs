//! The programs: what each is called, how to see that its `malloc` is ours,
//! and which Debian package brings it.

use std::path::{Path, PathBuf};

/// Whose `malloc` a program calls when ours is preloaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heap {
    /// Ours: the loader binds `malloc` to `libthmalloc.so`.
    Preloaded,
    /// Its own, which the executable exports and which therefore wins; our
    /// library is loaded and serves whatever the executable does not export.
    Own,
}

/// A program under test.
#[derive(Debug)]
pub struct Program {
    /// The names to look for, best first: on the PATH, or absolute.
    names: &'static [&'static str],
    /// Arguments with which it starts, says little and soon ends.
    pub probe: &'static [&'static str],
    /// Whose `malloc` it calls.
    pub heap: Heap,
    /// The Debian package that holds it, listed in `.ci/packages`; empty for
    /// the tools of the Rust toolchain.
    pub package: &'static str,
}

impl Program {
    const fn new(
        names: &'static [&'static str],
        probe: &'static [&'static str],
        package: &'static str,
    ) -> Program {
        Program {
            names,
            probe,
            heap: Heap::Preloaded,
            package,
        }
    }

    /// What it is called in a transcript.
    pub fn name(&self) -> &'static str {
        self.names[0].rsplit('/').next().unwrap_or(self.names[0])
    }

    /// Where it is, if it is installed.
    pub fn find(&self) -> Option<PathBuf> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let toolchain = self.package.is_empty().then(toolchain);
        // `join` with an absolute name gives that name: one rule for both.
        self.names.iter().find_map(|name| {
            toolchain
                .iter()
                .cloned()
                .chain(std::env::split_paths(&path))
                .chain([PathBuf::from("/usr/sbin")])
                .map(|dir| dir.join(name))
                .find(|file| file.is_file())
        })
    }

    /// Where it is; only for a program that `compare` was told of.
    pub fn path(&self) -> PathBuf {
        self.find()
            .unwrap_or_else(|| panic!("{} was there a moment ago", self.name()))
    }
}

/// The directory of the Rust toolchain that runs these tests. Its tools are
/// taken from there, not from the PATH: rustup's proxies would look for their
/// settings in the home directory, which a session replaces.
fn toolchain() -> PathBuf {
    let cargo = std::env::var_os("CARGO").expect("cargo runs these tests");
    let bin = Path::new(&cargo).parent();
    bin.expect("cargo stands in a directory").to_path_buf()
}

pub const BASH: Program = Program::new(&["bash"], &["--version"], "bash");
pub const CARGO: Program = Program::new(&["cargo"], &["--version"], "");
pub const CHROMIUM: Program = Program {
    // Chromium's executable exports a malloc of its own (PartitionAlloc).
    heap: Heap::Own,
    ..Program::new(
        &["/usr/lib/chromium/chromium-headless-shell"],
        &["--version"],
        "chromium-headless-shell",
    )
};
pub const CONVERT: Program = Program::new(
    &["convert-im6.q16", "magick"],
    &["--version"],
    "imagemagick",
);
pub const CURL: Program = Program::new(&["curl"], &["--version"], "curl");
pub const GCC: Program = Program::new(&["gcc"], &["--version"], "gcc");
pub const GDB: Program = Program::new(&["gdb"], &["--version"], "gdb");
pub const GHOSTSCRIPT: Program = Program::new(&["gs"], &["--version"], "ghostscript");
pub const GIT: Program = Program::new(&["git"], &["--version"], "git");
pub const GXX: Program = Program::new(&["g++"], &["--version"], "g++");
pub const HTOP: Program = Program::new(&["htop"], &["--version"], "htop");
pub const INITDB: Program = Program::new(
    &["/usr/lib/postgresql/15/bin/initdb", "initdb"],
    &["--version"],
    "postgresql-15",
);
pub const JAVA: Program = Program::new(&["java"], &["--version"], "openjdk-17-jdk-headless");
pub const JAVAC: Program = Program::new(&["javac"], &["--version"], "openjdk-17-jdk-headless");
pub const LUA: Program = Program::new(&["lua5.4", "lua"], &["-v"], "lua5.4");
pub const NGINX: Program = Program::new(&["nginx"], &["-v"], "nginx-light");
pub const NODE: Program = Program::new(&["node"], &["--version"], "nodejs");
pub const OPENSSL: Program = Program::new(&["openssl"], &["version"], "openssl");
pub const PERL: Program = Program::new(&["perl"], &["-v"], "perl");
pub const PGBENCH: Program = Program::new(
    &["/usr/lib/postgresql/15/bin/pgbench", "pgbench"],
    &["--version"],
    "postgresql-15",
);
pub const POSTGRES: Program = Program::new(
    &["/usr/lib/postgresql/15/bin/postgres", "postgres"],
    &["--version"],
    "postgresql-15",
);
pub const PSQL: Program = Program::new(
    &["/usr/lib/postgresql/15/bin/psql", "psql"],
    &["--version"],
    "postgresql-client-15",
);
pub const PYTHON: Program = Program::new(
    &["/usr/bin/python3", "python3"],
    &["--version"],
    "libpython3.11-testsuite",
);
pub const REDIS_BENCHMARK: Program =
    Program::new(&["redis-benchmark"], &["--version"], "redis-tools");
pub const REDIS_CLI: Program = Program::new(&["redis-cli"], &["--version"], "redis-tools");
pub const REDIS_SERVER: Program = Program::new(&["redis-server"], &["--version"], "redis-server");
pub const RUBY: Program = Program::new(&["ruby"], &["--version"], "ruby");
pub const RUSTC: Program = Program {
    // rustc's executable brings jemalloc and exports it.
    heap: Heap::Own,
    ..Program::new(&["rustc"], &["--version"], "")
};
pub const SORT: Program = Program::new(&["sort"], &["--version"], "coreutils");
pub const SQLITE3: Program = Program::new(&["sqlite3"], &["--version"], "sqlite3");
pub const TMUX: Program = Program::new(&["tmux"], &["-V"], "tmux");
pub const TOP: Program = Program::new(&["top"], &["-bn1"], "procps");
pub const VIM: Program = Program::new(&["vim"], &["--version"], "vim");
pub const WRK: Program = Program::new(&["wrk"], &["--version"], "wrk");
pub const XZ: Program = Program::new(&["xz"], &["--version"], "xz-utils");

/// Every program that some test of this suite runs.
pub const ALL: &[&Program] = &[
    &BASH,
    &CARGO,
    &CHROMIUM,
    &CONVERT,
    &CURL,
    &GCC,
    &GDB,
    &GHOSTSCRIPT,
    &GIT,
    &GXX,
    &HTOP,
    &INITDB,
    &JAVA,
    &JAVAC,
    &LUA,
    &NGINX,
    &NODE,
    &OPENSSL,
    &PERL,
    &PGBENCH,
    &POSTGRES,
    &PSQL,
    &PYTHON,
    &REDIS_BENCHMARK,
    &REDIS_CLI,
    &REDIS_SERVER,
    &RUBY,
    &RUSTC,
    &SORT,
    &SQLITE3,
    &TMUX,
    &TOP,
    &VIM,
    &WRK,
    &XZ,
];
