//! The picture: the memory of each process over time, a panel a scenario.
//!
//! Always: SVG and PNG are the same drawing. Positions are in units of the
//! SVG's pixels; whatever is drawn is multiplied by the canvas's scale, so that
//! the PNG can be drawn several times as large, and smoothed.

mod panel;

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

use crate::results::Results;
use crate::scenarios::{PEAKS, SERVICES};
use panel::Panel;

const COLUMNS: usize = 3;
const PANEL_WIDTH: i32 = 420;
const PANEL_HEIGHT: i32 = 268;
/// Title and legend.
const TOP: i32 = 96;
const BOTTOM: i32 = 14;

/// Text and axes.
const DARK: RGBColor = RGBColor(40, 40, 40);
const GREY: RGBColor = RGBColor(110, 110, 110);

/// The colours of Okabe and Ito, which colour-blind people can tell apart.
const COLOURS: [(&str, RGBColor); 7] = [
    ("thmalloc", RGBColor(213, 94, 0)),
    ("glibc", RGBColor(0, 0, 0)),
    ("jemalloc", RGBColor(0, 114, 178)),
    ("jemalloc-bg", RGBColor(86, 180, 233)),
    ("mimalloc", RGBColor(0, 158, 115)),
    ("tcmalloc", RGBColor(204, 121, 167)),
    ("tbbmalloc", RGBColor(190, 140, 0)),
];

fn colour(allocator: &str) -> RGBColor {
    let known = COLOURS.iter().find(|(name, _)| *name == allocator);
    known.map_or(GREY, |(_, colour)| *colour)
}

/// A canvas, and how much larger than the SVG it is.
struct Canvas<'a, DB: DrawingBackend> {
    area: DrawingArea<DB, Shift>,
    scale: i32,
    legend: &'a [&'static str],
}

/// An error of a drawing, whatever drew it.
fn failed(error: impl std::fmt::Display) -> io::Error {
    io::Error::other(format!("the picture: {error}"))
}

/// Draws everything that was seen to `DIR/memory-returns.svg` and `.png`.
pub fn draw(results: &Results, directory: &Path) -> io::Result<()> {
    // For measuring, and for the PNG; who shows the SVG has a font like it.
    for (style, bytes) in [
        (FontStyle::Normal, dejavu::sans::regular()),
        (FontStyle::Bold, dejavu::sans::bold()),
    ] {
        register_font(FontFamily::SansSerif.as_str(), style, bytes)
            .map_err(|_| failed("the font is not read"))?;
    }
    let names = PEAKS.iter().chain(&SERVICES);
    let panels: Vec<Panel> = names
        .filter_map(|scenario| Panel::new(scenario, results))
        .collect();
    if panels.is_empty() {
        return Ok(());
    }
    let legend: Vec<&'static str> = COLOURS
        .iter()
        .map(|(name, _)| *name)
        .filter(|name| results.seen.iter().any(|seen| seen.allocator == *name))
        .collect();
    let columns = COLUMNS.min(panels.len());
    let rows = panels.len().div_ceil(columns);
    let width = (columns as i32 * PANEL_WIDTH).max(2 * PANEL_WIDTH) as u32;
    let height = (TOP + rows as i32 * PANEL_HEIGHT + BOTTOM) as u32;

    let mut svg = String::new();
    let canvas = Canvas {
        area: SVGBackend::with_string(&mut svg, (width, height)).into_drawing_area(),
        scale: 1,
        legend: &legend,
    };
    canvas.draw(&panels, columns)?;
    drop(canvas);
    std::fs::write(directory.join("memory-returns.svg"), svg)?;

    let (wide, high) = (width * pixels::SCALE, height * pixels::SCALE);
    let mut buffer = vec![0; (wide * high * 3) as usize];
    let canvas = Canvas {
        area: BitMapBackend::with_buffer(&mut buffer, (wide, high)).into_drawing_area(),
        scale: pixels::SCALE as i32,
        legend: &legend,
    };
    canvas.draw(&panels, columns)?;
    drop(canvas);
    pixels::write(&directory.join("memory-returns.png"), &buffer, wide, high)
}

impl<DB: DrawingBackend> Canvas<'_, DB> {
    fn draw(&self, panels: &[Panel], columns: usize) -> io::Result<()> {
        self.area.fill(&WHITE).map_err(failed)?;
        self.head()?;
        let s = self.scale;
        let (_, body) = self.area.split_vertically(TOP * s);
        for (number, panel) in panels.iter().enumerate() {
            let (column, row) = (number % columns, number / columns);
            let (x, y) = (
                column as i32 * PANEL_WIDTH * s,
                row as i32 * PANEL_HEIGHT * s,
            );
            let size = ((PANEL_WIDTH * s) as u32, (PANEL_HEIGHT * s) as u32);
            let area = body.clone().shrink((x, y), size);
            panel.draw(&area, s).map_err(failed)?;
        }
        self.area.present().map_err(failed)
    }

    /// Title and legend.
    fn head(&self) -> io::Result<()> {
        self.text(
            "Anonymous memory of a process before and after its load is gone",
            (16, 12),
            19,
            true,
            DARK,
        )?;
        let below = "Dashed lines: the load is gone, and one second later. Grey: what was there before \
                     the load, and the pages in which live objects are.";
        self.text(below, (16, 40), 12, false, GREY)?;
        let mut x = 16;
        for name in self.legend {
            let bold = *name == crate::allocators::OURS;
            let thickness = if bold { 5 } else { 3 };
            let s = self.scale;
            let swatch = [
                (x * s, (71 - thickness / 2) * s - s / 2),
                ((x + 22) * s, (72 + thickness / 2) * s - s / 2),
            ];
            let rectangle = Rectangle::new(swatch, colour(name).filled());
            self.area.draw(&rectangle).map_err(failed)?;
            self.text(name, (x + 28, 64), 13, bold, DARK)?;
            x += 52 + 8 * name.len() as i32;
        }
        Ok(())
    }

    fn text(
        &self,
        text: &str,
        at: (i32, i32),
        size: i32,
        bold: bool,
        colour: RGBColor,
    ) -> io::Result<()> {
        let s = self.scale;
        let style = style(size * s, bold, colour, HPos::Left, VPos::Top);
        let text = Text::new(text.to_string(), (at.0 * s, at.1 * s), style);
        self.area.draw(&text).map_err(failed)
    }
}

/// How text looks.
fn style(size: i32, bold: bool, colour: RGBColor, h: HPos, v: VPos) -> TextStyle<'static> {
    let style = if bold {
        FontStyle::Bold
    } else {
        FontStyle::Normal
    };
    let font = FontDesc::new(FontFamily::SansSerif, f64::from(size), style);
    let mut style = TextStyle::from(font).pos(Pos::new(h, v));
    style.color = colour.to_backend_color();
    style
}
