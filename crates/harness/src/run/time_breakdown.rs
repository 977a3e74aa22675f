//! Where a run's time went.

use std::ops::AddAssign;
use std::time::{Duration, Instant};

use protocol::Measured;

/// Where a session's time went; what is in none of these is its own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TimeBreakdown {
    /// Measuring the device's peaks.
    pub peaks: Duration,
    /// Verifying the engines, their loading included.
    pub verification: Duration,
    /// Starting workers and loading models.
    pub loading: Duration,
    /// A worker's work for a cell outside the timed regions: memory got, warm-ups.
    pub warm_up: Duration,
    /// Cells that failed or timed out.
    pub failed: Duration,
    /// The timed regions.
    pub timed: Duration,
    /// Reading memory beside cells.
    pub memory: Duration,
    /// Waiting before cells, so that the device cools down, and engines that had their turn are idle.
    pub cool_down: Duration,
}

impl TimeBreakdown {
    /// Adds the time that a worker spent on a cell, and what it measured.
    pub(crate) fn on_cell(&mut self, passed: Duration, measured: Option<&Measured>) {
        let Some(measured) = measured else {
            self.failed += passed;
            return;
        };
        let timed = timed(measured).min(passed);
        self.timed += timed;
        self.warm_up += passed - timed;
    }
}

impl AddAssign for TimeBreakdown {
    fn add_assign(&mut self, other: Self) {
        self.peaks += other.peaks;
        self.verification += other.verification;
        self.loading += other.loading;
        self.warm_up += other.warm_up;
        self.failed += other.failed;
        self.timed += other.timed;
        self.memory += other.memory;
        self.cool_down += other.cool_down;
    }
}

fn timed(measured: &Measured) -> Duration {
    let generations = measured.generations.iter().map(|generation| generation.wall_seconds);
    let seconds: f64 = measured.prompt_seconds.iter().copied().chain(generations).sum();
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
}

/// Runs `work` and adds its time to `total`.
pub(crate) fn clocked<T>(total: &mut Duration, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = work();
    *total += start.elapsed();
    result
}

#[cfg(test)]
mod tests {
    use protocol::{Generation, Memory};

    use super::*;

    #[test]
    fn the_time_of_a_cell_is_in_timed_regions_or_around_them() {
        let measured = Measured {
            prompt_seconds: vec![1.0, 1.0],
            generations: vec![Generation {
                prompt_seconds: 1.0,
                token_seconds: vec![0.5; 2],
                wall_seconds: 2.5,
            }],
            device_seconds: None,
            memory: Memory::default(),
            ranks: Vec::new(),
            collectives: None,
            tokens_sha256: String::new(),
        };
        let seconds = Duration::from_secs_f64;
        let mut time = TimeBreakdown::default();
        time.on_cell(seconds(6.0), Some(&measured));
        assert_eq!((time.timed, time.warm_up), (seconds(4.5), seconds(1.5)));
        // A cell that failed, and one on a virtual clock, which is faster than ours.
        time.on_cell(seconds(2.0), None);
        time.on_cell(seconds(0.5), Some(&measured));
        assert_eq!((time.timed, time.warm_up, time.failed), (seconds(5.0), seconds(1.5), seconds(2.0)));
    }
}
