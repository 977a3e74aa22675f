//! Markdown: header, separator and padding are those of the published tables, byte for byte.

use std::fmt::Write as _;

use results::published::layout::{header_of, row_of, separator_of};
use results::published::{self, escape_cell};
use results::{Column, Exported, Exporter, Grid, Markdown, Row, Table, escape_markdown};

use crate::export_input::{ExportInput, tables_of};

impl Exporter<ExportInput<'_>> for Markdown {
    fn name(&self) -> &'static str {
        "markdown"
    }

    fn write(&self, input: &ExportInput<'_>) -> Exported {
        match input {
            ExportInput::Runs(runs) => write(tables_of(runs)).into(),
            ExportInput::Document(document) => published::markdown::write(document).into(),
        }
    }
}

/// Tables with their headings; notes stand under them as a list.
pub fn write<'a>(tables: impl IntoIterator<Item = &'a Table>) -> String {
    let mut text = String::new();
    for (index, table) in tables.into_iter().enumerate() {
        if index > 0 {
            text.push('\n');
        }
        let _ = write!(
            text,
            "## {}\n\n{}",
            escape_cell(&table.heading.to_string()),
            rows(&table.rows, &table.columns())
        );
        if !table.notes.is_empty() {
            text.push('\n');
        }
        for note in &table.notes {
            let _ = writeln!(text, "- {}", escape_markdown(&note.text));
        }
        if let Some(grid) = Grid::efficiency(table) {
            text.push_str(&self::grid(&grid));
        }
    }
    text
}

/// Rows as a table with these columns of figures, without heading and notes.
pub fn rows(rows: &[Row], columns: &[Column]) -> String {
    let lines: String = rows.iter().map(|row| line(row, columns)).collect();
    format!("{}\n{}\n{lines}", header_of(columns), separator_of(columns))
}

/// A table that stands under the published one.
pub fn grid(grid: &Grid) -> String {
    let names = grid.names();
    let alignments: Vec<&str> =
        grid.columns.iter().map(|column| if column.is_number() { "---:" } else { "---" }).collect();
    let (caption, names, alignments) =
        (escape_markdown(&grid.caption), names.join(" | "), alignments.join(" | "));
    let mut text = format!("\n**{caption}**\n\n| {names} |\n| {alignments} |\n");
    for row in &grid.rows {
        let cells: Vec<String> = row.iter().map(|cell| escape_markdown(cell)).collect();
        let _ = writeln!(text, "| {} |", cells.join(" | "));
    }
    text
}

/// A row as a line.
pub fn line(row: &Row, columns: &[Column]) -> String {
    let sizes = [row.key.batch_size, row.key.prompt_length].map(|size| size.to_string());
    let figures = columns.iter().map(|column| row.text(*column));
    row_of(columns, [escape_cell(&row.key.engine)].into_iter().chain(sizes).chain(figures))
}
