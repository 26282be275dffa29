//! Where everything of the picture stands. All numbers are pixels unless a name
//! says otherwise.
//!
//! A region is a tile of cells, row by row; tiles stand row by row. With few
//! regions a cell is a page. With more, cells become smaller, then more pages
//! share one, until a tile is one cell; beyond that, regions share a tile. So
//! neither the picture nor its file grows without bound.

/// Bytes of a page.
pub const PAGE_BYTES: u64 = 4096;
/// Pages of a region.
pub const REGION_PAGES: usize = 512;
/// The picture's width.
pub const WIDTH: u32 = 1200;
/// Room for the addresses at the left.
pub const LEFT: u32 = 104;
/// As high may the tiles be together.
const HEIGHT: u32 = 1400;
/// As high may they be with large cells: few regions go on one screen.
const SCREEN: u32 = 640;
/// What is a large cell.
const LARGE_CELL: u32 = 5;
/// As many cells are drawn.
const MAX_CELLS: usize = 1 << 17;
/// A cell's side.
const CELL: std::ops::RangeInclusive<u32> = 3..=12;

/// Pages of a cell, and columns and rows of a tile.
const SHAPES: [(usize, u32, u32); 10] = [
    (1, 32, 16),
    (2, 16, 16),
    (4, 16, 8),
    (8, 8, 8),
    (16, 8, 4),
    (32, 4, 4),
    (64, 4, 2),
    (128, 2, 2),
    (256, 2, 1),
    (512, 1, 1),
];

/// Where the tiles and their cells stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Regions that share a tile; more than one only if a tile is one cell.
    pub group: usize,
    /// Tiles.
    pub tiles: usize,
    /// Pages of a cell, of one region.
    pub cell_pages: usize,
    /// Cells beside each other in a tile.
    pub tile_columns: u32,
    /// Cells above each other in a tile.
    pub tile_rows: u32,
    /// A cell's side.
    pub cell: u32,
    /// The space between tiles.
    pub gap: u32,
    /// Tiles beside each other.
    pub columns: u32,
    /// The top of the first row of tiles.
    pub top: u32,
}

impl Layout {
    /// For so many regions, below what takes the first `top` pixels.
    pub fn new(regions: usize, top: u32) -> Self {
        let mut layout = Layout {
            group: 1,
            tiles: regions,
            cell_pages: 1,
            tile_columns: 1,
            tile_rows: 1,
            cell: 1,
            gap: 1,
            columns: 1,
            top,
        };
        for (cell_pages, tile_columns, tile_rows) in SHAPES {
            for cell in CELL.rev() {
                layout.cell_pages = cell_pages;
                layout.tile_columns = tile_columns;
                layout.tile_rows = tile_rows;
                layout.cell = cell;
                layout.gap = (tile_columns * cell / 12).clamp(1, 8);
                layout.columns = (WIDTH - LEFT - 8) / layout.column_width();
                let height = if cell > LARGE_CELL { SCREEN } else { HEIGHT };
                if layout.rows() * layout.row_height() <= height
                    && regions * layout.tile_cells() <= MAX_CELLS
                {
                    return layout;
                }
            }
        }
        let fitting = (layout.columns * (HEIGHT / layout.row_height())) as usize;
        layout.group = regions.div_ceil(fitting);
        layout.tiles = regions.div_ceil(layout.group);
        layout
    }

    /// Cells of a tile.
    pub fn tile_cells(&self) -> usize {
        (self.tile_columns * self.tile_rows) as usize
    }

    fn column_width(&self) -> u32 {
        self.tile_columns * self.cell + self.gap
    }

    /// From one row of tiles to the next.
    pub fn row_height(&self) -> u32 {
        self.tile_rows * self.cell + self.gap
    }

    /// Rows of tiles.
    pub fn rows(&self) -> u32 {
        (self.tiles as u32).div_ceil(self.columns)
    }

    /// The end of the last row of tiles.
    pub fn bottom(&self) -> u32 {
        self.top + self.rows() * self.row_height()
    }

    /// The corner of a tile.
    pub fn corner(&self, tile: usize) -> (u32, u32) {
        let tile = tile as u32;
        let (row, column) = (tile / self.columns, tile % self.columns);
        (
            LEFT + column * self.column_width(),
            self.top + row * self.row_height(),
        )
    }

    /// The path around the cells `from` to `to` of a tile, which follow each
    /// other row by row.
    pub fn outline(&self, tile: usize, from: usize, to: usize) -> String {
        let (x, y) = self.corner(tile);
        let columns = self.tile_columns;
        let place = |cell: usize| (cell as u32 % columns, cell as u32 / columns);
        let (first_column, first_row) = place(from);
        let (last_column, last_row) = place(to - 1);
        let at = |column: u32, row: u32| (x + column * self.cell, y + row * self.cell);
        let (left, top) = at(first_column, first_row);
        let (right, bottom) = at(last_column + 1, last_row + 1);
        if first_row == last_row {
            return format!("M{left} {top}H{right}V{bottom}H{left}z");
        }
        let (end, _) = at(columns, 0);
        let (_, below_first) = at(0, first_row + 1);
        let (_, above_last) = at(0, last_row);
        if last_row == first_row + 1 && last_column < first_column {
            return format!(
                "M{left} {top}H{end}V{below_first}H{left}zM{x} {above_last}H{right}V{bottom}H{x}z"
            );
        }
        format!("M{left} {top}H{end}V{above_last}H{right}V{bottom}H{x}V{below_first}H{left}z")
    }

    /// The pieces of the pages `from` to `to`, counted from the first region on:
    /// each a tile and its cells that these pages touch.
    pub fn pieces(&self, from: usize, to: usize) -> impl Iterator<Item = (usize, usize, usize)> {
        let pages = REGION_PAGES * self.group;
        let cell_pages = self.cell_pages * self.group;
        (from / pages..to.div_ceil(pages)).map(move |tile| {
            let start = tile * pages;
            let first = (from.max(start) - start) / cell_pages;
            let end = (to.min(start + pages) - start).div_ceil(cell_pages);
            (tile, first, end)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_regions_show_each_page_and_many_stay_within_the_bounds() {
        for regions in [1, 2, 10, 100, 250] {
            assert_eq!(Layout::new(regions, 200).cell_pages, 1, "{regions}");
        }
        for regions in [
            1, 7, 300, 1000, 5000, 20_000, 100_000, 1_000_000, 30_000_000,
        ] {
            let layout = Layout::new(regions, 200);
            assert!(layout.bottom() <= 200 + HEIGHT, "{layout:?}");
            assert!(
                layout.tiles * layout.tile_cells() <= MAX_CELLS,
                "{layout:?}"
            );
            assert!(layout.tiles * layout.group >= regions);
            assert!(layout.group == 1 || layout.tile_cells() == 1);
            let (x, _) = layout.corner(layout.columns as usize - 1);
            assert!(x + layout.column_width() <= WIDTH);
        }
        assert_eq!(Layout::new(5000, 0).group, 1);
    }

    #[test]
    fn an_outline_goes_around_what_follows_row_by_row() {
        let mut layout = Layout::new(1, 0);
        layout.cell = 10;
        let x = LEFT;
        let path = layout.outline(0, 1, 3);
        assert_eq!(path, format!("M{} 0H{}V10H{}z", x + 10, x + 30, x + 10));
        let path = layout.outline(0, 31, 33);
        assert_eq!(path.matches('z').count(), 2, "two rows that do not touch");
        let path = layout.outline(0, 5, 100);
        let expected = format!(
            "M{} 0H{}V30H{}V40H{x}V10H{}z",
            x + 50,
            x + 320,
            x + 40,
            x + 50
        );
        assert_eq!(path, expected);
    }

    #[test]
    fn pieces_cover_the_pages_and_no_more() {
        let layout = Layout::new(4, 0);
        let pieces: Vec<_> = layout.pieces(500, 1030).collect();
        assert_eq!(pieces, [(0, 500, 512), (1, 0, 512), (2, 0, 6)]);
        assert_eq!(layout.pieces(512, 1024).collect::<Vec<_>>(), [(1, 0, 512)]);
    }
}
