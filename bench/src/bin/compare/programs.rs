//! Programs that people run, and what they are given.
//!
//! Scripts stand in `bench/programs`; longer inputs are made here, the same ones
//! each time.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use thmalloc_bench::build;

use crate::redis;

/// Every program: its name and what it does.
pub const ALL: [(&str, &str); 13] = [
    ("lua", "tables of strings and records"),
    ("python", "JSON, a tree, words; PYTHONMALLOC=malloc"),
    ("perl", "hashes of arrays, patterns, sorting"),
    ("ruby", "objects, hashes and strings"),
    ("sqlite", "bulk inserts with two indices, in memory"),
    ("minisat", "a random formula of 3 literals each"),
    ("z3", "equations over integers and bit vectors"),
    ("cc1", "gcc's compiler over 300 functions, with -O2"),
    ("rustc", "Rust's compiler over a library of 16 types"),
    (
        "ghostscript",
        "two hundred pages of text and curves to a bitmap",
    ),
    (
        "rocksdb",
        "db_bench: fill, overwrite and read, one thread each",
    ),
    (redis::NAME, "redis-server under redis-benchmark"),
    ("start", "a shell that starts /bin/true 1500 times"),
];

/// The program's file and its Debian package.
fn needs(name: &str) -> &'static [(&'static str, &'static str)] {
    match name {
        "lua" => &[("/usr/bin/lua5.4", "lua5.4")],
        "python" => &[("/usr/bin/python3", "python3")],
        "perl" => &[("/usr/bin/perl", "perl")],
        "ruby" => &[("/usr/bin/ruby", "ruby")],
        "sqlite" => &[("/usr/bin/sqlite3", "sqlite3")],
        "minisat" => &[("/usr/bin/minisat", "minisat")],
        "z3" => &[("/usr/bin/z3", "z3")],
        "cc1" => &[("/usr/bin/gcc", "gcc")],
        // Debian's: the one that Rust's project gives out has an allocator of its own.
        "rustc" => &[("/usr/bin/rustc", "rustc")],
        "ghostscript" => &[("/usr/bin/gs", "ghostscript")],
        "rocksdb" => &[("/usr/bin/db_bench", "rocksdb-tools")],
        redis::NAME => &[
            ("/usr/bin/redis-server", "redis-server"),
            ("/usr/bin/redis-benchmark", "redis-tools"),
        ],
        _ => &[],
    }
}

/// What has to be installed for `name`, if something has.
pub fn missing(name: &str) -> Option<String> {
    let missing: Vec<&str> = needs(name)
        .iter()
        .filter(|(file, _)| !Path::new(file).exists())
        .map(|(_, package)| *package)
        .collect();
    (!missing.is_empty()).then(|| format!("apt-get install {}", missing.join(" ")))
}

/// The exit statuses of `name` that are no failure.
pub fn codes(name: &str) -> &'static [i32] {
    match name {
        // Satisfiable, and not.
        "minisat" => &[10, 20],
        _ => &[0],
    }
}

fn script(name: &str) -> PathBuf {
    build::root().join("bench/programs").join(name)
}

/// The command for `name`, whose inputs are in `directory`.
pub fn command(name: &str, directory: &Path) -> Command {
    let program = needs(name).first().map_or("/bin/sh", |(file, _)| file);
    let mut command = Command::new(program);
    match name {
        "lua" => command.arg(script("load.lua")),
        "python" => command
            .env("PYTHONMALLOC", "malloc")
            // No `site`, so that only the script's own work is seen. Not isolated
            // (-I): then python would not read the variable.
            .args(["-s", "-S"])
            .arg(script("load.py")),
        "perl" => command.arg(script("load.pl")),
        "ruby" => command.arg("--disable=gems").arg(script("load.rb")),
        "sqlite" => command.args([
            "-batch",
            "-init",
            "load.sql",
            ":memory:",
            "select count(*) from t;",
        ]),
        "minisat" => command.args(["-verb=0", "load.cnf"]),
        "z3" => command.arg("load.smt2"),
        "cc1" => {
            let cc1 = build::said("gcc", &["-print-prog-name=cc1"]).unwrap_or("cc1".to_string());
            let mut command = Command::new(cc1);
            command.args(["-quiet", "-O2", "load.c", "-o", "/dev/null"]);
            return command;
        }
        "rustc" => command.args(["--edition=2021", "--crate-type=rlib", "load.rs"]),
        "ghostscript" => command.args([
            "-q",
            "-dBATCH",
            "-dNOPAUSE",
            "-sDEVICE=ppmraw",
            "-r150",
            "-sOutputFile=/dev/null",
            "load.ps",
        ]),
        "rocksdb" => {
            let database = directory.join("rocksdb");
            let _ = fs::remove_dir_all(&database);
            command
                .arg(format!("--db={}", database.display()))
                .args(["--benchmarks=fillrandom,overwrite,readrandom,deleterandom"])
                .args(["--num=60000", "--value_size=400", "--threads=1", "--seed=1"])
                .args(["--write_buffer_size=4194304", "--compression_type=none"])
        }
        _ => command.args([
            "-c",
            "i=0; while [ $i -lt 1500 ]; do /bin/true; i=$((i+1)); done",
        ]),
    };
    command
}

/// Writes the inputs that are made to `directory`.
pub fn prepare(directory: &Path) -> io::Result<()> {
    let write = |name: &str, text: String| fs::write(directory.join(name), text);
    write("load.sql", sql())?;
    write("load.cnf", formula())?;
    write("load.smt2", equations())?;
    write("load.c", source())?;
    write("load.rs", types())?;
    write("load.ps", pages())
}

fn sql() -> String {
    let mut text = String::from(
        "pragma synchronous=off;\n\
         create table t(id integer primary key, name text, value real, note text);\n\
         create index t_name on t(name);\ncreate index t_value on t(value);\nbegin;\n\
         with recursive n(i) as (select 1 union all select i+1 from n where i<200000)\n\
         insert into t select i, 'name ' || (i*7919 % 100003), i*0.25, \
         printf('%.*c', i % 60, 'x') from n;\n\
         commit;\n",
    );
    for n in 0..10_000 {
        let _ = writeln!(
            text,
            "insert into t(name, value, note) values('one {n}', {n}.5, 'a note of row {n}');"
        );
    }
    text += "update t set note = note || name where id % 3 = 0;\n\
             select count(*) from (select name, group_concat(note) from t group by name);\n\
             delete from t where id % 2 = 0;\n";
    text
}

/// A plain generator: these inputs must not change with a library.
fn next(state: &mut u64) -> u64 {
    *state = state
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    *state >> 33
}

fn formula() -> String {
    const VARIABLES: u64 = 250;
    const CLAUSES: u64 = 1065;
    let mut state = 12;
    let mut text = format!("p cnf {VARIABLES} {CLAUSES}\n");
    for _ in 0..CLAUSES {
        for _ in 0..3 {
            let variable = next(&mut state) % VARIABLES + 1;
            let sign = if next(&mut state).is_multiple_of(2) {
                "-"
            } else {
                ""
            };
            let _ = write!(text, "{sign}{variable} ");
        }
        text += "0\n";
    }
    text
}

fn equations() -> String {
    const VARIABLES: u64 = 160;
    let mut state = 5;
    let mut text = String::from("(set-option :smt.random_seed 1)\n(set-logic ALL)\n");
    for n in 0..VARIABLES {
        let _ = writeln!(
            text,
            "(declare-const x{n} Int)(declare-const b{n} (_ BitVec 16))"
        );
        let _ = writeln!(text, "(assert (and (>= x{n} 0) (<= x{n} 1000)))");
    }
    for _ in 0..240 {
        let mut pick = || next(&mut state) % VARIABLES;
        let (a, b, c, d) = (pick(), pick(), pick(), pick());
        let _ = writeln!(
            text,
            "(assert (<= (+ (* 3 x{a}) x{b}) (+ (* 2 x{c}) x{d} 200)))"
        );
        let _ = writeln!(
            text,
            "(assert (bvule (bvadd b{a} b{b}) (bvor b{c} (bvmul b{d} #x0003))))"
        );
    }
    text += "(check-sat)\n";
    text
}

fn source() -> String {
    let mut text = String::from("struct node { struct node *next; int key; double value; };\n");
    for n in 0..300 {
        let _ = writeln!(
            text,
            "struct s{n} {{ int a[{}]; struct node *list; char name[{}]; }};\n\
             int f{n}(struct s{n} *s, int n) {{\n\
             \tint i, sum = {n};\n\
             \tfor (i = 0; i < n && i < {}; i++) {{\n\
             \t\tsum += s->a[i] * (i ^ {n});\n\
             \t\tif (sum % 7 == {}) sum -= s->name[i % {}];\n\
             \t\tswitch (sum & 7) {{ case 1: sum += i; break; case 2: sum ^= n; break;\n\
             \t\tcase 5: sum *= 3; break; default: sum--; }}\n\
             \t}}\n\
             \tfor (struct node *p = s->list; p; p = p->next) sum += p->key * (int)p->value;\n\
             \treturn sum{};\n}}",
            n % 13 + 4,
            n % 29 + 8,
            n % 13 + 4,
            n % 7,
            n % 29 + 8,
            if n > 0 {
                format!(" + f{}((struct s{} *)s, n - 1)", n - 1, n - 1)
            } else {
                String::new()
            },
        );
    }
    text
}

fn types() -> String {
    let mut text = String::from("use std::collections::HashMap;\n");
    for n in 0..16 {
        let before = n - i32::from(n % 8 != 0);
        let _ = writeln!(
            text,
            "#[derive(Clone, Debug, PartialEq)]\n\
             pub struct S{n} {{ id: u32, name: String, values: Vec<u64>, \
             inner: Option<Box<S{before}>> }}\n\
             impl S{n} {{\n\
             \tpub fn total(&self) -> u64 {{\n\
             \t\tlet own = self.values.iter().map(|v| v ^ u64::from(self.id));\n\
             \t\town.filter(|v| v % {} != 1).sum::<u64>() + {n}\n\
             \t}}\n\
             \tpub fn by_name<'a>(all: &'a [Self], map: &mut HashMap<&'a str, Vec<&'a Self>>) {{\n\
             \t\tfor one in all {{ map.entry(&one.name).or_default().push(one); }}\n\
             \t}}\n\
             \tpub fn parse(text: &str) -> Result<Self, String> {{\n\
             \t\tlet mut words = text.split('{}');\n\
             \t\tlet id = words.next().ok_or(\"nothing\")?;\n\
             \t\tlet id = id.parse().map_err(|e| format!(\"{{id}}: {{e}}\"))?;\n\
             \t\tlet name = words.next().unwrap_or(\"{n}\").to_string();\n\
             \t\tlet mut values: Vec<u64> = words.filter_map(|w| w.parse().ok()).collect();\n\
             \t\tvalues.sort_by_key(|v| v % {});\n\
             \t\tOk(Self {{ id, name, values, inner: None }})\n\
             \t}}\n}}",
            n % 5 + 2,
            if n % 2 == 0 { ',' } else { ' ' },
            n + 3,
        );
    }
    text
}

fn pages() -> String {
    let mut text = String::from("%!PS\n");
    for page in 0..200 {
        text += "/Times-Roman findfont 9 scalefont setfont\n";
        for line in 0..60 {
            let _ = writeln!(
                text,
                "40 {} moveto (Line {line} of page {page}: the quick brown fox, {} times) show",
                780 - line * 12,
                line * page
            );
        }
        for n in 0..120 {
            let (x, y) = (300 + n * 2 % 200, 100 + n * 5 % 600);
            let _ = writeln!(
                text,
                "newpath {x} {y} moveto {} {} {} {} {} {} curveto 0.{} setgray stroke",
                x + 40,
                y + 10,
                x + 80,
                y - 30,
                x + 100,
                y + page,
                n % 10
            );
        }
        text += "showpage\n";
    }
    text
}
