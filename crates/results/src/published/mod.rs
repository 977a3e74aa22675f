//! The documents' tables as data: read from markdown, csv or json, and written again without a loss.
//!
//! A [`Document`] is the whole file: tables are parsed, the text around them is kept as it is. What a markdown file
//! looked like (widths, line ends, escapes) travels with the tables, also through csv and json: `markdown::write` of
//! what was read gives the file back byte for byte, and where a cell was changed only that cell differs.

mod cell;
pub mod csv;
mod error;
pub mod json;
pub mod layout;
mod lines;
pub mod markdown;
mod splice;
mod table;

pub use cell::Cell;
pub use error::PublishedError;
pub use splice::{END_MARKER, SpliceError, TABLE_MARKER, splice};
pub use table::{Document, MarkdownSource, Piece, PublishedRow, PublishedTable};

/// The published LLaMA-2 tables, of one and of four A100.
pub const LLAMA2_A100: &str = include_str!("../../../../results/published/llama2-a100.md");

/// Where [`LLAMA2_A100`] stands in the repository.
pub const LLAMA2_A100_FILE: &str = "results/published/llama2-a100.md";

/// The tables of [`LLAMA2_A100`].
///
/// # Panics
/// Never: the file is compiled in, and a test reads it.
pub fn built_in() -> Document {
    parse(LLAMA2_A100, LLAMA2_A100_FILE).expect("the built-in tables")
}

/// Reads `text` as what the name of its file says: csv (`.csv`), json (`.json`), else markdown.
pub fn parse(text: &str, file: &str) -> Result<Document, PublishedError> {
    let extension = std::path::Path::new(file).extension().and_then(|extension| extension.to_str());
    match extension.map(str::to_ascii_lowercase).as_deref() {
        Some("csv") => csv::parse(text, file),
        Some("json") => json::parse(text, file),
        _ => markdown::parse(text, file),
    }
}
