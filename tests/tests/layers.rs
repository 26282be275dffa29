//! The layers of `crates/core` hold: a module uses only what stands below it,
//! only the lowest knows the system, unsafe code is opened with a reason, and
//! the command knows nothing of the allocator's inside.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use thmalloc_tests::root;

/// The modules of `crates/core`, bottom to top.
const ORDER: [&str; 15] = [
    "os",
    "fatal",
    "sync",
    "config",
    "demand",
    "metadata",
    "size_class",
    "span",
    "region",
    "page_map",
    "page_heap",
    "central",
    "transfer_cache",
    "cpu_cache",
    "heap",
];

/// Decides what goes where, and so is safe code, also where the module around
/// it is not.
const SAFE: [&str; 24] = [
    "config.rs",
    "cpu_cache/capacity.rs",
    "cpu_cache/slot.rs",
    "cpu_cache/slot/halve.rs",
    "cpu_cache/slot/turn.rs",
    "demand.rs",
    "demand/in_line.rs",
    "fatal.rs",
    "heap/in_line.rs",
    "heap/scavenge.rs",
    "heap/stats.rs",
    "page_heap/adopt.rs",
    "page_heap/dirty.rs",
    "page_heap/growth.rs",
    "page_heap/huge.rs",
    "page_heap/large.rs",
    "page_heap/look.rs",
    "page_heap/parted.rs",
    "page_heap/runs.rs",
    "page_heap/totals.rs",
    "region.rs",
    "size_class.rs",
    "size_class/code.rs",
    "span/idle.rs",
];

/// Outside of `os`, who may speak to the processor.
const ASSEMBLY: [&str; 2] = ["cpu_cache/x86_64.rs", "heap/block.rs"];

fn core_sources() -> PathBuf {
    root().join("crates/core/src")
}

/// All Rust files below a folder, by their paths from there.
fn rust_files(folder: &Path) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).expect("a folder of sources") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(folder).expect("below the folder");
                let text = fs::read_to_string(&path).expect("UTF-8");
                files.insert(name.display().to_string(), text);
            }
        }
    }
    files
}

/// The text without comments, and with nothing between its quotes.
fn code(text: &str) -> String {
    let mut code = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if let Some(inside) = rest.strip_prefix("/*") {
            inside.find("*/").map_or(rest.len(), |end| end + 4)
        } else if first == '"' {
            code.push_str("\"\"");
            string_length(rest)
        } else if first == '\'' && is_character(rest) {
            let end = rest[2..].find('\'').unwrap_or(rest.len() - 3);
            end + 3
        } else {
            code.push(first);
            first.len_utf8()
        };
        rest = &rest[skipped..];
    }
    code
}

/// The length of the string literal that the text begins with.
fn string_length(text: &str) -> usize {
    let mut escaped = false;
    for (index, letter) in text.char_indices().skip(1) {
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return index + 1,
            _ => {}
        }
    }
    text.len()
}

/// A character literal, not a lifetime.
fn is_character(text: &str) -> bool {
    let mut letters = text.chars().skip(1);
    let (first, second) = (letters.next(), letters.next());
    first == Some('\\') || second == Some('\'')
}

/// What is compiled into the library: a file's tests stand at its end.
fn without_tests(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod tests").next().unwrap_or(text)
}

fn is_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

fn first_word(text: &str) -> &str {
    &text[..text.find(|c| !is_word(c)).unwrap_or(text.len())]
}

fn has_word(code: &str, word: &str) -> bool {
    code.split(|c| !is_word(c)).any(|found| found == word)
}

/// The names that a path or a group of paths begins with: of `{a, b::{c, d}}`,
/// a and b.
fn heads(path: &str) -> Vec<&str> {
    let Some(group) = path.trim_start().strip_prefix('{') else {
        return vec![first_word(path.trim_start())];
    };
    let mut heads = Vec::new();
    let (mut depth, mut wanted) = (0, true);
    for (index, letter) in group.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => wanted = true,
            _ if wanted && is_word(letter) => {
                heads.push(first_word(&group[index..]));
                wanted = false;
            }
            _ => {}
        }
    }
    heads
}

/// The names at the crate's root that a file uses. `depth` is how deep its
/// module is: 1 below the root, 2 below that.
fn root_names(code: &str, depth: usize) -> BTreeSet<&str> {
    let mut names = BTreeSet::new();
    for (index, _) in code.match_indices("crate::") {
        if !code[..index].ends_with(is_word) {
            names.extend(heads(&code[index + "crate::".len()..]));
        }
    }
    let chain = "super::".repeat(depth);
    for (index, _) in code.match_indices(&chain) {
        names.extend(heads(&code[index + chain.len()..]));
    }
    names
}

/// From each module to those that it uses, by file.
fn uses() -> Vec<(String, String, String)> {
    let files = rust_files(&core_sources());
    let module_of = |file: &str| first_word(file).to_owned();
    let mut macros = BTreeMap::new();
    for (file, text) in &files {
        let text = code(text);
        for (index, found) in text.match_indices("macro_rules! ") {
            let name = first_word(&text[index + found.len()..]).to_owned();
            macros.insert(name, module_of(file));
        }
    }
    let mut uses = Vec::new();
    for (file, text) in &files {
        let code = code(without_tests(text));
        let depth = match file.ends_with("/mod.rs") {
            true => file.matches('/').count(),
            false => file.matches('/').count() + 1,
        };
        for name in root_names(&code, depth) {
            let used = macros.get(name).map_or(name, String::as_str);
            if file != "lib.rs" && used != module_of(file) {
                uses.push((file.clone(), module_of(file), used.to_owned()));
            }
        }
    }
    uses
}

#[test]
fn a_module_uses_only_what_stands_below_it() {
    let place = |module: &str| ORDER.iter().position(|&other| other == module);
    let uses = uses();
    for (file, module, used) in &uses {
        // A type behind `super::` of an inline module is none of the root's.
        let Some(below) = place(used) else {
            assert!(
                used.is_empty() || used.starts_with(char::is_uppercase),
                "{file} uses crate::{used}, which has no place in the order"
            );
            continue;
        };
        let here = place(module).unwrap_or_else(|| panic!("{file} has no place in the order"));
        assert!(below < here, "{file} uses {used}, which stands above it");
    }
    // The scan sees what is there.
    for (module, used) in [
        ("heap", "cpu_cache"),
        ("cpu_cache", "central"),
        ("cpu_cache", "size_class"),
        ("page_heap", "page_map"),
        ("central", "page_heap"),
        ("sync", "fatal"),
        ("fatal", "os"),
    ] {
        let seen = |u: &&(String, String, String)| u.1 == module && u.2 == used;
        assert!(
            uses.iter().find(seen).is_some(),
            "{module} no longer uses {used}"
        );
    }
}

#[test]
fn every_module_has_its_place_in_the_order() {
    let library = fs::read_to_string(core_sources().join("lib.rs")).expect("lib.rs");
    let library = code(&library);
    let declared: BTreeSet<_> = library
        .match_indices("pub mod ")
        .map(|(index, found)| first_word(&library[index + found.len()..]))
        .collect();
    assert_eq!(declared, BTreeSet::from(ORDER));
    let files = rust_files(&core_sources());
    for file in files.keys().filter(|&file| file != "lib.rs") {
        assert!(
            declared.contains(first_word(file)),
            "{file} is in no module"
        );
    }
}

#[test]
fn only_the_lowest_layer_knows_the_system() {
    let mut assembly = BTreeSet::new();
    for (file, text) in rust_files(&core_sources()) {
        let code = code(without_tests(&text));
        if file.starts_with("os/") {
            continue;
        }
        assert!(!has_word(&code, "libc"), "{file} uses libc");
        assert!(!code.contains("link("), "{file} links something");
        let asm = ["asm", "global_asm", "naked_asm"];
        if asm.iter().any(|name| code.contains(&format!("{name}!"))) {
            assert!(ASSEMBLY.contains(&file.as_str()), "{file} has assembly");
            assembly.insert(file);
        }
    }
    assert_eq!(assembly.len(), ASSEMBLY.len(), "{assembly:?}");
    let manifest = fs::read_to_string(root().join("crates/core/Cargo.toml")).expect("a manifest");
    assert_eq!(dependencies(&manifest), ["thmalloc-format", "libc"]);
    let format = fs::read_to_string(root().join("crates/format/Cargo.toml")).expect("a manifest");
    assert_eq!(dependencies(&format), [""; 0]);
}

#[test]
fn unsafe_code_is_denied_and_opened_only_with_a_reason() {
    let workspace = fs::read_to_string(root().join("Cargo.toml")).expect("a manifest");
    assert!(workspace.contains("\nunsafe_code = \"deny\"\n"));
    for entry in fs::read_dir(root().join("crates")).expect("crates") {
        let folder = entry.expect("an entry").path();
        let manifest = fs::read_to_string(folder.join("Cargo.toml")).expect("a manifest");
        assert!(manifest.contains("[lints]\nworkspace = true"), "{folder:?}");
        for (file, text) in rust_files(&folder) {
            for line in text.lines().filter(|line| line.contains("(unsafe_code)]")) {
                let reason = line
                    .split_once("//")
                    .map_or("", |(_, reason)| reason.trim());
                assert!(
                    reason.ends_with('.') && reason.len() > 5,
                    "{folder:?}/{file} opens unsafe code without a reason"
                );
            }
        }
    }
}

#[test]
fn policy_is_safe_code() {
    let files = rust_files(&core_sources());
    for file in SAFE {
        let text = files.get(file).unwrap_or_else(|| panic!("{file} is gone"));
        assert!(!has_word(&code(text), "unsafe"), "{file} has unsafe code");
    }
    let all: String = files.values().map(|text| code(text)).collect();
    assert!(
        has_word(&all, "unsafe"),
        "the scan sees unsafe code where it is"
    );
}

/// The names in a manifest's `[dependencies]`.
fn dependencies(manifest: &str) -> Vec<&str> {
    manifest
        .split("\n[")
        .find_map(|section| section.strip_prefix("dependencies]\n"))
        .unwrap_or("")
        .lines()
        .filter_map(|line| line.split_once(" = "))
        .map(|(name, _)| name)
        .collect()
}

#[test]
fn the_command_knows_nothing_of_the_allocators_inside() {
    let manifest = fs::read_to_string(root().join("crates/cli/Cargo.toml")).expect("a manifest");
    let ours = dependencies(&manifest);
    assert!(ours.contains(&"clap"), "{ours:?}");
    // It reads other processes' heaps by their block, which says how they are laid
    // out; it links nothing of the allocator.
    for name in ours {
        assert!(
            !name.starts_with("thmalloc") || name == "thmalloc-inspect",
            "the command depends on {name}"
        );
    }
    let inspect = fs::read_to_string(root().join("crates/inspect/Cargo.toml")).expect("a manifest");
    for name in dependencies(&inspect) {
        assert!(
            !name.starts_with("thmalloc") || name == "thmalloc-format",
            "what reads heaps depends on {name}"
        );
    }
}

#[test]
fn the_scan_sees_paths_and_groups_and_skips_comments_and_text() {
    let text = r#"
        use crate::{fatal::{self, Call}, os};
        // use crate::heap;
        /* crate::heap */
        let text = "crate::heap \" crate::heap"; let quote = '"'; let c = 'x';
        fn f<'a>(x: &'a crate::span::Span) { $crate::region::f(); super::sync::g() }
        use super::super::central::List;
        mycrate::heap
    "#;
    let code = code(text);
    let of_the_root = ["fatal", "os", "region", "span"];
    let with = |more: &[&'static str]| -> BTreeSet<&str> {
        of_the_root.iter().chain(more).copied().collect()
    };
    assert_eq!(root_names(&code, 1), with(&["central", "super", "sync"]));
    assert_eq!(root_names(&code, 2), with(&["central"]));
}
