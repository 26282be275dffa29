//! Prints the list as plain text, as `top -b` does.

use std::io::{self, Write};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::app::App;
use super::column::{self, Column};
use super::list::{command, nothing, title};
use crate::error::Error;
use crate::survey::Survey;
use crate::words::{Word, short};

/// Prints each reading, so many or for ever; ends as well when nobody reads on.
pub fn print(mut survey: Survey, mut app: App, count: Option<u64>) -> Result<(), Error> {
    app.arguments = true;
    let mut printed = 0;
    loop {
        let reading = survey.read().map_err(Error::Inspect)?;
        app.take(reading, now_ms());
        let text = text(&app);
        let mut out = io::stdout().lock();
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            other => other.map_err(Error::Terminal)?,
        }
        drop(out);
        printed += 1;
        if count == Some(printed) {
            return Ok(());
        }
        thread::sleep(app.delay);
    }
}

/// Now, in milliseconds since 1970.
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(since.unwrap_or(Duration::ZERO).as_millis()).unwrap_or(u64::MAX)
}

/// The list as text, all columns and whole commands.
fn text(app: &App) -> String {
    let listed = app.listed();
    let mut text = title(app, listed.len()) + "\n";
    let sum = app.records.sum();
    for word in Word::ALL {
        text.push_str(&format!("{} {}, ", word.name(), short(word.of(&sum))));
    }
    text.push_str(&format!("resident {}\n\n", short(sum.resident)));
    if listed.is_empty() {
        // The first line is blank, as on the screen.
        for line in nothing(app).iter().skip(1) {
            text.push_str(&format!("{line}\n"));
        }
    } else {
        let cell = |column: Column, text: &str| match column {
            Column::Command => format!("{text}\n"),
            _ => format!("{text:>width$} ", width = usize::from(column.width())),
        };
        for column in column::ALL {
            text.push_str(&cell(column, column.title()));
        }
        for process in listed {
            for column in column::ALL {
                let shown = match column {
                    Column::Command => command(app, process),
                    _ => column.text(process),
                };
                text.push_str(&cell(column, &shown));
            }
        }
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::survey::Reading;
    use crate::survey::made_up::snapshot;

    #[test]
    fn a_reading_is_a_table_of_plain_text() {
        let mut app = App::new(Column::Resident, Duration::from_secs(2));
        app.arguments = true;
        let mut evil = snapshot(8, "b", 1);
        evil.process.command = "b\u{1b}[2J\nroot 1".into();
        let reading = Reading {
            snapshots: vec![snapshot(77, "redis-server", 100), evil],
            ..Reading::default()
        };
        app.take(reading, 1_700_000_000_000);
        let expected = "\
thmalloc top - 22:13:20 UTC  2 processes  by resident  2 s
live 101M, cached 4.0M, fragmented 13M, free 10M, metadata 1.0M, released 14M, resident 129M

    PID   RES  LIVE CACHED  FRAG  FREE  META RELEASED ALLOC/s DRAWN COMMAND
     77  120M  100M   2.0M   12M  5.0M  512K     7.0M       -  100M /usr/bin/redis-server --serve
      8  8.6M  1.0M   2.0M  128K  5.0M  512K     7.0M       -  100M b\\u{1b}[2J\\nroot 1

";
        assert_eq!(text(&app), expected);
    }

    #[test]
    fn without_a_process_it_says_so() {
        let mut app = App::new(Column::Resident, Duration::from_secs(2));
        let mut reading = Reading::default();
        reading.unread.not_permitted = 3;
        app.take(reading, 0);
        let text = text(&app);
        assert!(text.contains("0 processes, 3 not readable"), "{text}");
        assert!(text.contains("No process on thmalloc.\n"), "{text}");
        assert!(text.contains("3 may not be read"), "{text}");
    }
}
