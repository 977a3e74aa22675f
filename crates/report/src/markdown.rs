//! The documents' format: header, separator and padding are theirs, byte for byte.

use std::fmt::Write as _;

use crate::efficiency::Grid;
use crate::{COLUMNS, Row, Table};

/// The documents' separator line.
pub const SEPARATOR: &str = "|-----------------|------------|---------------|---------------------|-------------------------|---------------------------------------------|-------------------------------------------------|---------------------------------------------|-------------------------------------------------|------------------------|-----------------------------|";

/// The documents' widths of the cells of a row.
pub(crate) const WIDTHS: [usize; 11] = [16, 2, 5, 11, 15, 17, 12, 17, 12, 14, 19];

/// The documents' header line.
pub fn header() -> String {
    format!("| {} |", COLUMNS.join(" | "))
}

/// Tables with their headings; notes stand under them as a list.
pub fn write(tables: &[Table]) -> String {
    let mut text = String::new();
    for (index, table) in tables.iter().enumerate() {
        if index > 0 {
            text.push('\n');
        }
        let _ = write!(text, "## {}\n\n{}", escape(&table.heading), rows(table));
        if table.all_notes().next().is_some() {
            text.push('\n');
        }
        for note in table.all_notes() {
            let _ = writeln!(text, "- {}", escape(note));
        }
        if let Some(grid) = Grid::of(table) {
            text.push_str(&efficiency(&grid));
        }
    }
    text
}

/// A table without heading and notes.
pub fn rows(table: &Table) -> String {
    let lines: String = table.rows.iter().map(line).collect();
    format!("{}\n{SEPARATOR}\n{lines}", header())
}

/// The table that stands under the documents'.
pub fn efficiency(grid: &Grid) -> String {
    let names = grid.names();
    let alignments: Vec<&str> =
        grid.columns.iter().map(|column| if column.is_number() { "---:" } else { "---" }).collect();
    let (caption, names, alignments) = (escape(&grid.caption), names.join(" | "), alignments.join(" | "));
    let mut text = format!("\n**{caption}**\n\n| {names} |\n| {alignments} |\n");
    for row in &grid.rows {
        let cells: Vec<String> = row.iter().map(|cell| escape(cell)).collect();
        let _ = writeln!(text, "| {} |", cells.join(" | "));
    }
    text
}

/// A row as a line.
pub fn line(row: &Row) -> String {
    let mut line = String::from("|");
    let [batch_size, prompt_length] = [row.batch_size, row.prompt_length].map(|size| size.to_string());
    let cells = [escape(&row.engine), batch_size, prompt_length].into_iter().chain(row.texts());
    for (cell, width) in cells.zip(WIDTHS) {
        let _ = write!(line, " {cell:width$}|");
    }
    line.push('\n');
    line
}

/// Text from elsewhere stays text: on one line, inside its cell, without markup.
pub fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for c in crate::text::one_line(text).chars() {
        if matches!(c, '|' | '<' | '>' | '`' | '*' | '[' | ']' | '\\' | '#') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_and_separator_are_the_published_ones() {
        let published = include_str!("../../../results/published/llama2-a100.md");
        let mut lines = published.lines().skip_while(|line| !line.starts_with("| Engine"));
        assert_eq!(lines.next(), Some(header().as_str()));
        assert_eq!(lines.next(), Some(SEPARATOR));
        let row = lines.next().unwrap();
        let widths: Vec<usize> = row.split('|').map(str::len).filter(|&len| len > 0).collect();
        assert_eq!(widths, WIDTHS.map(|width| width + 1));
    }

    #[test]
    fn hostile_text_stays_in_its_cell() {
        assert_eq!(escape("a|b\n<script>"), "a\\|b \\<script\\>");
    }
}
