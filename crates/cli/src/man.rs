//! The man page is about the command that there is: it names every subcommand and
//! every option, and none that is not there.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use clap::CommandFactory;

use crate::cli::Cli;

const WORD_ENDS: [char; 9] = [' ', '=', ',', ']', '[', '\n', '"', '.', ':'];

/// The page as text: without fonts, with plain hyphens.
fn page() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../man/thmalloc.1");
    let mut text = fs::read_to_string(path).expect("the man page");
    for font in ["\\fB", "\\fI", "\\fR"] {
        text = text.replace(font, "");
    }
    text.replace("\\-", "-")
}

/// The sections of a level, by their headings.
fn sections<'a>(page: &'a str, macro_name: &str) -> Vec<(&'a str, &'a str)> {
    let start = format!("\n.{macro_name} ");
    let parts = page.split(start.as_str()).skip(1);
    parts
        .map(|part| {
            let (heading, text) = part.split_once('\n').unwrap_or((part, ""));
            let end = text.find("\n.SH ").unwrap_or(text.len());
            (heading, &text[..end])
        })
        .collect()
}

/// Words of the lines that introduce an option.
fn options_of(section: &str) -> BTreeSet<String> {
    let mut options = BTreeSet::new();
    let mut lines = section.lines();
    while let Some(line) = lines.next() {
        if line == ".TP" {
            let introduced = lines.next().unwrap_or_default();
            let words = introduced
                .split(WORD_ENDS)
                .filter(|word| word.starts_with('-'));
            options.extend(words.filter(|word| word.len() > 1).map(str::to_owned));
        }
    }
    options
}

#[test]
fn the_man_page_has_the_subcommands_and_options_of_the_command() {
    let page = page();
    let mut command = Cli::command();
    command.build();
    let documented = sections(&page, "SS");
    let mut known = BTreeSet::new();
    for subcommand in command.get_subcommands() {
        let name = subcommand.get_name();
        known.insert(name);
        let heading = format!("thmalloc {name} ");
        let (_, section) = documented
            .iter()
            .find(|(found, _)| found.starts_with(&heading))
            .unwrap_or_else(|| panic!("no section for {name}"));
        let mut options = BTreeSet::new();
        for argument in subcommand.get_arguments() {
            let id = argument.get_id().as_str();
            if argument.is_positional() || id == "help" || id == "version" {
                continue;
            }
            options.extend(argument.get_long().map(|long| format!("--{long}")));
            options.extend(argument.get_short().map(|short| format!("-{short}")));
        }
        assert_eq!(options_of(section), options, "{name}");
    }
    for (heading, _) in &documented {
        let name = heading.split(' ').nth(1).unwrap_or_default();
        assert!(known.contains(name), "there is no thmalloc {name}");
    }
    let synopsis = sections(&page, "SH")
        .into_iter()
        .find(|(heading, _)| *heading == "SYNOPSIS");
    let (_, synopsis) = synopsis.expect("a synopsis");
    for name in known {
        assert!(
            synopsis.contains(&format!(".B thmalloc {name}\n")),
            "{name}"
        );
    }
}

#[test]
fn the_man_page_has_the_version_and_every_exit_status() {
    let page = page();
    let version = format!("\"thmalloc {}\"", env!("CARGO_PKG_VERSION"));
    assert!(page.contains(&version), "{version}");
    let found = sections(&page, "SH")
        .into_iter()
        .find(|(heading, _)| *heading == "EXIT STATUS");
    let (_, section) = found.expect("exit statuses");
    let mut lines = section.lines();
    let mut documented = BTreeSet::new();
    while let Some(line) = lines.next() {
        if line == ".TP" {
            let status = lines.next().and_then(|line| line.strip_prefix(".B "));
            documented.extend(status.and_then(|status| status.parse::<i32>().ok()));
        }
    }
    // What the help of each command lists: a number, two blanks, a meaning.
    let mut listed = BTreeSet::new();
    for subcommand in Cli::command().get_subcommands() {
        let help = subcommand.get_after_help().map(ToString::to_string);
        for line in help.unwrap_or_default().lines() {
            let status = line.trim_start().split_once("  ");
            listed.extend(status.and_then(|(number, _)| number.parse::<i32>().ok()));
        }
    }
    assert!(listed.contains(&127), "{listed:?}");
    assert_eq!(documented, listed);
}

#[test]
fn the_man_page_has_the_options_of_the_allocator() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../core/src/config.rs");
    let source = fs::read_to_string(path).expect("the source of the options");
    let code = source.split("#[cfg(test)]").next().unwrap_or_default();
    let page = page();
    let mut found = 0;
    for literal in code.split("b\"").skip(1) {
        let option = literal.split('"').next().unwrap_or_default();
        if option.len() > 1 && option != "THMALLOC_CONF" {
            found += 1;
            assert!(page.contains(option), "{option}");
        }
    }
    assert!(found >= 6, "the options are looked for in the wrong way");
}
