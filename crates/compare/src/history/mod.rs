//! How a machine's runs went over revisions: one small file a run, what became of each metric, and how far runs differ without a
//! change.

mod entry;
mod series;
mod spread;

pub use entry::{Entry, EntryError};
pub use series::{History, Series};
pub use spread::RunSpread;
