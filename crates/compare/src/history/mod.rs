//! The history of a machine's runs: one small file a run, how each metric changed over revisions, and how far runs differ without a
//! change.

mod entry;
mod groups;
mod series;
mod spread;

pub use entry::{Entry, EntryError};
pub use series::{History, HistoryRun, Series};
pub use spread::RunSpread;
