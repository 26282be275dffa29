//! Prints the table of size classes: what each costs, in a span and in an
//! object. `docs/size-classes.txt` is this table, reviewed.
//!
//! `cargo run -p thmalloc-core --example size_classes`

use std::io::{self, Write};
use std::process::ExitCode;

use thmalloc_core::size_class::code::code;
use thmalloc_core::size_class::{
    CLASS_COUNT, FAST_TABLES, GRANULE_BYTES, MAX_SMALL_BYTES, SizeClass,
};

fn main() -> ExitCode {
    match print(&mut io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn print(out: &mut impl Write) -> io::Result<()> {
    heading(out)?;
    let mut smallest = 0;
    for class in SizeClass::all() {
        row(out, class, smallest)?;
        smallest = class.bytes() + 1;
    }
    Ok(())
}

fn heading(out: &mut impl Write) -> io::Result<()> {
    writeln!(
        out,
        "The {} size classes of thmalloc, for objects up to {} KiB.

class    number of the class
bytes    an object's size
sizes    the sizes that the class serves
waste    unused part of an object of the smallest of these sizes, in percent
span     the span in which such objects stand, in granules of {} KiB and in KiB
objects  objects in a span
tail     bytes that no object uses at the span's end
batch    objects that move between two tiers at once
check    multiplier by which free sees whether an address can be an object's
codes    of the further granules of a span, where each has a check of its own

class   bytes           sizes  waste  span   KiB objects   tail batch      check   codes",
        CLASS_COUNT - 1,
        MAX_SMALL_BYTES >> 10,
        GRANULE_BYTES >> 10,
    )
}

/// The line of a class whose smallest size is `smallest` bytes.
fn row(out: &mut impl Write, class: SizeClass, smallest: usize) -> io::Result<()> {
    let info = class.info();
    let bytes = class.bytes();
    let span = usize::from(info.span_granules) * GRANULE_BYTES;
    let waste = (bytes - smallest) as f64 / bytes as f64 * 100.0;
    let check = FAST_TABLES.first_checks[class.number()];
    let last = usize::from(info.span_granules) - 1;
    let codes = match (code(class, 1), code(class, last)) {
        (_, last) if usize::from(last) < CLASS_COUNT => String::from("-"),
        (first, last) => format!("{first}-{last}"),
    };
    writeln!(
        out,
        "{:5} {bytes:7} {:>15} {waste:6.2} {:5} {:5} {:7} {:6} {:5} {check:#010x} {codes:>7}",
        class.number(),
        format!("{smallest}-{bytes}"),
        info.span_granules,
        span >> 10,
        info.objects,
        span - usize::from(info.objects) * bytes,
        info.batch,
    )
}
