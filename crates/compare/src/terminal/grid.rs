//! The grid: as many columns as fit, and colour where it is asked for.

use comfy_table::{CellAlignment, LineStyle, Table, TableStyle};

/// A column: its header, and when it gives way on a narrow screen (the highest rank first, 0 never).
struct ScreenColumn {
    header: &'static str,
    rank: u8,
    place: Place,
}

enum Place {
    Left,
    Right,
}

const COLUMNS: [ScreenColumn; 9] = [
    column("engine", 0, Place::Left),
    column("batch", 0, Place::Right),
    column("prompt", 0, Place::Right),
    column("baseline", 1, Place::Right),
    column("candidate", 0, Place::Right),
    column("change", 0, Place::Right),
    column("95 % CI", 2, Place::Right),
    column("", 3, Place::Left),
    column("", 0, Place::Left),
];

const fn column(header: &'static str, rank: u8, place: Place) -> ScreenColumn {
    ScreenColumn { header, rank, place }
}

const STYLE: TableStyle = TableStyle::new()
    .top_border(LineStyle::none().fill('─').junction('─'))
    .header_separator(LineStyle::none().fill('─').junction('─'))
    .bottom_border(LineStyle::none().fill('─').junction('─'));

/// Lines above the first row: the border, the headers, the separator.
const ABOVE: usize = 3;

/// A row's texts, column by column.
pub(super) struct ScreenRow {
    pub(super) texts: [String; COLUMNS.len()],
    pub(super) paint: Option<Paint>,
}

/// The colour of a row's end.
pub(super) struct Paint {
    /// The text from which on.
    pub(super) from: String,
    /// The escape that begins the colour.
    pub(super) escape: &'static str,
}

/// The grid with as many columns as fit; without a width, all that have a text.
pub(super) fn write(rows: &[ScreenRow], width: Option<u16>, colour: bool) -> String {
    let fits = |lines: &Vec<String>| {
        let widest = lines.iter().map(|line| line.chars().count()).max().unwrap_or(0);
        width.is_none_or(|width| widest <= usize::from(width))
    };
    let ranks = (1..=COLUMNS.iter().map(|column| column.rank).max().unwrap_or(0)).rev();
    let mut lines = ranks.map(|rank| of_rank(rows, rank)).find(fits).unwrap_or_else(|| of_rank(rows, 0));
    if colour {
        for (line, row) in lines[ABOVE..].iter_mut().zip(rows) {
            paint(line, row.paint.as_ref());
        }
    }
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// The grid of the columns up to `rank` that have a text.
fn of_rank(rows: &[ScreenRow], rank: u8) -> Vec<String> {
    let has_text = |index: usize| rows.iter().any(|row| !row.texts[index].is_empty());
    let chosen: Vec<usize> =
        (0..COLUMNS.len()).filter(|&index| COLUMNS[index].rank <= rank && has_text(index)).collect();
    let mut grid = Table::new();
    grid.load_style(STYLE);
    grid.set_header(chosen.iter().map(|&index| COLUMNS[index].header));
    for row in rows {
        grid.add_row(chosen.iter().map(|&index| &row.texts[index]));
    }
    for (column, &index) in grid.column_iter_mut().zip(&chosen) {
        if !matches!(COLUMNS[index].place, Place::Left) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        column.set_padding((1, 0));
    }
    grid.lines().map(|line| line.trim_end().to_owned()).collect()
}

fn paint(line: &mut String, paint: Option<&Paint>) {
    if let Some((paint, start)) = paint.and_then(|paint| Some((paint, line.rfind(&paint.from)?))) {
        line.insert_str(start, paint.escape);
        line.push_str("\u{1b}[0m");
    }
}
