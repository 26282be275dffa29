//! The first line of a script: `#!INTERPRETER [ARGUMENT]`, as the kernel reads
//! it, and the program that `env` in it stands for.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use super::file_name;

/// How much of a file the kernel looks at for its first line.
pub const HEAD_BYTES: usize = 256;

/// What a script's first line says.
#[derive(Debug, PartialEq, Eq)]
pub struct FirstLine {
    /// The program to run.
    pub interpreter: PathBuf,
    /// All that follows it: one argument, blanks included.
    argument: OsString,
}

/// Does a file that starts with `head` ask for an interpreter?
pub fn is_script(head: &[u8]) -> bool {
    head.starts_with(b"#!")
}

/// The first line of the script that starts with `head`; `None` where it
/// names no interpreter, or where the kernel would see only a part of its
/// path.
pub fn first_line(head: &[u8]) -> Option<FirstLine> {
    let head = &head[..head.len().min(HEAD_BYTES)];
    let rest = head.strip_prefix(b"#!")?;
    let end = rest.iter().position(|&b| b == b'\n' || b == 0);
    let line = &rest[..end.unwrap_or(rest.len())];
    let line = trim(line);
    let blank = line.iter().position(|&b| is_blank(b));
    let (interpreter, argument) = line.split_at(blank.unwrap_or(line.len()));
    let cut_off = end.is_none() && blank.is_none() && head.len() == HEAD_BYTES;
    if interpreter.is_empty() || cut_off {
        return None;
    }
    Some(FirstLine {
        interpreter: OsStr::from_bytes(interpreter).into(),
        argument: OsStr::from_bytes(trim(argument)).into(),
    })
}

impl FirstLine {
    /// The program that `env` will look up on PATH, where the interpreter is
    /// `env` and its argument is plain enough to tell.
    pub fn program_of_env(&self) -> Option<&OsStr> {
        if file_name(&self.interpreter) != b"env" {
            return None;
        }
        let argument = self.argument.as_bytes();
        let split = ["-S", "--split-string=", "--split-string"]
            .iter()
            .find_map(|option| argument.strip_prefix(option.as_bytes()));
        let name = match split {
            None => argument,
            Some(words) => words
                .split(|&b| is_blank(b))
                .find(|word| !word.is_empty() && !is_assignment(word))?,
        };
        // Options, quotes, escapes and variables are env's to understand, and
        // another PATH would make us look in the wrong place.
        let plain = !name.is_empty()
            && !name.starts_with(b"-")
            && !name.iter().any(|b| b"\"'\\$".contains(b))
            && !is_assignment(name)
            && !argument.windows(5).any(|w| w == b"PATH=");
        plain.then(|| OsStr::from_bytes(name))
    }
}

fn is_assignment(word: &[u8]) -> bool {
    word.contains(&b'=')
}

fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = bytes
        && is_blank(*first)
    {
        bytes = rest;
    }
    while let [rest @ .., last] = bytes
        && is_blank(*last)
    {
        bytes = rest;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(head: &str) -> Option<(String, String)> {
        first_line(head.as_bytes()).map(|line| {
            (
                line.interpreter.to_string_lossy().into_owned(),
                line.argument.to_string_lossy().into_owned(),
            )
        })
    }

    fn pair(interpreter: &str, argument: &str) -> Option<(String, String)> {
        Some((interpreter.into(), argument.into()))
    }

    #[test]
    fn the_interpreter_ends_at_a_blank_and_the_rest_is_one_argument() {
        assert_eq!(line("#!/bin/sh\necho"), pair("/bin/sh", ""));
        assert_eq!(line("#! \t/bin/sh\n"), pair("/bin/sh", ""));
        assert_eq!(line("#!/bin/sh"), pair("/bin/sh", ""));
        assert_eq!(line("#!/bin/sh -e \n"), pair("/bin/sh", "-e"));
        assert_eq!(line("#!/bin/awk\t -f  -v \n-x"), pair("/bin/awk", "-f  -v"));
        assert_eq!(line("#!/bin/sh\0x\n"), pair("/bin/sh", ""));
        assert_eq!(line("#!/bin/sh\r\n"), pair("/bin/sh\r", ""));
    }

    #[test]
    fn a_line_without_an_interpreter_is_none() {
        for head in ["", "#", "#!", "#!\n/bin/sh", "#!  \t\n", "# !/bin/sh"] {
            assert_eq!(line(head), None, "{head:?}");
        }
    }

    #[test]
    fn a_path_that_the_kernel_would_cut_off_is_none() {
        let long = "x".repeat(HEAD_BYTES);
        assert_eq!(line(&format!("#!/{long}\n")), None);
        assert_eq!(
            line(&format!("#!/bin/sh {long}\n")).map(|l| l.0),
            Some("/bin/sh".into())
        );
        let fits = "x".repeat(HEAD_BYTES - 4);
        assert!(line(&format!("#!/{fits}\n")).is_some());
    }

    #[test]
    fn env_stands_for_the_program_that_it_names() {
        for (head, expected) in [
            ("#!/usr/bin/env python3\n", Some("python3")),
            ("#!/usr/bin/env -S python3 -u\n", Some("python3")),
            ("#!/usr/bin/env -Spython3 -u\n", Some("python3")),
            ("#!/usr/bin/env --split-string=A=1 node --x\n", Some("node")),
            ("#!/usr/bin/env python3 -u\n", Some("python3 -u")),
            ("#!/usr/bin/env\n", None),
            ("#!/usr/bin/env -i\n", None),
            ("#!/usr/bin/env -S -i sh\n", None),
            ("#!/usr/bin/env -S PATH=/x sh\n", None),
            ("#!/usr/bin/env -S \"sh\"\n", None),
            ("#!/usr/bin/env -S ${X} sh\n", None),
            ("#!/usr/bin/env -S\n", None),
            ("#!/usr/bin/environment python3\n", None),
            ("#!/bin/sh python3\n", None),
        ] {
            let line = first_line(head.as_bytes()).expect("a first line");
            assert_eq!(line.program_of_env(), expected.map(OsStr::new), "{head}");
        }
    }
}
