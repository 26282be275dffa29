//! The table of size classes, as `docs/size-classes.txt` has it: a change of
//! the classes is a change of that file, to be reviewed.

use std::ops::RangeInclusive;
use std::process::Command;

use thmalloc_tests::{root, run};

const COMMAND: [&str; 5] = ["run", "-p", "thmalloc-core", "--example", "size_classes"];

/// What the example prints.
fn printed() -> String {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(root()).args(COMMAND).arg("--quiet");
    let outcome = run(&mut command, thmalloc_tests::hang_guard(600));
    outcome.expect_success("the example size_classes");
    outcome.stdout
}

/// A line of the table.
struct Class {
    number: usize,
    bytes: usize,
    sizes: RangeInclusive<usize>,
    /// In hundredths of a percent, rounded.
    waste: usize,
    span_kib: usize,
    objects: usize,
    tail_bytes: usize,
}

impl Class {
    /// A line that begins with a number; the others explain.
    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.split_whitespace();
        let mut field = || fields.next();
        let number = field()?.parse().ok()?;
        let mut required = || field().unwrap_or_else(|| panic!("ten fields: {line}"));
        let parse = |text: &str| -> usize {
            text.parse()
                .unwrap_or_else(|e| panic!("{text} in {line}: {e}"))
        };
        let bytes = parse(required());
        let (first, last) = required().split_once('-').expect("a range of sizes");
        let sizes = parse(first)..=parse(last);
        let waste = parse(&required().replace('.', ""));
        let granules = parse(required());
        let span_kib = parse(required());
        assert_eq!(span_kib, granules * 64, "{line}");
        Some(Class {
            number,
            bytes,
            sizes,
            waste,
            span_kib,
            objects: parse(required()),
            tail_bytes: parse(required()),
        })
    }
}

fn classes(table: &str) -> Vec<Class> {
    table.lines().filter_map(Class::parse).collect()
}

#[test]
fn the_classes_are_the_reviewed_ones() {
    let printed = printed();
    let reviewed = std::fs::read_to_string(root().join("docs/size-classes.txt"))
        .expect("docs/size-classes.txt");
    let differing = printed
        .lines()
        .map(Some)
        .chain([None])
        .zip(reviewed.lines().map(Some).chain([None]))
        .find(|(printed, reviewed)| printed != reviewed);
    assert!(
        printed == reviewed,
        "docs/size-classes.txt is not what the example prints; first difference:\n\
         printed:  {:?}\nreviewed: {:?}\n\
         If the change is intended, review it and update the file:\n\
         cargo {} --quiet > docs/size-classes.txt",
        differing.map(|(printed, _)| printed),
        differing.map(|(_, reviewed)| reviewed),
        COMMAND.join(" "),
    );
}

#[test]
fn an_object_wastes_at_most_15_bytes_an_eighth_or_a_third() {
    for class in classes(&printed()) {
        let bytes = class.bytes;
        for size in class.sizes.clone() {
            let waste = bytes.checked_sub(size).expect("the size fits");
            let bound = match size {
                ..=128 => 15,
                129..=98_304 => bytes / 8,
                _ => bytes / 3,
            };
            assert!(waste <= bound, "{size} bytes in an object of {bytes}");
        }
        let worst = bytes - class.sizes.start();
        let hundredths = (worst * 10_000 + bytes / 2) / bytes;
        assert!(
            class.waste.abs_diff(hundredths) <= 1,
            "class {}: {hundredths}",
            class.number
        );
    }
}

#[test]
fn the_classes_serve_each_size_up_to_256_kib_once() {
    let classes = classes(&printed());
    let mut next = 0;
    for (index, class) in classes.iter().enumerate() {
        assert_eq!(class.number, index + 1);
        assert_eq!(*class.sizes.start(), next);
        assert_eq!(*class.sizes.end(), class.bytes);
        next = class.bytes + 1;
    }
    assert_eq!(next, (256 << 10) + 1);
}

#[test]
fn a_span_holds_its_objects_and_its_tail() {
    for class in classes(&printed()) {
        let used = class.objects * class.bytes + class.tail_bytes;
        assert_eq!(used, class.span_kib << 10, "class {}", class.number);
        if class.bytes > 98_304 {
            assert_eq!((class.objects, class.tail_bytes), (1, 0));
        }
        // The smallest have more room than a span has bits.
        assert!(class.bytes < 16 || class.tail_bytes * 8 <= class.span_kib << 10);
    }
}
