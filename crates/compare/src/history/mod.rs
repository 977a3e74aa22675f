//! How a machine's runs went over revisions: one small file a run, and what became of each metric.

mod entry;
mod series;

pub use entry::{Entry, EntryError};
pub use series::{History, Series};
