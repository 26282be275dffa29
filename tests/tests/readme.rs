//! The documents: their commands are the ones that are run, their links lead
//! somewhere, their examples are true; and the files of the repository are
//! clean.

use std::path::{Path, PathBuf};
use std::process::Command;

use thmalloc_tests::{Build, Mode, compile, hang_guard, installed, on_thmalloc, root, run, skip};

const DOCUMENTS: [&str; 5] = [
    "README.md",
    "CONTRIBUTING.md",
    "ARCHITECTURE.md",
    "BENCHMARKS.md",
    "CHANGELOG.md",
];

#[track_caller]
fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The fenced blocks of a document: language and text.
fn blocks(document: &str) -> Vec<(&str, String)> {
    let mut blocks: Vec<(&str, String)> = Vec::new();
    let mut inside = false;
    for line in document.lines() {
        match line.strip_prefix("```") {
            Some(_) if inside => inside = false,
            Some(language) => {
                inside = true;
                blocks.push((language, String::new()));
            }
            None if inside => {
                let (_, text) = blocks.last_mut().expect("a block was opened");
                text.push_str(line);
                text.push('\n');
            }
            None => {}
        }
    }
    assert!(!inside, "a block is not closed");
    blocks
}

/// The commands in a document's blocks for the shell.
fn commands(document: &str) -> Vec<String> {
    let shell = blocks(document)
        .into_iter()
        .filter(|&(language, _)| language == "sh");
    shell
        .flat_map(|(_, text)| text.lines().map(str::to_owned).collect::<Vec<_>>())
        .collect()
}

/// What `.ci/run` runs as the step of a name.
#[track_caller]
fn ci_step(name: &str) -> String {
    let script = read(".ci/run");
    let prefix = format!("step {name} ");
    let steps: Vec<_> = script
        .lines()
        .filter_map(|line| line.strip_prefix(&prefix))
        .collect();
    assert_eq!(steps.len(), 1, ".ci/run has one step {name}");
    steps[0].to_owned()
}

#[test]
fn the_first_two_commands_of_the_readme_are_those_of_ci() {
    let readme = read("README.md");
    let commands = commands(&readme);
    let first = format!(
        "{} && target/release/thmalloc run -- top -bn3",
        ci_step("build")
    );
    assert_eq!(commands[0], first);
    assert_eq!(commands[1], ci_step("tests"));
}

#[test]
fn every_step_of_ci_is_a_command_in_contributing() {
    let text = read("CONTRIBUTING.md");
    for name in ["format", "clippy", "documentation", "build", "tests"] {
        let step = ci_step(name);
        let command = step.trim_start_matches("env ").replace("\\", "");
        assert!(text.contains(&format!("`{command}`")), "{name}: {command}");
    }
}

/// The targets of a document's links, `[text](target)`, outside of blocks.
fn links(document: &str) -> Vec<String> {
    let mut inside = false;
    let mut prose = String::new();
    for line in document.lines() {
        if line.starts_with("```") {
            inside = !inside;
        } else if !inside {
            prose.push_str(line);
            prose.push('\n');
        }
    }
    prose
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next().map(str::to_owned))
        .collect()
}

#[test]
fn every_relative_link_leads_to_a_file() {
    let mut count = 0;
    for document in DOCUMENTS {
        for link in links(&read(document)) {
            if link.contains("://") || link.starts_with('#') {
                continue;
            }
            let path = link.split('#').next().unwrap_or_default();
            assert!(root().join(path).exists(), "{document} links to {link}");
            count += 1;
        }
    }
    assert!(count >= 10, "{count} links were found");
}

/// A line with each address in it replaced.
fn without_addresses(line: &str) -> String {
    let mut parts = line.split("0x");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |line, part| {
        line + "<address>" + part.trim_start_matches(|c: char| c.is_ascii_hexdigit())
    })
}

#[test]
fn the_misuse_in_the_readme_is_named_as_shown() {
    let readme = read("README.md");
    let source = commands(&readme)
        .iter()
        .find_map(|command| {
            let name = command.split("tests/c/misuse_").nth(1)?;
            let name = name.split_whitespace().next()?;
            Some(format!("misuse_{name}"))
        })
        .expect("the README compiles a misuse");
    let shown = readme
        .lines()
        .find(|line| line.starts_with("thmalloc: free of "))
        .expect("the README shows what is said");
    let program = compile(&source, &[]);
    for mode in Mode::ALL {
        let mut command = on_thmalloc(Build::Release, mode, &program);
        let said = run(&mut command, hang_guard(60)).stderr;
        let expected = without_addresses(shown) + "\n";
        assert_eq!(without_addresses(&said), expected, "{mode:?}");
    }
}

#[test]
fn the_rust_in_the_readme_is_that_of_the_example() {
    let example = read("crates/rust/examples/words.rs");
    let readme = read("README.md");
    let rust: Vec<_> = blocks(&readme)
        .into_iter()
        .filter(|&(language, _)| language == "rust")
        .collect();
    assert_eq!(rust.len(), 1);
    assert!(example.contains(&rust[0].1), "{}", rust[0].1);
}

/// The files of the repository that are text. None, and a word why, where this
/// is no checkout.
fn text_files(test: &str) -> Vec<(PathBuf, String)> {
    if !installed("git") {
        skip(test, "git is not installed");
        return Vec::new();
    }
    let mut git = Command::new("git");
    // The checkout may be another user's.
    git.args(["-c", "safe.directory=*", "ls-files", "-z"])
        .current_dir(root());
    let listed = run(&mut git, hang_guard(60));
    if !listed.status.success() {
        skip(test, &format!("git ls-files: {}", listed.stderr));
        return Vec::new();
    }
    let files: Vec<_> = listed
        .stdout
        .split_terminator('\0')
        .filter_map(|path| {
            // What is listed may be removed, and not be text.
            let text = std::fs::read_to_string(root().join(path)).ok()?;
            (!text.contains('\0')).then(|| (PathBuf::from(path), text))
        })
        .collect();
    assert!(files.iter().any(|(path, _)| path == Path::new("README.md")));
    files
}

/// Are these inputs for a program, in which every byte counts?
fn is_input(path: &Path) -> bool {
    path.starts_with("fuzz/corpus")
        || path
            .extension()
            .is_some_and(|e| e == "proptest-regressions")
}

#[test]
fn no_line_ends_in_blanks() {
    for (path, text) in text_files("no_line_ends_in_blanks") {
        if is_input(&path) {
            continue;
        }
        for (line, number) in text.lines().zip(1..) {
            assert!(
                !line.ends_with([' ', '\t']),
                "{}:{number}: {line:?}",
                path.display()
            );
        }
        assert!(
            text.is_empty() || text.ends_with('\n'),
            "{}: the last line has no end",
            path.display()
        );
    }
}

#[test]
fn no_file_names_a_place_on_a_developers_machine() {
    // Put together, so that this file does not name them itself.
    let places = ["home", "root", "work", "Users"].map(|name| format!("/{name}/"));
    for (path, text) in text_files("no_file_names_a_place_on_a_developers_machine") {
        if is_input(&path) {
            continue;
        }
        for (line, number) in text.lines().zip(1..) {
            for place in &places {
                let found = line.match_indices(place.as_str()).find(|&(at, _)| {
                    // In the middle of a path it is a directory of ours.
                    !line[..at].ends_with(|c: char| c.is_alphanumeric() || "._-}$".contains(c))
                });
                assert!(found.is_none(), "{}:{number}: {line}", path.display());
            }
        }
    }
}
