//! A subject's cells as sides of comparisons, with what drifted in them.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use protocol::{CellSize, Measurement};
use results::{Metric, ResultRow, ResultTable};
use stats::{Launches, Side, Trend, changes};

use crate::Thresholds;
use crate::subject::{launches, published_figure};

/// A cell in all its metrics.
#[derive(Debug)]
pub(crate) struct Sides<'t> {
    pub(crate) row: &'t ResultRow<'t>,
    pub(crate) by_metric: BTreeMap<Metric, Side>,
    /// What changed inside its launches, by metric.
    pub(crate) drift: BTreeMap<Metric, Vec<String>>,
}

/// The sides of every cell of a table, by engine and size.
pub(crate) fn sides<'t>(
    table: &'t ResultTable<'_>,
    thresholds: &Thresholds,
) -> IndexMap<(&'t str, CellSize), Sides<'t>> {
    table.cells().into_iter().map(|(cell, row)| (cell, Sides::new(row, thresholds))).collect()
}

impl<'t> Sides<'t> {
    fn new(row: &'t ResultRow<'t>, thresholds: &Thresholds) -> Self {
        let records = launches(row);
        let side = |metric| {
            let published = || published_figure(row, metric).map(Side::Figure);
            let side = samples(&records, metric).map(Side::Launches).or_else(published)?;
            Some((metric, side))
        };
        let by_metric: BTreeMap<Metric, Side> = Metric::ALL.into_iter().filter_map(side).collect();
        let mut drift: BTreeMap<Metric, Vec<String>> = BTreeMap::new();
        let timed = || by_metric.keys().filter(|metric| **metric != Metric::Memory);
        for (index, record) in records.iter().enumerate() {
            let why = throttled(record);
            for metric in timed().filter(|_| !why.is_empty()) {
                let what =
                    format!("launch {}: the GPU's clocks were held down: {}", index + 1, why.join(", "));
                drift.entry(*metric).or_default().push(what);
            }
        }
        let tokens = |record: &&Measurement| {
            let generations = record.series().into_iter().flat_map(|series| &series.generations);
            generations.flat_map(|one| &one.token_seconds).copied().collect()
        };
        let tokens: Vec<Vec<f64>> = records.iter().map(tokens).collect();
        let tokens: Vec<&[f64]> = tokens.iter().map(Vec::as_slice).collect();
        for change in changes(&tokens) {
            let seen = |metric: &Metric| match metric {
                Metric::First128 => change.position < 128,
                Metric::First256 | Metric::Token | Metric::Wall => true,
                Metric::Prompt | Metric::Memory => false,
            };
            for metric in by_metric.keys().filter(|metric| seen(metric)) {
                if change.exceeds(thresholds.of(*metric)) {
                    drift.entry(*metric).or_default().push(format!(
                        "launch {}: {} from token {} on",
                        change.launch + 1,
                        percent(change.ratio),
                        change.position + 1
                    ));
                }
            }
        }
        Self { row, by_metric, drift }
    }
}

/// Why the clocks of a launch's GPU were held down, but for the power limit.
fn throttled(record: &Measurement) -> Vec<&'static str> {
    let reasons = record.gpu.iter().flat_map(|gpu| gpu.throttled_samples.keys());
    reasons.filter(|reason| !reason.is_usual()).map(|reason| reason.words()).collect()
}

/// Launches in one metric; nothing where one of them has no figure of it.
pub(crate) fn samples(records: &[&Measurement], metric: Metric) -> Option<Launches> {
    let series: Vec<Vec<f64>> = records.iter().map(|record| metric.samples(record)).collect();
    Launches::of(series.iter().map(Vec::as_slice))
}

/// What drifted from launch to launch, if anything, by more than `threshold`. Of two interleaved sides only what they do
/// not share counts.
pub(crate) fn trends(baseline: &Side, candidate: &Side, interleaved: bool, threshold: f64) -> Vec<String> {
    let found = |who: &str, launches: &Launches| {
        let trend = Trend::of(launches).filter(|trend| trend.is_drift(threshold))?;
        Some(format!("{who}: {} from the first launch to the last", percent(trend.ratio)))
    };
    let launches = |side: &Side| match side {
        Side::Launches(launches) => Some(launches.clone()),
        Side::Figure(_) => None,
    };
    let [baseline, candidate] = [baseline, candidate].map(launches);
    if interleaved {
        let ratio = candidate.zip(baseline).and_then(|(candidate, baseline)| candidate.over(&baseline));
        return ratio.and_then(|ratio| found("candidate / baseline", &ratio)).into_iter().collect();
    }
    let baseline = baseline.and_then(|launches| found("baseline", &launches));
    let candidate = candidate.and_then(|launches| found("candidate", &launches));
    baseline.into_iter().chain(candidate).collect()
}

/// A ratio as a change: `+7.2 %`.
fn percent(ratio: f64) -> String {
    format!("{:+.1} %", (ratio - 1.0) * 100.0)
}
