//! The malloc family, each function as its man page has it.
//!
//! The rules are C programs (`tests/c/surface_*.c`), which say what failed and
//! end with an error; each runs in all cache modes, on the library that users
//! get and on the one that checks itself. A program that succeeds says nothing.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use thmalloc_tests::{
    Build, Mode, Outcome, compile, compile_linked, on_thmalloc, root, run, target_dir,
};

const LIMIT: Duration = Duration::from_secs(120);

/// Runs a program in all builds and modes; gives each outcome to `check`.
#[track_caller]
fn in_all_ways<A: AsRef<OsStr>>(source: &str, arguments: &[A], check: impl Fn(&Outcome)) {
    let program = compile(source, &[]);
    for build in [Build::Release, Build::Checked] {
        let by_cpu = (build == Build::Release).then_some(Mode::Cpu);
        for mode in Mode::ALL.into_iter().chain(by_cpu) {
            let mut command = on_thmalloc(build, mode, &program);
            let outcome = run(command.args(arguments), LIMIT);
            outcome.expect_success(&format!("{source}, {build:?}, {mode:?}"));
            check(&outcome);
        }
    }
}

#[track_caller]
fn conforms(source: &str) {
    in_all_ways::<&str>(source, &[], |outcome| {
        assert_eq!(outcome.stdout, "", "{source} says nothing on stdout");
        assert_eq!(outcome.stderr, "", "{source} says nothing on stderr");
    });
}

#[test]
fn malloc_and_free_keep_the_plain_rules() {
    conforms("surface_malloc.c");
}

#[test]
fn every_size_is_aligned_and_wastes_little_and_overlaps_nothing() {
    conforms("surface_sizes.c");
}

#[test]
fn every_alignment_up_to_a_gigabyte_holds_and_wrong_ones_are_refused() {
    conforms("surface_aligned.c");
}

#[test]
fn large_objects_move_by_remapping_however_often() {
    conforms("surface_realloc_often.c");
}

#[test]
fn sizes_over_ptrdiff_max_and_overflowing_products_are_refused() {
    conforms("surface_limits.c");
}

#[test]
fn free_and_every_successful_call_keep_errno() {
    conforms("surface_errno.c");
}

#[test]
fn calloc_is_zero_after_dirty_reuse_and_leaves_fresh_memory_untouched() {
    conforms("surface_calloc.c");
}

#[test]
fn realloc_keeps_contents_over_every_change_of_size() {
    conforms("surface_realloc.c");
}

#[test]
fn realloc_of_large_objects_copies_nothing() {
    conforms("surface_realloc_large.c");
}

#[test]
fn free_memory_that_lies_apart_serves_a_longer_object() {
    conforms("surface_scattered.c");
}

#[test]
fn free_sized_and_free_aligned_sized_take_back_what_malloc_gave() {
    conforms("surface_free_sized.c");
}

#[test]
fn malloc_trim_gives_back_all_that_is_free() {
    conforms("surface_trim.c");
}

#[test]
fn mallinfo_tells_the_figures_of_this_heap() {
    conforms("surface_mallinfo.c");
}

#[test]
fn mallopt_accepts_what_glibc_documents_and_refuses_the_rest() {
    conforms("surface_mallopt.c");
}

#[test]
fn malloc_stats_writes_real_figures_to_stderr() {
    in_all_ways::<&str>("surface_stats.c", &[], |outcome| {
        assert_eq!(outcome.stdout, "");
        let hundred = 100 << 20;
        let close = outcome
            .stderr
            .split(|c: char| !c.is_ascii_digit())
            .filter_map(|figure| figure.parse::<u64>().ok())
            .any(|figure| (hundred..hundred + (1 << 20)).contains(&figure));
        assert!(
            close,
            "100 MiB were in use, but not here:\n{}",
            outcome.stderr
        );
    });
}

/// The names in a reviewed list: one a line, `#` begins a comment.
fn reviewed(list: &str) -> Vec<String> {
    let text = std::fs::read_to_string(root().join("tests/symbols").join(list)).expect(list);
    text.lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_exported_function_is_served_by_thmalloc() {
    let names = reviewed("exported.txt");
    assert!(names.len() > 40);
    in_all_ways("surface_served.c", &names, |_| ());
}

/// Preloading is one way to get the library; linking with it is the other.
#[test]
fn a_linked_program_is_served_in_the_mode_that_is_forced() {
    let program = compile_linked("surface_linked.c", Build::Release);
    for mode in Mode::ALL {
        let mut command = Command::new(&program);
        let outcome = run(command.env("THMALLOC_CONF", mode.conf()), LIMIT);
        outcome.expect_success("surface_linked.c");
        let version = env!("CARGO_PKG_VERSION");
        let name = mode.conf().strip_prefix("cache=").expect("an option");
        assert_eq!(outcome.stdout, format!("{version} {name} 0\n"));
        assert_eq!(outcome.stderr, "");
    }
}

#[test]
fn operator_new_throws_into_a_cxx_library_loaded_late() {
    let plugin = compile("cxx_late_library.cpp", &["-shared", "-fPIC"]);
    in_all_ways("surface_late_cxx.c", &[plugin], |outcome| {
        assert_eq!(outcome.stderr, "");
    });
}

/// `surface_malloc_info.c`'s four documents: at rest, with 100 MB live, after
/// the free, after `malloc_trim(0)`.
fn malloc_info_documents(build: Build, mode: Mode) -> [String; 4] {
    let program = compile("surface_malloc_info.c", &[]);
    let paths: [PathBuf; 4] = ["rest", "live", "freed", "trimmed"].map(|when| {
        let name = format!("malloc_info-{build:?}-{mode:?}-{when}.xml");
        target_dir().join("c").join(name)
    });
    let mut command: Command = on_thmalloc(build, mode, &program);
    run(command.args(&paths), LIMIT).expect_success("surface_malloc_info.c");
    paths.map(|path| std::fs::read_to_string(path).expect("a document"))
}

/// The figures of a document: the `size` of each `<total type=…>`, and the live
/// objects of the class of 1024 bytes.
struct Figures {
    live: u64,
    free: u64,
    mapped: u64,
    live_of_1024: u64,
}

impl Figures {
    #[track_caller]
    fn read(document: &str) -> Self {
        let parsed = roxmltree::Document::parse(document)
            .unwrap_or_else(|error| panic!("{error}\n{document}"));
        let root = parsed.root_element();
        assert_eq!(root.tag_name().name(), "malloc", "{document}");
        assert_eq!(root.attribute("version"), Some("1"), "{document}");
        let find = |element: &str, attribute: &str, value: &str, figure: &str| {
            root.descendants()
                .filter(|node| node.has_tag_name(element))
                .find(|node| node.attribute(attribute) == Some(value))
                .and_then(|node| node.attribute(figure)?.parse::<u64>().ok())
        };
        let total = |kind: &str| {
            find("total", "type", kind, "size")
                .unwrap_or_else(|| panic!("no <total type=\"{kind}\" size=…>:\n{document}"))
        };
        let current = find("system", "type", "current", "size");
        assert_eq!(current, Some(total("mapped")), "{document}");
        Self {
            live: total("live"),
            free: total("cached") + total("fragmented") + total("free"),
            mapped: total("mapped"),
            live_of_1024: find("size", "bytes", "1024", "live").unwrap_or(0),
        }
    }
}

#[track_caller]
fn expect_near(what: &str, found: u64, expected: u64) {
    const SLACK: u64 = 128 << 10;
    assert!(
        found.abs_diff(expected) < SLACK,
        "{what}: {found}, expected {expected}"
    );
}

#[test]
fn malloc_info_is_xml_with_real_figures() {
    const COUNT: u64 = 100_000;
    const BYTES: u64 = COUNT * 1024;
    for build in [Build::Release, Build::Checked] {
        for mode in Mode::ALL {
            let documents = malloc_info_documents(build, mode);
            let [rest, live, freed, trimmed] =
                documents.each_ref().map(|document| Figures::read(document));
            expect_near("live objects", live.live, rest.live + BYTES);
            assert_eq!(live.live_of_1024, rest.live_of_1024 + COUNT);
            assert!(live.mapped >= live.live + live.free, "{}", documents[1]);

            expect_near("live after the free", freed.live, rest.live);
            assert_eq!(freed.live_of_1024, rest.live_of_1024);
            assert!(freed.free <= freed.mapped, "{}", documents[2]);

            expect_near("live after the trim", trimmed.live, rest.live);
            assert!(trimmed.free < rest.free + BYTES / 10, "{}", documents[3]);
        }
    }
}
