use super::*;
use crate::survey::made_up::snapshot;

fn app(processes: &[(u32, &str, u64)]) -> App {
    let mut app = App::new(Column::Resident, Duration::from_secs(2));
    read(&mut app, processes);
    app
}

fn read(app: &mut App, processes: &[(u32, &str, u64)]) {
    let snapshots = processes
        .iter()
        .map(|&(pid, name, live)| snapshot(pid, name, live));
    let reading = Reading {
        snapshots: snapshots.collect(),
        ..Reading::default()
    };
    app.take(reading, 0);
}

fn press(app: &mut App, code: KeyCode) -> Effect {
    app.key(KeyEvent::new(code, KeyModifiers::NONE))
}

fn text(app: &mut App, text: &str) {
    for letter in text.chars() {
        press(app, KeyCode::Char(letter));
    }
}

fn listed(app: &App) -> Vec<u32> {
    app.pids()
}

const THREE: [(u32, &str, u64); 3] = [(5, "redis", 30), (6, "python3", 90), (7, "apache", 60)];

#[test]
fn keys_sort_as_those_of_top() {
    let mut app = app(&THREE);
    assert_eq!(listed(&app), [6, 7, 5]);
    press(&mut app, KeyCode::Char('N'));
    assert_eq!(listed(&app), [5, 6, 7]);
    press(&mut app, KeyCode::Char('R'));
    assert_eq!(listed(&app), [7, 6, 5]);
    press(&mut app, KeyCode::Char('M'));
    assert_eq!(listed(&app), [6, 7, 5]);
    press(&mut app, KeyCode::Char('P'));
    assert_eq!(app.sort, Column::Rate);
    press(&mut app, KeyCode::Char('T'));
    assert_eq!(app.sort, Column::Drawn);
    press(&mut app, KeyCode::Char('>'));
    assert_eq!(listed(&app), [7, 6, 5]);
    press(&mut app, KeyCode::F(6));
    assert_eq!(app.sort, Column::Pid);
}

#[test]
fn the_selection_stays_with_its_process() {
    let mut app = app(&THREE);
    press(&mut app, KeyCode::Down);
    assert_eq!(app.selected, Some(7));
    press(&mut app, KeyCode::Char('N'));
    assert_eq!((app.selected, app.rows.selected()), (Some(7), Some(2)));
    read(&mut app, &[(5, "redis", 30), (7, "apache", 999)]);
    assert_eq!((app.selected, app.rows.selected()), (Some(7), Some(1)));
    // It ends: who is in its place is selected, if anybody is.
    read(&mut app, &[(5, "redis", 30)]);
    assert_eq!((app.selected, app.rows.selected()), (Some(5), Some(0)));
    read(&mut app, &[]);
    assert_eq!((app.selected, app.rows.selected()), (None, None));
    press(&mut app, KeyCode::Enter);
    assert_eq!(app.view, View::List);
}

#[test]
fn the_selection_moves_by_rows_and_pages_and_no_further() {
    let many: Vec<_> = (1..=50).map(|pid| (pid, "x", 1)).collect();
    let mut app = app(&many);
    app.page = 20;
    for (code, selected) in [
        (KeyCode::Up, 1),
        (KeyCode::PageDown, 21),
        (KeyCode::Down, 22),
        (KeyCode::End, 50),
        (KeyCode::PageDown, 50),
        (KeyCode::PageUp, 30),
        (KeyCode::Home, 1),
    ] {
        press(&mut app, code);
        assert_eq!(app.selected, Some(selected), "{code:?}");
    }
}

#[test]
fn what_is_typed_filters_at_once_and_escape_shows_all_again() {
    let mut app = app(&THREE);
    press(&mut app, KeyCode::Char('/'));
    text(&mut app, "REDq");
    assert!(listed(&app).is_empty());
    press(&mut app, KeyCode::Backspace);
    assert_eq!(listed(&app), [5]);
    assert_eq!(app.selected, Some(5));
    press(&mut app, KeyCode::Enter);
    assert_eq!((listed(&app), app.prompt.is_none()), (vec![5], true));
    press(&mut app, KeyCode::Esc);
    assert_eq!(listed(&app).len(), 3);
}

#[test]
fn the_pace_is_typed_and_nonsense_is_named() {
    let mut app = app(&THREE);
    press(&mut app, KeyCode::Char('d'));
    text(&mut app, "0.5");
    let half = Duration::from_millis(500);
    assert_eq!(press(&mut app, KeyCode::Enter), Effect::Pace(half));
    press(&mut app, KeyCode::Char('s'));
    text(&mut app, "0");
    assert_eq!(press(&mut app, KeyCode::Enter), Effect::Draw);
    assert!(app.message.as_ref().is_some_and(|m| m.contains("between")));
    assert_eq!(app.delay, half);
}

#[test]
fn enter_opens_a_process_and_escape_goes_back() {
    let mut app = app(&THREE);
    press(&mut app, KeyCode::Enter);
    assert_eq!(app.view, View::One(6));
    // It ends while it is looked at.
    read(&mut app, &THREE[..1]);
    assert!(app.records.get(6).is_some_and(|process| process.ended));
    press(&mut app, KeyCode::Char('h'));
    assert_eq!(app.view, View::Help(Some(6)));
    press(&mut app, KeyCode::Esc);
    assert_eq!(app.view, View::One(6));
    press(&mut app, KeyCode::Esc);
    assert_eq!((app.view, app.selected), (View::List, Some(5)));
}

#[test]
fn size_classes_scroll_within_their_number() {
    let mut app = app(&THREE);
    press(&mut app, KeyCode::Enter);
    app.page = 2;
    for (code, first) in [
        (KeyCode::Up, 0),
        (KeyCode::Down, 1),
        (KeyCode::Down, 1),
        (KeyCode::Home, 0),
        (KeyCode::PageDown, 1),
        (KeyCode::PageUp, 0),
        (KeyCode::End, 1),
    ] {
        press(&mut app, code);
        assert_eq!(app.first_class, first, "{code:?}");
    }
    press(&mut app, KeyCode::Char('N'));
    assert_eq!(app.order, Order::Size);
    press(&mut app, KeyCode::Char('-'));
    assert_eq!(app.zoom, 2);
    press(&mut app, KeyCode::Char('+'));
    press(&mut app, KeyCode::Char('+'));
    assert_eq!(app.zoom, 1);
}

#[test]
fn keys_that_end_stop_and_read_do_so_everywhere() {
    let control = |app: &mut App, letter| {
        app.key(KeyEvent::new(KeyCode::Char(letter), KeyModifiers::CONTROL))
    };
    for view in [View::List, View::One(6), View::Help(None)] {
        let mut app = app(&THREE);
        app.view = view;
        assert_eq!(press(&mut app, KeyCode::Char('q')), Effect::Quit);
        assert_eq!(press(&mut app, KeyCode::F(10)), Effect::Quit);
        assert_eq!(press(&mut app, KeyCode::Char(' ')), Effect::Read);
        assert_eq!(control(&mut app, 'c'), Effect::Quit);
        assert_eq!(control(&mut app, 'z'), Effect::Suspend);
        assert_eq!(control(&mut app, 'l'), Effect::Redraw);
        // Not M, nor q.
        assert_eq!(control(&mut app, 'q'), Effect::Draw);
        assert_eq!(press(&mut app, KeyCode::Char('k')), Effect::Draw);
        assert!(app.message.is_some());
    }
    // A letter that is typed is a letter.
    let mut app = app(&THREE);
    press(&mut app, KeyCode::Char('/'));
    assert_eq!(press(&mut app, KeyCode::Char('q')), Effect::Draw);
    assert_eq!(control(&mut app, 'c'), Effect::Quit);
}
