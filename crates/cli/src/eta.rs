//! Estimates the remaining time of a sweep from the time of its cells so far.

use std::time::Duration;

use protocol::{Phase, Progress};

/// The work of a sweep's cells in floating-point operations, and the time so far.
pub(crate) struct Eta {
    work: Vec<f64>,
    /// Seconds and work of the cells that this session measured.
    spent: (f64, f64),
}

impl Eta {
    /// Creates an estimate for cells with this work each.
    pub(crate) fn new(work: Vec<f64>) -> Self {
        Self { work, spent: (0.0, 0.0) }
    }

    /// Adds the time of a measured cell.
    pub(crate) fn add(&mut self, index: usize, took: Duration) {
        self.spent.0 += took.as_secs_f64();
        self.spent.1 += self.work[index];
    }

    /// The remaining time at this progress of a cell; `None` before the first cell has ended.
    pub(crate) fn left(&self, index: usize, progress: Option<&Progress>) -> Option<Duration> {
        let (seconds, work) = self.spent;
        if work == 0.0 {
            return None;
        }
        let later: f64 = self.work[index + 1..].iter().sum();
        let done_here = progress.map_or(0.0, |progress| match progress.phase {
            Phase::Load => 0.0,
            Phase::Prompt => share(progress) * 0.5,
            Phase::Decode => 0.5 + share(progress) * 0.5,
        });
        let left = (later + self.work[index] * (1.0 - done_here)) * seconds / work;
        Some(Duration::try_from_secs_f64(left).unwrap_or_default())
    }
}

/// The share of its phase that is done.
pub(crate) fn share(progress: &Progress) -> f64 {
    (f64::from(progress.done) / f64::from(progress.of.max(1))).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_remaining_time_follows_from_the_time_so_far() {
        let mut eta = Eta::new(vec![1.0, 2.0, 3.0]);
        assert_eq!(eta.left(0, None), None);
        eta.add(0, Duration::from_secs(10));
        assert_eq!(eta.left(1, None), Some(Duration::from_secs(50)));
        let half = Progress { phase: Phase::Decode, done: 5, of: 10, last_seconds: None };
        assert_eq!(eta.left(1, Some(&half)), Some(Duration::from_secs(35)));
    }
}
