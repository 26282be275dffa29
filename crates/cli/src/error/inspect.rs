//! What to do where a process cannot be looked into, and the exit status, one
//! for each reason: scripts tell them apart.

use std::fs;

use thmalloc_inspect::Error;

/// What `--help` says of them.
pub const HELP: &str = "\
Exit status:
    0  done
    3  there is no such process
    4  it does not run on thmalloc
    5  it may not be read
    6  it ended meanwhile
    7  its thmalloc is of a version that this command does not know
    8  what it shows of its heap cannot be right
  125  thmalloc itself failed
    2  the arguments make no sense";

/// The exit status.
pub fn status(error: &Error) -> i32 {
    match error {
        Error::NoSuchProcess(_) => 3,
        Error::NotOnThmalloc(_) => 4,
        Error::NotPermitted(_) => 5,
        Error::Ended(_) => 6,
        Error::OtherVersion { .. } => 7,
        Error::Corrupt { .. } => 8,
        _ => super::OWN_FAILURE,
    }
}

/// What to do.
pub fn advice(error: &Error) -> String {
    match error {
        Error::NoSuchProcess(_) => "check the number (ps ax, or pgrep NAME, shows them)".into(),
        Error::NotOnThmalloc(_) => {
            "start the program with: thmalloc run PROGRAM (a program that links thmalloc, or \
             has it as its global allocator, is found as well)"
                .into()
        }
        Error::NotPermitted(_) => not_permitted(&ptrace_scope()),
        Error::Ended(_) => "start it again, and look sooner".into(),
        Error::OtherVersion { .. } => "use the thmalloc command of that library's release".into(),
        Error::Corrupt { .. } => {
            "see whether the program runs under THMALLOC_CONF=cache=lock as well; if it shows \
             the same there, and is not broken itself, report this"
                .into()
        }
        _ => "see whether /proc is mounted, and process_vm_readv allowed".into(),
    }
}

/// Who may trace whom, by the system's setting; empty where it has none.
fn ptrace_scope() -> String {
    let scope = fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope");
    scope.unwrap_or_default().trim().to_owned()
}

fn not_permitted(scope: &str) -> String {
    let user = "run this as the process's own user, or as root (sudo thmalloc ...)";
    match scope {
        "" | "0" => user.into(),
        "3" => "this system lets nobody (kernel.yama.ptrace_scope is 3); that can only be \
                changed by starting it anew"
            .into(),
        _ => format!(
            "{user}; as the same user it takes kernel.yama.ptrace_scope=0 as well (it is \
             {scope}): sudo sysctl kernel.yama.ptrace_scope=0"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_status_of_its_own_that_the_help_names() {
        let errors = [
            Error::NoSuchProcess(1),
            Error::NotOnThmalloc(1),
            Error::NotPermitted(1),
            Error::Ended(1),
            Error::OtherVersion { pid: 1, found: 9 },
            Error::Corrupt { pid: 1, what: "x" },
        ];
        let mut statuses: Vec<i32> = errors.iter().map(status).collect();
        for status in &statuses {
            assert!(HELP.contains(&format!("\n    {status}  ")), "{status}");
        }
        statuses.dedup();
        assert_eq!(statuses.len(), errors.len());
    }

    #[test]
    fn what_to_do_depends_on_who_may_trace_whom() {
        assert!(!not_permitted("0").contains("ptrace_scope"));
        assert!(not_permitted("1").contains("sysctl kernel.yama.ptrace_scope=0"));
        assert!(!not_permitted("3").contains("root"));
    }
}
