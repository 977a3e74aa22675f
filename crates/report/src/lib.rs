//! Measurements as the documents' tables.
//!
//! [`tables`] groups a run's records into one [`Table`] a model, with the documents' eight figures a row;
//! [`markdown`], [`csv`], [`json`] and [`terminal`] write them. [`published`] reads such tables back, whoever wrote them.

mod collectives_left;
pub mod csv;
mod efficiency;
mod figures;
mod gpu_notes;
mod heading;
pub mod json;
pub mod markdown;
mod notes;
mod number;
pub mod published;
pub mod reproduction;
mod table;
pub mod terminal;
mod text;

pub use collectives_left::{CollectivesLeft, Left, LeftRow};
pub use efficiency::{Efficiency, Grid};
pub use figures::{COLUMNS, Figures};
pub use heading::{Machine, heading};
pub use number::{format_g10, format_short, format_size};
pub use table::{Row, Table, outcome_text, tables};
pub use text::{escaped_json, one_line, plain};
