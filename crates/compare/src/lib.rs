//! Holds one run against another: a verdict for every cell and metric.
//!
//! A [`Subject`] is one side: a run, read record by record ([`RunSubject`]), or a file of published tables. [`compare()`]
//! makes a [`Report`] of two; [`terminal`], [`markdown`], [`json`], [`junit`] and [`github`] write it. [`history`] keeps runs
//! and shows what became of each metric. [`Ratios`] hold an engine of a subject against its others.

mod compare;
mod difference;
mod finding;
pub mod github;
pub mod history;
pub mod json;
pub mod junit;
pub mod markdown;
mod metric;
mod ratios;
mod report;
mod sides;
mod subject;
pub mod terminal;
mod words;

pub use compare::{Criteria, compare};
pub use difference::Refused;
pub use metric::{Metric, Thresholds, UnknownMetric};
pub use ratios::{NoRatios, Ratios};
pub use report::{CellName, ComparedTable, Counts, Difference, EndLine, Figure, Line, Report, Section};
pub use stats::FEWEST as FEWEST_LAUNCHES;
pub use subject::{RunSubject, Subject};
