//! What a machine's own noise lets a comparison say: two sides of one build, measured interleaved.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use results::Metric;
use results::screen::{ScreenTable, wrapped};
use serde_json::{Value, json};
use stats::Estimate;

use crate::compare::estimates;
use crate::format::threshold;
use crate::{Refused, Subject};

/// Thresholds of which it says how many replicates they need.
const THRESHOLDS: [f64; 4] = [0.01, 0.02, 0.05, 0.10];

/// A threshold holds where this share of lines would be unchanged.
const SHARE: f64 = 0.95;

/// The level of `unchanged`: two one-sided tests at 5 %.
const LEVEL: f64 = 0.10;

/// More replicates than this are not asked for.
const MOST: usize = 1000;

/// The noise of each metric.
#[derive(Debug, Clone, PartialEq)]
pub struct Noise {
    replicates: usize,
    metrics: Vec<MetricNoise>,
    /// Lines whose 95 % interval leaves out that nothing changed, of all.
    off: (usize, usize),
}

#[derive(Debug, Clone, PartialEq)]
struct MetricNoise {
    metric: Metric,
    lines: usize,
    /// The smallest threshold that these replicates hold.
    holds: f64,
    /// Replicates a side that each of [`THRESHOLDS`] needs; `None` where a thousand would not do.
    needs: [Option<usize>; THRESHOLDS.len()],
}

impl Noise {
    /// Estimates the noise of two sides of one build.
    ///
    /// A line holds a threshold where the 90 % interval of no difference is half as wide as the threshold's zone, which is what
    /// `compare` asks replicates for; a metric where 19 of 20 of its lines do.
    ///
    /// # Errors
    /// Where the sides can't be compared, or no line has two replicates a side.
    pub fn new(baseline: &Subject<'_>, candidate: &Subject<'_>) -> Result<Self, Refused> {
        let estimates = estimates(baseline, candidate)?;
        let mut by_metric: BTreeMap<Metric, Vec<&Estimate>> = BTreeMap::new();
        for (metric, _, estimate) in &estimates {
            by_metric.entry(*metric).or_default().push(estimate);
        }
        let all = || estimates.iter().map(|(_, _, estimate)| estimate);
        let Some(replicates) = all().filter_map(Estimate::replicates).min() else {
            return Err(Refused(format!(
                "{}: no cell has two replicates per side: noise needs --replicates 2 or more",
                baseline.name
            )));
        };
        let is_off = |estimate: &&Estimate| {
            let interval = estimate.interval(0.05);
            !(interval.low..=interval.high).contains(&1.0)
        };
        Ok(Self {
            replicates,
            off: (all().filter(is_off).count(), estimates.len()),
            metrics: by_metric.into_iter().map(|(metric, lines)| MetricNoise::new(metric, &lines)).collect(),
        })
    }

    /// A table as wide as the screen.
    pub fn to_terminal(&self, width: Option<u16>) -> String {
        format!("{}\n{}", self.table().to_screen(width), wrapped("", &self.footer(), width))
    }

    /// A markdown table.
    pub fn to_markdown(&self) -> String {
        format!("{}\n{}\n", self.table().to_markdown(), self.footer())
    }

    /// Metrics are called as `--threshold` takes them.
    fn table(&self) -> ScreenTable {
        let [first, others @ ..] = THRESHOLDS.map(threshold);
        let first = format!("replicates for {first}");
        let columns: Vec<_> = [("metric", 0, true)]
            .into_iter()
            .chain(["lines", "smallest threshold", &first].map(|header| (header, 0, false)))
            .chain(others.iter().map(|header| (header.as_str(), 0, false)))
            .collect();
        let row = |noise: &MetricNoise| {
            let holds = threshold((noise.holds * 1e3).ceil() / 1e3);
            let needs =
                noise.needs.map(|need| need.map_or_else(|| format!(">{MOST}"), |need| need.to_string()));
            [noise.metric.to_string(), noise.lines.to_string(), holds].into_iter().chain(needs).collect()
        };
        ScreenTable::new(&columns, self.metrics.iter().map(row).collect())
    }

    fn footer(&self) -> String {
        let Self { replicates, off: (off, all), .. } = self;
        format!(
            "A line is a cell, or the mean of an engine's cells. {replicates} replicates per side hold a threshold if 19 of 20 lines would be \
             called unchanged when a build is compared with itself. {off} of {all} intervals exclude \"no change\"; by chance, 1 in 20 does."
        )
    }

    /// One object.
    pub fn to_json(&self) -> String {
        let metric = |noise: &MetricNoise| {
            let needs = THRESHOLDS.iter().zip(noise.needs);
            json!({
                "metric": noise.metric.name(),
                "lines": noise.lines,
                "threshold_held": noise.holds,
                "replicates_needed": needs.map(|(threshold, replicates)| json!({"threshold": threshold, "replicates": replicates})).collect::<Value>(),
            })
        };
        let value = json!({
            "schema": 1,
            "replicates": self.replicates,
            "metrics": self.metrics.iter().map(metric).collect::<Value>(),
            "intervals_without_1": self.off.0,
            "intervals": self.off.1,
        });
        format!("{value:#}\n")
    }
}

impl MetricNoise {
    fn new(metric: Metric, lines: &[&Estimate]) -> Self {
        let holds = lines.iter().map(|estimate| (2.0 * estimate.half_width(LEVEL)).exp_m1());
        let need = |share: f64| {
            let width = share.ln_1p() / 2.0;
            let needs = lines
                .iter()
                .map(|estimate| estimate.replicates_for(width, LEVEL, MOST).unwrap_or(usize::MAX));
            Some(enough_for_most(needs.collect(), usize::cmp)).filter(|need| *need <= MOST)
        };
        Self {
            metric,
            lines: lines.len(),
            holds: enough_for_most(holds.collect(), f64::total_cmp),
            needs: THRESHOLDS.map(need),
        }
    }
}

/// The least of values that at least 19 of 20 do not exceed.
fn enough_for_most<T: Copy>(mut values: Vec<T>, order: fn(&T, &T) -> Ordering) -> T {
    values.sort_unstable_by(order);
    let place = (SHARE * values.len() as f64).ceil() as usize;
    values[place.clamp(1, values.len()) - 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_twenty_may_exceed() {
        assert_eq!(enough_for_most((1..=20).collect(), i32::cmp), 19);
        assert_eq!(enough_for_most((1..=10).collect(), i32::cmp), 10);
        assert_eq!(enough_for_most(vec![7], i32::cmp), 7);
    }
}
