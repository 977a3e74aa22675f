//! What `table` writes in each of its formats.

use results::published::Document;
use results::{Exporter, Run, Table};

/// What is written.
#[derive(Debug, Clone, Copy)]
pub enum ExportInput<'a> {
    /// Runs, with all their records.
    Runs(&'a [Run]),
    /// The tables of files; a run among them is what it would be in a file.
    Document(&'a Document),
}

/// A format of runs and tables.
pub type TableExporter = dyn for<'a> Exporter<ExportInput<'a>>;

/// The tables of all runs.
pub(crate) fn tables_of(runs: &[Run]) -> impl Iterator<Item = &Table> {
    runs.iter().flat_map(|run| &run.tables)
}
