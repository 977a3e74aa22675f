//! The change that counts as none.

use results::Metric;

/// The change that counts as none for each metric, a share such as 0.05.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Thresholds([f64; Metric::ALL.len()]);

impl Thresholds {
    /// The same for all.
    pub fn all(threshold: f64) -> Self {
        Self([threshold; Metric::ALL.len()])
    }

    /// Sets another one for `metric`.
    #[must_use]
    pub fn with(mut self, metric: Metric, threshold: f64) -> Self {
        self.0[metric as usize] = threshold;
        self
    }

    /// That of `metric`.
    pub fn of(&self, metric: Metric) -> f64 {
        self.0[metric as usize]
    }
}
