//! What a machine's own noise lets a comparison say: two sides of one build, measured interleaved.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt::Write as _;

use results::Metric;
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

    /// Text for a screen.
    pub fn to_text(&self) -> String {
        let Self { replicates, metrics, off } = self;
        let mut text = format!("{:<42}{:>7}  {replicates} replicates hold", "metric", "lines");
        let heads = THRESHOLDS.map(|share| format!("{:>8}", threshold(share)));
        let _ = writeln!(text, "   replicates per side for{}", heads.concat());
        for MetricNoise { metric, lines, holds, needs } in metrics {
            let needs = needs.map(|need| need.map_or_else(|| "   >1000".into(), |need| format!("{need:>8}")));
            let width = format!("{replicates} replicates hold").len();
            let holds = threshold((holds * 1e3).ceil() / 1e3);
            let _ = writeln!(
                text,
                "{:<42}{lines:>7}  {holds:>width$}   {:>21}{}",
                metric.title(),
                "",
                needs.concat()
            );
        }
        let _ = writeln!(
            text,
            "\nA threshold holds where 19 of 20 lines of one build would be unchanged against themselves. {} of {} intervals leave out that nothing \
             changed; one in twenty is expected to.",
            off.0, off.1
        );
        text
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
