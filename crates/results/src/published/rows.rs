//! Rows of one table, from whatever format: read together, since a figure can tell how another is to be read.

use super::columns::ReadRow;
use super::error::brief;
use super::{Columns, MOST_ROWS, PublishedError, PublishedRow, too_many};

/// The plain texts of a row's cells, and where they stand.
pub(super) struct RawRow {
    pub(super) line: usize,
    pub(super) texts: Vec<String>,
    pub(super) markdown: Option<String>,
}

/// The rows of a table, and what they say of it.
#[derive(Default)]
pub(super) struct ReadRows {
    pub(super) rows: Vec<PublishedRow>,
    pub(super) generation_length: Option<u32>,
    /// Where the first spread stands that was not read.
    pub(super) spread: Option<usize>,
}

/// Reads the rows of a table of `file`.
pub(super) fn read_rows(columns: &Columns, raw: Vec<RawRow>, file: &str) -> Result<ReadRows, PublishedError> {
    // Rows as text are small, and refused before they are figures.
    if raw.len() > MOST_ROWS {
        return Err(too_many(file, "rows", raw.len(), MOST_ROWS));
    }
    let has_points = raw.iter().any(|row| columns.has_points(&row.texts));
    let mut read = ReadRows { rows: Vec::with_capacity(raw.len()), ..ReadRows::default() };
    let mut of_heading: Vec<(usize, String)> = Vec::new();
    for RawRow { line, texts, markdown } in raw {
        let error = |(column, what): (usize, String)| {
            PublishedError::new(file, line, what).in_column(columns.name(column))
        };
        let ReadRow { row, generation_length, has_spread } =
            columns.read_row(&texts, has_points).map_err(error)?;
        if let Some((column, length)) = generation_length {
            let first = *read.generation_length.get_or_insert(length);
            if first != length {
                let what = format!(
                    "{length} tokens, and {first} in rows above: a table has one generation length: split it"
                );
                return Err(error((column, what)));
            }
        }
        if read.rows.is_empty() {
            let text = |index: usize| texts.get(index).cloned().unwrap_or_default();
            of_heading = columns.of_heading().map(|index| (index, text(index))).collect();
        }
        let mut others =
            of_heading.iter().filter_map(|(index, first)| Some((*index, first, texts.get(*index)?)));
        if let Some((index, first, other)) = others.find(|(_, first, other)| first != other) {
            let what = format!(
                "{}, and {} in rows above: a table is of one, which its heading says; split it",
                brief(other),
                brief(first)
            );
            return Err(error((index, what)));
        }
        if has_spread {
            read.spread.get_or_insert(line);
        }
        read.rows.push(PublishedRow { line, markdown, ..row });
    }
    Ok(read)
}

/// What of a table with the header in `line` is not read.
pub(super) fn remarks(columns: &Columns, rows: &ReadRows, file: &str, line: usize) -> Vec<String> {
    let unread: Vec<String> = columns.unread().map(brief).collect();
    let mut remarks = Vec::new();
    match &unread[..] {
        [] => {}
        [one] => remarks.push(format!("{file}:{line}: column {one} is not read")),
        [some @ .., last] if some.len() < 8 => {
            remarks.push(format!("{file}:{line}: columns {} and {last} are not read", some.join(", ")));
        }
        many => {
            remarks.push(format!("{file}:{line}: {} columns are not read, such as {}", many.len(), many[0]));
        }
    }
    if let Some(line) = rows.spread {
        remarks.push(format!("{file}:{line}: spreads such as ± 0.03 are not read, here and below"));
    }
    remarks
}
