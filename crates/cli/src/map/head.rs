//! What stands above the picture: the six words, the legend, and what has most.

use maud::{Markup, html};
use thmalloc_inspect::Snapshot;

use super::cells::{BANDS, Bands, Look, STRENGTHS};
use super::svg::fill;
use crate::size;

/// The six words, a bar each.
pub fn words(snapshot: &Snapshot) -> Markup {
    let words = &snapshot.bytes;
    let most = words.resident.max(words.released).max(1);
    let rows = [
        ("live", words.live),
        ("cached", words.cached),
        ("fragmented", words.fragmented),
        ("free", words.free),
        ("metadata", words.metadata),
        ("resident", words.resident),
        ("released", words.released),
    ];
    html! {
        @for (row, (word, bytes)) in rows.into_iter().enumerate() {
            @let y = 54 + 18 * row + if row >= 5 { 8 } else { 0 };
            @let weight = if word == "resident" { "bold" } else { "normal" };
            g font-weight=(weight) {
                text x="12" y=(y) { (word) }
                text x="172" y=(y) text-anchor="end" { (size::bytes(bytes)) }
                text x="222" y=(y) text-anchor="end" fill="#666" font-size="11" {
                    @if word != "released" { (size::percent(bytes, words.resident)) }
                }
                rect x="232" y=(y - 10) height="11"
                    width=(format!("{:.1}", bytes as f64 * 160.0 / most as f64))
                    fill=(if word == "released" { "none" } else { "#555" })
                    stroke="#555" stroke-width="0.7" {}
            }
        }
        path stroke="#222" d="M12 132.5H222" {}
        @if words.untouched > 0 {
            text x="12" y="188" fill="#666" font-size="11" {
                "of it never touched: " (size::bytes(words.untouched))
            }
        }
    }
}

fn swatch(x: u32, y: u32, look: Look) -> Markup {
    html! {
        rect x=(x) y=(y) width="16" height="12" fill=(fill(look)) stroke="#999" stroke-width="0.5" {}
    }
}

/// What the colours mean.
pub fn legend() -> Markup {
    let headings = [(562, "0"), (582, "¼"), (602, "½"), (622, "¾"), (642, "all")];
    html! {
        text x="430" y="54" { "objects" }
        g font-size="10" fill="#666" {
            text x="550" y="54" text-anchor="end" { "live:" }
            @for (x, text) in headings {
                text x=(x) y="54" text-anchor="middle" { (text) }
            }
            text x="668" y="54" { "no memory" }
        }
        @for (band, &bytes) in BANDS.iter().enumerate() {
            @let y = 62 + 18 * band as u32;
            text x="430" y=(y + 10) { "up to " (size::exact(bytes)) }
            @for strength in 0..STRENGTHS as u8 {
                (swatch(554 + 20 * u32::from(strength), y, Look::Small(band as u8, strength)))
            }
            (swatch(668, y, Look::SmallReleased(band as u8)))
        }
        text x="430" y="180" { "larger objects" }
        (swatch(634, 170, Look::Large))
        (swatch(668, 170, Look::LargeReleased))
        text x="430" y="198" { "in no span" }
        (swatch(634, 188, Look::Free))
        (swatch(668, 188, Look::Released))
    }
}

/// What holds most of it: a line for each class, and for the large objects.
pub fn classes(snapshot: &Snapshot) -> Markup {
    const ROWS: usize = 7;
    let mut rows: Vec<(u64, Option<Look>, String, u64)> = Vec::new();
    let bands = Bands::of(snapshot);
    for class in &snapshot.size_classes {
        let band = u8::try_from(class.class).map_or(0, |class| bands.band(class));
        rows.push((
            class.resident,
            Some(Look::Small(band, STRENGTHS as u8 - 1)),
            size::exact(class.bytes),
            class.live.saturating_mul(class.bytes).min(class.resident),
        ));
    }
    let large = &snapshot.large;
    if large.count > 0 {
        let text = format!("{} larger", large.count);
        rows.push((large.resident, Some(Look::Large), text, large.resident));
    }
    rows.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.2.cmp(&b.2)));
    rows.retain(|row| row.0 > 0);
    let others = rows.split_off(rows.len().min(ROWS));
    if !others.is_empty() {
        rows.push((
            others.iter().map(|row| row.0).sum(),
            None,
            format!("{} other classes", others.len()),
            others.iter().map(|row| row.3).sum(),
        ));
    }
    html! {
        text x="740" y="54" { "most memory in spans of" }
        text x="1030" y="54" text-anchor="end" { "resident" }
        text x="1100" y="54" text-anchor="end" { "live" }
        @for (row, (resident, look, text, live)) in rows.iter().enumerate() {
            @let y = 72 + 18 * row as u32;
            @if let Some(look) = look { (swatch(740, y - 10, *look)) }
            text x="764" y=(y) { (text) }
            text x="1030" y=(y) text-anchor="end" { (size::bytes(*resident)) }
            text x="1100" y=(y) text-anchor="end" { (size::percent(*live, *resident)) }
            rect x="1110" y=(y - 10) width="78" height="11" fill="#fff" stroke="#999" stroke-width="0.5" {}
            rect x="1110" y=(y - 10) height="11" fill="#555"
                width=(format!("{:.1}", *live as f64 * 78.0 / (*resident).max(1) as f64)) {}
        }
    }
}
