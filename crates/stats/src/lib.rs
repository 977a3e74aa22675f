//! Summaries of series of measurements. Pure functions of numbers.

mod summary;

pub use summary::{Summary, mean};
