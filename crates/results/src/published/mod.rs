//! Published tables as data: read from markdown, csv or json, and written again without a loss.
//!
//! A [`Document`] is the whole file: tables are parsed, the text around them is kept as it is. What a markdown file
//! looked like (widths, line ends, escapes, decorations) travels with the tables, also through csv and json: `markdown::write` of
//! what was read gives the file back byte for byte, and where a cell was changed only that cell differs. A table keeps the names
//! of its own columns, and columns that this program does not know.

mod cell;
mod column_names;
mod columns;
pub mod csv;
mod csv_syntax;
mod decorated;
mod edition;
mod error;
mod heading_above;
mod headings;
mod html_table;
mod imported;
mod inline;
pub mod json;
mod json_lines;
pub mod layout;
mod lines;
pub mod markdown;
mod marks;
mod options;
mod rows;
mod same_cells;
mod splice;
mod table;
mod write;

pub use cell::PrintedFigure;
pub use columns::Columns;
pub use edition::Edition;
pub use error::PublishedError;
pub use inline::escape_cell;
pub use options::ReadOptions;
pub use splice::{END_MARKER, SUMMARY_MARKER, SpliceError, TABLE_MARKER, splice, takes_summary};
pub use table::{Document, MarkdownSource, Piece, PublishedRow, PublishedTable};

use protocol::LONGEST_NAME;

/// Reads `text` as what the name of its file says: csv (`.csv`, `.tsv`), json (`.json`, `.jsonl`), else markdown. JSON may be another
/// tool's, whatever its name.
pub fn parse(text: &str, file: &str) -> Result<Document, PublishedError> {
    parse_with(text, file, &ReadOptions::default())
}

/// Reads as [`parse`] does, with what the caller says of tables that do not say it.
pub fn parse_with(text: &str, file: &str, options: &ReadOptions) -> Result<Document, PublishedError> {
    parse_beside(text, file, options, &|_| None)
}

/// Reads as [`parse_with`] does. `beside` reads a file of the same folder by its name: some tools write two.
pub fn parse_beside(
    text: &str,
    file: &str,
    options: &ReadOptions,
    beside: &dyn Fn(&str) -> Option<String>,
) -> Result<Document, PublishedError> {
    let extension = std::path::Path::new(file).extension().and_then(|extension| extension.to_str());
    let mut document = match extension.map(str::to_ascii_lowercase).as_deref() {
        Some("csv" | "tsv") => csv::parse_with(text, file, options),
        extension => match imported::parse(text, file, options, beside) {
            Some(imported) => imported,
            None if extension == Some("json") => json::parse_with(text, file, options),
            None if matches!(extension, Some("jsonl" | "ndjson")) => {
                let what =
                    format!("not results of a tool that this program reads: {}", crate::import::tools());
                Err(PublishedError::new(file, None, what))
            }
            None => markdown::parse_with(text, file, options),
        },
    }?;
    check_bounds(&document, file)?;
    same_cells::add_remarks(&mut document, file);
    Ok(document)
}

/// The most tables of a file: an audit holds each against all others.
const MOST_TABLES: usize = 1000;
/// The most rows of a file, as many as a sweep can have.
const MOST_ROWS: usize = 100_000;
/// The most bytes of a heading, which is told again with every figure.
const LONGEST_HEADING: usize = 1000;

fn too_many(file: &str, what: &str, count: usize, most: usize) -> PublishedError {
    let what = format!("expected at most {most} {what} in a file, found {count}: split it");
    PublishedError::new(file, None, what)
}

/// Refuses what no file of tables has, and what would take minutes.
fn check_bounds(document: &Document, file: &str) -> Result<(), PublishedError> {
    let (tables, rows) = (document.tables().count(), document.tables().map(|table| table.rows.len()).sum());
    for (what, count, most) in [("tables", tables, MOST_TABLES), ("rows", rows, MOST_ROWS)] {
        if count > most {
            return Err(too_many(file, what, count, most));
        }
    }
    for table in document.tables() {
        let engines = table.rows.iter().map(|row| ("engine", row.line, row.engine.len(), LONGEST_NAME));
        let heading = ("heading", table.line, table.heading.len(), LONGEST_HEADING);
        if let Some((what, line, length, most)) =
            engines.chain([heading]).find(|(_, _, length, most)| length > most)
        {
            let what = format!("{what}: expected a name of at most {most} bytes, found {length}");
            return Err(PublishedError::new(file, line, what));
        }
    }
    Ok(())
}
