//! Where a run's time went.

use std::ops::AddAssign;
use std::time::{Duration, Instant};

use protocol::Measured;

/// What a session spent its time on; what is in none of these is its own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TimeBreakdown {
    /// Measuring what the device can do at most.
    pub peaks: Duration,
    /// Holding the engines against each other, their loading included.
    pub verification: Duration,
    /// From a worker's start to its model being ready.
    pub loading: Duration,
    /// A worker's work for a cell outside the timed regions: memory got, warm-ups, what did not end well.
    pub warm_up: Duration,
    /// The timed regions.
    pub timed: Duration,
    /// Reading memory beside cells.
    pub memory: Duration,
    /// Waiting before cells, so that the device cools down, and engines that had their turn are idle.
    pub cool_down: Duration,
}

impl TimeBreakdown {
    /// A worker was asked for a cell, and ended with this after so long.
    pub(crate) fn on_cell(&mut self, passed: Duration, measured: Option<&Measured>) {
        let timed = measured.map_or(Duration::ZERO, timed).min(passed);
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

/// What `work` gives, its time added to `total`.
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
    fn a_cell_s_time_is_in_timed_regions_or_around_them() {
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
        assert_eq!((time.timed, time.warm_up), (seconds(5.0), seconds(3.5)));
    }
}
