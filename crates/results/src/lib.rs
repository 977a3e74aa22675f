//! Results as data: what a run's folder holds, and the published tables.
//!
//! [`run`] reads and writes a run's folder; [`tables`] groups its records into one [`Table`] a model, with the published
//! figures; [`published`] reads such tables back, whoever wrote them.

mod number;
pub mod published;
mod run;
mod table;
mod text;

pub use number::{format_g10, format_short, format_size};
pub use run::{
    CellKey, Known, Merged, RecordReader, Run, RunFacts, RunFolder, StoreError, merge, read_run,
    read_run_each,
};
pub use table::{
    COLUMNS, Efficiency, Figures, Grid, GridColumn, Machine, Row, Table, heading, outcome_text, tables,
};
pub use text::{escaped_json, one_line, plain};
