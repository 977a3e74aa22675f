//! What the statistics promise, measured on made-up runs whose truth is known. Seeds are fixed.
//!
//! Quick as a test. The tables of the crate's documentation come from the long version:
//!
//!     SIMULATE=long cargo test --release -p stats --test simulation -- --nocapture --test-threads 1

mod covariate;
mod drift;
mod history;
mod separate_runs;
mod until;
mod verdicts;

use stats::Replicates;
use testing::simulate::{Between, SimulatedNoise};

/// A count of experiments: `quick` in a test, `long` for a table.
fn experiments(quick: usize, long: usize) -> usize {
    if is_long() { long } else { quick }
}

fn is_long() -> bool {
    std::env::var("SIMULATE").is_ok_and(|value| value == "long")
}

/// The noise that a run is expected to have: 2 % between replicates, 5 % within, every 50th figure an outlier, autocorrelated.
const USUAL: SimulatedNoise =
    SimulatedNoise { shape: Between::Normal, between: 0.02, within: 0.05, correlation: 0.5, outliers: 0.02 };

fn replicates(series: &[Vec<f64>]) -> Replicates {
    Replicates::medians((0..).zip(series.iter().map(Vec::as_slice))).expect("positive figures")
}

/// Three standard errors of a share measured in `count` experiments.
fn tolerance(share: f64, count: usize) -> f64 {
    3.0 * (share * (1.0 - share) / count as f64).sqrt()
}

fn percent(count: usize, of: usize) -> String {
    format!("{:.1} %", 100.0 * count as f64 / of as f64)
}
