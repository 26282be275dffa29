//! The columns of the list: what stands in them, how wide they are, and how they
//! sort.

use std::cmp::Ordering;

use clap::ValueEnum;

use super::records::Process;
use crate::words::{Word, short};

/// A column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Column {
    Pid,
    Resident,
    Live,
    Cached,
    Fragmented,
    Free,
    Metadata,
    Released,
    Rate,
    Drawn,
    Command,
}

/// From left to right.
pub const ALL: [Column; 11] = [
    Column::Pid,
    Column::Resident,
    Column::Live,
    Column::Cached,
    Column::Fragmented,
    Column::Free,
    Column::Metadata,
    Column::Released,
    Column::Rate,
    Column::Drawn,
    Column::Command,
];

/// What goes first where there is no room for all.
const DROPPED: [Column; 8] = [
    Column::Drawn,
    Column::Metadata,
    Column::Cached,
    Column::Released,
    Column::Free,
    Column::Fragmented,
    Column::Rate,
    Column::Live,
];

/// The least that the command's column is given.
const COMMAND: u16 = 12;

impl Column {
    /// Its head.
    pub fn title(self) -> &'static str {
        match self {
            Column::Pid => "PID",
            Column::Resident => "RES",
            Column::Live => "LIVE",
            Column::Cached => "CACHED",
            Column::Fragmented => "FRAG",
            Column::Free => "FREE",
            Column::Metadata => "META",
            Column::Released => "RELEASED",
            Column::Rate => "ALLOC/s",
            Column::Drawn => "DRAWN",
            Column::Command => "COMMAND",
        }
    }

    /// What it is, in words.
    pub fn name(self) -> &'static str {
        match self.word() {
            Some(word) => word.name(),
            None => match self {
                Column::Pid => "number",
                Column::Resident => "resident",
                Column::Rate => "rate",
                Column::Drawn => "drawn in all",
                _ => "command",
            },
        }
    }

    /// Its width, without the blank before the next one.
    pub fn width(self) -> u16 {
        match self {
            Column::Pid => 7,
            // What is left over.
            Column::Command => 0,
            // Five letters of a number of bytes at least.
            _ => (self.title().len() as u16).max(5),
        }
    }

    fn word(self) -> Option<Word> {
        Some(match self {
            Column::Live => Word::Live,
            Column::Cached => Word::Cached,
            Column::Fragmented => Word::Fragmented,
            Column::Free => Word::Free,
            Column::Metadata => Word::Metadata,
            Column::Released => Word::Released,
            _ => return None,
        })
    }

    /// What stands in it, but for the command's.
    pub fn text(self, process: &Process) -> String {
        let snapshot = &process.snapshot;
        if let Some(word) = self.word() {
            return short(word.of(&snapshot.bytes));
        }
        match self {
            Column::Pid => snapshot.process.pid.to_string(),
            Column::Resident => short(snapshot.bytes.resident),
            Column::Rate => process.rate.map_or_else(|| "-".into(), short),
            Column::Drawn => short(snapshot.totals.drawn),
            _ => String::new(),
        }
    }

    /// The order of two processes: the largest first, but names and numbers from
    /// the smallest on.
    pub fn compare(self, a: &Process, b: &Process) -> Ordering {
        let (one, other) = (&a.snapshot, &b.snapshot);
        let by = |value: fn(&Process) -> u64| value(b).cmp(&value(a));
        let order = match self.word() {
            Some(word) => word.of(&other.bytes).cmp(&word.of(&one.bytes)),
            None => match self {
                Column::Resident => by(|p| p.snapshot.bytes.resident),
                Column::Rate => b.rate.cmp(&a.rate),
                Column::Drawn => by(|p| p.snapshot.totals.drawn),
                Column::Command => one.process.name.cmp(&other.process.name),
                _ => Ordering::Equal,
            },
        };
        order.then(one.process.pid.cmp(&other.process.pid))
    }

    /// The one that stands so many columns to the right.
    pub fn beside(self, steps: isize) -> Column {
        let place = ALL.iter().position(|&column| column == self).unwrap_or(0);
        let last = ALL.len() - 1;
        ALL[place.saturating_add_signed(steps).min(last)]
    }
}

/// The columns for which there is room.
pub fn fitting(width: u16) -> Vec<Column> {
    let mut columns = ALL.to_vec();
    for dropped in DROPPED {
        let taken: u16 = columns.iter().map(|column| column.width() + 1).sum();
        if taken + COMMAND <= width {
            break;
        }
        columns.retain(|&column| column != dropped);
    }
    columns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_words_and_the_rate_have_room_in_80_columns() {
        let columns = fitting(80);
        for column in ALL {
            assert_eq!(columns.contains(&column), column != Column::Drawn);
        }
        assert_eq!(fitting(100), ALL);
    }

    #[test]
    fn a_narrow_screen_keeps_number_memory_and_command() {
        let least = [Column::Pid, Column::Resident, Column::Command];
        assert_eq!(fitting(20), least);
        assert_eq!(fitting(0), least);
    }

    #[test]
    fn the_column_to_sort_by_moves_within_the_list() {
        assert_eq!(Column::Pid.beside(-1), Column::Pid);
        assert_eq!(Column::Pid.beside(1), Column::Resident);
        assert_eq!(Column::Command.beside(1), Column::Command);
    }
}
