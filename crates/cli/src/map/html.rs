//! The picture in a page that names each span under the pointer: one file, which
//! loads nothing else.

use std::collections::BTreeMap;

use maud::{DOCTYPE, PreEscaped, html};
use serde::Serialize;
use thmalloc_inspect::Snapshot;
use thmalloc_inspect::snapshot::{PageOwner, RegionView, SpanView};

use super::layout::{LEFT, Layout};
use super::svg;

/// With more, the hover names regions only, and the file stays small.
const MAX_SPANS: usize = 120_000;

const STYLE: &str = "\
body { margin: 0; background: #f3f3f0; }
svg { display: block; margin: 0 auto; max-width: 100%; height: auto; }
#map { cursor: crosshair; }
#tip { position: fixed; white-space: pre; pointer-events: none; padding: 6px 9px;
  background: #222; color: #fff; border-radius: 4px;
  font: 12px/1.5 'DejaVu Sans Mono', monospace; }";

/// What the script reads.
#[derive(Serialize)]
struct Data {
    layout: Places,
    /// Are spans named?
    spans: bool,
    /// The object size of each class.
    classes: BTreeMap<u8, u64>,
    /// Large objects: address and usable size.
    large: Vec<(String, u64)>,
    /// Regions: address, resident pages, and of each span its numbers.
    regions: Vec<(String, usize, Vec<u32>)>,
}

#[derive(Serialize)]
struct Places {
    group: usize,
    tiles: usize,
    cell_pages: usize,
    tile_columns: u32,
    tile_rows: u32,
    cell: u32,
    gap: u32,
    columns: u32,
    left: u32,
    top: u32,
}

/// The page.
pub fn page(snapshot: &Snapshot) -> String {
    let picture = svg::draw(snapshot, false);
    let data = data(snapshot, &picture.layout);
    // Serialising numbers and strings into a string does not fail. It has no `<`,
    // which alone could end the element.
    let data = serde_json::to_string(&data).unwrap_or_default();
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (svg::heading(snapshot)) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                (picture.markup)
                div #tip role="status" hidden {}
                script type="application/json" #data { (PreEscaped(data)) }
                script { (PreEscaped(include_str!("hover.js"))) }
            }
        }
    }
    .into_string()
}

fn data(snapshot: &Snapshot, layout: &Layout) -> Data {
    let all: usize = snapshot
        .regions
        .iter()
        .map(|region| region.spans.len())
        .sum();
    let spans = all <= MAX_SPANS && layout.group == 1;
    let mut data = Data {
        layout: Places {
            group: layout.group,
            tiles: layout.tiles,
            cell_pages: layout.cell_pages,
            tile_columns: layout.tile_columns,
            tile_rows: layout.tile_rows,
            cell: layout.cell,
            gap: layout.gap,
            columns: layout.columns,
            left: LEFT,
            top: layout.top,
        },
        spans,
        classes: BTreeMap::new(),
        large: Vec::new(),
        regions: Vec::new(),
    };
    for region in &snapshot.regions {
        let resident = region.pages.iter().filter(|page| page.resident).count();
        let mut numbers = Vec::new();
        if spans {
            for span in &region.spans {
                numbers.extend(span_numbers(region, span, &mut data));
            }
        }
        let address = format!("{:#x}", region.address);
        data.regions.push((address, resident, numbers));
    }
    data
}

fn span_numbers(region: &RegionView, span: &SpanView, data: &mut Data) -> [u32; 7] {
    let pages = region.pages.iter().skip(span.first_page as usize);
    let resident = pages.take(span.pages as usize).filter(|page| page.resident);
    let resident = resident.count() as u32;
    let (class, objects) = match span.owner {
        PageOwner::Small(class) => {
            data.classes.insert(class, span.object_bytes);
            (class, span.objects)
        }
        PageOwner::Large | PageOwner::Free => {
            let object = (format!("{:#x}", span.address), span.object_bytes);
            if data.large.last() != Some(&object) {
                data.large.push(object);
            }
            (0, data.large.len() as u32 - 1)
        }
    };
    [
        span.first_page,
        span.pages,
        class.into(),
        objects,
        span.live,
        span.cached,
        resident,
    ]
}
