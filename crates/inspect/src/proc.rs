//! What /proc says of a process.
//!
//! Always: names and arguments are the process's own choice, so they need not be
//! UTF-8; lines are read one at a time.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, ErrorKind, Read};
use std::os::unix::ffi::OsStrExt;

use nix::errno::Errno;
use nix::sys::signal;
use nix::unistd::Pid;

use crate::error::Error;

/// A mapping.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mapping {
    /// Its first address.
    pub start: u64,
    /// The address behind it.
    pub end: u64,
    /// May it be read?
    pub readable: bool,
    /// Where in its file it begins.
    pub offset: u64,
    /// Its file, or a name in brackets; empty where it has none.
    pub name: String,
    /// Bytes in memory; from smaps only, as those that follow.
    pub rss: u64,
    /// Anonymous ones of them.
    pub anonymous: u64,
    /// Bytes that are swapped out.
    pub swap: u64,
}

/// What identifies a process, and how it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// When it was started; another process of the same number has another.
    pub started: u64,
    /// It has ended, and nobody has asked for its status yet.
    pub zombie: bool,
    /// Page faults without reading from a disk.
    pub minor_faults: u64,
    /// Threads.
    pub threads: u32,
}

/// No process has more mappings, unless its system was told to allow it.
const MOST_MAPPINGS: usize = 1 << 20;

/// No process has more threads, by the same token.
const MOST_THREADS: usize = 1 << 15;

/// Names and arguments are cut here.
const MOST_NAME_BYTES: u64 = 4096;

/// What an error of /proc means.
pub fn meaning(pid: u32, doing: &'static str, error: io::Error) -> Error {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ENOENT) => missing(pid),
        Some(Errno::ESRCH) => Error::Ended(pid),
        Some(Errno::EACCES | Errno::EPERM) => Error::NotPermitted(pid),
        _ => Error::System { doing, error },
    }
}

/// There is nothing in /proc: is there no such process, or is it hidden?
fn missing(pid: u32) -> Error {
    let number = i32::try_from(pid).ok().filter(|&number| number > 0);
    match number.map(|number| signal::kill(Pid::from_raw(number), None)) {
        Some(Err(Errno::EPERM)) => Error::NotPermitted(pid),
        _ => Error::NoSuchProcess(pid),
    }
}

/// /proc/PID/stat.
pub fn stat(pid: u32) -> Result<Stat, Error> {
    let doing = "to read its /proc/PID/stat";
    let line = read(&format!("/proc/{pid}/stat")).map_err(|error| meaning(pid, doing, error))?;
    parse_stat(&line).ok_or_else(|| Error::System {
        doing,
        error: ErrorKind::InvalidData.into(),
    })
}

fn parse_stat(line: &[u8]) -> Option<Stat> {
    // The name stands in parentheses, and may contain some.
    let name_end = line.iter().rposition(|&byte| byte == b')')?;
    let rest = std::str::from_utf8(&line[name_end + 1..]).ok()?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    // Field 3 of proc(5) is the first here.
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    Some(Stat {
        started: field(22)?,
        zombie: matches!(fields.first(), Some(&("Z" | "X"))),
        minor_faults: field(10)?,
        threads: field(20)?.try_into().unwrap_or(u32::MAX),
    })
}

/// Its name, and its arguments.
pub fn names(pid: u32) -> (String, String) {
    let name = read(&format!("/proc/{pid}/comm")).unwrap_or_default();
    let name = String::from_utf8_lossy(&name)
        .trim_end_matches('\n')
        .to_string();
    let mut command = read(&format!("/proc/{pid}/cmdline")).unwrap_or_default();
    while command.last() == Some(&0) {
        command.pop();
    }
    for byte in &mut command {
        if *byte == 0 {
            *byte = b' ';
        }
    }
    let command = match command.as_slice() {
        [] => format!("[{name}]"),
        bytes => String::from_utf8_lossy(bytes).into_owned(),
    };
    (name, command)
}

/// The first bytes of a file.
fn read(path: &str) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?
        .take(MOST_NAME_BYTES)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Its mappings, in order; with `smaps`, what of them is in memory, which takes
/// the kernel a walk over its page tables.
pub fn mappings(pid: u32, smaps: bool) -> Result<Vec<Mapping>, Error> {
    let (path, doing) = match smaps {
        true => (format!("/proc/{pid}/smaps"), "to read its /proc/PID/smaps"),
        false => (format!("/proc/{pid}/maps"), "to read its /proc/PID/maps"),
    };
    let failed = |error| meaning(pid, doing, error);
    let mut file = BufReader::with_capacity(1 << 16, File::open(path).map_err(failed)?);
    let mut mappings: Vec<Mapping> = Vec::new();
    let mut line = Vec::new();
    while mappings.len() < MOST_MAPPINGS {
        line.clear();
        if file.read_until(b'\n', &mut line).map_err(failed)? == 0 {
            break;
        }
        if let Some(mapping) = parse_mapping(&line) {
            mappings.push(mapping);
        } else if let Some(mapping) = mappings.last_mut() {
            add_detail(mapping, &line);
        }
    }
    Ok(mappings)
}

fn parse_mapping(line: &[u8]) -> Option<Mapping> {
    let line = String::from_utf8_lossy(line);
    let line = line.trim_end_matches('\n');
    // Five fields with a blank between them, then blanks, then the name.
    let mut fields = line.splitn(6, ' ');
    let (start, end) = fields.next()?.split_once('-')?;
    let hex = |digits: &str| u64::from_str_radix(digits, 16).ok();
    let (start, end) = (hex(start)?, hex(end)?);
    let readable = fields.next()?.starts_with('r');
    let offset = hex(fields.next()?)?;
    let name = fields.nth(2).unwrap_or_default().trim_start();
    Some(Mapping {
        start,
        end,
        readable,
        offset,
        name: name.to_string(),
        ..Mapping::default()
    })
}

/// A line of smaps below the mapping's own: `Rss:   12 kB`.
fn add_detail(mapping: &mut Mapping, line: &[u8]) {
    let Ok(line) = std::str::from_utf8(line) else {
        return;
    };
    let Some((key, value)) = line.split_once(':') else {
        return;
    };
    let field = match key {
        "Rss" => &mut mapping.rss,
        "Anonymous" => &mut mapping.anonymous,
        "Swap" => &mut mapping.swap,
        _ => return,
    };
    let kibibytes = value.split_ascii_whitespace().next();
    *field = kibibytes.and_then(|k| k.parse::<u64>().ok()).unwrap_or(0) << 10;
}

/// The numbers of its threads, here.
pub fn threads(pid: u32) -> Vec<u32> {
    numbers(&format!("/proc/{pid}/task"), MOST_THREADS)
}

/// The directory's entries that are numbers, in order.
pub fn numbers(directory: &str, most: usize) -> Vec<u32> {
    let Ok(entries) = fs::read_dir(directory) else {
        return Vec::new();
    };
    let mut numbers: Vec<u32> = entries
        .flatten()
        .filter_map(|entry| {
            std::str::from_utf8(entry.file_name().as_bytes())
                .ok()?
                .parse()
                .ok()
        })
        .take(most)
        .collect();
    numbers.sort_unstable();
    numbers
}

/// The thread's stack pointer, if the system says it: not while it runs.
pub fn stack_pointer(pid: u32, thread: u32) -> Option<u64> {
    let line = read(&format!("/proc/{pid}/task/{thread}/syscall")).ok()?;
    let line = std::str::from_utf8(&line).ok()?;
    // The last number but one.
    let pointer = line.split_ascii_whitespace().rev().nth(1)?;
    u64::from_str_radix(pointer.strip_prefix("0x")?, 16).ok()
}

/// The thread's number where it lives: in the innermost namespace.
pub fn inner_number(pid: u32, thread: u32) -> Option<u32> {
    let status = read(&format!("/proc/{pid}/task/{thread}/status")).ok()?;
    let status = String::from_utf8_lossy(&status);
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("NSpid:"))?;
    line.split_ascii_whitespace().last()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapping_is_read_with_blanks_in_its_name_or_without_one() {
        let line = b"7f00aa000-7f00ab000 r-xp 00001000 fe:01 123    /a b\\012c (deleted)\n";
        let mapping = parse_mapping(line).expect("a mapping");
        assert_eq!((mapping.start, mapping.end), (0x7_f00a_a000, 0x7_f00a_b000));
        assert_eq!((mapping.readable, mapping.offset), (true, 0x1000));
        assert_eq!(mapping.name, "/a b\\012c (deleted)");
        let anonymous = parse_mapping(b"1000-2000 ---p 00000000 00:00 0 \n").expect("a mapping");
        assert_eq!((anonymous.readable, anonymous.name.as_str()), (false, ""));
        assert_eq!(parse_mapping(b"Rss:                  12 kB\n"), None);
        assert_eq!(parse_mapping(b"\xff\xfe-\n"), None);
    }

    #[test]
    fn details_of_smaps_are_bytes() {
        let mut mapping = Mapping::default();
        for line in [
            "Rss:    12 kB\n",
            "Swap:   4 kB\n",
            "AnonHugePages: 99 kB\n",
            "Anonymous: 8 kB\n",
        ] {
            add_detail(&mut mapping, line.as_bytes());
        }
        assert_eq!(
            (mapping.rss, mapping.swap, mapping.anonymous),
            (12 << 10, 4 << 10, 8 << 10)
        );
    }

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        let line = b"12 (a) Z 1 (\xff) S 1 2 3 4 5 6 77 8 9 10 11 12 13 14 15 16 4 18 4711 20\n";
        let expected = Stat {
            started: 4711,
            zombie: false,
            minor_faults: 77,
            threads: 4,
        };
        assert_eq!(parse_stat(line), Some(expected));
        assert_eq!(parse_stat(b"12 (a"), None);
        assert_eq!(parse_stat(b"12 (a) S 1"), None);
    }

    #[test]
    fn we_are_running_and_nobody_has_the_last_number() {
        let stat = stat(std::process::id()).expect("us");
        assert!(!stat.zombie && stat.threads > 0);
        assert!(matches!(
            super::stat(u32::MAX),
            Err(Error::NoSuchProcess(_))
        ));
    }
}
