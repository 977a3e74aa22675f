//! How a published table is laid out in markdown: header, separator and padding, byte for byte.

use crate::{COLUMNS, Column};

/// The separator line of the published tables.
pub const SEPARATOR: &str = "|-----------------|------------|---------------|---------------------|-------------------------|---------------------------------------------|-------------------------------------------------|---------------------------------------------|-------------------------------------------------|------------------------|-----------------------------|";

/// The widths of the cells of a row in the published tables.
const WIDTHS: [usize; 11] = [16, 2, 5, 11, 15, 17, 12, 17, 12, 14, 19];

/// The columns before the figures: engine, batch size, prompt length.
const KEYS: usize = 3;

/// The header line of the published tables.
pub fn header() -> String {
    header_of(&Column::PUBLISHED)
}

/// The header line of a table with these figures.
pub fn header_of(figures: &[Column]) -> String {
    let names = COLUMNS[..KEYS].iter().copied().chain(figures.iter().map(|column| column.header()));
    format!("| {} |", names.collect::<Vec<_>>().join(" | "))
}

/// The separator line of a table with these figures: [`SEPARATOR`] for the published ones.
pub fn separator_of(figures: &[Column]) -> String {
    let published: Vec<&str> = SEPARATOR.split('|').filter(|dashes| !dashes.is_empty()).collect();
    let dashes = |column: &Column| match published.get(KEYS + *column as usize) {
        Some(dashes) => (*dashes).to_owned(),
        None => "-".repeat(column.header().len() + 2),
    };
    let keys = published[..KEYS].iter().map(|dashes| (*dashes).to_owned());
    let cells = keys.chain(figures.iter().map(dashes)).collect::<Vec<_>>();
    format!("|{}|", cells.join("|"))
}

/// A row with these texts: engine, batch size, prompt length, then the figures.
pub fn row_of(figures: &[Column], texts: impl IntoIterator<Item = String>) -> String {
    let width = |column: &Column| match WIDTHS.get(KEYS + *column as usize) {
        Some(width) => *width,
        None if column.is_latency() => 11,
        None => 15,
    };
    let widths = WIDTHS[..KEYS].iter().copied().chain(figures.iter().map(width));
    let cells: String =
        texts.into_iter().zip(widths).map(|(cell, width)| format!(" {cell:width$}|")).collect();
    format!("|{cells}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_separator_and_widths_are_the_published_ones() {
        let published = include_str!("../../../../results/published/llama2-a100.md");
        let mut lines = published.lines().skip_while(|line| !line.starts_with("| Engine"));
        assert_eq!(lines.next(), Some(header().as_str()));
        assert_eq!(lines.next(), Some(SEPARATOR));
        assert_eq!(separator_of(&Column::PUBLISHED), SEPARATOR);
        let row = lines.next().unwrap();
        let widths: Vec<usize> = row.split('|').map(str::len).filter(|&len| len > 0).collect();
        assert_eq!(widths, WIDTHS.map(|width| width + 1));
    }
}
