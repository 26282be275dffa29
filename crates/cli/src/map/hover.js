// Names the span under the pointer. The data is numbers only; text goes into the
// page as text, never as markup.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const layout = data.layout;
  const svg = document.querySelector("svg");
  const tip = document.getElementById("tip");
  const outline = document.getElementById("span");
  const PAGE = 4096;
  let pinned = false;

  const size = (bytes) => {
    const units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let unit = 0;
    while (bytes >= 1024 && unit < units.length - 1) {
      bytes /= 1024;
      unit += 1;
    }
    return `${Number.isInteger(bytes) ? bytes : bytes.toFixed(1)} ${units[unit]}`;
  };
  const percent = (part, whole) => (whole ? Math.round((100 * part) / whole) : 0);
  // Addresses go beyond what a number of JavaScript holds exactly.
  const address = (region, page) =>
    "0x" + (BigInt(data.regions[region][0]) + BigInt(page * PAGE)).toString(16);

  // The region and the pages of it in the cell under a point of the picture.
  const find = (x, y) => {
    const width = layout.tile_columns * layout.cell + layout.gap;
    const height = layout.tile_rows * layout.cell + layout.gap;
    const column = Math.floor((x - layout.left) / width);
    const row = Math.floor((y - layout.top) / height);
    if (column < 0 || column >= layout.columns || row < 0) return null;
    const cell_x = Math.floor((x - layout.left - column * width) / layout.cell);
    const cell_y = Math.floor((y - layout.top - row * height) / layout.cell);
    if (cell_x >= layout.tile_columns || cell_y >= layout.tile_rows) return null;
    const tile = row * layout.columns + column;
    const region = tile * layout.group;
    if (tile >= layout.tiles || region >= data.regions.length) return null;
    const first = (cell_y * layout.tile_columns + cell_x) * layout.cell_pages;
    return { tile, region, first, end: first + layout.cell_pages };
  };

  // Spans come as numbers: first page, pages, class (0: large), and then objects,
  // live, cached, or a large object's number, with the resident pages last.
  const FIELDS = 7;
  const spans = (region) => {
    const list = [];
    const flat = data.regions[region][2];
    for (let i = 0; i + FIELDS <= flat.length; i += FIELDS) {
      const [first, pages, cls, a, live, cached, resident] = flat.slice(i, i + FIELDS);
      list.push({ first, end: first + pages, cls, a, live, cached, resident });
    }
    return list;
  };

  const describe = (region, span) => {
    const pages = span.end - span.first;
    if (span.cls === 0) {
      const [start, bytes] = data.large[span.a];
      const here = `${size(span.resident * PAGE)} of ${size(pages * PAGE)} resident`;
      return [`large object 0x${BigInt(start).toString(16)}, ${size(bytes)}`, `in this region: ${here}`];
    }
    const free = span.a - span.live - span.cached;
    return [
      `span ${address(region, span.first)}, ${size(pages * PAGE)}: objects of ${size(data.classes[span.cls])} (class ${span.cls})`,
      `live ${span.live} of ${span.a} (${percent(span.live, span.a)} %), cached ${span.cached}, free ${free}`,
      `${span.resident} of ${pages} pages resident`,
    ];
  };

  const lines = (place) => {
    const { region, first, end } = place;
    if (layout.group > 1) {
      const last = Math.min(region + layout.group, data.regions.length);
      let resident = 0;
      for (let i = region; i < last; i += 1) resident += data.regions[i][1];
      return { text: [`${last - region} regions from ${address(region, 0)}`, `${size(resident * PAGE)} resident`] };
    }
    if (!data.spans) {
      return {
        text: [
          `region ${address(region, 0)}: ${size(data.regions[region][1] * PAGE)} resident`,
          "(too many spans to name each: see a smaller process)",
        ],
      };
    }
    const here = spans(region);
    const under = here.filter((span) => span.first < end && first < span.end);
    if (under.length === 0) {
      let from = 0;
      let to = layout.tile_columns * layout.tile_rows * layout.cell_pages;
      for (const span of here) {
        if (span.end <= first) from = Math.max(from, span.end);
        if (span.first >= end) to = Math.min(to, span.first);
      }
      return { text: [`in no span: ${size((to - from) * PAGE)} from ${address(region, from)}`], from, to };
    }
    const text = under.slice(0, 6).flatMap((span) => describe(region, span));
    if (under.length > 6) text.push(`and ${under.length - 6} more spans`);
    return { text, from: under[0].first, to: under[under.length - 1].end };
  };

  // Rows of cells, each a rectangle: what is under the pointer is framed.
  const frame = (place, from, to) => {
    const width = layout.tile_columns * layout.cell + layout.gap;
    const height = layout.tile_rows * layout.cell + layout.gap;
    const x = layout.left + (place.tile % layout.columns) * width;
    const y = layout.top + Math.floor(place.tile / layout.columns) * height;
    let path = "";
    let cell = Math.floor(from / layout.cell_pages);
    const end = Math.ceil(to / layout.cell_pages);
    while (cell < end) {
      const row = Math.floor(cell / layout.tile_columns);
      const last = Math.min(end, (row + 1) * layout.tile_columns);
      const left = x + (cell % layout.tile_columns) * layout.cell;
      path += `M${left} ${y + row * layout.cell}h${(last - cell) * layout.cell}v${layout.cell}H${left}z`;
      cell = last;
    }
    return path;
  };

  const show = (event) => {
    const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
    const place = find(point.x, point.y);
    if (place === null) {
      tip.hidden = true;
      outline.setAttribute("d", "");
      return;
    }
    const { text, from, to } = lines(place);
    tip.textContent = text.join("\n");
    tip.hidden = false;
    outline.setAttribute("d", from === undefined ? "" : frame(place, from, to));
    const left = Math.min(event.clientX + 16, window.innerWidth - tip.offsetWidth - 8);
    const below = event.clientY + 16 + tip.offsetHeight < window.innerHeight;
    tip.style.left = `${Math.max(8, left)}px`;
    tip.style.top = `${below ? event.clientY + 16 : Math.max(8, event.clientY - tip.offsetHeight - 12)}px`;
  };

  svg.addEventListener("pointermove", (event) => {
    if (!pinned) show(event);
  });
  svg.addEventListener("pointerleave", () => {
    if (!pinned) {
      tip.hidden = true;
      outline.setAttribute("d", "");
    }
  });
  // A click keeps what is shown, to be read or copied; another lets go.
  svg.addEventListener("click", (event) => {
    pinned = !pinned;
    show(event);
    pinned = pinned && !tip.hidden;
  });
})();
