//! Interpreters and virtual machines: perl, ruby, lua, node, java.

use crate::catalogue::{JAVA, JAVAC, LUA, NODE, PERL, Program, RUBY};
use crate::harness::compare;
use crate::shell::input;

/// Runs `tests/programs/SCRIPT`, which prints what is the same in each run.
#[track_caller]
fn runs_its_script(program: &'static Program, args: &[&str], script: &str) {
    compare(program.name(), &[program], |s| {
        s.write(script, input(script));
        let printed = s.run(program, &[args, &[script]].concat());
        assert!(printed.stdout().contains("done"), "{printed:#?}");
    });
}

#[test]
fn perl_sorts_hashes_matches_and_forks() {
    runs_its_script(&PERL, &["-w"], "work.pl");
}

#[test]
fn ruby_collects_threads_and_fibers() {
    runs_its_script(&RUBY, &["-w"], "work.rb");
}

#[test]
fn lua_collects_tables_strings_and_coroutines() {
    runs_its_script(&LUA, &[], "work.lua");
}

#[test]
fn node_runs_workers_buffers_zlib_and_crypto() {
    runs_its_script(&NODE, &["--max-old-space-size=512"], "work.mjs");
}

#[test]
fn java_runs_many_threads_under_each_collector() {
    compare("java", &[&JAVAC, &JAVA], |s| {
        s.write("Work.java", input("Work.java"));
        let compiled = s.run(&JAVAC, &["-J-Xmx512m", "-d", ".", "Work.java"]);
        compiled.stdout();
        s.note_file("Work.class");
        for collector in ["-XX:+UseSerialGC", "-XX:+UseParallelGC", "-XX:+UseG1GC"] {
            let args = [collector, "-Xmx512m", "-Xss512k", "-cp", ".", "Work"];
            let printed = s.run(&JAVA, &args);
            assert!(printed.stdout().contains("done"), "{printed:#?}");
        }
    });
}
