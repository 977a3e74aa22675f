//! What drifted while a cell was measured, and by how much that can have moved its figure.

use std::collections::BTreeMap;

use protocol::{GpuSeries, Measurement};
use results::Metric;
use stats::{Replicates, Trend, changes};

use crate::Thresholds;

/// Something that drifted.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Drift {
    /// The words for it.
    pub(crate) what: String,
    /// The most that it can have moved the side's figure by: a logarithm.
    pub(crate) size: f64,
}

impl Drift {
    /// What changed inside the replicates of a cell, in each of `metrics`.
    pub(crate) fn inside(
        records: &[&Measurement],
        metrics: impl Iterator<Item = Metric> + Clone,
        thresholds: &Thresholds,
    ) -> BTreeMap<Metric, Vec<Self>> {
        let mut drift: BTreeMap<Metric, Vec<Self>> = BTreeMap::new();
        let count = records.len() as f64;
        let timed = metrics.filter(|metric| *metric != Metric::Memory);
        for record in records {
            let Some((why, size)) = record.gpu.as_ref().and_then(throttled) else { continue };
            let what = format!("replicate {}: the GPU throttled: {why}", record.replicate + 1);
            for metric in timed.clone() {
                drift.entry(metric).or_default().push(Self { what: what.clone(), size: size / count });
            }
        }
        let tokens = |record: &&Measurement| {
            let generations = record.series().into_iter().flat_map(|series| &series.generations);
            generations.flat_map(|one| &one.token_seconds).copied().collect()
        };
        let tokens: Vec<Vec<f64>> = records.iter().map(tokens).collect();
        let tokens: Vec<&[f64]> = tokens.iter().map(Vec::as_slice).collect();
        for change in changes(&tokens) {
            let is_seen = |metric: &Metric| match metric {
                Metric::First128 => change.position < 128,
                Metric::First256 | Metric::Token | Metric::Wall | Metric::Tpot => true,
                Metric::Prompt | Metric::Memory => false,
            };
            for metric in timed
                .clone()
                .filter(is_seen)
                .filter(|metric| change.exceeds(thresholds.threshold_for(*metric)))
            {
                let what = format!(
                    "replicate {}: {} from token {} on",
                    records[change.replicate].replicate + 1,
                    percent(change.ratio),
                    change.position + 1
                );
                drift.entry(metric).or_default().push(Self { what, size: change.ratio.ln().abs() / count });
            }
        }
        drift
    }

    /// What drifted from replicate to replicate by more than `threshold`: of each side, or of pairs the candidate over the baseline,
    /// since what both share is not in their ratio.
    pub(crate) fn trends(
        baseline: &Replicates,
        candidate: &Replicates,
        is_paired: bool,
        threshold: f64,
    ) -> Vec<Self> {
        let ratio = if is_paired { candidate.over(baseline) } else { None };
        let found = |(who, side): (&str, &Replicates)| {
            let trend = Trend::fit(side).filter(|trend| trend.is_drift(threshold))?;
            let what = format!("{who}: {} from the first replicate to the last", percent(trend.ratio));
            Some(Self { what, size: trend.ratio.ln().abs() })
        };
        match &ratio {
            Some(ratio) => found(("candidate / baseline", ratio)).into_iter().collect(),
            None => {
                [("baseline", baseline), ("candidate", candidate)].into_iter().filter_map(found).collect()
            }
        }
    }
}

/// Why the clocks of a GPU were held down, but for the power limit, and the logarithm of what that took off them.
fn throttled(gpu: &GpuSeries) -> Option<(String, f64)> {
    let reasons = gpu.throttled_samples.keys().filter(|reason| !reason.is_usual());
    let reasons: Vec<&str> = reasons.map(|reason| reason.words()).collect();
    let clocks = || gpu.sm_clock_mhz.iter().filter(|clock| **clock > 0);
    let size = clocks().max().zip(clocks().min()).map(|(most, least)| f64::from(*most) / f64::from(*least));
    (!reasons.is_empty()).then(|| (reasons.join(", "), size.map_or(0.0, f64::ln)))
}

/// A ratio as a change: `+7.2 %`.
fn percent(ratio: f64) -> String {
    format!("{:+.1} %", (ratio - 1.0) * 100.0)
}
