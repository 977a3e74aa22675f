//! A table for a screen: short headers, four digits, as many columns as fit.

use std::fmt::Write as _;

use comfy_table::{CellAlignment, LineStyle, TableStyle};

use crate::text::line;
use crate::{Figures, Table, format_short};

/// A column: its header, when it gives way on a narrow screen (the highest rank first, 0 never), and its text.
struct Column {
    header: &'static str,
    rank: u8,
    text: fn(&Figures) -> String,
}

const COLUMNS: [Column; 9] = [
    column("prompt ms", 0, |figures| figure(figures, 0)),
    column("±", 5, |figures| share(figures.prompt.variation())),
    column("prompt tok/s", 3, |figures| figure(figures, 1)),
    column("128: ms/tok", 4, |figures| figure(figures, 2)),
    column("256: ms/tok", 0, |figures| figure(figures, 4)),
    column("±", 5, |figures| share(figures.token.variation())),
    column("tok/s", 1, |figures| figure(figures, 5)),
    column("wall s", 0, |figures| figure(figures, 6)),
    column("wall tok/s", 2, |figures| figure(figures, 7)),
];

const fn column(header: &'static str, rank: u8, text: fn(&Figures) -> String) -> Column {
    Column { header, rank, text }
}

const STYLE: TableStyle = TableStyle::new()
    .top_border(LineStyle::none().fill('─').junction('─'))
    .header_separator(LineStyle::none().fill('─').junction('─'))
    .bottom_border(LineStyle::none().fill('─').junction('─'));

/// Tables under their headings; without a width, every column.
pub fn write(tables: &[Table], width: Option<u16>) -> String {
    let mut text = String::new();
    for (index, table) in tables.iter().enumerate() {
        if index > 0 {
            text.push('\n');
        }
        let _ = writeln!(text, "{}\n{}", line(&table.heading), grid(table, width));
        for note in &table.notes {
            let _ = writeln!(text, "! {}", line(note));
        }
    }
    text
}

/// The grid with as many columns as fit.
fn grid(table: &Table, width: Option<u16>) -> comfy_table::Table {
    let fits = |grid: &comfy_table::Table| {
        let widest = grid.lines().map(|line| line.chars().count()).max().unwrap_or(0);
        width.is_none_or(|width| widest <= usize::from(width))
    };
    let ranks = (1..=COLUMNS.iter().map(|column| column.rank).max().unwrap_or(0)).rev();
    let grids = ranks.map(|rank| grid_of(table, rank));
    grids.into_iter().find(fits).unwrap_or_else(|| grid_of(table, 0))
}

/// The grid of the columns up to `rank`.
fn grid_of(table: &Table, rank: u8) -> comfy_table::Table {
    let columns: Vec<&Column> = COLUMNS.iter().filter(|column| column.rank <= rank).collect();
    let mut grid = comfy_table::Table::new();
    grid.load_style(STYLE);
    grid.set_header(
        ["engine", "batch", "prompt"].into_iter().chain(columns.iter().map(|column| column.header)),
    );
    for row in &table.rows {
        let mut cells = vec![line(&row.engine), row.batch_size.to_string(), row.prompt_length.to_string()];
        match &row.figures {
            Some(figures) => cells.extend(columns.iter().map(|column| (column.text)(figures))),
            None => cells.push(row.outcome_text().to_owned()),
        }
        grid.add_row(cells);
    }
    for column in grid.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    grid
}

/// One of the documents' eight figures.
fn figure(figures: &Figures, index: usize) -> String {
    figures.columns()[index].map_or_else(|| "N/A".into(), format_short)
}

fn share(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}
