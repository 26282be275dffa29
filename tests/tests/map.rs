//! `thmalloc map`: the files that it writes, and what a browser makes of them.

mod patient;

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use patient::Patient;
use roxmltree::Document;
use serde_json::Value;
use thmalloc_tests::{Mode, Outcome, hang_guard, installed, run, skip, thmalloc};

const BROWSER: &str = "chromium-headless-shell";
/// Blue, at the strength of a page of 48-byte objects of which one in fifty lives.
const PALE_BLUE: (u8, u8, u8) = (0xa8, 0xcf, 0xe4);

/// A directory that goes when the test ends.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        // Relaxed: only the number has to be another one each time.
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("thmalloc-map-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).expect("a directory of our own");
        Directory(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn map(patient: &Patient, args: &[&str]) -> Outcome {
    let mut command = Command::new(thmalloc());
    command.args(["map", &patient.pid()]).args(args);
    run(&mut command, hang_guard(120))
}

#[track_caller]
fn drawn(patient: &Patient, directory: &Directory, name: &str) -> PathBuf {
    let path = directory.0.join(name);
    let outcome = map(patient, &["-o", path.to_str().expect("UTF-8")]);
    outcome.expect_success("thmalloc map");
    assert_eq!((&*outcome.stdout, &*outcome.stderr), ("", ""));
    path
}

/// Opens a page in a browser, in a profile of its own.
#[track_caller]
fn browse(directory: &Directory, page: &Path, args: &[&str]) -> Outcome {
    let mut command = Command::new(BROWSER);
    command
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
        ])
        .args([
            "--disable-background-networking",
            "--disable-component-update",
        ])
        .args([
            "--disable-sync",
            "--disable-dev-shm-usage",
            "--disable-crash-reporter",
        ])
        .args(["--hide-scrollbars", "--window-size=1200,1000"])
        .arg(format!(
            "--user-data-dir={}",
            directory.0.join("profile").display()
        ))
        .args(args)
        .arg(format!("file://{}", page.display()))
        .current_dir(&directory.0);
    let outcome = run(&mut command, hang_guard(120));
    outcome.expect_success(BROWSER);
    outcome
}

/// How often each colour is in a picture.
fn colours(path: &Path) -> HashMap<(u8, u8, u8), usize> {
    let file = fs::File::open(path).expect("the picture");
    let mut reader = png::Decoder::new(std::io::BufReader::new(file))
        .read_info()
        .expect("PNG");
    let mut pixels = vec![0; reader.output_buffer_size().expect("a size")];
    let info = reader.next_frame(&mut pixels).expect("pixels");
    let width = info.color_type.samples();
    let mut colours = HashMap::new();
    for pixel in pixels[..info.buffer_size()].chunks_exact(width) {
        *colours.entry((pixel[0], pixel[1], pixel[2])).or_default() += 1;
    }
    colours
}

#[test]
fn the_picture_says_whose_it_is_and_where_memory_is() {
    let directory = Directory::new();
    let patient = Patient::new(Mode::Rseq, "", &["fragmented"]);
    let path = drawn(&patient, &directory, "heap.svg");
    let text = fs::read_to_string(path).expect("UTF-8");
    let document = Document::parse(&text).expect("well-formed XML");
    let texts: Vec<_> = document
        .descendants()
        .filter_map(|node| node.text())
        .collect();
    let heading = format!("illness-c-, process {}, on thmalloc ", patient.pid());
    assert!(
        texts.iter().any(|text| text.starts_with(&heading)),
        "{texts:?}"
    );
    for word in [
        "live",
        "cached",
        "fragmented",
        "free",
        "metadata",
        "resident",
        "released",
    ] {
        assert!(texts.contains(&word), "{word}");
    }
    let holes = document
        .descendants()
        .filter(|node| node.attribute("class") == Some("hole"));
    assert!(holes.count() >= 1);
}

#[test]
fn a_browser_shows_the_picture_and_the_page_alike() {
    if !installed(BROWSER) {
        return skip(
            "map in a browser",
            "chromium-headless-shell is not installed",
        );
    }
    let directory = Directory::new();
    let patient = Patient::new(Mode::Rseq, "", &["fragmented"]);
    for name in ["heap.svg", "heap.html"] {
        let page = drawn(&patient, &directory, name);
        let shot = directory.0.join(format!("{name}.png"));
        browse(
            &directory,
            &page,
            &[&format!("--screenshot={}", shot.display())],
        );
        let colours = colours(&shot);
        let pale = colours.get(&PALE_BLUE).copied().unwrap_or(0);
        assert!(
            pale > 20_000,
            "{name}: {pale} pixels of the fragmented class"
        );
        let strong = colours.get(&(0, 0x72, 0xb2)).copied().unwrap_or(0);
        assert!(strong < pale / 10, "{name}: {strong} pixels of full pages");
    }
}

/// A span of the page's data: the corner of its first cell, its address, and the
/// numbers of its objects.
fn a_span(data: &Value) -> (f64, f64, String, Vec<u64>) {
    let layout = |name: &str| data["layout"][name].as_u64().expect("a number");
    for (number, region) in data["regions"]
        .as_array()
        .expect("regions")
        .iter()
        .enumerate()
    {
        let numbers = region[2].as_array().expect("spans");
        for span in numbers.chunks_exact(7) {
            let span: Vec<u64> = span.iter().map(|n| n.as_u64().expect("a number")).collect();
            if span[2] == 0 {
                continue;
            }
            let number = number as u64;
            let (row, column) = (number / layout("columns"), number % layout("columns"));
            let cell = span[0] / layout("cell_pages");
            let width = layout("tile_columns") * layout("cell") + layout("gap");
            let height = layout("tile_rows") * layout("cell") + layout("gap");
            let x =
                layout("left") + column * width + cell % layout("tile_columns") * layout("cell");
            let y = layout("top") + row * height + cell / layout("tile_columns") * layout("cell");
            let start = region[0].as_str().expect("an address");
            let start = u64::from_str_radix(&start[2..], 16).expect("hexadecimal");
            let address = format!("{:#x}", start + span[0] * 4096);
            return (x as f64 + 1.5, y as f64 + 1.5, address, span);
        }
    }
    panic!("no span of small objects in {data}");
}

#[test]
fn the_pointer_on_a_page_names_its_span() {
    if !installed(BROWSER) {
        return skip("map's hover", "chromium-headless-shell is not installed");
    }
    let directory = Directory::new();
    let patient = Patient::new(Mode::Rseq, "", &["fragmented"]);
    let path = drawn(&patient, &directory, "heap.html");
    let html = fs::read_to_string(&path).expect("UTF-8");
    let data = html
        .split_once("type=\"application/json\"")
        .expect("the data")
        .1;
    let data = data.split_once('>').expect("its element").1;
    let data: Value =
        serde_json::from_str(data.split("</script>").next().expect("its end")).expect("JSON");
    let (x, y, address, span) = a_span(&data);
    let bytes = data["classes"][span[2].to_string()]
        .as_u64()
        .expect("the class's size");

    let script = format!(
        "<script>
        const picture = document.querySelector('svg');
        const move = (x, y) => {{
            const box = picture.getBoundingClientRect();
            const scale = box.width / 1200;
            const at = {{ clientX: box.left + x * scale, clientY: box.top + y * scale }};
            picture.dispatchEvent(new PointerEvent('pointermove', at));
            return document.getElementById('tip').hidden ? '' : document.getElementById('tip').textContent;
        }};
        document.body.dataset.outside = move(5, 5);
        document.body.dataset.inside = move({x}, {y});
        document.body.dataset.frame = document.getElementById('span').getAttribute('d').length > 0;
        </script>"
    );
    fs::write(&path, html.clone() + &script).expect("write");
    let dom = browse(&directory, &path, &["--dump-dom"]).stdout;
    let attribute = |name: &str| {
        let value = dom.split_once(&format!("data-{name}=\"")).expect(name).1;
        value.split('"').next().expect("its end").to_owned()
    };
    assert_eq!(attribute("outside"), "");
    assert_eq!(attribute("frame"), "true");
    let said = attribute("inside");
    let expected = format!(
        "span {address}, {} KiB: objects of {bytes} B (class {})\nlive {} of {} (",
        span[1] * 4,
        span[2],
        span[4],
        span[3]
    );
    assert!(said.starts_with(&expected), "{said}\n{expected}");
    let free = span[3] - span[4] - span[5];
    assert!(
        said.contains(&format!("cached {}, free {free}\n", span[5])),
        "{said}"
    );
}

#[test]
fn the_page_loads_nothing_from_elsewhere() {
    let directory = Directory::new();
    let patient = Patient::new(Mode::Lock, "", &["healthy"]);
    let html = fs::read_to_string(drawn(&patient, &directory, "heap.html")).expect("UTF-8");
    let without = html.replace("http://www.w3.org/2000/svg", "");
    for outside in ["http:", "https:", "src=", "href=", "url(//", "@import"] {
        assert!(!without.contains(outside), "{outside}");
    }
}

#[test]
fn standard_output_takes_a_format_and_files_an_extension() {
    let directory = Directory::new();
    let patient = Patient::new(Mode::Rseq, "", &["healthy"]);
    for (format, beginning) in [("svg", "<svg "), ("html", "<!DOCTYPE html>")] {
        let outcome = map(&patient, &["-o", "-", "--format", format]);
        outcome.expect_success("thmalloc map");
        assert!(outcome.stdout.starts_with(beginning));
    }
    for name in ["-", "heap.png", "heap"] {
        let outcome = map(&patient, &["-o", name]);
        assert_eq!(outcome.status.code(), Some(2), "{outcome:#?}");
        assert!(
            outcome.stderr.contains("neither in .svg nor in .html"),
            "{outcome:#?}"
        );
    }
    let nowhere = directory.0.join("no/such/heap.svg");
    let outcome = map(&patient, &["-o", nowhere.to_str().expect("UTF-8")]);
    assert_eq!(outcome.status.code(), Some(125));
    assert!(outcome.stderr.contains("cannot be written"), "{outcome:#?}");
}
