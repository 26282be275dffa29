//! Much memory, and none.

use std::fs;
use std::path::Path;

use thmalloc_tests::{
    Build, Mode, compile, hang_guard, on_thmalloc, passes_in_both_modes, run, skip,
};

/// What the system could hand out now, in GiB; 0 where it does not say. No more than
/// is left to a control group that has a limit.
fn available_gib() -> u64 {
    let number = |file: &str| {
        let text = fs::read_to_string(Path::new("/sys/fs/cgroup").join(file)).ok()?;
        text.trim().parse::<u64>().ok()
    };
    let left = |(most, now): (&str, &str)| Some(number(most)?.saturating_sub(number(now)?));
    let groups = [
        ("memory.max", "memory.current"),
        (
            "memory/memory.limit_in_bytes",
            "memory/memory.usage_in_bytes",
        ),
    ];
    let limit = groups.into_iter().filter_map(left).min();
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))
        .and_then(|rest| {
            rest.trim()
                .trim_end_matches("kB")
                .trim()
                .parse::<u64>()
                .ok()
        })
        .map_or(0, |kib| limit.unwrap_or(u64::MAX).min(kib << 10) >> 30)
}

/// Does the system hand out address space beyond its memory?
fn overcommits() -> bool {
    fs::read_to_string("/proc/sys/vm/overcommit_memory").is_ok_and(|mode| mode.trim() != "2")
}

#[test]
fn more_than_4_gib_stay_live_and_intact() {
    let test = "more_than_4_gib_stay_live_and_intact";
    let gib = available_gib();
    if gib < 8 {
        skip(test, &format!("{gib} GiB available, 8 needed"));
        return;
    }
    passes_in_both_modes(
        Build::Release,
        &compile("robust_big.c", &[]),
        &["live", "5"],
    );
}

#[test]
fn one_object_of_64_gib_and_one_of_1_tib_cost_nothing_untouched() {
    let test = "one_object_of_64_gib_and_one_of_1_tib_cost_nothing_untouched";
    if !overcommits() {
        skip(test, "strict overcommit (vm.overcommit_memory is 2)");
        return;
    }
    let program = compile("robust_big.c", &[]);
    passes_in_both_modes(Build::Release, &program, &["vast", "64"]);
    passes_in_both_modes(Build::Checked, &program, &["vast", "64"]);
    passes_in_both_modes(Build::Release, &program, &["vast", "1024"]);
}

#[test]
fn a_million_spans_cost_metadata_only() {
    let test = "a_million_spans_cost_metadata_only";
    if !overcommits() {
        skip(test, "strict overcommit (vm.overcommit_memory is 2)");
        return;
    }
    passes_in_both_modes(
        Build::Release,
        &compile("robust_big.c", &[]),
        &["million", "1000000"],
    );
}

/// `robust_nomem started` under limits that stood before its first instruction.
#[track_caller]
fn started_under(limit: &str) {
    let launcher = compile("robust_launch.c", &["-static"]);
    let program = compile("robust_nomem.c", &[]);
    for mode in Mode::ALL {
        let what = format!("robust_nomem, {limit}, {mode:?}");
        let mut command = on_thmalloc(Build::Release, mode, &launcher);
        command.arg(limit).arg("--").arg(&program).arg("started");
        let outcome = run(&mut command, hang_guard(120));
        outcome.expect_success(&what);
        assert_eq!(outcome.stderr, "", "{what}");
        assert!(outcome.stdout.contains("\ncache "), "{what}: {outcome:?}");
        assert!(
            !outcome.stdout.contains("cache none"),
            "{what}: {outcome:?}"
        );
    }
}

#[test]
fn address_space_limits_give_enomem_and_all_is_well_after_free() {
    // 136 and 400 MiB: what the tables of 256 CPUs, and of the largest window, just fit into.
    for mib in [
        "64", "80", "128", "136", "256", "400", "512", "1024", "4096",
    ] {
        started_under(&format!("as={mib}"));
    }
}

#[test]
fn data_limits_give_enomem_and_all_is_well_after_free() {
    for mib in ["32", "64", "256"] {
        started_under(&format!("data={mib}"));
    }
}

#[track_caller]
fn refused_while_running(how: &[&str]) {
    let program: &Path = &compile("robust_nomem.c", &[]);
    passes_in_both_modes(Build::Release, program, how);
    passes_in_both_modes(Build::Checked, program, how);
}

#[test]
fn an_address_space_limit_lowered_at_run_time_gives_enomem() {
    refused_while_running(&["lowered", "64"]);
    refused_while_running(&["lowered", "300"]);
    refused_while_running(&["below", "64"]);
    refused_while_running(&["near", "1"]);
    refused_while_running(&["near", "20"]);
}

#[test]
fn mmap_refused_gives_enomem_and_freed_memory_serves_again() {
    refused_while_running(&["refused"]);
    refused_while_running(&["refused-large"]);
}

#[test]
fn free_memory_that_cannot_be_unmapped_is_not_lost() {
    let test = "free_memory_that_cannot_be_unmapped_is_not_lost";
    let most = fs::read_to_string("/proc/sys/vm/max_map_count").unwrap_or_default();
    if most.trim().parse().is_ok_and(|most: u64| most > 1 << 18) {
        skip(test, "vm.max_map_count is too large to be used up");
        return;
    }
    let program: &Path = &compile("robust_mappings.c", &[]);
    passes_in_both_modes(Build::Release, program, &[]);
    passes_in_both_modes(Build::Checked, program, &[]);
}

#[test]
fn mmap_refused_to_one_thread_lets_it_use_what_others_free() {
    refused_while_running(&["one-thread"]);
}
