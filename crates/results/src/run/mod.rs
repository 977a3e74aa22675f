//! A run's folder.

mod folder;
mod merge;
mod provenance;
mod records;

pub use folder::{Run, RunFacts, RunFolder, StoreError, read_run, read_run_each};
pub use merge::{Merged, merge};
pub use records::{CellKey, Known, RecordReader};
