//! gcc, g++, rustc and cargo on large sources, and gdb.

use std::fmt::Write;

use crate::catalogue::{CARGO, GCC, GDB, GXX, Program, RUSTC};
use crate::harness::{Session, compare};
use crate::normal;
use crate::shell::input;

/// A C source of so many functions, each a little different.
fn c_source(functions: u32) -> String {
    let mut source = String::from("#include <stdio.h>\n#include <string.h>\n");
    for n in 0..functions {
        let (a, b, c) = (n % 7 + 2, n * 31 % 101, n % 5);
        let _ = write!(
            source,
            "struct s{n} {{ int x[{a}]; const char *name; double d; }};\n\
             static int f{n}(int v, struct s{n} *s) {{\n\
             \tfor (int i = 0; i < {a}; i++) {{\n\
             \t\ts->x[i] = (v * {b} + i) ^ (v >> {c});\n\
             \t\tswitch (s->x[i] % {a}) {{\n\
             \t\tcase 0: s->d += i * 0.{b}; break;\n\
             \t\tcase 1: s->name = \"name {n}\"; v -= (int)strlen(s->name); break;\n\
             \t\tdefault: v ^= s->x[i] << {c};\n\
             \t\t}}\n\
             \t}}\n\
             \treturn v + (int)s->d;\n\
             }}\n"
        );
    }
    source.push_str("int main(void) {\n\tint v = 1;\n");
    for n in 0..functions {
        let _ = writeln!(source, "\t{{ struct s{n} s = {{0}}; v = f{n}(v, &s); }}");
    }
    source.push_str("\tprintf(\"%d\\n\", v);\n\treturn 0;\n}\n");
    source
}

/// A C++ source that instantiates containers and lambdas for so many types.
fn cxx_source(types: u32) -> String {
    let mut source = String::from(
        "#include <algorithm>\n#include <functional>\n#include <iostream>\n#include <map>\n\
         #include <memory>\n#include <regex>\n#include <string>\n#include <unordered_map>\n\
         #include <variant>\n#include <vector>\n\
         template <int N, class T> struct Tower : Tower<N - 1, std::pair<T, int>> {\n\
         \tT value{};\n\tint height() const { return 1 + Tower<N - 1, std::pair<T, int>>::height(); }\n};\n\
         template <class T> struct Tower<0, T> { int height() const { return 0; } };\n\
         int main() {\n\tlong sum = 0;\n",
    );
    for n in 0..types {
        let _ = write!(
            source,
            "\t{{\n\t\tstruct K{n} {{ int k; std::string s; bool operator<(const K{n} &o) const \
             {{ return k < o.k || (k == o.k && s < o.s); }} }};\n\
             \t\tstd::map<K{n}, std::vector<std::unique_ptr<K{n}>>> map;\n\
             \t\tfor (int i = 0; i < 100; i++) map[K{n}{{i % {m}, \"k\"}}].push_back(\
             std::make_unique<K{n}>(K{n}{{i, std::string(i, 'x')}}));\n\
             \t\tstd::function<long()> f = [&] {{ long s = 0; for (auto &[k, v] : map) \
             s += std::count_if(v.begin(), v.end(), [](auto &p) {{ return p->s.size() % 3 == 1; }}); \
             return s; }};\n\
             \t\tstd::variant<int, std::string, K{n}> either = K{n}{{{n}, \"v\"}};\n\
             \t\tsum += f() + (long)either.index() + Tower<{m}, K{n}>().height();\n\t}}\n",
            m = n % 13 + 3,
        );
    }
    source.push_str(
        "\tstd::regex r(\"([a-z]+)(\\\\d+)\"); std::smatch m; std::string t = \"abc123\";\n\
         \tif (std::regex_match(t, m, r)) sum += m.size();\n\
         \tstd::cout << sum << '\\n';\n}\n",
    );
    source
}

/// Compiles `source` to an object file twice, links it and runs the result.
fn compiles(s: &mut Session, compiler: &Program, source: &str, flags: &[&str]) {
    for flag in flags {
        let args = [*flag, "-c", source, "-o", "source.o"];
        s.run(compiler, &args).stdout();
        s.note_file("source.o");
    }
    s.run(compiler, &["source.o", "-o", "program"]).stdout();
    s.note_file("program");
    let mut command = s.plain_command(s.file("program"));
    command.envs(s.preload());
    let finished = s.run_quietly(command);
    s.note(finished.stdout());
}

#[test]
fn gcc_compiles_a_large_source_to_the_same_object() {
    compare("gcc", &[&GCC], |s| {
        s.write("source.c", c_source(1200));
        compiles(s, &GCC, "source.c", &["-O0", "-O2"]);
        s.write("wrong.c", "int main(void) { return no_such_name; }");
        s.run(&GCC, &["-Wall", "-c", "wrong.c"]);
    });
}

#[test]
fn gxx_compiles_many_templates_to_the_same_object() {
    compare("g++", &[&GXX], |s| {
        s.write("source.cpp", cxx_source(10));
        compiles(s, &GXX, "source.cpp", &["-g", "-O2"]);
    });
}

/// A crate of several modules with generics, traits and tests.
fn write_crate(s: &Session, modules: u32) {
    std::fs::create_dir_all(s.file("crate/src")).expect("a directory");
    s.write(
        "crate/Cargo.toml",
        "[package]\nname = \"work\"\nversion = \"1.0.0\"\nedition = \"2021\"\n\n[workspace]\n",
    );
    let mut main = String::new();
    let mut calls = String::new();
    for n in 0..modules {
        let mut module = String::from(
            "use std::collections::{BTreeMap, HashSet};\nuse std::fmt::Debug;\n\
             pub trait Shape: Debug { fn area(&self) -> u64; }\n",
        );
        for k in 0..20 {
            let _ = write!(
                module,
                "#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]\n\
                 pub struct S{k}<T> {{ pub side: T, pub name: String, pub list: Vec<T> }}\n\
                 impl<T: Copy + Into<u64> + Debug> Shape for S{k}<T> {{\n\
                 \tfn area(&self) -> u64 {{ self.list.iter().map(|&x| x.into()).fold({k}, \
                 |a, b| a ^ b.wrapping_mul(self.side.into())) }}\n}}\n"
            );
        }
        module.push_str(
            "pub fn work() -> u64 {\n\tlet mut shapes: Vec<Box<dyn Shape>> = Vec::new();\n\
             \tlet mut map = BTreeMap::new();\n\tlet mut seen = HashSet::new();\n",
        );
        for k in 0..20 {
            let ty = ["u8", "u16", "u32"][k % 3];
            let _ = write!(
                module,
                "\tlet s = S{k} {{ side: {k} as {ty}, name: format!(\"s{k}\"), list: vec![{n} as {ty}; {k}] }};\n\
                 \tmap.insert(s.name.clone(), s.area()); seen.insert(s.name.clone());\n\
                 \tshapes.push(Box::new(s));\n"
            );
        }
        module.push_str(
            "\tshapes.iter().map(|s| s.area()).sum::<u64>() + map.values().sum::<u64>() + seen.len() as u64\n}\n\
             #[test]\nfn works() { assert!(work() > 0); }\n",
        );
        s.write(&format!("crate/src/module{n}.rs"), module);
        let _ = writeln!(main, "mod module{n};");
        let _ = writeln!(calls, "\tprintln!(\"{{}}\", module{n}::work());");
    }
    s.write(
        "crate/src/main.rs",
        format!("{main}fn main() {{\n{calls}}}\n"),
    );
}

#[test]
fn cargo_and_rustc_build_a_crate_to_the_same_program() {
    compare("cargo", &[&CARGO, &RUSTC], |s| {
        write_crate(s, 8);
        let cargo = |s: &mut Session, args: &[&str]| {
            let mut command = s.command(&CARGO, args);
            command
                .current_dir(s.file("crate"))
                .env("RUSTC", RUSTC.path())
                .env("CARGO_INCREMENTAL", "0")
                .env("CARGO_NET_OFFLINE", "true");
            let finished = s.run_quietly(command);
            finished.stdout();
            s.note(&normal::lines(&finished.stdout, |line| {
                !line.contains("finished in")
            }));
            s.note(&normal::numbers(&normal::lines(&finished.stderr, |line| {
                !line.contains("Finished")
            })));
        };
        cargo(s, &["build", "--release"]);
        s.note_file("crate/target/release/work");
        cargo(s, &["test", "--quiet", "--", "--test-threads=2"]);
        cargo(s, &["run", "--release", "--quiet"]);
        cargo(s, &["metadata", "--format-version=1", "--no-deps"]);
    });
}

/// Runs gdb over the small program in `tests/programs/debuggee.c`.
fn debug(s: &mut Session, gdb: std::process::Command, extra: &[&str]) {
    let mut command = gdb;
    command.args(["-batch", "-nx", "-iex", "set debuginfod enabled off"]);
    command.args(["-iex", "set disable-randomization on"]);
    for line in extra {
        command.args(["-iex", line]);
    }
    for line in [
        "break debuggee.c:grow if depth == 3",
        "run",
        "backtrace",
        // What a local holds before is left over on the stack.
        "next",
        "info locals",
        "print *list",
        "print list->next->name",
        "watch list->length",
        "continue",
        "delete",
        "break debuggee.c:finish",
        "continue",
        "next",
        "next",
        "next",
        "print text",
        "print (int) strlen(text)",
        "print sum((struct node *) list, 2)",
        "info threads",
        "ptype list",
        "continue",
    ] {
        command.args(["-ex", line]);
    }
    command.arg("./debuggee");
    let finished = s.run_quietly(command);
    let heap = |line: &&str| !line.contains("[New Thread") && !line.contains("[Thread");
    let lines: Vec<&str> = finished.stdout().lines().filter(heap).collect();
    let printed = normal::addresses(&lines.join("\n"));
    assert!(printed.contains("exited normally"), "{finished:#?}");
    // These name processes, or are as wide as their numbers.
    let varies = ["LWP", "[Inferior", "Target Id"];
    let steady = |line: &str| !varies.iter().any(|name| line.contains(name));
    s.note(&normal::lines(&printed, steady));
}

#[test]
fn gdb_debugs_a_program_with_either_on_thmalloc() {
    compare("gdb", &[&GDB, &GCC], |s| {
        s.write("debuggee.c", input("debuggee.c"));
        let args = ["-g", "-O0", "-pthread", "debuggee.c", "-o", "debuggee"];
        s.run(&GCC, &args).stdout();
        // Both: the debuggee inherits gdb's environment.
        debug(s, s.command(&GDB, &[]), &[]);
        // gdb alone.
        let alone = "unset environment LD_PRELOAD";
        debug(s, s.command(&GDB, &[]), &[alone]);
        // The debuggee alone.
        let preload = s.preload();
        let set: Vec<String> = preload
            .iter()
            .map(|(name, value)| format!("set environment {name} {value}"))
            .collect();
        let set: Vec<&str> = set.iter().map(String::as_str).collect();
        debug(s, s.plain_command(GDB.path()), &set);
    });
}
