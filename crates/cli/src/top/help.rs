//! Draws the help.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::widgets::{Paragraph, Wrap};

use super::app::App;

const HELP: &str = "\
Keys                              In a process
 h ?    this help                  Esc    back to the list
 q      quit                       < >    sort size classes
 Space  read now                   M N P  by memory, size, live
 d s    seconds between readings   + -    zoom the graph
In the list
 Up Down PgUp PgDn Home End        move; Enter opens a process
 M N P T   sort by memory, number, rate of allocation, drawn in all
 < > F6    sort by the next column       R I  the other way round
 / F4      show only commands with a text (Esc: all)    c  arguments

live + cached + fragmented + free + metadata = RES, the heap's memory
 live        handed out to the program
 cached      free objects in CPU and transfer caches
 fragmented  free objects in spans that hold others
 free        whole spans that wait
 metadata    the allocator's own books
released     address space without memory
ALLOC/s      bytes a second drawn from spans and transfer caches by CPU
             caches, and as large objects. What CPU caches serve again by
             themselves is not counted. DRAWN is the same since the start.
USED         live objects, of those that the class's spans have room for";

/// Draws it, from the line on to which it was scrolled.
pub fn draw(frame: &mut Frame, app: &mut App, area: Rect) {
    let help = Paragraph::new(HELP).wrap(Wrap { trim: false });
    // Narrow screens break lines; so many at most.
    let lines = HELP
        .lines()
        .map(|line| 1 + line.len() / usize::from(area.width.max(1)));
    let lines: usize = lines.sum();
    let last = lines.saturating_sub(usize::from(area.height));
    app.help_line = app.help_line.min(u16::try_from(last).unwrap_or(0));
    frame.render_widget(help.scroll((app.help_line, 0)), area);
}
