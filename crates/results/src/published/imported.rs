//! Tables from other tools' files.

use super::columns::Header;
use super::headings::clean_heading;
use super::rows::{RawRow, read_rows};
use super::{Columns, Document, Piece, PublishedError, PublishedTable, ReadOptions};
use crate::import::{self, ImportedFile, ImportedTable};

/// Reads the file of another tool; `None` where it is none. `beside` reads a file of the same folder by its name.
pub(super) fn parse(
    text: &str,
    file: &str,
    options: &ReadOptions,
    beside: &dyn Fn(&str) -> Option<String>,
) -> Option<Result<Document, PublishedError>> {
    let imported = import::read(text, options, beside)?;
    let imported = imported.map_err(|error| PublishedError::new(file, error.line, error.what));
    Some(imported.and_then(|imported| document(imported, file, options)))
}

fn document(imported: ImportedFile, file: &str, options: &ReadOptions) -> Result<Document, PublishedError> {
    let ImportedFile { tool, tables, remarks } = imported;
    let mut read: Vec<PublishedTable> =
        tables.into_iter().map(|imported| table(imported, file, options)).collect::<Result<_, _>>()?;
    if let Some(first) = read.first_mut() {
        first.remarks = vec![format!("{file}: {tool}: {}", remarks.join("; "))];
    }
    Ok(Document { pieces: read.into_iter().map(Piece::Table).collect() })
}

fn table(
    imported: ImportedTable,
    file: &str,
    options: &ReadOptions,
) -> Result<PublishedTable, PublishedError> {
    let ImportedTable { heading, columns, rows } = imported;
    let line = rows.first().map_or(0, |(line, _)| *line);
    let columns = match Columns::read(&columns) {
        Header::Table(columns) => columns,
        Header::Unreadable(_, what) => return Err(PublishedError::new(file, line, what)),
        Header::Other(_) => return Err(PublishedError::new(file, line, "no figure that this program knows")),
    };
    let raw = rows.into_iter().map(|(line, texts)| RawRow { line, texts, markdown: None });
    let read = read_rows(&columns, raw.collect(), file)?;
    let mut table = PublishedTable {
        heading: clean_heading(&heading),
        line,
        markdown: None,
        generation_length: read.generation_length,
        is_exact: true,
        remarks: Vec::new(),
        columns,
        rows: read.rows,
    };
    // Of a length that the file does not say, the importer was told.
    options.without_lengths().complete(&mut table, file)?;
    Ok(table)
}
