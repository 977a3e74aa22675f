//! What the statistics promise, measured on made-up runs whose truth is known. Seeds are fixed.
//!
//! Quick as a test. The tables of the crate's documentation come from the long version:
//!
//!     SIMULATE=long cargo test --release -p stats --test simulation -- --nocapture --test-threads 1

mod bootstrap;
mod coverage;
mod drift;
mod grid;
mod history;
mod power;
mod until;

use stats::Launches;
use testing::simulate::{Between, Noise};

/// A count of experiments: `quick` in a test, `long` for a table.
fn experiments(quick: usize, long: usize) -> usize {
    if is_long() { long } else { quick }
}

fn is_long() -> bool {
    std::env::var("SIMULATE").is_ok_and(|value| value == "long")
}

/// The noise that a run is expected to have: 2 % between launches, 5 % within, every 50th figure an outlier, autocorrelated.
const USUAL: Noise =
    Noise { shape: Between::Normal, between: 0.02, within: 0.05, correlation: 0.5, outliers: 0.02 };

/// The noise models of the tables, by name.
fn models() -> [(&'static str, Noise); 6] {
    [
        ("0.5 % between, 10 % within", Noise { between: 0.005, within: 0.1, ..USUAL }),
        ("2 % between, 5 % within", USUAL),
        ("3 % between, 0.5 % within", Noise { between: 0.03, within: 0.005, ..USUAL }),
        ("2 % between, correlation 0.9 within", Noise { correlation: 0.9, ..USUAL }),
        ("2 % between, wild launches", Noise { shape: Between::Wild, ..USUAL }),
        (
            "2 % between in two modes, 0.5 % within",
            Noise { shape: Between::TwoModes, within: 0.005, ..USUAL },
        ),
    ]
}

fn launches(series: &[Vec<f64>]) -> Launches {
    Launches::of(series.iter().map(Vec::as_slice)).expect("positive figures")
}

/// Three standard errors of a share measured in `count` experiments.
fn tolerance(share: f64, count: usize) -> f64 {
    3.0 * (share * (1.0 - share) / count as f64).sqrt()
}

fn percent(count: usize, of: usize) -> String {
    format!("{:.1} %", 100.0 * count as f64 / of as f64)
}
