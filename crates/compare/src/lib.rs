//! Holds one run against another: a verdict for every cell and metric.
//!
//! A [`Subject`] is one side: a run, or a file of published tables. [`compare()`]
//! makes a [`Report`] of two, which [`Junit`], [`Github`], and `Terminal`, `Markdown`, `Csv` and `Json` of `results` write. [`history`]
//! keeps runs and shows what became of each metric. [`Noise`] says what a machine's own noise lets a comparison say. [`Ratios`] hold an
//! engine of a subject against its others, and against itself in other precisions.

mod compare;
mod criteria;
mod csv;
mod difference;
mod drift;
mod ends;
mod format;
mod github;
pub mod history;
mod json;
mod junit;
mod lines;
mod markdown;
mod noise;
mod notes;
mod partners;
mod precision_ratios;
mod ratio;
mod ratio_tables;
mod ratios;
mod report;
mod rounds;
mod sides;
mod statement;
mod subject;
mod terminal;
mod thresholds;

pub use compare::compare;
pub use criteria::Criteria;
pub use difference::Refused;
pub use format::percent;
pub use github::Github;
pub use junit::Junit;
pub use noise::Noise;
pub use partners::{Lone, Missing};
pub use precision_ratios::PrecisionRatios;
pub use ratios::{KnownRatio, NoRatios, Ratios};
pub use report::{
    ComparedFigure, ComparedTable, Counts, Difference, EndLine, OtherMedian, Report, Section, SideFigure,
};
pub use stats::FEWEST as FEWEST_REPLICATES;
pub use subject::Subject;
pub use thresholds::Thresholds;
