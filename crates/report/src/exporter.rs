//! The formats of `table` behind one trait.

use results::published::Document;
use results::{Run, Table};

/// What is written.
#[derive(Debug, Clone, Copy)]
pub enum ExportInput<'a> {
    /// Runs, with all their records.
    Runs(&'a [Run]),
    /// The tables of files; a run among them is what it would be in a file.
    Document(&'a Document),
}

/// The text that was written, and remarks on what could not be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exported {
    /// The text in the format.
    pub text: String,
    /// What is missing from the text or may surprise a reader, one line each.
    pub remarks: Vec<String>,
}

/// A format.
pub trait Exporter {
    /// Its name on the command line.
    fn name(&self) -> &'static str;

    /// Writes runs or tables.
    fn write(&self, input: &ExportInput<'_>) -> Exported;
}

/// A text that lacks nothing.
impl From<String> for Exported {
    fn from(text: String) -> Self {
        Self { text, remarks: Vec::new() }
    }
}

/// The tables of all runs.
pub(crate) fn tables_of(runs: &[Run]) -> impl Iterator<Item = &Table> {
    runs.iter().flat_map(|run| &run.tables)
}
