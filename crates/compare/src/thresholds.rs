//! The minimum effect: a smaller change is none.

use results::Metric;

/// A change of peak memory below this is none. Workers of one program differed by 0.24 MB of 4 MB: the kernel counts resident pages in
/// batches (`man 5 proc_pid_status`, `VmHWM`), and places libraries at random addresses.
const SMALLEST_MEMORY_CHANGE: f64 = 1e6;

/// The minimum effect for each metric, a share such as 0.05.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Thresholds {
    shares: [f64; Metric::ALL.len()],
    /// Whether the user chose it.
    is_chosen: [bool; Metric::ALL.len()],
}

impl Default for Thresholds {
    /// 5 % for all, which nobody chose.
    fn default() -> Self {
        Self { is_chosen: [false; Metric::ALL.len()], ..Self::all(0.05) }
    }
}

impl Thresholds {
    /// The same for all.
    pub fn all(threshold: f64) -> Self {
        Self { shares: [threshold; Metric::ALL.len()], is_chosen: [true; Metric::ALL.len()] }
    }

    /// Sets another one for `metric`.
    #[must_use]
    pub fn with(mut self, metric: Metric, threshold: f64) -> Self {
        self.shares[metric as usize] = threshold;
        self.is_chosen[metric as usize] = true;
        self
    }

    /// That of `metric`.
    pub fn threshold_for(&self, metric: Metric) -> f64 {
        self.shares[metric as usize]
    }

    /// Whether the user chose that of `metric`.
    pub(crate) fn is_chosen(&self, metric: Metric) -> bool {
        self.is_chosen[metric as usize]
    }

    /// The threshold of `metric` for a cell whose baseline is `baseline`: for memory, at least 1 MB.
    pub(crate) fn at(&self, metric: Metric, baseline: f64) -> f64 {
        match metric {
            Metric::Memory => self.threshold_for(metric).max(SMALLEST_MEMORY_CHANGE / baseline),
            _ => self.threshold_for(metric),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_of_a_small_worker_may_differ_by_what_the_system_miscounts() {
        let thresholds = Thresholds::default().with(Metric::Memory, 0.01);
        let at = |metric, baseline| (thresholds.at(metric, baseline) * 1e4).round() / 1e4;
        assert_eq!([at(Metric::Memory, 4.3e6), at(Metric::Memory, 4.3e9)], [0.2326, 0.01]);
        assert_eq!(at(Metric::Prompt, 0.001), 0.05);
        assert!(thresholds.is_chosen(Metric::Memory) && !thresholds.is_chosen(Metric::Prompt));
    }
}
