//! The picture: every workload and allocator, by colour; time and peak memory.
//!
//! Always: SVG and PNG are the same drawing. Positions are in units of the
//! SVG's pixels; whatever is drawn is multiplied by the canvas's scale.

use std::io;
use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::{
    BitMapBackend, Color, DrawingArea, DrawingBackend, IntoDrawingArea, RGBColor, Rectangle,
    SVGBackend, Text, WHITE,
};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{FontDesc, FontFamily, FontStyle, TextStyle, register_font};
use thmalloc_bench::pixels;

use crate::allocators::OURS;
use crate::catalogue::Kind;
use crate::results::{Figure, Results};

const DARK: RGBColor = RGBColor(40, 40, 40);
const GREY: RGBColor = RGBColor(110, 110, 110);
/// As good as the best peer or better, as bad as twice that, and worse.
const GOOD: RGBColor = RGBColor(120, 190, 160);
const EVEN: RGBColor = RGBColor(250, 246, 232);
const BAD: RGBColor = RGBColor(222, 120, 80);

const NAMES: i32 = 130;
const CELL: i32 = 62;
const LINE: i32 = 17;
const TOP: i32 = 104;
const EDGE: i32 = 16;

/// A line of the picture: its name, whether it stands out, and its ratios.
struct Line {
    name: String,
    bold: bool,
    ratios: [Vec<Option<f64>>; 2],
}

fn failed(error: impl std::fmt::Display) -> io::Error {
    io::Error::other(format!("the picture: {error}"))
}

fn lines(results: &Results) -> Vec<Line> {
    let figures = [Figure::Time, Figure::Peak];
    let mut lines = Vec::new();
    let mut mean = |name: &str, kinds: &[Kind]| {
        let ratios = figures.map(|figure| {
            let of = |allocator: &&str| results.mean(allocator, figure, kinds).map(|mean| mean.0);
            results.allocators.iter().map(of).collect::<Vec<_>>()
        });
        if ratios[0].iter().any(Option::is_some) {
            lines.push(Line {
                name: name.to_string(),
                bold: true,
                ratios,
            });
        }
    };
    mean("geometric mean", &[Kind::Synthetic, Kind::Real]);
    mean("synthetic", &[Kind::Synthetic]);
    mean("real programs", &[Kind::Real]);
    mean("GlobalAlloc", &[Kind::Rust]);
    for workload in &results.workloads {
        let ratios = figures.map(|figure| {
            let of = |allocator: &&str| {
                let ratio = results.ratio(workload.name, allocator, figure);
                ratio.map(|ratio| ratio.ratio)
            };
            results.allocators.iter().map(of).collect()
        });
        lines.push(Line {
            name: workload.name.to_string(),
            bold: false,
            ratios,
        });
    }
    lines
}

/// The colour of a ratio.
fn colour(ratio: f64) -> RGBColor {
    let mix = |a: RGBColor, b: RGBColor, share: f64| {
        let part = |a: u8, b: u8| (f64::from(a) + (f64::from(b) - f64::from(a)) * share) as u8;
        RGBColor(part(a.0, b.0), part(a.1, b.1), part(a.2, b.2))
    };
    // As a share of a factor of two, either way.
    let distance = ratio.log2().clamp(-1.0, 1.0);
    if ratio <= 1.05 {
        mix(GOOD, EVEN, 0.6 * (distance + 1.0).clamp(0.0, 1.0))
    } else {
        mix(EVEN, BAD, distance)
    }
}

/// Draws `DIR/benchmarks.svg` and `.png`.
pub fn draw(results: &Results, directory: &Path) -> io::Result<()> {
    for (style, bytes) in [
        (FontStyle::Normal, dejavu::sans::regular()),
        (FontStyle::Bold, dejavu::sans::bold()),
    ] {
        register_font(FontFamily::SansSerif.as_str(), style, bytes)
            .map_err(|_| failed("the font is not read"))?;
    }
    let lines = lines(results);
    let block = CELL * results.allocators.len() as i32;
    let width = (2 * EDGE + NAMES + 2 * block + EDGE).max(900) as u32;
    let height = (TOP + LINE * lines.len() as i32 + 2 * EDGE) as u32;
    let mut svg = String::new();
    let area = SVGBackend::with_string(&mut svg, (width, height)).into_drawing_area();
    table(&area, 1, results, &lines)?;
    drop(area);
    std::fs::write(directory.join("benchmarks.svg"), svg)?;
    let (wide, high) = (width * pixels::SCALE, height * pixels::SCALE);
    let mut buffer = vec![0; (wide * high * 3) as usize];
    let area = BitMapBackend::with_buffer(&mut buffer, (wide, high)).into_drawing_area();
    table(&area, pixels::SCALE as i32, results, &lines)?;
    drop(area);
    pixels::write(&directory.join("benchmarks.png"), &buffer, wide, high)
}

fn table<DB: DrawingBackend>(
    area: &DrawingArea<DB, Shift>,
    s: i32,
    results: &Results,
    lines: &[Line],
) -> io::Result<()> {
    area.fill(&WHITE).map_err(failed)?;
    let write = |text: &str, at: (i32, i32), size: i32, bold: bool, colour, h: HPos| {
        let style = style(size * s, bold, colour, h);
        let text = Text::new(text.to_string(), (at.0 * s, at.1 * s), style);
        area.draw(&text).map_err(failed)
    };
    write(
        "Time and peak memory against the best of all other allocators",
        (EDGE, 22),
        19,
        true,
        DARK,
        HPos::Left,
    )?;
    write(
        "1.00 is the best peer of a line; below 1.00 (green) is better than every peer, 2 and more is red. Medians of rounds.",
        (EDGE, 46),
        12,
        false,
        GREY,
        HPos::Left,
    )?;
    for (number, title) in ["Time", "Peak memory"].into_iter().enumerate() {
        let block = CELL * results.allocators.len() as i32;
        let left = EDGE + NAMES + number as i32 * (block + EDGE);
        write(title, (left, 72), 14, true, DARK, HPos::Left)?;
        for (column, allocator) in results.allocators.iter().enumerate() {
            let middle = left + column as i32 * CELL + CELL / 2;
            let short = if *allocator == "rusty_alloc" {
                "rusty"
            } else {
                allocator
            };
            write(
                short,
                (middle, TOP - 12),
                10,
                *allocator == OURS,
                DARK,
                HPos::Center,
            )?;
        }
        for (row, line) in lines.iter().enumerate() {
            let top = TOP + row as i32 * LINE;
            for (column, ratio) in line.ratios[number].iter().enumerate() {
                let x = left + column as i32 * CELL;
                let middle = (x + CELL / 2, top + LINE / 2);
                let Some(ratio) = ratio else {
                    write("–", middle, 10, false, GREY, HPos::Center)?;
                    continue;
                };
                let corners = [(x * s, top * s), ((x + CELL - 1) * s, (top + LINE - 1) * s)];
                area.draw(&Rectangle::new(corners, colour(*ratio).filled()))
                    .map_err(failed)?;
                let bold = line.bold || results.allocators[column] == OURS;
                write(&format!("{ratio:.2}"), middle, 10, bold, DARK, HPos::Center)?;
            }
        }
    }
    for (row, line) in lines.iter().enumerate() {
        let middle = TOP + row as i32 * LINE + LINE / 2;
        write(&line.name, (EDGE, middle), 11, line.bold, DARK, HPos::Left)?;
    }
    area.present().map_err(failed)
}

fn style(size: i32, bold: bool, colour: RGBColor, h: HPos) -> TextStyle<'static> {
    let weight = if bold {
        FontStyle::Bold
    } else {
        FontStyle::Normal
    };
    let font = FontDesc::new(FontFamily::SansSerif, f64::from(size), weight);
    let mut style = TextStyle::from(font).pos(Pos::new(h, VPos::Center));
    style.color = colour.to_backend_color();
    style
}
