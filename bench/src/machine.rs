//! What the figures were measured on.

use std::fs;

/// Lines that say which machine, system and allocators these are; allocators by
/// name and version.
pub fn describe(allocators: &[(String, String)]) -> Vec<String> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let (cpuinfo, meminfo) = (read("/proc/cpuinfo"), read("/proc/meminfo"));
    let cpu = value(&cpuinfo, "model name");
    let cpus = std::thread::available_parallelism().map_or(0, usize::from);
    let memory = value(&meminfo, "MemTotal");
    let memory: u64 = memory.trim_end_matches("kB").trim().parse().unwrap_or(0);
    let thp = read("/sys/kernel/mm/transparent_hugepage/enabled");
    let names: Vec<String> = allocators
        .iter()
        .map(|(name, version)| format!("{name} {version}"))
        .collect();
    let kernel = read("/proc/sys/kernel/osrelease");
    vec![
        format!(
            "Machine: {cpus} CPUs ({cpu}), {} GiB, Linux {}, transparent hugepages: {}",
            (memory + (1 << 19)) >> 20,
            kernel.trim(),
            chosen(&thp)
        ),
        format!("Allocators: {}", names.join(", ")),
    ]
}

fn value<'t>(text: &'t str, name: &str) -> &'t str {
    let line = text.lines().find(|line| line.starts_with(name));
    line.and_then(|line| line.split_once(':'))
        .map_or("unknown", |(_, value)| value.trim())
}

/// The word in brackets: how the kernel marks the setting that holds.
fn chosen(setting: &str) -> &str {
    setting
        .split_once('[')
        .and_then(|(_, rest)| rest.split_once(']'))
        .map_or("not there", |(word, _)| word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_and_settings_are_read_as_the_kernel_writes_them() {
        let text = "MemTotal:       24684136 kB\nMemFree:  1 kB\n";
        assert_eq!(value(text, "MemTotal"), "24684136 kB");
        assert_eq!(value(text, "Swap"), "unknown");
        assert_eq!(chosen("always [madvise] never\n"), "madvise");
        assert_eq!(chosen(""), "not there");
    }
}
