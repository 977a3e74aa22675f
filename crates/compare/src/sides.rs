//! A subject's cells as sides of comparisons, with what drifted in them.

use std::collections::BTreeMap;

use stats::{Launches, Side, Trend, changes};

use crate::subject::{Cell, Grid, Launch};
use crate::{Metric, Thresholds};

/// A cell in all its metrics.
#[derive(Debug, Default)]
pub(crate) struct Sides {
    pub(crate) of: BTreeMap<Metric, Side>,
    /// What changed inside its launches, by metric.
    pub(crate) drift: BTreeMap<Metric, Vec<String>>,
}

/// The sides of every cell of a grid, in its order.
pub(crate) fn sides(grid: &Grid, thresholds: &Thresholds) -> Vec<Sides> {
    grid.cells.iter().map(|(_, cell)| sides_of(cell, thresholds)).collect()
}

fn sides_of(cell: &Cell, thresholds: &Thresholds) -> Sides {
    match cell {
        Cell::Ended(_) => Sides::default(),
        Cell::Figures(figures) => {
            let of = figures.iter().map(|(metric, figure)| (*metric, Side::Figure(*figure)));
            Sides { of: of.collect(), ..Sides::default() }
        }
        Cell::Launches(launches) => {
            let side = |metric: Metric| Some((metric, Side::Launches(self::launches(launches, metric)?)));
            let of: BTreeMap<Metric, Side> = Metric::ALL.into_iter().filter_map(side).collect();
            let mut drift: BTreeMap<Metric, Vec<String>> = BTreeMap::new();
            let timed = || of.keys().filter(|metric| **metric != Metric::Memory);
            for (index, launch) in
                launches.iter().enumerate().filter(|(_, launch)| !launch.throttled.is_empty())
            {
                let why: Vec<&str> = launch.throttled.iter().map(|reason| reason.words()).collect();
                for metric in timed() {
                    let what =
                        format!("launch {}: the GPU's clocks were held down: {}", index + 1, why.join(", "));
                    drift.entry(*metric).or_default().push(what);
                }
            }
            let tokens: Vec<&[f64]> = launches.iter().map(|launch| &*launch.tokens).collect();
            for change in changes(&tokens) {
                let seen = |metric: &Metric| match metric {
                    Metric::First128 => change.position < 128,
                    Metric::First256 | Metric::Token | Metric::Wall => true,
                    Metric::Prompt | Metric::Memory => false,
                };
                for metric in of.keys().filter(|metric| seen(metric)) {
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
            Sides { of, drift }
        }
    }
}

/// Launches in one metric; nothing where one of them has no figure of it.
pub(crate) fn launches<'a>(
    launches: impl IntoIterator<Item = &'a Launch>,
    metric: Metric,
) -> Option<Launches> {
    let series: Vec<Vec<f64>> = launches.into_iter().map(|launch| launch.series(metric)).collect();
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
