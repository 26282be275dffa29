//! What the kernel says about a process: its memory, its threads' switches.

use std::collections::BTreeMap;
use std::fs;

/// A thread's context switches and time on a CPU, so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Task {
    /// The thread's name.
    pub name: String,
    /// Context switches, voluntary and not.
    pub switches: u64,
    /// Time on a CPU.
    pub cpu_ns: u64,
}

/// All threads of a process, by number.
pub type Tasks = BTreeMap<u32, Task>;

/// What threads did between two looks at them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Activity {
    /// Context switches.
    pub switches: u64,
    /// Time on a CPU.
    pub cpu_ns: u64,
    /// The names of the threads that did anything.
    pub names: Vec<String>,
}

/// The anonymous memory of processes, in bytes; those that are gone have none.
pub fn anonymous_bytes(pids: &[i32]) -> u64 {
    let of = |pid: &i32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        field(&status, "RssAnon").unwrap_or(0) * 1024
    };
    pids.iter().map(of).sum()
}

/// The number behind `name:` in a status file.
fn field(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| {
        let rest = line.strip_prefix(name)?;
        rest.strip_prefix(':')
    })?;
    line.split_whitespace().next()?.parse().ok()
}

/// The threads of `pid` as they are now.
pub fn tasks(pid: i32) -> Tasks {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return Tasks::new();
    };
    let read = |tid: u32| {
        let file = |name: &str| fs::read_to_string(format!("/proc/{pid}/task/{tid}/{name}"));
        let (status, times) = (file("status").ok()?, file("schedstat").ok()?);
        Some((tid, task(&status, &times)?))
    };
    entries
        .flatten()
        .filter_map(|entry| read(entry.file_name().to_str()?.parse().ok()?))
        .collect()
}

fn task(status: &str, schedstat: &str) -> Option<Task> {
    let name = status.lines().next()?.strip_prefix("Name:")?.trim();
    Some(Task {
        name: name.to_string(),
        switches: field(status, "voluntary_ctxt_switches")?
            + field(status, "nonvoluntary_ctxt_switches")?,
        cpu_ns: schedstat.split_whitespace().next()?.parse().ok()?,
    })
}

/// What was done between `before` and `after`; a new thread did all of its own.
pub fn activity(before: &Tasks, after: &Tasks) -> Activity {
    let mut sum = Activity::default();
    let none = Task::default();
    for (tid, now) in after {
        let then = before.get(tid).unwrap_or(&none);
        let switches = now.switches.saturating_sub(then.switches);
        let cpu_ns = now.cpu_ns.saturating_sub(then.cpu_ns);
        if switches > 0 || cpu_ns > 0 {
            sum.names.push(now.name.clone());
        }
        sum.switches += switches;
        sum.cpu_ns += cpu_ns;
    }
    // One that ended in between switched at least once, to end.
    for (tid, then) in before {
        if !after.contains_key(tid) {
            sum.names.push(format!("{} (ended)", then.name));
            sum.switches += 1;
        }
    }
    sum
}

/// The processes that `pid` started and that are alive.
pub fn children(pid: i32) -> Vec<i32> {
    fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))
        .unwrap_or_default()
        .split_whitespace()
        .filter_map(|child| child.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &str = "Name:\tworker-3\nState:\tS (sleeping)\nVmRSS:\t    2000 kB\n\
        RssAnon:\t    1234 kB\nRssFile:\t     766 kB\n\
        voluntary_ctxt_switches:\t17\nnonvoluntary_ctxt_switches:\t4\n";

    #[test]
    fn a_field_is_found_by_its_whole_name() {
        assert_eq!(field(STATUS, "RssAnon"), Some(1234));
        assert_eq!(field(STATUS, "voluntary_ctxt_switches"), Some(17));
        assert_eq!(field(STATUS, "Rss"), None);
        assert_eq!(field("", "RssAnon"), None);
    }

    #[test]
    fn a_thread_has_its_name_its_switches_and_its_time() {
        let expected = Task {
            name: "worker-3".to_string(),
            switches: 21,
            cpu_ns: 5_000_000,
        };
        assert_eq!(task(STATUS, "5000000 12 9\n"), Some(expected));
        assert_eq!(task("", "5000000 12 9\n"), None);
    }

    #[test]
    fn activity_counts_old_new_and_ended_threads() {
        let task = |name: &str, switches, cpu_ns| Task {
            name: name.to_string(),
            switches,
            cpu_ns,
        };
        let before = Tasks::from([
            (1, task("main", 5, 100)),
            (2, task("idle", 7, 200)),
            (3, task("short", 1, 10)),
        ]);
        let after = Tasks::from([
            (1, task("main", 6, 150)),
            (2, task("idle", 7, 200)),
            (4, task("new", 2, 30)),
        ]);
        let sum = activity(&before, &after);
        assert_eq!((sum.switches, sum.cpu_ns), (1 + 2 + 1, 50 + 30));
        assert_eq!(sum.names, ["main", "new", "short (ended)"]);
        assert_eq!(activity(&after, &after), Activity::default());
    }

    #[test]
    fn this_process_has_memory_and_a_thread() {
        let pid = std::process::id() as i32;
        assert!(anonymous_bytes(&[pid]) > 0);
        assert!(tasks(pid).contains_key(&(pid as u32)));
    }
}
