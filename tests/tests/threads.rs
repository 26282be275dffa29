//! Many threads on few CPUs, and malloc at the edges of a thread's and a
//! program's life.

use std::path::PathBuf;

use thmalloc_tests::{
    Build, Mode, compile, hang_guard, library, on_thmalloc, passes_in_both_modes, run,
};

fn crowd(build: Build, generations: &str, steps: &str) {
    let program = compile("robust_crowd.c", &[]);
    passes_in_both_modes(build, &program, &["64", generations, steps]);
}

#[test]
fn sixty_four_threads_that_come_and_go_keep_every_object_intact() {
    crowd(Build::Release, "6", "4000");
}

#[test]
fn sixty_four_threads_take_every_lock_in_its_order() {
    crowd(Build::Checked, "4", "2000");
}

#[test]
fn a_thousand_short_threads_keep_every_object_intact() {
    crowd(Build::Release, "40", "60");
}

#[test]
fn large_objects_that_grow_shrink_and_change_hands_stay_intact() {
    let program = compile("robust_crowd.c", &[]);
    let args = ["4", "4", "600", "large"];
    passes_in_both_modes(Build::Release, &program, &args);
    passes_in_both_modes(Build::Checked, &program, &args);
}

#[test]
fn what_came_from_another_thread_is_not_handed_out_beside_its_neighbours() {
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    if cpus < 2 {
        eprintln!("skipped: two threads on one CPU have one cache");
        return;
    }
    let program = compile("robust_lines.c", &[]);
    passes_in_both_modes(Build::Release, &program, &[]);
}

fn early_library() -> PathBuf {
    compile("robust_early.c", &["-shared", "-fPIC"])
}

fn hooks_program() -> PathBuf {
    let library = early_library();
    compile(
        "robust_hooks.c",
        &[library.to_str().expect("a path in UTF-8")],
    )
}

fn plugins() -> Vec<String> {
    ["-DPLUGIN=1", "-DPLUGIN=2", "-DPLUGIN=3"]
        .map(|number| {
            let plugin = compile("robust_plugin.c", &["-shared", "-fPIC", number]);
            plugin.to_str().expect("a path in UTF-8").to_owned()
        })
        .to_vec()
}

/// The program's own destructors run before the library's that it needs.
fn expect_both_destructors(stdout: &str) {
    assert!(
        stdout.ends_with("program: done\nearly library: done\n"),
        "{stdout}"
    );
}

#[test]
fn malloc_works_before_main_in_key_destructors_and_in_atexit() {
    for build in [Build::Release, Build::Checked] {
        for mode in Mode::ALL {
            let mut command = on_thmalloc(build, mode, hooks_program());
            let outcome = run(&mut command, hang_guard(120));
            outcome.expect_success(&format!("robust_hooks {mode:?} {build:?}"));
            assert_eq!(outcome.stderr, "");
            expect_both_destructors(&outcome.stdout);
        }
    }
}

#[test]
fn malloc_works_in_a_library_preloaded_before_or_after_it() {
    let early = early_library();
    let ours = library(Build::Release);
    for mode in Mode::ALL {
        for order in [[&early, &ours], [&ours, &early]] {
            let preload = order.map(|path| path.to_str().expect("a path in UTF-8"));
            let mut command = on_thmalloc(Build::Release, mode, hooks_program());
            command.env("LD_PRELOAD", preload.join(":"));
            let outcome = run(&mut command, hang_guard(120));
            outcome.expect_success(&format!("robust_hooks, {preload:?} {mode:?}"));
            assert_eq!(outcome.stderr, "");
            expect_both_destructors(&outcome.stdout);
        }
    }
}

#[test]
fn libraries_with_thread_locals_come_and_go_by_dlopen() {
    let plugins = plugins();
    let plugins: Vec<&str> = plugins.iter().map(String::as_str).collect();
    passes_in_both_modes(Build::Release, &hooks_program(), &plugins);
    passes_in_both_modes(Build::Checked, &hooks_program(), &plugins);
}

#[test]
fn a_stack_of_8_kib_suffices() {
    let program = compile("robust_stack.c", &[]);
    passes_in_both_modes(Build::Release, &program, &[]);
    passes_in_both_modes(Build::Checked, &program, &[]);
}

#[test]
fn threads_that_only_free_empty_what_others_fill() {
    let program = compile("robust_freers.c", &[]);
    passes_in_both_modes(Build::Release, &program, &[]);
    passes_in_both_modes(Build::Checked, &program, &[]);
}
