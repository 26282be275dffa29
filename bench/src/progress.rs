//! How far a program is that takes long.

use std::io::{self, Write};

/// Shows how far it is: in place on a terminal, a line each elsewhere.
pub fn show(text: &str) {
    let mut err = io::stderr();
    let _ = if io::IsTerminal::is_terminal(&err) {
        write!(err, "\r\x1b[K{text}")
    } else if text.is_empty() {
        Ok(())
    } else {
        writeln!(err, "{text}")
    };
}
