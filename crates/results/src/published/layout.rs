//! How a published table is laid out in markdown: header, separator and padding, byte for byte.

use crate::COLUMNS;

/// The documents' separator line.
pub const SEPARATOR: &str = "|-----------------|------------|---------------|---------------------|-------------------------|---------------------------------------------|-------------------------------------------------|---------------------------------------------|-------------------------------------------------|------------------------|-----------------------------|";

/// The documents' widths of the cells of a row.
pub const WIDTHS: [usize; 11] = [16, 2, 5, 11, 15, 17, 12, 17, 12, 14, 19];

/// The documents' header line.
pub fn header() -> String {
    format!("| {} |", COLUMNS.join(" | "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_and_separator_are_the_published_ones() {
        let published = include_str!("../../../../results/published/llama2-a100.md");
        let mut lines = published.lines().skip_while(|line| !line.starts_with("| Engine"));
        assert_eq!(lines.next(), Some(header().as_str()));
        assert_eq!(lines.next(), Some(SEPARATOR));
        let row = lines.next().unwrap();
        let widths: Vec<usize> = row.split('|').map(str::len).filter(|&len| len > 0).collect();
        assert_eq!(widths, WIDTHS.map(|width| width + 1));
    }
}
