//! Statistics of measurements: summaries of series, the comparison of two sides, verdicts, drift. Pure functions of numbers.

mod changes;
mod comparison;
mod launches;
pub mod simulate;
mod student;
mod summary;
mod trend;
mod verdict;

pub use changes::{Change, changes};
pub use comparison::{Basis, Comparison, Estimate, Interval};
pub use launches::{Launches, Side};
pub use summary::{Summary, mean};
pub use trend::Trend;
pub use verdict::{FAMILY_LEVEL, FEWEST, Judgement, Verdict, holm, judge};
