//! The picture itself, as SVG.
//!
//! Always: equal readings make equal pictures, and the file has a bound: a path
//! for each look, in which cells that follow each other are one rectangle.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::{Duration, UNIX_EPOCH};

use maud::{Markup, html};
use thmalloc_inspect::Snapshot;

use super::cells::{BANDS, Bands, Look, STRENGTHS};
use super::head;
use super::holes::{self, Hole};
use super::layout::{LEFT, Layout, PAGE_BYTES, REGION_PAGES, WIDTH};
use crate::{heaps, size};

/// The bands' colours: six of Okabe and Ito's, which people tell apart whose eyes
/// lack one of the receptors. Bands that look most alike are neighbours.
pub const COLOURS: [(u8, u8, u8); BANDS.len()] = [
    (0x00, 0x72, 0xb2),
    (0x56, 0xb4, 0xe9),
    (0x00, 0x9e, 0x73),
    (0xe6, 0x9f, 0x00),
    (0xd5, 0x5e, 0x00),
    (0xcc, 0x79, 0xa7),
];
/// How much of its colour each strength has, in percent; the rest is white.
const INK: [u32; STRENGTHS] = [14, 34, 56, 78, 100];
const LARGE: &str = "#4a4a4a";
const FREE: &str = "#b9b9b9";

/// Where the tiles begin.
const TOP: u32 = 208;
/// Tiles beyond this have no text that shows when the pointer rests on them.
const MAX_TITLES: usize = 6000;

/// A picture, and what its hover needs to know.
pub struct Picture {
    /// The `svg` element.
    pub markup: Markup,
    /// Where its tiles stand.
    pub layout: Layout,
}

/// Draws a reading. With `titles`, regions say what they hold when the pointer
/// rests on them.
pub fn draw(snapshot: &Snapshot, titles: bool) -> Picture {
    let layout = Layout::new(snapshot.regions.len(), TOP);
    let holes = holes::largest(&snapshot.regions);
    let notes = notes(snapshot, &layout, &holes);
    let height = layout.bottom() + 20 + 16 * notes.len() as u32;
    let titled = titles && layout.tiles <= MAX_TITLES;
    let markup = html! {
        svg xmlns="http://www.w3.org/2000/svg" width=(WIDTH) height=(height)
            viewBox={ "0 0 " (WIDTH) " " (height) } role="img"
            font-family="DejaVu Sans, Verdana, sans-serif" font-size="12" fill="#222" {
            title { (heading(snapshot)) }
            (patterns(layout.cell))
            rect width=(WIDTH) height=(height) fill="#f3f3f0" {}
            text x="12" y="26" font-size="17" font-weight="bold" { (heading(snapshot)) }
            text x=(WIDTH - 12) y="26" text-anchor="end" { (time(snapshot)) }
            (head::words(snapshot))
            (head::legend())
            (head::classes(snapshot))
            g id="map" {
                path fill="#fff" stroke="#d5d5d0" d=(backgrounds(&layout)) {}
                @for (look, path) in paths(snapshot, &layout) {
                    path fill=(fill(look)) d=(path) {}
                }
                @if layout.cell >= 6 {
                    path fill="url(#grid)" d=(backgrounds(&layout)) {}
                }
                path stroke="#222" stroke-width="2" d=(jumps(snapshot, &layout)) {}
                (addresses(snapshot, &layout))
                @for (number, hole) in holes.iter().enumerate() {
                    (mark(&layout, number, hole))
                }
                path id="span" fill="none" stroke="#000" stroke-width="2" d="" {}
                @if titled {
                    @for tile in 0..layout.tiles {
                        (tile_title(snapshot, &layout, tile))
                    }
                }
            }
            @for (index, note) in notes.iter().enumerate() {
                text x="12" y=(layout.bottom() + 22 + 16 * index as u32) { (note) }
            }
        }
    };
    Picture { markup, layout }
}

/// The process, in a few words.
pub fn heading(snapshot: &Snapshot) -> String {
    let process = &snapshot.process;
    format!(
        "{}, process {}, on thmalloc {}",
        size::line(&process.name),
        process.pid,
        size::line(&process.release)
    )
}

fn time(snapshot: &Snapshot) -> String {
    let time = UNIX_EPOCH.checked_add(Duration::from_millis(snapshot.time_ms));
    match time {
        // Years beyond 9999 cannot be written so.
        Some(time) if snapshot.time_ms < 253_000_000_000_000 => {
            let text = humantime::format_rfc3339_seconds(time).to_string();
            text.replace('T', " ").replace('Z', " UTC")
        }
        _ => String::new(),
    }
}

fn mixed((red, green, blue): (u8, u8, u8), ink: u32) -> String {
    let mix = |part: u8| (u32::from(part) * ink + 255 * (100 - ink)) / 100;
    format!("#{:02x}{:02x}{:02x}", mix(red), mix(green), mix(blue))
}

/// What a cell of a look is filled with.
pub fn fill(look: Look) -> String {
    match look {
        Look::Small(band, strength) => {
            mixed(COLOURS[usize::from(band)], INK[usize::from(strength)])
        }
        Look::SmallReleased(band) => format!("url(#h{band})"),
        Look::Large => LARGE.into(),
        Look::LargeReleased => "url(#hl)".into(),
        Look::Free => FREE.into(),
        Look::Released => "#fff".into(),
    }
}

/// What is hatched: pages without memory.
fn patterns(cell: u32) -> Markup {
    let hatched = |id: String, colour: String| {
        html! {
            pattern id=(id) width="4" height="4" patternUnits="userSpaceOnUse"
                patternTransform="rotate(45)" {
                rect width="4" height="4" fill="#fff" {}
                rect width="1.5" height="4" fill=(colour) {}
            }
        }
    };
    let line = format!("M{cell} 0V{cell}H0");
    html! {
        defs {
            @for (band, &colour) in COLOURS.iter().enumerate() {
                (hatched(format!("h{band}"), mixed(colour, 100)))
            }
            (hatched("hl".into(), "#8a8a8a".into()))
            pattern id="grid" width=(cell) height=(cell) patternUnits="userSpaceOnUse"
                x=(LEFT % cell) y=(TOP % cell) {
                path fill="none" stroke="#fff" stroke-opacity="0.55" d=(line) {}
            }
        }
    }
}

fn backgrounds(layout: &Layout) -> String {
    let mut path = String::new();
    for tile in 0..layout.tiles {
        path += &layout.outline(tile, 0, layout.tile_cells());
    }
    path
}

/// A path for each look.
fn paths(snapshot: &Snapshot, layout: &Layout) -> BTreeMap<Look, String> {
    let bands = Bands::of(snapshot);
    let mut paths: BTreeMap<Look, String> = BTreeMap::new();
    for (tile, regions) in snapshot.regions.chunks(layout.group).enumerate() {
        let mut run: Option<(Look, usize)> = None;
        for cell in 0..=layout.tile_cells() {
            let look = (cell < layout.tile_cells()).then(|| {
                let first = cell * layout.cell_pages;
                let pages = regions
                    .iter()
                    .flat_map(|region| region.pages.iter().skip(first).take(layout.cell_pages));
                bands.look(pages)
            });
            match run {
                Some((of, _)) if Some(of) == look => {}
                _ => {
                    // White on white need not be drawn.
                    if let Some((of, from)) = run.filter(|run| run.0 != Look::Released) {
                        *paths.entry(of).or_default() += &layout.outline(tile, from, cell);
                    }
                    run = look.map(|look| (look, cell));
                }
            }
        }
    }
    paths
}

/// A bar before each tile whose address does not follow the one before it.
fn jumps(snapshot: &Snapshot, layout: &Layout) -> String {
    let mut path = String::new();
    let region_bytes = PAGE_BYTES * REGION_PAGES as u64;
    for (number, pair) in snapshot.regions.windows(2).enumerate() {
        let follows = pair[0].address.checked_add(region_bytes) == Some(pair[1].address);
        if !follows && (number + 1).is_multiple_of(layout.group) {
            let (x, y) = layout.corner((number + 1) / layout.group);
            let height = layout.tile_rows * layout.cell;
            // Writing to a string does not fail.
            let _ = write!(
                path,
                "M{} {y}v{height}",
                x.saturating_sub(layout.gap.div_ceil(2))
            );
        }
    }
    path
}

/// The address of the first region of each row, or of as many rows as have room.
fn addresses(snapshot: &Snapshot, layout: &Layout) -> Markup {
    let step = 13_u32.div_ceil(layout.row_height());
    html! {
        g font-family="DejaVu Sans Mono, monospace" font-size="10" fill="#555" {
            @for row in (0..layout.rows()).step_by(step as usize) {
                @let tile = (row * layout.columns) as usize;
                @if let Some(region) = snapshot.regions.get(tile * layout.group) {
                    text x="12" y=(layout.corner(tile).1 + 9) { (format!("{:#x}", region.address)) }
                }
            }
        }
    }
}

fn mark(layout: &Layout, number: usize, hole: &Hole) -> Markup {
    let mut path = String::new();
    let mut pieces = layout
        .pieces(hole.first, hole.first + hole.pages)
        .peekable();
    let (tile, first, _) = pieces.peek().copied().unwrap_or((0, 0, 0));
    for (tile, first, end) in pieces {
        path += &layout.outline(tile, first, end);
    }
    let (x, y) = layout.corner(tile);
    let column = first as u32 % layout.tile_columns;
    let row = first as u32 / layout.tile_columns;
    let (x, y) = (x + column * layout.cell, y + row * layout.cell);
    html! {
        path class="hole" fill="none" stroke="#000" stroke-width="1.5" stroke-dasharray="5 2" d=(path) {}
        circle cx=(x + 7) cy=(y + 7) r="7" fill="#000" {}
        text x=(x + 7) y=(y + 11) text-anchor="middle" fill="#fff" font-size="10" font-weight="bold" {
            (number + 1)
        }
    }
}

fn tile_title(snapshot: &Snapshot, layout: &Layout, tile: usize) -> Markup {
    let first = tile * layout.group;
    let regions = &snapshot.regions[first..snapshot.regions.len().min(first + layout.group)];
    let address = regions.first().map_or(0, |region| region.address);
    let pages = || regions.iter().flat_map(|region| &region.pages);
    let resident = pages().filter(|page| page.resident).count() as u64 * PAGE_BYTES;
    let spans: usize = regions.iter().map(|region| region.spans.len()).sum();
    html! {
        path fill="#000" fill-opacity="0" d=(layout.outline(tile, 0, layout.tile_cells())) {
            title { (format!("{address:#x}: {spans} spans, {} resident", size::bytes(resident))) }
        }
    }
}

/// What stands below the picture.
fn notes(snapshot: &Snapshot, layout: &Layout, holes: &[Hole]) -> Vec<String> {
    let mut notes = Vec::new();
    let cell_bytes = layout.cell_pages as u64 * PAGE_BYTES;
    notes.push(match layout.group {
        1 => format!(
            "{} region{} of 2 MiB, a tile each; a cell is {}{}. A bar before a tile: the addresses \
             before it are not the heap's.",
            snapshot.regions.len(),
            if snapshot.regions.len() == 1 { "" } else { "s" },
            if layout.cell_pages == 1 { "a page of " } else { "" },
            if layout.cell_pages == 1 {
                size::exact(cell_bytes)
            } else {
                format!("{}, shown as what most of its pages are", size::exact(cell_bytes))
            }
        ),
        group => format!(
            "{} regions of 2 MiB; a cell is {group} of them, shown as what most of their pages are.",
            snapshot.regions.len()
        ),
    });
    for (number, hole) in holes.iter().enumerate() {
        let bytes = hole.pages as u64 * PAGE_BYTES;
        let resident = match hole.resident {
            0 => "nothing of it resident".into(),
            pages => format!("{} of it resident", size::bytes(pages as u64 * PAGE_BYTES)),
        };
        let rank = if number == 0 {
            "the largest hole: "
        } else {
            ""
        };
        notes.push(format!(
            "({}) {rank}{} at {:#x}, {resident}",
            number + 1,
            size::bytes(bytes),
            hole.address
        ));
    }
    notes.extend(heaps::sentences(snapshot));
    if !snapshot.consistency.exact {
        notes.push(format!(
            "The heap changed while it was read ({} times): the picture is not of one moment.",
            snapshot.consistency.changes
        ));
    }
    if !snapshot.consistency.by_page {
        notes.push(
            "Which pages are resident is what the allocator expects: /proc/PID/pagemap could not be read."
                .into(),
        );
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What people see whose eyes lack the receptor for long, middle or short
    /// waves: linear light, after Machado, Oliveira and Fernandes (2009).
    const EYES: [(&str, [[f64; 3]; 3]); 4] = [
        ("all", [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]),
        (
            "protan",
            [
                [0.152286, 1.052583, -0.204868],
                [0.114503, 0.786281, 0.099216],
                [-0.003882, -0.048116, 1.051998],
            ],
        ),
        (
            "deutan",
            [
                [0.367322, 0.860646, -0.227968],
                [0.280085, 0.672501, 0.047413],
                [-0.011820, 0.042940, 0.968881],
            ],
        ),
        (
            "tritan",
            [
                [1.255528, -0.076749, -0.178779],
                [-0.078411, 0.930809, 0.147602],
                [0.004733, 0.691367, 0.303900],
            ],
        ),
    ];

    fn product(matrix: &[[f64; 3]; 3], vector: [f64; 3]) -> [f64; 3] {
        matrix.map(|row| row.iter().zip(vector).map(|(a, b)| a * b).sum())
    }

    /// A colour as such an eye sees it, in CIE Lab.
    fn lab((red, green, blue): (u8, u8, u8), eye: &[[f64; 3]; 3]) -> [f64; 3] {
        let linear = [red, green, blue].map(|part| {
            let part = f64::from(part) / 255.0;
            if part <= 0.04045 {
                part / 12.92
            } else {
                ((part + 0.055) / 1.055).powf(2.4)
            }
        });
        let seen = product(eye, linear).map(|part| part.clamp(0.0, 1.0));
        let to_xyz = [
            [0.4124 / 0.9505, 0.3576 / 0.9505, 0.1805 / 0.9505],
            [0.2126, 0.7152, 0.0722],
            [0.0193 / 1.089, 0.1192 / 1.089, 0.9505 / 1.089],
        ];
        let [x, y, z] = product(&to_xyz, seen).map(|part| {
            if part > 0.008856 {
                part.cbrt()
            } else {
                7.787 * part + 16.0 / 116.0
            }
        });
        [116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)]
    }

    #[test]
    fn every_eye_tells_the_bands_and_the_greys_apart() {
        // About five times the least difference that anybody sees.
        const LEAST: f64 = 11.0;
        let large = (0x4a, 0x4a, 0x4a);
        let free = (0xb9, 0xb9, 0xb9);
        let colours: Vec<_> = COLOURS.into_iter().chain([large, free]).collect();
        for (name, eye) in EYES {
            for (index, &one) in colours.iter().enumerate() {
                for &other in &colours[index + 1..] {
                    let (a, b) = (lab(one, &eye), lab(other, &eye));
                    let squares = a.iter().zip(b).map(|(a, b)| (a - b).powi(2));
                    let distance = squares.sum::<f64>().sqrt();
                    assert!(distance > LEAST, "{name}: {one:?} {other:?}: {distance}");
                }
            }
        }
    }
}
