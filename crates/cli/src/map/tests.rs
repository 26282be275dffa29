//! The pictures of made-up heaps.

use super::*;
use roxmltree::Document;
use thmalloc_inspect::sample::{Sample, Slot};

fn leak() -> Snapshot {
    Sample::new().small(4, 400, |_| Slot::Live).snapshot()
}

/// One object in fifty lives on.
fn survivors() -> Sample {
    let kept = |object: u64| match object % 50 {
        7 => Slot::Live,
        _ => Slot::Free,
    };
    Sample::new().small(4, 400, kept).small(20, 100, kept)
}

fn fills(svg: &str) -> Vec<(String, usize)> {
    let document = Document::parse(svg).expect("well-formed XML");
    let map = document
        .descendants()
        .find(|node| node.attribute("id") == Some("map"));
    let paths = map
        .expect("the map")
        .children()
        .filter(|node| node.has_tag_name("path"));
    paths
        .filter_map(|node| {
            let cells = node.attribute("d")?.matches('M').count();
            Some((node.attribute("fill")?.to_owned(), cells))
        })
        .collect()
}

#[test]
fn a_fragmented_heap_is_pale_where_a_leak_is_strong() {
    let colours = |snapshot: &Snapshot| -> Vec<String> {
        let fills = fills(&draw(snapshot, Format::Svg));
        fills.into_iter().map(|(fill, _)| fill).collect()
    };
    assert!(colours(&leak()).contains(&"#0072b2".into()));
    let fragmented = colours(&survivors().snapshot());
    assert!(!fragmented.contains(&"#0072b2".into()));
    assert!(fragmented.contains(&"#a8cfe4".into()), "{fragmented:?}");
}

#[test]
fn pages_given_back_are_hatched() {
    let rare = |object: u64| match object % 500 {
        0 => Slot::Live,
        _ => Slot::Free,
    };
    let heap = Sample::new().small(4, 40, rare).large(1024, 10);
    let before = fills(&draw(&heap.clone().snapshot(), Format::Svg));
    assert!(!before.iter().any(|(fill, _)| fill == "url(#h0)"));
    let after = fills(&draw(&heap.trimmed().snapshot(), Format::Svg));
    let hatched = |name| after.iter().any(|(fill, cells)| fill == name && *cells > 0);
    assert!(hatched("url(#h0)") && hatched("url(#hl)"), "{after:?}");
}

/// The texts of a picture.
fn texts(svg: &str) -> Vec<String> {
    let document = Document::parse(svg).expect("well-formed XML");
    let texts = document
        .descendants()
        .filter(|node| node.has_tag_name("text"));
    texts
        .filter_map(|node| Some(node.text()?.to_owned()))
        .collect()
}

#[test]
fn a_legend_says_what_colours_mean_and_the_largest_holes_are_framed() {
    let heap = Sample::new()
        .small(4, 2, |_| Slot::Live)
        .free(100, true)
        .small(4, 2, |_| Slot::Live)
        .free(300, false)
        .small(4, 1, |_| Slot::Live);
    let svg = draw(&heap.snapshot(), Format::Svg);
    let texts = texts(&svg);
    for text in [
        "up to 64 B",
        "up to 1 KiB",
        "up to 256 KiB",
        "larger objects",
        "in no span",
        "no memory",
    ] {
        assert!(texts.iter().any(|found| found == text), "{text}: {texts:?}");
    }
    let document = Document::parse(&svg).expect("well-formed XML");
    let framed = document
        .descendants()
        .filter(|node| node.attribute("class") == Some("hole"));
    assert_eq!(framed.count(), 3);
    let notes = [
        "1 region of 2 MiB",
        "(1) the largest hole: 1.2 MiB",
        "(2) 400.0 KiB",
        "(3) 128.0 KiB",
    ];
    for note in notes {
        assert!(texts.iter().any(|text| text.starts_with(note)), "{texts:?}");
    }
}

#[test]
fn a_bar_stands_where_addresses_jump() {
    let mut snapshot = Sample::new().small(4, 80, |_| Slot::Live).snapshot();
    assert!(snapshot.regions.len() >= 3);
    let bars = |snapshot: &Snapshot| {
        let svg = draw(snapshot, Format::Svg);
        let document = Document::parse(&svg).expect("well-formed XML");
        let path = document.descendants().find(|node| {
            node.attribute("stroke") == Some("#222") && node.attribute("stroke-width") == Some("2")
        });
        let path = path
            .and_then(|node| node.attribute("d"))
            .unwrap_or_default();
        path.matches('M').count()
    };
    assert_eq!(bars(&snapshot), 0);
    snapshot.regions[2].address += 1 << 30;
    assert_eq!(bars(&snapshot), 1);
}

#[test]
fn the_page_knows_how_much_of_each_span_is_resident() {
    let heap = Sample::new().large(100, 40).small(4, 1, |_| Slot::Live);
    let html = draw(&heap.snapshot(), Format::Html);
    let (_, data) = html.split_once("application/json\">").expect("the data");
    let (data, _) = data.split_once("</script>").expect("its end");
    let data: serde_json::Value = serde_json::from_str(data).expect("JSON");
    // First page, pages, class, a large object's number, live, cached, resident.
    let spans = data["regions"][0][2].as_array().expect("numbers");
    let numbers: Vec<u64> = spans.iter().filter_map(serde_json::Value::as_u64).collect();
    assert_eq!(numbers[..7], [0, 100, 0, 0, 1, 0, 40]);
    assert_eq!(numbers[7..], [100, 16, 4, 1365, 1365, 0, 16]);
    assert_eq!(data["regions"][0][1], 56);
}

#[test]
fn files_stay_small_whatever_the_heap() {
    // Every page looks other than the one before it, in spans as short as can be.
    for regions in [1, 250, 300, 5000] {
        let mut snapshot = Sample::new()
            .small(4, 32, |object| {
                if object / 85 % 2 == 0 {
                    Slot::Live
                } else {
                    Slot::Free
                }
            })
            .snapshot();
        let first = snapshot.regions[0].clone();
        snapshot.regions = (0..regions)
            .map(|number| {
                let mut region = first.clone();
                // Not one after the other.
                region.address += number << 22;
                region
            })
            .collect();
        let svg = draw(&snapshot, Format::Svg);
        assert!(svg.len() < 4 << 20, "{regions}: {}", svg.len());
        Document::parse(&svg).expect("well-formed XML");
        let html = draw(&snapshot, Format::Html);
        assert!(html.len() < 6 << 20, "{regions}: {}", html.len());
    }
}

#[test]
fn what_the_process_calls_itself_is_text_and_nothing_else() {
    let mut snapshot = leak();
    snapshot.process.name = "</title><script>alert(1)</script>&\"'\u{1}\n]]>".into();
    snapshot.process.release = "<b>\u{0}".into();
    let svg = draw(&snapshot, Format::Svg);
    let document = Document::parse(&svg).expect("well-formed XML");
    assert!(
        !document
            .descendants()
            .any(|node| node.has_tag_name("script"))
    );
    let html = draw(&snapshot, Format::Html);
    assert_eq!(html.matches("<script").count(), 2);
    assert!(!html.contains("alert(1)</script>"));
}

#[test]
fn an_empty_heap_is_a_picture_too() {
    let mut snapshot = leak();
    snapshot.regions.clear();
    snapshot.size_classes.clear();
    Document::parse(&draw(&snapshot, Format::Svg)).expect("well-formed XML");
    draw(&snapshot, Format::Html);
}

#[test]
fn the_extension_decides_the_format() {
    let format = |name: &str| format_of(Path::new(name));
    assert!(matches!(format("a/heap.svg"), Ok(Format::Svg)));
    assert!(matches!(format("heap.HTML"), Ok(Format::Html)));
    for name in ["heap", "heap.png", "-", ".svg", "svg"] {
        let error = format(name).expect_err(name);
        assert_eq!(error.status(), 2);
    }
}

/// Writes pictures of several states where `THMALLOC_PICTURES` says, to be looked
/// at.
#[test]
fn pictures_to_look_at() {
    let Some(directory) = std::env::var_os("THMALLOC_PICTURES").map(PathBuf::from) else {
        return;
    };
    let mixed = Sample::new()
        .small(2, 20, |_| Slot::Live)
        .small(9, 60, |object| {
            if object % 3 == 0 {
                Slot::Live
            } else {
                Slot::Cached
            }
        })
        .large(900, 700)
        .small(25, 40, |object| {
            if object % 2 == 0 {
                Slot::Live
            } else {
                Slot::Free
            }
        })
        .free(200, true)
        .small(41, 40, |_| Slot::Live)
        .small(73, 20, |object| {
            if object % 4 == 0 {
                Slot::Live
            } else {
                Slot::Free
            }
        })
        .free(1500, false)
        .small(97, 6, |_| Slot::Live);
    let huge = |regions: u32| {
        let mut heap = Sample::new();
        for number in 0..regions / 4 {
            heap = heap
                .small(4 + (number % 60) as u8, 12, move |object| {
                    if object % u64::from(1 + number % 9) == 0 {
                        Slot::Live
                    } else {
                        Slot::Free
                    }
                })
                .free(200 + number as usize % 700, number % 2 == 0)
                .large(600, 100 * (number as usize % 6));
        }
        heap.snapshot()
    };
    let states = [
        (
            "fresh",
            Sample::new()
                .small(
                    4,
                    1,
                    |object| if object < 40 { Slot::Live } else { Slot::Free },
                )
                .snapshot(),
        ),
        ("full", leak()),
        ("fragmented", survivors().snapshot()),
        ("released", survivors().trimmed().snapshot()),
        ("mixed", mixed.snapshot()),
        ("hundred", huge(100)),
        ("thousand", huge(1000)),
        ("huge", huge(5000)),
    ];
    for (name, snapshot) in states {
        let write = |extension, format| {
            let path = directory.join(name).with_extension(extension);
            fs::write(path, draw(&snapshot, format)).expect("the picture");
        };
        write("svg", Format::Svg);
        write("html", Format::Html);
    }
}
