//! What the screen is about, and what a key changes. Knows no terminal.

use std::time::Duration;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::widgets::TableState;

use super::column::Column;
use super::one::Order;
use super::records::{HISTORY, Process, Records};
use super::theme::Theme;
use crate::survey::Reading;

/// The screen's state.
#[derive(Debug)]
pub struct App {
    /// What was read.
    pub records: Records,
    /// Which screen is shown.
    pub view: View,
    /// How often the processes are read.
    pub delay: Duration,
    /// The list's order.
    pub sort: Column,
    /// The other way round.
    pub inverted: bool,
    /// Only processes whose command contains it are shown.
    pub filter: String,
    /// Whole command lines, not names.
    pub arguments: bool,
    /// What is being typed.
    pub prompt: Option<Prompt>,
    /// Something to be said once.
    pub message: Option<String>,
    /// The selected process. `rows` follows it as the rows move.
    pub selected: Option<u32>,
    /// Which rows of the list are on the screen.
    pub rows: TableState,
    /// How many fit there; known when they were drawn.
    pub page: usize,
    /// What the colours and signs are.
    pub theme: Theme,
    /// Of the screen of one process: the order of its size classes,
    pub order: Order,
    /// the first of them that is shown,
    pub first_class: usize,
    /// and how many readings a column of its graph stands for.
    pub zoom: usize,
    /// The first line of the help that is shown.
    pub help_line: u16,
}

/// A screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// All processes.
    List,
    /// One.
    One(u32),
    /// The help, and what it hides: `Some` process or the list.
    Help(Option<u32>),
}

/// A line that is being typed.
#[derive(Debug, PartialEq, Eq)]
pub struct Prompt {
    /// What for.
    pub asks: Asks,
    /// What was typed until now.
    pub text: String,
}

/// What a prompt asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asks {
    /// What commands must contain.
    Filter,
    /// Seconds between two readings.
    Delay,
}

/// What whoever runs the screen has to do after a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing but to draw.
    Draw,
    /// Draw everything anew, whatever stands there.
    Redraw,
    /// Read the processes now.
    Read,
    /// Read them at another pace.
    Pace(Duration),
    /// Stop, as ^Z does.
    Suspend,
    /// End.
    Quit,
}

impl App {
    /// A screen with nothing read yet.
    pub fn new(sort: Column, delay: Duration) -> App {
        App {
            records: Records::default(),
            view: View::List,
            delay,
            sort,
            inverted: false,
            filter: String::new(),
            arguments: false,
            prompt: None,
            message: None,
            selected: None,
            rows: TableState::new(),
            page: 1,
            theme: Theme {
                color: false,
                unicode: false,
            },
            order: Order::Resident,
            first_class: 0,
            zoom: 1,
            help_line: 0,
        }
    }

    /// Takes a reading in.
    pub fn take(&mut self, reading: Reading, time_ms: u64) {
        let kept = match self.view {
            View::One(pid) | View::Help(Some(pid)) => Some(pid),
            _ => None,
        };
        self.records.take(reading, time_ms, kept);
        self.follow();
    }

    /// The processes that the list shows, in its order.
    pub fn listed(&self) -> Vec<&Process> {
        let wanted = self.filter.to_lowercase();
        let mut listed: Vec<_> = self
            .records
            .alive()
            .filter(|process| {
                let process = &process.snapshot.process;
                wanted.is_empty()
                    || process.command.to_lowercase().contains(&wanted)
                    || process.name.to_lowercase().contains(&wanted)
            })
            .collect();
        listed.sort_by(|a, b| self.sort.compare(a, b));
        if self.inverted {
            listed.reverse();
        }
        listed
    }

    /// Keeps the same process selected, wherever its row went; if it is gone, the
    /// one that took its place.
    fn follow(&mut self) {
        let pids: Vec<u32> = self.pids();
        let place = self
            .selected
            .and_then(|pid| pids.iter().position(|&other| other == pid))
            .unwrap_or_else(|| self.rows.selected().unwrap_or(0))
            .min(pids.len().saturating_sub(1));
        self.selected = pids.get(place).copied();
        self.rows.select(self.selected.map(|_| place));
    }

    fn pids(&self) -> Vec<u32> {
        let listed = self.listed();
        listed.iter().map(|p| p.snapshot.process.pid).collect()
    }

    /// Moves the selection by so many rows.
    fn step(&mut self, rows: isize) {
        let pids = self.pids();
        let place = self.rows.selected().unwrap_or(0);
        let place = place
            .saturating_add_signed(rows)
            .min(pids.len().saturating_sub(1));
        self.selected = pids.get(place).copied();
        self.rows.select(self.selected.map(|_| place));
    }

    /// Does what a key says.
    pub fn key(&mut self, key: KeyEvent) -> Effect {
        self.message = None;
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Char('c') if control => return Effect::Quit,
            KeyCode::Char('z') if control => return Effect::Suspend,
            KeyCode::Char('l') if control => return Effect::Redraw,
            // No other key is ours together with these.
            KeyCode::Char(_) if control || key.modifiers.contains(KeyModifiers::ALT) => {
                return Effect::Draw;
            }
            _ => {}
        }
        if self.prompt.is_some() {
            return self.type_in(key.code);
        }
        match key.code {
            KeyCode::Char('q') | KeyCode::F(10) => Effect::Quit,
            KeyCode::Char(' ') => Effect::Read,
            KeyCode::Char('k') | KeyCode::F(9) => {
                self.message = Some("processes are looked at here, never ended".into());
                Effect::Draw
            }
            KeyCode::Char('d' | 's') => self.ask(Asks::Delay, String::new()),
            code => {
                match self.view {
                    View::List => return self.key_of_list(code),
                    View::One(pid) => self.key_of_one(code, pid),
                    View::Help(under) => self.key_of_help(code, under),
                }
                Effect::Draw
            }
        }
    }

    fn ask(&mut self, asks: Asks, text: String) -> Effect {
        self.prompt = Some(Prompt { asks, text });
        Effect::Draw
    }

    fn key_of_list(&mut self, code: KeyCode) -> Effect {
        let page = isize::try_from(self.page).unwrap_or(1).max(1);
        match code {
            KeyCode::Up => self.step(-1),
            KeyCode::Down | KeyCode::Char('j') => self.step(1),
            KeyCode::PageUp => self.step(-page),
            KeyCode::PageDown => self.step(page),
            KeyCode::Home | KeyCode::Char('g') => self.step(isize::MIN),
            KeyCode::End | KeyCode::Char('G') => self.step(isize::MAX),
            KeyCode::Char('P') => self.sort_by(Column::Rate),
            KeyCode::Char('M') => self.sort_by(Column::Resident),
            KeyCode::Char('N') => self.sort_by(Column::Pid),
            KeyCode::Char('T') => self.sort_by(Column::Drawn),
            KeyCode::Char('<' | ',') => self.sort_by(self.sort.beside(-1)),
            KeyCode::Char('>' | '.') | KeyCode::F(6) => {
                let next = self.sort.beside(1);
                // F6 alone has to reach all of them.
                let last = next == self.sort && code == KeyCode::F(6);
                self.sort_by(if last { Column::Pid } else { next });
            }
            KeyCode::Char('R' | 'I') => {
                self.inverted = !self.inverted;
                self.follow();
            }
            KeyCode::Char('c') => self.arguments = !self.arguments,
            KeyCode::Char('/' | '\\') | KeyCode::F(3 | 4) => {
                return self.ask(Asks::Filter, self.filter.clone());
            }
            KeyCode::Esc => {
                self.filter.clear();
                self.follow();
            }
            KeyCode::Enter => {
                if let Some(pid) = self.selected {
                    self.view = View::One(pid);
                    self.first_class = 0;
                }
            }
            KeyCode::Char('h' | '?') | KeyCode::F(1) => self.help(None),
            _ => {}
        }
        Effect::Draw
    }

    fn sort_by(&mut self, column: Column) {
        if self.sort != column {
            self.sort = column;
            self.inverted = false;
        }
        self.follow();
    }

    fn key_of_one(&mut self, code: KeyCode, pid: u32) {
        let classes = self
            .records
            .get(pid)
            .map_or(0, |process| process.snapshot.size_classes.len());
        let last = classes.saturating_sub(self.page);
        let step = |by: isize| self.first_class.saturating_add_signed(by).min(last);
        let page = isize::try_from(self.page).unwrap_or(1).max(1);
        match code {
            KeyCode::Up => self.first_class = step(-1),
            KeyCode::Down | KeyCode::Char('j') => self.first_class = step(1),
            KeyCode::PageUp => self.first_class = step(-page),
            KeyCode::PageDown => self.first_class = step(page),
            KeyCode::Home | KeyCode::Char('g') => self.first_class = 0,
            KeyCode::End | KeyCode::Char('G') => self.first_class = last,
            KeyCode::Char('N') => self.order = Order::Size,
            KeyCode::Char('M') => self.order = Order::Resident,
            KeyCode::Char('P') => self.order = Order::Live,
            KeyCode::Char('<' | ',') => self.order = self.order.beside(-1),
            KeyCode::Char('>' | '.') | KeyCode::F(6) => self.order = self.order.beside(1),
            KeyCode::Char('+') => self.zoom = (self.zoom / 2).max(1),
            KeyCode::Char('-') => self.zoom = (self.zoom * 2).min(HISTORY / 64),
            KeyCode::Esc | KeyCode::Enter | KeyCode::Backspace | KeyCode::Left => {
                self.view = View::List;
                self.follow();
            }
            KeyCode::Char('h' | '?') | KeyCode::F(1) => self.help(Some(pid)),
            _ => {}
        }
    }

    fn help(&mut self, under: Option<u32>) {
        self.view = View::Help(under);
        self.help_line = 0;
    }

    fn key_of_help(&mut self, code: KeyCode, under: Option<u32>) {
        match code {
            KeyCode::Up => self.help_line = self.help_line.saturating_sub(1),
            KeyCode::Down | KeyCode::Char('j') => self.help_line = self.help_line.saturating_add(1),
            _ => self.view = under.map_or(View::List, View::One),
        }
    }

    /// A key while a line is typed.
    fn type_in(&mut self, code: KeyCode) -> Effect {
        let Some(prompt) = &mut self.prompt else {
            return Effect::Draw;
        };
        match code {
            KeyCode::Char(letter) if prompt.text.len() < 64 => prompt.text.push(letter),
            KeyCode::Backspace => {
                prompt.text.pop();
            }
            KeyCode::Esc => {
                if prompt.asks == Asks::Filter {
                    self.filter.clear();
                }
                self.prompt = None;
            }
            KeyCode::Enter => return self.typed(),
            _ => {}
        }
        // What is typed is seen in the list at once.
        if let Some(Prompt {
            asks: Asks::Filter,
            text,
        }) = &self.prompt
        {
            self.filter.clone_from(text);
        }
        self.follow();
        Effect::Draw
    }

    /// A line was typed to its end.
    fn typed(&mut self) -> Effect {
        let Some(prompt) = self.prompt.take() else {
            return Effect::Draw;
        };
        match prompt.asks {
            Asks::Filter => Effect::Draw,
            Asks::Delay if prompt.text.is_empty() => Effect::Draw,
            Asks::Delay => match super::delay(&prompt.text) {
                Ok(delay) => {
                    self.delay = delay;
                    Effect::Pace(delay)
                }
                Err(why) => {
                    self.message = Some(format!("{}: {why}", prompt.text));
                    Effect::Draw
                }
            },
        }
    }
}

#[cfg(test)]
mod tests;
