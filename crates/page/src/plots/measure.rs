//! The figures of a cell that plots show, with their units.

use results::{Figures, Row, format_short};

use crate::plot::grouped;

/// The least of a series, and its 95th percentile.
type Spread = fn(&Figures) -> (f64, f64);

/// A figure of a cell.
pub(crate) struct Measure {
    /// Its name in links and file names.
    pub(crate) id: &'static str,
    pub(crate) title: &'static str,
    /// The figure and its unit, for an axis.
    pub(crate) unit: &'static str,
    /// The unit alone.
    pub(crate) short: &'static str,
    /// The value in that unit.
    pub(crate) value: fn(&Row, &Figures) -> Option<f64>,
    /// The least of the series, and its 95th percentile.
    pub(crate) spread: Option<Spread>,
    /// How the figure is computed, and which way is better.
    pub(crate) note: &'static str,
}

/// Milliseconds in a second.
pub(crate) const MILLISECONDS: f64 = 1e3;

/// Mean of all decode forwards.
pub(crate) const TOKEN_LATENCY: Measure = Measure {
    id: "token-latency",
    title: "Token latency",
    unit: "ms per decode forward, mean of all tokens",
    short: "ms",
    value: |_, figures| Some(figures.token.mean * MILLISECONDS),
    spread: Some(|figures| (figures.token.least * MILLISECONDS, figures.token.p95 * MILLISECONDS)),
    note: "The mean of all generated tokens. Lower is better.",
};

/// Batch size over the mean of all decode forwards.
pub(crate) const TOKEN_THROUGHPUT: Measure = Measure {
    id: "token-throughput",
    title: "Throughput of decode forwards",
    unit: "generated tokens per second",
    short: "tokens/s",
    value: |row, figures| Some(f64::from(row.key.batch_size) / figures.token.mean),
    spread: None,
    note: "Batch size over the mean latency of a decode forward. Higher is better.",
};

/// Batch size × prompt length over the mean prefill.
pub(crate) const PROMPT_THROUGHPUT: Measure = Measure {
    id: "prompt-throughput",
    title: "Prompt throughput",
    unit: "prompt tokens per second",
    short: "tokens/s",
    value: |row, figures| {
        Some(f64::from(row.key.batch_size) * f64::from(row.key.prompt_length) / figures.prompt.mean)
    },
    spread: None,
    note: "Batch size × prompt length over the mean latency of a prefill. Higher is better.",
};

/// Energy of a generated token.
pub(crate) const ENERGY: Measure = Measure {
    id: "energy",
    title: "Energy per generated token",
    unit: "J per generated token",
    short: "J",
    value: |row, _| row.efficiency.joules_per_token,
    spread: None,
    note: "Mean GPU power during decode, times the mean latency of a decode forward, over the batch size. Lower is better.",
};

/// Formats a number with four digits.
pub(crate) fn number(value: f64) -> String {
    grouped(&format_short(value))
}
