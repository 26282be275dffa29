//! `thmalloc map`: a picture of a process's heap.

mod cells;
mod head;
mod holes;
mod html;
mod layout;
mod svg;

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use thmalloc_inspect::{Detail, Snapshot, Target};

use crate::error::{Error, inspect};

const ABOUT: &str = "\
Each region of 2 MiB is a tile, each page a cell: coloured by the size of the
objects on it, the stronger the more of it is live. Pages without memory are
hatched, or white where no span has them. The largest holes are framed and
numbered. Where there are too many regions, a cell is several pages, and shows
what most of them are. Pale colours everywhere are a fragmented heap; strong
ones that become more are a leak, or a load.

The .html names the span under the pointer; it is one file that loads nothing.";

const EXAMPLES: &str = "\
Examples:
  thmalloc map 1234 -o heap.svg
  thmalloc map 1234 -o heap.html
  thmalloc map 1234 --format svg -o - | rsvg-convert > heap.png";

/// Draw a picture of a process's heap
#[derive(Debug, Args)]
#[command(after_help = format!("{ABOUT}\n\n{}\n\n{EXAMPLES}", inspect::HELP))]
pub struct Map {
    /// The process
    pub pid: u32,
    /// The file to write, its format told by .svg or .html; - is standard output
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// The format, whatever the file is called
    #[arg(long, value_enum)]
    pub format: Option<Format>,
}

/// What the picture is written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A picture
    Svg,
    /// A page that names each span under the pointer
    Html,
}

impl Map {
    /// Reads the process and writes the picture.
    pub fn execute(self) -> Result<(), Error> {
        let format = match self.format {
            Some(format) => format,
            None => format_of(&self.output)?,
        };
        let snapshot = Target::open(self.pid)?.read(Detail::Full)?;
        let text = draw(&snapshot, format);
        let written = if self.output == Path::new("-") {
            let mut out = io::stdout().lock();
            out.write_all(text.as_bytes()).and_then(|()| out.flush())
        } else {
            fs::write(&self.output, text)
        };
        written.map_err(|error| Error::Output {
            path: self.output,
            error,
        })
    }
}

fn format_of(path: &Path) -> Result<Format, Error> {
    let extension = path.extension().map(|text| text.to_ascii_lowercase());
    match extension.as_deref().and_then(|text| text.to_str()) {
        Some("svg") => Ok(Format::Svg),
        Some("html" | "htm") => Ok(Format::Html),
        _ => Err(Error::UnknownFormat(path.to_path_buf())),
    }
}

fn draw(snapshot: &Snapshot, format: Format) -> String {
    match format {
        Format::Svg => {
            let mut text = svg::draw(snapshot, true).markup.into_string();
            text.push('\n');
            text
        }
        Format::Html => html::page(snapshot),
    }
}

#[cfg(test)]
#[path = "map/tests.rs"]
mod tests;
