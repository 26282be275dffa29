//! Loads of Rust programs; each binary runs them on another GlobalAlloc.
//!
//! Always: the same binary but for the allocator; a fixed amount of work.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::hint::black_box;
use std::process::ExitCode;
use std::thread;

use syn::visit::Visit;

/// A load: its name and what runs it.
type Load = (&'static str, fn());

/// Every load.
pub const LOADS: [Load; 6] = [
    ("boxes", boxes),
    ("vectors", vectors),
    ("strings", strings),
    ("btree", btree),
    ("syn", parser),
    ("json", json),
];

/// Runs the load that the command line names.
pub fn main() -> ExitCode {
    let name = std::env::args().nth(1).unwrap_or_default();
    match LOADS.iter().find(|load| load.0 == name) {
        Some((_, run)) => {
            run();
            ExitCode::SUCCESS
        }
        None => {
            eprintln!("no load is called {name}");
            ExitCode::from(2)
        }
    }
}

/// The next of a sequence that looks random.
fn next(state: &mut u64) -> u64 {
    *state = state
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    *state >> 33
}

struct Tree {
    children: Option<(Box<Tree>, Box<Tree>)>,
}

impl Tree {
    fn grown(depth: u32) -> Tree {
        let child = || Box::new(Tree::grown(depth - 1));
        Tree {
            children: (depth > 0).then(|| (child(), child())),
        }
    }

    fn count(&self) -> u64 {
        let below = self.children.as_ref();
        1 + below.map_or(0, |(left, right)| left.count() + right.count())
    }
}

/// Binary trees of boxes, in each of two threads.
fn boxes() {
    let grow = || {
        let long = Tree::grown(16);
        for _ in 0..10_000 {
            assert_eq!(black_box(Tree::grown(12)).count(), (1 << 13) - 1);
        }
        assert_eq!(long.count(), (1 << 17) - 1);
    };
    thread::scope(|scope| {
        scope.spawn(grow);
        scope.spawn(grow);
    });
}

/// Vectors that grow from nothing, many at a time.
fn vectors() {
    for _ in 0..120 {
        let mut rows: Vec<Vec<u64>> = (0..2000).map(|_| Vec::new()).collect();
        for n in 0..1_000_000_u64 {
            rows[(n * 7919 % 2000) as usize].push(n);
        }
        let columns: Vec<Vec<u64>> = rows
            .iter()
            .map(|row| row.iter().rev().copied().collect())
            .collect();
        black_box(columns);
    }
}

/// Words put together, split, and counted.
fn strings() {
    let mut state = 1;
    for _ in 0..36 {
        let mut text = String::new();
        for _ in 0..200_000 {
            let _ = write!(text, "word{} ", next(&mut state) % 5000);
        }
        let words: Vec<String> = text.split(' ').map(str::to_owned).collect();
        let upper: Vec<String> = words.iter().map(|word| word.to_uppercase() + "!").collect();
        black_box(upper.join(","));
    }
}

/// A map of strings whose entries come and go.
fn btree() {
    let mut state = 2;
    let mut map: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    for n in 0..1_600_000_u32 {
        let key = format!("key {}", next(&mut state) % 100_000);
        if n.is_multiple_of(3) {
            map.remove(&key);
        } else {
            map.entry(key).or_default().push(n);
        }
    }
    black_box(map);
}

/// Rust source of many items.
fn source() -> String {
    let mut text = String::new();
    for n in 0..700 {
        let _ = write!(
            text,
            "/// Item {n}.\n#[derive(Debug, Clone)]\npub struct Item{n}<T: Clone> {{ pub first: Vec<T>, second: Option<u{{}}> }}\n\
             impl<T: Clone> Item{n}<T> {{\n\
             pub fn make(first: &[T], second: usize) -> Result<Self, String> {{\n\
             let kept: Vec<T> = first.iter().filter(|_| second % {n} != 3).cloned().collect();\n\
             for (index, value) in kept.iter().enumerate() {{\n\
             match index {{ 0 => continue, 1 | 2 if second > 7 => break, _ => drop(value.clone()) }}\n\
             }}\n\
             if kept.len() + second * 2 > {n} {{ return Err(format!(\"too many: {{}}\", kept.len())); }}\n\
             Ok(Self {{ first: kept, second: Some((second as u64 & 0xff) as _) }})\n\
             }}\n}}\n"
        );
    }
    text.replace("u{}", "u64")
}

/// A parser of Rust: source to a syntax tree, which is walked.
fn parser() {
    struct Count(usize);
    impl<'a> Visit<'a> for Count {
        fn visit_expr(&mut self, expr: &'a syn::Expr) {
            self.0 += 1;
            syn::visit::visit_expr(self, expr);
        }
    }
    let source = source();
    for _ in 0..12 {
        let file = syn::parse_file(&source).expect("it is Rust");
        let mut count = Count(0);
        count.visit_file(&file);
        assert!(count.0 > 10_000);
        black_box(file.clone());
    }
}

/// JSON to a tree of values and back.
fn json() {
    let rows: Vec<serde_json::Value> = (0..40_000)
        .map(|n| {
            serde_json::json!({"id": n, "name": format!("row {n}"), "tags": ["a", n * 3, null], "in": {"x": 0.5}})
        })
        .collect();
    let mut text = serde_json::to_string(&rows).expect("plain values");
    drop(rows);
    for _ in 0..16 {
        let value: serde_json::Value = serde_json::from_str(&text).expect("it was written so");
        text = serde_json::to_string(&value).expect("plain values");
    }
    black_box(text);
}
