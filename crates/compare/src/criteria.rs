//! How a comparison is judged.

use crate::Thresholds;
use crate::history::RunSpread;

/// How to judge.
#[derive(Debug, Clone, Copy)]
pub struct Criteria<'a> {
    /// The minimum effects.
    pub thresholds: Thresholds,
    /// Do not widen the interval of what drifted.
    pub allow_drift: bool,
    /// Cells, metrics and tables that one side lacks are listed, and have no verdict.
    pub allow_missing: bool,
    /// How far runs of this machine differ, where a history was given.
    pub spread: Option<&'a RunSpread>,
    /// The part of the level of false alarms that this comparison may use: less than 1 where it is one of several of the same.
    pub level_share: f64,
}

impl Criteria<'_> {
    /// These thresholds, and nothing allowed.
    pub fn new(thresholds: Thresholds) -> Self {
        Self { thresholds, allow_drift: false, allow_missing: false, spread: None, level_share: 1.0 }
    }
}
