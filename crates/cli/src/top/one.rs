//! Draws one process: its words, their history, and its size classes.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Cell, Paragraph, Row, Table};
use thmalloc_inspect::snapshot::{ClassView, Snapshot};

use super::app::App;
use super::chart::{Stack, bar, legend};
use super::records::Process;
use crate::size;
use crate::words::short;

/// How size classes are sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    Size,
    Objects,
    Live,
    Cached,
    Fragmented,
    Spans,
    Used,
    Resident,
}

/// From left to right.
const ORDERS: [Order; 8] = [
    Order::Size,
    Order::Objects,
    Order::Live,
    Order::Cached,
    Order::Fragmented,
    Order::Spans,
    Order::Used,
    Order::Resident,
];

impl Order {
    /// The one that stands so many columns to the right.
    pub fn beside(self, steps: isize) -> Order {
        let place = ORDERS.iter().position(|&order| order == self).unwrap_or(0);
        ORDERS[place.saturating_add_signed(steps).min(ORDERS.len() - 1)]
    }

    fn title(self) -> &'static str {
        match self {
            Order::Size => "SIZE",
            Order::Objects => "OBJECTS",
            Order::Live => "LIVE",
            Order::Cached => "CACHED",
            Order::Fragmented => "FRAG",
            Order::Spans => "SPANS",
            Order::Used => "USED",
            Order::Resident => "RES",
        }
    }

    fn value(self, class: &ClassView) -> u64 {
        match self {
            Order::Size => class.bytes,
            Order::Objects => class.live,
            Order::Live => class.live.saturating_mul(class.bytes),
            Order::Cached => class.cached.saturating_mul(class.bytes),
            Order::Fragmented => class.fragmented,
            Order::Spans => class.spans,
            Order::Used => used(class),
            Order::Resident => class.resident,
        }
    }

    fn text(self, class: &ClassView) -> String {
        let value = self.value(class);
        match self {
            Order::Size => value.to_string(),
            Order::Used => format!("{value} %"),
            Order::Objects | Order::Spans if value < 10_000_000 => value.to_string(),
            _ => short(value),
        }
    }
}

/// The share of its spans' objects that live, in percent.
fn used(class: &ClassView) -> u64 {
    let all = u128::from(class.spans) * u128::from(class.span_objects);
    let used = (u128::from(class.live) * 100).checked_div(all);
    // More than all of them only in a process that lies.
    used.map_or(0, |percent| percent.min(100) as u64)
}

/// Draws the process of a number.
pub fn draw(frame: &mut Frame, app: &mut App, pid: u32, area: Rect) {
    let Some(process) = app.records.get(pid) else {
        frame.render_widget(Line::from(format!("process {pid} has ended")), area);
        return;
    };
    let snapshot = &process.snapshot;
    let figures = legend(&snapshot.bytes, app.theme, area.width);
    let legend_high = if area.height >= 12 {
        figures.len() as u16
    } else {
        0
    };
    let graph_high = match area.height {
        ..10 => 0,
        // A third, so that the classes have room as well.
        high => (high / 3).max(4),
    };
    let [top, line, words, graph, about, body] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Length(legend_high),
        Constraint::Length(graph_high),
        Constraint::Length(1),
        Constraint::Fill(1),
    ])
    .areas(area);

    frame.render_widget(Line::styled(title(process), app.theme.strong()), top);
    let label = format!("{:>5} ", short(snapshot.bytes.resident));
    let room = line.width.saturating_sub(label.len() as u16);
    let mut filled = bar(&snapshot.bytes, app.theme, room);
    filled.spans.insert(0, Span::raw(label));
    frame.render_widget(filled, line);
    frame.render_widget(Paragraph::new(figures), words);
    let stack = Stack {
        history: &process.history,
        zoom: app.zoom,
        theme: app.theme,
    };
    frame.render_widget(stack, graph);
    frame.render_widget(Line::from(beyond(process)), about);
    let table = classes(app, snapshot);
    frame.render_widget(table, body);
    app.page = usize::from(body.height.saturating_sub(1)).max(1);
}

fn title(process: &Process) -> String {
    let of = &process.snapshot.process;
    let state = if process.ended { " has ended" } else { "" };
    let command = size::line(&of.command);
    format!("{}{state}  {command}", of.pid)
}

/// The line between graph and classes: what the words do not say.
fn beyond(process: &Process) -> String {
    let snapshot = &process.snapshot;
    let rate = process.rate.map_or_else(|| "-".into(), short);
    format!(
        "alloc {rate}/s  large {} in {}  given back {}  again {}  process {}",
        short(snapshot.large.bytes),
        snapshot.large.count,
        short(snapshot.totals.released),
        short(snapshot.totals.refaulted),
        short(snapshot.resident.total),
    )
}

/// The size classes, from the first that is to be seen on.
fn classes(app: &App, snapshot: &Snapshot) -> Table<'static> {
    let mut classes: Vec<_> = snapshot.size_classes.iter().collect();
    classes.sort_by(|a, b| {
        let (one, other) = (app.order.value(a), app.order.value(b));
        match app.order {
            Order::Size => one.cmp(&other),
            _ => other.cmp(&one).then(a.bytes.cmp(&b.bytes)),
        }
    });
    let right = |text: String, style: Style| {
        Cell::from(Line::from(Span::styled(text, style)).right_aligned())
    };
    let rows: Vec<_> = classes
        .into_iter()
        .skip(app.first_class)
        .map(|class| Row::new(ORDERS.map(|order| right(order.text(class), Style::new()))))
        .collect();
    let heads = ORDERS.map(|order| {
        let style = match order == app.order {
            true => app.theme.sorted(),
            false => Style::new(),
        };
        right(order.title().into(), style)
    });
    let widths = ORDERS.map(|_| Constraint::Length(7));
    Table::new(rows, widths)
        .header(Row::new(heads).style(app.theme.reversed()))
        .column_spacing(1)
}
