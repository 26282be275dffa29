//! One panel: a scenario, a line an allocator.

use plotters::chart::ChartBuilder;
use plotters::coord::Shift;
use plotters::drawing::DrawingAreaErrorKind;
use plotters::prelude::{
    Color, DrawingArea, DrawingBackend, PathElement, RGBColor, Rectangle, Text,
};
use plotters::series::{DashedLineSeries, LineSeries};
use plotters::style::text_anchor::{HPos, VPos};

use super::{COLOURS, DARK, GREY, colour, style};
use crate::allocators::OURS;
use crate::results::Results;
use crate::samples::thinned;
use crate::scenarios::Scenario;

/// Seconds that a panel shows, relative to the moment when the load is gone.
const FROM: f64 = -2.0;
const TO: f64 = 10.0;
/// Room for the names at the right.
const NAMES: i32 = 84;
/// The distance between two names.
const LINE: f64 = 13.0;
const MIB: f64 = (1 << 20) as f64;
const LIGHT: RGBColor = RGBColor(226, 226, 226);

/// What a panel shows.
pub struct Panel {
    title: &'static str,
    name: &'static str,
    /// Name and points (s, MiB), thmalloc last: it is drawn above the others.
    lines: Vec<(String, Vec<(f64, f64)>)>,
    /// Memory before the load and the pages of live objects, if known.
    needed: Option<f64>,
    /// The top of the axis.
    top: f64,
}

impl Panel {
    /// The panel of a scenario, if it was run.
    pub fn new(scenario: &Scenario, results: &Results) -> Option<Panel> {
        let mut lines = Vec::new();
        for (allocator, _) in COLOURS.iter().rev() {
            if let Some(seen) = results.of(scenario.name, allocator) {
                // Half a pixel of the picture.
                let same = seen.peak / 400;
                let shown = (FROM * 1e3) as i64..=(TO * 1e3) as i64;
                let samples = seen.samples.iter().copied();
                let samples: Vec<_> = samples.filter(|(at, _)| shown.contains(at)).collect();
                let points = thinned(&samples, same)
                    .into_iter()
                    .map(|(at, bytes)| (at as f64 / 1e3, bytes as f64 / MIB))
                    .collect();
                lines.push(((*allocator).to_string(), points));
            }
        }
        if lines.is_empty() {
            return None;
        }
        let highest = |points: &Vec<(f64, f64)>| points.iter().map(|p| p.1).fold(0.0, f64::max);
        let top = lines
            .iter()
            .map(|line| highest(&line.1))
            .fold(1.0, f64::max)
            * 1.06;
        let needed = results
            .ours(scenario.name)
            .filter(|seen| seen.page_bytes > 0)
            .map(|seen| (seen.start + seen.page_bytes) as f64 / MIB);
        Some(Panel {
            title: scenario.title,
            name: scenario.name,
            lines,
            needed,
            top,
        })
    }

    /// Draws it into `area`, `scale` times as large as the SVG.
    pub fn draw<DB: DrawingBackend>(
        &self,
        area: &DrawingArea<DB, Shift>,
        scale: i32,
    ) -> Result<(), DrawingAreaErrorKind<DB::ErrorType>> {
        let s = scale;
        let text = |size, bold, colour, h, v| style(size * s, bold, colour, h, v);
        let title = text(13, true, DARK, HPos::Left, VPos::Top);
        area.draw(&Text::new(self.title, (16 * s, 6 * s), title))?;
        let name = text(11, false, GREY, HPos::Right, VPos::Top);
        let right = area.dim_in_pixel().0 as i32 - 8 * s;
        area.draw(&Text::new(self.name, (right, 7 * s), name))?;

        let mut chart = ChartBuilder::on(area)
            .margin_top(26 * s)
            .margin_left(8 * s)
            .margin_right(NAMES * s)
            .margin_bottom(4 * s)
            .x_label_area_size(34 * s)
            .y_label_area_size(50 * s)
            .build_cartesian_2d(FROM..TO, 0.0..self.top)?;
        let plain = text(11, false, GREY, HPos::Left, VPos::Top);
        chart
            .configure_mesh()
            .x_labels(7)
            .y_labels(6)
            .x_desc("seconds since the load was gone")
            .y_desc("MiB")
            .label_style(plain.clone())
            .axis_desc_style(plain)
            .axis_style(GREY.stroke_width(s as u32))
            .bold_line_style(LIGHT.stroke_width(s as u32))
            .light_line_style(LIGHT.mix(0.0))
            .set_all_tick_mark_size(4 * s)
            .x_label_formatter(&|x| format!("{x:.0}"))
            .y_label_formatter(&|y| format!("{y:.0}"))
            .draw()?;
        if let Some(needed) = self.needed {
            let corners = [(FROM, 0.0), (TO, needed)];
            chart.draw_series([Rectangle::new(corners, GREY.mix(0.25).filled())])?;
        }
        for at in [0.0, 1.0] {
            let line = [(at, 0.0), (at, self.top)];
            let dash = GREY.stroke_width(s as u32);
            chart.draw_series(DashedLineSeries::new(
                line,
                4 * s as u32,
                3 * s as u32,
                dash,
            ))?;
        }
        for (name, points) in &self.lines {
            let width = if name == OURS { 7 * s / 2 } else { 3 * s / 2 };
            let stroke = colour(name).stroke_width(width.max(1) as u32);
            chart.draw_series(LineSeries::new(points.iter().copied(), stroke))?;
        }

        let ends: Vec<f64> = self
            .lines
            .iter()
            .map(|line| line.1.last().map_or(0.0, |end| end.1))
            .map(|end| f64::from(chart.backend_coord(&(TO, end)).1) / f64::from(s))
            .collect();
        let (left, top) = area.get_base_pixel();
        let edge = chart.backend_coord(&(TO, 0.0)).0 - left;
        let bounds =
            [self.top, 0.0].map(|y| f64::from(chart.backend_coord(&(TO, y)).1) / f64::from(s));
        for ((name, _), (end, place)) in self
            .lines
            .iter()
            .zip(ends.iter().zip(spread(&ends, bounds)))
        {
            let pixel = |y: f64| (y * f64::from(s)) as i32 - top;
            let stroke = colour(name).stroke_width((s / 2).max(1) as u32);
            let leader = vec![(edge + 2 * s, pixel(*end)), (edge + 10 * s, pixel(place))];
            area.draw(&PathElement::new(leader, stroke))?;
            let label = text(11, name == OURS, colour(name), HPos::Left, VPos::Center);
            area.draw(&Text::new(
                name.clone(),
                (edge + 12 * s, pixel(place)),
                label,
            ))?;
        }
        Ok(())
    }
}

/// Where names stand whose lines end at `ends`: in the same order, at least
/// [`LINE`] apart, between `bounds`, and near their line's end.
fn spread(ends: &[f64], bounds: [f64; 2]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..ends.len()).collect();
    order.sort_by(|a, b| ends[*a].total_cmp(&ends[*b]));
    // Groups of names that touch: (first in order, count, middle).
    let mut groups: Vec<(usize, usize, f64)> = Vec::new();
    let place = |count: usize, middle: f64| {
        let half = (count - 1) as f64 * LINE / 2.0;
        middle.min(bounds[1] - half).max(bounds[0] + half)
    };
    for (first, index) in order.iter().enumerate() {
        let mut group = (first, 1, place(1, ends[*index]));
        while let Some(above) = groups.last().copied() {
            let reach = (above.1 + group.1) as f64 * LINE / 2.0;
            if group.2 - above.2 >= reach {
                break;
            }
            groups.pop();
            let count = above.1 + group.1;
            let mean = order[above.0..above.0 + count]
                .iter()
                .map(|i| ends[*i])
                .sum::<f64>();
            group = (above.0, count, place(count, mean / count as f64));
        }
        groups.push(group);
    }
    let mut places = vec![0.0; ends.len()];
    for (first, count, middle) in groups {
        for n in 0..count {
            let offset = n as f64 - (count - 1) as f64 / 2.0;
            places[order[first + n]] = middle + offset * LINE;
        }
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_their_order_their_distance_and_their_bounds() {
        let bounds = [0.0, 200.0];
        for ends in [
            vec![100.0],
            vec![10.0, 190.0],
            vec![50.0, 50.0, 50.0],
            vec![200.0, 199.0, 198.0, 20.0, 25.0, 0.0],
        ] {
            let places = spread(&ends, bounds);
            for (a, b) in (0..ends.len()).flat_map(|a| (0..a).map(move |b| (a, b))) {
                assert!(
                    (places[a] - places[b]).abs() >= LINE - 1e-9,
                    "{ends:?} {places:?}"
                );
                if ends[a] < ends[b] {
                    assert!(places[a] < places[b], "{ends:?} {places:?}");
                }
            }
            assert!(places.iter().all(|y| (-1e-9..=200.0 + 1e-9).contains(y)));
        }
        assert_eq!(spread(&[30.0, 150.0], bounds), [30.0, 150.0]);
    }
}
