//! A document with its tables.

use super::{Columns, PrintedFigure};
use crate::{Column, Row, Table};

/// A file: tables and the text around them, in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Document {
    /// Its pieces; never two texts in a row when read.
    pub pieces: Vec<Piece>,
}

/// A part of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Anything that is no table of this schema, as it stands.
    Text(String),
    /// A table.
    Table(PublishedTable),
}

/// A table of the published schema.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PublishedTable {
    /// The heading's text without its marks; empty where there is none.
    pub heading: String,
    /// The line of the header, from 1; 0 where it is in no file.
    pub line: usize,
    /// What stood in a markdown file around the rows; `None` where it was in none.
    pub markdown: Option<MarkdownSource>,
    /// The columns by the file's own names.
    pub columns: Columns,
    /// The rows, in order; at least one of a table that was read.
    pub rows: Vec<PublishedRow>,
    /// Decode forwards of a generation; `None` where neither the file nor the caller says it.
    pub generation_length: Option<u32>,
    /// Whether the figures are a program's own, and not rounded to be printed.
    pub is_exact: bool,
    /// What of the file was not read, one line each with its place.
    pub remarks: Vec<String>,
}

/// The lines of a markdown table above its rows, each with its line end.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MarkdownSource {
    /// The heading's line, with marks; empty where there is none.
    pub heading: String,
    /// What stands between heading and header.
    pub between: String,
    /// The header's line.
    pub header: String,
    /// The separator's line.
    pub separator: String,
}

/// A row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedRow {
    /// Its line in the file, from 1; 0 where it is in no file.
    pub line: usize,
    /// The engine.
    pub engine: String,
    /// Sequences at once, from 1.
    pub batch_size: u32,
    /// Tokens of the prompt; 0 where tokens were generated from an empty context.
    pub prompt_length: u32,
    /// The figures, in the order of [`Column::ALL`].
    pub cells: [PrintedFigure; 12],
    /// The texts of the table's other columns, in order.
    pub more: Vec<String>,
    /// Its line in a markdown file, with the line end; `None` where it was in none.
    pub markdown: Option<String>,
}

impl Document {
    /// The tables.
    pub fn tables(&self) -> impl Iterator<Item = &PublishedTable> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Table(table) => Some(table),
            Piece::Text(_) => None,
        })
    }

    /// The tables, to change.
    pub fn tables_mut(&mut self) -> impl Iterator<Item = &mut PublishedTable> {
        self.pieces.iter_mut().filter_map(|piece| match piece {
            Piece::Table(table) => Some(table),
            Piece::Text(_) => None,
        })
    }
}

impl PublishedRow {
    /// The texts of the eleven published columns, figures in the unit of the file's header.
    pub fn texts(&self) -> [String; 11] {
        let [batch_size, prompt_length] = [self.batch_size, self.prompt_length].map(|size| size.to_string());
        let mut cells = self.cells.iter().take(8).map(|cell| cell.text().to_owned());
        let mut head = [self.engine.clone(), batch_size, prompt_length].into_iter();
        std::array::from_fn(|_| head.next().or_else(|| cells.next()).unwrap_or_default())
    }
}

/// A table of our own run, in no file, as its markdown would be read back.
impl From<&Table> for PublishedTable {
    fn from(table: &Table) -> Self {
        let figures = table.columns();
        // A figure that is no number at all (an infinite throughput) is none.
        let cell = |row: &Row, column| match figures.contains(&column) {
            true => PrintedFigure::parse(&row.text(column)).unwrap_or_default(),
            false => PrintedFigure::not_available(),
        };
        let rows = table.rows.iter().map(|row| PublishedRow {
            line: 0,
            engine: row.key.engine.clone(),
            batch_size: row.key.batch_size,
            prompt_length: row.key.prompt_length,
            cells: Column::ALL.map(|column| cell(row, column)),
            more: Vec::new(),
            markdown: None,
        });
        Self {
            heading: table.heading.to_string(),
            columns: Columns::of_figures(&figures),
            rows: rows.collect(),
            generation_length: Some(table.key.generation_length),
            ..Self::default()
        }
    }
}

impl From<&[Table]> for Document {
    fn from(tables: &[Table]) -> Self {
        Self { pieces: tables.iter().map(|table| Piece::Table(table.into())).collect() }
    }
}
