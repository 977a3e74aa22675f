//! A table for a screen: short headers, four digits, units in the header.

use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use comfy_table::{CellAlignment, ContentArrangement};
use std::fmt::Write as _;

use crate::{Row, Table, format_short};

const HEADERS: [&str; 12] = [
    "engine",
    "batch",
    "prompt",
    "prompt ms",
    "±",
    "prompt tok/s",
    "first 128 ms",
    "first 256 ms",
    "±",
    "tok/s",
    "wall s",
    "wall tok/s",
];

/// Tables under their headings, at most `width` columns wide where that is possible.
pub fn write(tables: &[Table], width: Option<u16>) -> String {
    let mut text = String::new();
    for (index, table) in tables.iter().enumerate() {
        if index > 0 {
            text.push('\n');
        }
        let _ = writeln!(text, "{}\n{}", plain(&table.heading), grid(table, width));
        for note in &table.notes {
            let _ = writeln!(text, "! {}", plain(note));
        }
    }
    text
}

fn grid(table: &Table, width: Option<u16>) -> comfy_table::Table {
    let mut grid = comfy_table::Table::new();
    grid.load_style(UTF8_HORIZONTAL_ONLY)
        .set_header(HEADERS)
        .set_content_arrangement(ContentArrangement::Dynamic);
    if let Some(width) = width {
        grid.set_width(width);
    }
    grid.add_rows(table.rows.iter().map(cells));
    for column in grid.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
        column.set_padding((0, 1));
    }
    grid
}

fn cells(row: &Row) -> Vec<String> {
    let mut cells = vec![plain(&row.engine), row.batch_size.to_string(), row.prompt_length.to_string()];
    let Some(figures) = &row.figures else {
        cells.extend((3..HEADERS.len()).map(|_| row.outcome_text().to_owned()));
        return cells;
    };
    let columns = figures.columns().map(|figure| figure.map_or_else(|| "N/A".into(), format_short));
    let [prompt, prompt_rate, first_128, _, first_256, rate, wall, wall_rate] = columns;
    let share = |share: f64| format!("{:.0} %", share * 100.0);
    cells.extend([prompt, share(figures.prompt.variation()), prompt_rate, first_128, first_256]);
    cells.extend([share(figures.token.variation()), rate, wall, wall_rate]);
    cells
}

/// Text from elsewhere must not steer the terminal.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
