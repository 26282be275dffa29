//! Draws the list of all processes, and what is common to all screens.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Cell, Paragraph, Row, Table};

use super::app::{App, Asks, View};
use super::chart::{bar, legend};
use super::column::{Column, fitting};
use super::records::Process;
use super::{help, one};
use crate::size;
use crate::words::short;

/// Below that height, the words of all processes have no room.
const LOW: u16 = 14;

/// Draws what the screen is about.
pub fn draw(frame: &mut Frame, app: &mut App) {
    let area = frame.area();
    let [body, foot] = Layout::vertical([Constraint::Fill(1), Constraint::Length(1)]).areas(area);
    match app.view {
        View::List => list(frame, app, body),
        View::One(pid) => one::draw(frame, app, pid, body),
        View::Help(_) => help::draw(frame, app, body),
    }
    frame.render_widget(footer(app, foot.width), foot);
}

/// The line above: the time, how many there are, and how they are shown.
pub fn title(app: &App, shown: usize) -> String {
    let records = &app.records;
    let there = records.alive().count();
    let mut title = format!("thmalloc top - {}  {there} process", clock(records.time_ms));
    if there != 1 {
        title.push_str("es");
    }
    if shown != there {
        title.push_str(&format!(", {shown} shown"));
    }
    let unread = records.unread.by_reason();
    let count: usize = unread.iter().map(|&(_, count)| count).sum();
    if count > 0 {
        title.push_str(&format!(", {count} not readable"));
    }
    let inverted = if app.inverted { ", inverted" } else { "" };
    let delay = app.delay.as_secs_f64();
    title.push_str(&format!("  by {}{inverted}  {delay} s", app.sort.name()));
    title
}

/// The time of day, UTC.
fn clock(time_ms: u64) -> String {
    let seconds = time_ms / 1000 % 86400;
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    format!("{hours:02}:{minutes:02}:{:02} UTC", seconds % 60)
}

fn list(frame: &mut Frame, app: &mut App, area: Rect) {
    let sum = app.records.sum();
    let figures = legend(&sum, app.theme, area.width);
    let high = if area.height >= LOW {
        figures.len() as u16
    } else {
        0
    };
    let [top, line, words, body] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Length(high),
        Constraint::Fill(1),
    ])
    .areas(area);

    let columns = fitting(area.width);
    let listed = app.listed();
    let shown = listed.len();
    frame.render_widget(Line::styled(title(app, shown), app.theme.strong()), top);
    let label = format!("{:>5} ", short(sum.resident));
    let mut filled = bar(
        &sum,
        app.theme,
        line.width.saturating_sub(label.len() as u16),
    );
    filled.spans.insert(0, Span::raw(label));
    frame.render_widget(filled, line);
    frame.render_widget(Paragraph::new(figures), words);

    if listed.is_empty() {
        frame.render_widget(Paragraph::new(nothing(app)), body);
        return;
    }
    let rows: Vec<Row> = listed
        .iter()
        .map(|process| Row::new(columns.iter().map(|&column| cell(app, column, process))))
        .collect();
    let heads = columns.iter().map(|&column| {
        let style = match column == app.sort {
            true => app.theme.sorted(),
            false => Style::new(),
        };
        Cell::from(aligned(column, Span::styled(column.title(), style)))
    });
    let heads = Row::new(heads).style(app.theme.reversed());
    let widths = columns.iter().map(|&column| match column {
        Column::Command => Constraint::Fill(1),
        _ => Constraint::Length(column.width()),
    });
    let table = Table::new(rows, widths)
        .header(heads)
        .column_spacing(1)
        .row_highlight_style(app.theme.reversed());
    app.page = usize::from(body.height.saturating_sub(1)).max(1);
    frame.render_stateful_widget(table, body, &mut app.rows);
}

fn cell(app: &App, column: Column, process: &Process) -> Cell<'static> {
    let text = match column {
        Column::Command => command(app, process),
        _ => column.text(process),
    };
    Cell::from(aligned(column, Span::raw(text)))
}

/// What stands in the command's column.
pub fn command(app: &App, process: &Process) -> String {
    let process = &process.snapshot.process;
    size::line(if app.arguments {
        &process.command
    } else {
        &process.name
    })
}

fn aligned(column: Column, text: Span<'static>) -> Line<'static> {
    match column {
        Column::Command => Line::from(text).left_aligned(),
        _ => Line::from(text).right_aligned(),
    }
}

/// What is said where there are no rows.
pub fn nothing(app: &App) -> Vec<Line<'static>> {
    let mut lines = vec![Line::default()];
    if app.filter.is_empty() {
        lines.push("No process on thmalloc.".into());
        lines.push("\"thmalloc run COMMAND\" starts one.".into());
    } else {
        let filter = size::line(&app.filter);
        lines.push(format!("No command contains \"{filter}\". Esc shows all.").into());
    }
    for (reason, count) in app.records.unread.by_reason() {
        let line = match (count, reason) {
            (0, _) => continue,
            (_, "not_permitted") => format!("{count} may not be read: try as root."),
            (_, reason) => format!("{count} cannot be read: {}.", reason.replace('_', " ")),
        };
        lines.push(line.into());
    }
    lines
}

/// The line below: what is typed or said, or the keys.
fn footer(app: &App, width: u16) -> Line<'static> {
    if let Some(prompt) = &app.prompt {
        let asks = match prompt.asks {
            Asks::Filter => "Filter: ",
            Asks::Delay => "Seconds between two readings: ",
        };
        return Line::from(format!("{asks}{}_", size::line(&prompt.text)));
    }
    if let Some(message) = &app.message {
        return Line::styled(size::line(message), app.theme.strong());
    }
    let keys: &[(&str, &str)] = match app.view {
        View::List => &[
            ("h", "help"),
            ("q", "quit"),
            ("Enter", "open"),
            ("< >", "sort"),
            ("R", "invert"),
            ("/", "filter"),
            ("c", "arguments"),
            ("d", "delay"),
        ],
        View::One(_) => &[
            ("h", "help"),
            ("q", "quit"),
            ("Esc", "back"),
            ("< >", "sort"),
            ("+ -", "zoom"),
            ("d", "delay"),
        ],
        View::Help(_) => &[("Esc", "back"), ("q", "quit")],
    };
    let mut line = Line::default();
    for &(key, does) in keys {
        // A key without its word says nothing.
        if line.width() + key.len() + does.len() + 3 > usize::from(width) {
            break;
        }
        line.push_span(Span::styled(key, app.theme.reversed()));
        line.push_span(Span::raw(format!(" {does}  ")));
    }
    line
}

#[cfg(test)]
mod tests;
