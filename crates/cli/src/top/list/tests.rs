use std::time::Duration;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::style::Color;

use super::*;
use crate::survey::Reading;
use crate::survey::made_up::{MIB, class, snapshot};
use crate::top::theme::Theme;

const PLAIN: Theme = Theme {
    color: false,
    unicode: false,
};

/// Three processes after three readings, two seconds apart, one of which grows.
fn app() -> App {
    let mut app = App::new(Column::Resident, Duration::from_secs(2));
    app.theme = PLAIN;
    for step in 0..3 {
        let mut snapshots = vec![
            snapshot(812, "redis-server", 40),
            snapshot(9044, "python3", 100 + 100 * step),
            snapshot(4_100_000, "a\u{1b}[31m", 1),
        ];
        for snapshot in &mut snapshots {
            snapshot.time_ms += 2000 * step;
        }
        snapshots[1].totals.drawn += 110 * MIB * step;
        let mut reading = Reading {
            snapshots,
            ..Reading::default()
        };
        reading.unread.not_permitted = 2;
        app.take(reading, 1_700_000_000_000 + 2000 * step);
    }
    app
}

fn press(app: &mut App, code: KeyCode) {
    app.key(KeyEvent::new(code, KeyModifiers::NONE));
}

fn terminal(app: &mut App, width: u16, height: u16) -> Terminal<TestBackend> {
    let backend = TestBackend::new(width, height);
    let mut terminal = Terminal::new(backend).expect("a terminal");
    terminal.draw(|frame| draw(frame, app)).expect("it draws");
    terminal
}

/// The screen's lines, without the blanks at their ends.
fn screen(app: &mut App, width: u16, height: u16) -> String {
    let terminal = terminal(app, width, height);
    let buffer = terminal.backend().buffer();
    let lines = (0..height).map(|y| {
        let line: String = (0..width).map(|x| buffer[(x, y)].symbol()).collect();
        line.trim_end().to_owned() + "\n"
    });
    lines.collect()
}

#[track_caller]
fn same(shown: &str, expected: &str) {
    assert!(shown == expected, "shown:\n{shown}\nexpected:\n{expected}");
}

#[test]
fn the_list_in_80_columns() {
    same(&screen(&mut app(), 80, 24), include_str!("80x24.txt"));
}

#[test]
fn the_list_on_a_wide_screen_has_all_columns_and_arguments() {
    let mut app = app();
    press(&mut app, KeyCode::Char('c'));
    same(&screen(&mut app, 120, 12), include_str!("120x12.txt"));
}

#[test]
fn the_list_on_a_narrow_screen() {
    same(&screen(&mut app(), 40, 16), include_str!("40x16.txt"));
}

#[test]
fn a_process_in_80_columns() {
    let mut app = app();
    press(&mut app, KeyCode::Enter);
    same(&screen(&mut app, 80, 24), include_str!("one-80x24.txt"));
}

#[test]
fn the_help_fits_in_80_columns_and_scrolls_in_fewer() {
    let mut app = app();
    press(&mut app, KeyCode::Char('h'));
    let shown = screen(&mut app, 80, 24);
    assert!(shown.contains("this help"), "{shown}");
    assert!(shown.contains("live objects, of those"), "{shown}");
    let narrow = screen(&mut app, 40, 12);
    assert!(narrow.contains("this help"), "{narrow}");
    for _ in 0..200 {
        press(&mut app, KeyCode::Down);
    }
    let end = screen(&mut app, 40, 12);
    assert!(end.contains("spans have room for"), "{end}");
}

#[test]
fn no_processes_are_named_and_so_are_those_that_may_not_be_read() {
    let mut app = App::new(Column::Resident, Duration::from_secs(2));
    let mut reading = Reading::default();
    reading.unread.not_permitted = 2;
    app.take(reading, 0);
    let shown = screen(&mut app, 80, 24);
    assert!(shown.contains("0 processes, 2 not readable"), "{shown}");
    assert!(shown.contains("No process on thmalloc."), "{shown}");
    assert!(shown.contains("2 may not be read: try as root."), "{shown}");
}

#[test]
fn what_is_typed_and_said_stands_below() {
    let mut app = app();
    press(&mut app, KeyCode::Char('/'));
    press(&mut app, KeyCode::Char('x'));
    press(&mut app, KeyCode::Char('y'));
    let shown = screen(&mut app, 80, 24);
    assert!(shown.ends_with("Filter: xy_\n"), "{shown}");
    assert!(shown.contains("No command contains \"xy\""), "{shown}");
    press(&mut app, KeyCode::Esc);
    press(&mut app, KeyCode::Char('k'));
    let shown = screen(&mut app, 80, 24);
    assert!(shown.ends_with("never ended\n"), "{shown}");
}

#[test]
fn a_process_that_ended_is_still_shown_as_it_was() {
    let mut app = app();
    press(&mut app, KeyCode::Enter);
    app.take(Reading::default(), 0);
    let shown = screen(&mut app, 80, 24);
    assert!(
        shown.starts_with("9044 has ended  /usr/bin/python3"),
        "{shown}"
    );
    assert!(shown.contains("1024"), "{shown}");
}

#[test]
fn colours_stand_for_words_where_there_are_any() {
    let mut app = app();
    let colored = |app: &mut App| {
        let terminal = terminal(app, 80, 24);
        let buffer = terminal.backend().buffer();
        let mut cells = buffer.content.iter();
        cells.any(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset)
    };
    assert!(!colored(&mut app));
    app.theme = Theme {
        color: true,
        unicode: true,
    };
    assert!(colored(&mut app));
    press(&mut app, KeyCode::Enter);
    assert!(colored(&mut app));
}

#[test]
fn no_size_breaks_a_screen() {
    for view in [View::List, View::One(9044), View::Help(None), View::One(1)] {
        let mut app = app();
        app.view = view;
        for width in [0, 1, 2, 7, 20, 33, 79, 200] {
            for height in [0, 1, 2, 5, 9, 13, 60] {
                screen(&mut app, width, height);
            }
        }
    }
}

#[test]
fn what_a_hostile_process_claims_breaks_nothing() {
    let mut evil = snapshot(1, "\u{202e}x\r\n", 1);
    evil.process.command = "\u{7}".repeat(5000);
    for word in [&mut evil.bytes.live, &mut evil.bytes.released] {
        *word = u64::MAX;
    }
    evil.bytes.resident = u64::MAX;
    evil.totals.drawn = u64::MAX;
    let mut one = class(1, 16, 1, 0);
    (one.live, one.spans, one.bytes) = (u64::MAX, u64::MAX, u64::MAX);
    (one.resident, one.span_objects) = (u64::MAX, u64::MAX);
    evil.size_classes = vec![one; 3];
    let mut app = App::new(Column::Resident, Duration::from_secs(2));
    for time in [5, 3, 4] {
        evil.time_ms = time;
        let reading = Reading {
            snapshots: vec![evil.clone()],
            ..Reading::default()
        };
        app.take(reading, u64::MAX);
        let shown = screen(&mut app, 80, 24);
        assert!(!shown.contains(['\u{202e}', '\r', '\u{7}']), "{shown}");
        press(&mut app, KeyCode::Enter);
        screen(&mut app, 80, 24);
        press(&mut app, KeyCode::Esc);
    }
}
