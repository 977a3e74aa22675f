//! The lines of a comparison: each metric of each cell that both sides have, and of each engine's mean, before they are judged.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use protocol::CellSize;
use results::Metric;
use stats::{Covariate, Estimate, Line, PooledVariance, Replicates, paired_estimates};

use crate::Criteria;
use crate::drift::Drift;
use crate::sides::{Side, Sides};

/// The spread between separate runs that is assumed where no history says it: a standard deviation of a run's level. The simulations of
/// `crates/stats/tests/simulation/verdicts.rs` have it.
pub(crate) const ASSUMED_RUN_SPREAD: f64 = 0.05;

/// A metric of a cell or of an engine's mean.
#[derive(Debug)]
pub(crate) struct PendingLine {
    pub(crate) metric: Metric,
    pub(crate) engine: String,
    /// `None` of an engine's mean.
    pub(crate) size: Option<CellSize>,
    pub(crate) baseline: Side,
    pub(crate) candidate: Side,
    /// ln(candidate / baseline) of what memory gave beside each replicate, by its number.
    memory_read: BTreeMap<u32, f64>,
    /// What drifted inside replicates, from one to the next, and so in the mean of all the engine's cells.
    inside: Vec<Drift>,
    trends: Vec<Drift>,
    engine_trends: Vec<Drift>,
    /// The cells that a mean is of.
    sizes: Vec<CellSize>,
    /// The minimum effect.
    pub(crate) threshold: f64,
}

/// How two sides were measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Design {
    /// Interleaved: replicates of one number are neighbours in time.
    Paired,
    /// Two runs, one after the other.
    Separate,
    /// A side is printed.
    Printed,
}

/// The lines of a cell; metrics that one side alone has are left out.
pub(crate) fn of_cell(
    (engine, size): (&str, CellSize),
    [baseline, candidate]: [&Sides<'_>; 2],
    design: Design,
    criteria: &Criteria<'_>,
) -> Vec<PendingLine> {
    let read = baseline.memory_read.iter();
    let memory_read: BTreeMap<u32, f64> = read
        .filter_map(|(number, one)| Some((*number, (candidate.memory_read.get(number)? / one).ln())))
        .collect();
    let line = |(metric, side): (&Metric, &Side)| {
        let other = candidate.by_metric.get(metric)?;
        let inside =
            [("baseline", baseline), ("candidate", candidate)].into_iter().flat_map(|(who, sides)| {
                let drift = sides.drift.get(metric).into_iter().flatten();
                drift.map(move |drift| Drift { what: format!("{who}: {}", drift.what), size: drift.size })
            });
        let line = PendingLine {
            metric: *metric,
            engine: engine.to_owned(),
            size: Some(size),
            baseline: side.clone(),
            candidate: other.clone(),
            memory_read: if *metric == Metric::Memory { BTreeMap::new() } else { memory_read.clone() },
            inside: inside.collect(),
            trends: Vec::new(),
            engine_trends: Vec::new(),
            sizes: vec![size],
            threshold: criteria.thresholds.at(*metric, side.centre()),
        };
        Some(line.with_trends(design))
    };
    baseline.by_metric.iter().filter_map(line).collect()
}

/// Adds the geometric mean of each engine's cells in each metric. Where it drifted, all of them did: it sees what no cell alone can.
pub(crate) fn add_means(lines: &mut Vec<PendingLine>, design: Design) {
    let mut groups: IndexMap<(String, Metric), Vec<usize>> = IndexMap::new();
    for (place, line) in lines.iter().enumerate() {
        groups.entry((line.engine.clone(), line.metric)).or_default().push(place);
    }
    for ((engine, metric), places) in groups.into_iter().filter(|(_, places)| places.len() > 1) {
        let cells: Vec<&PendingLine> = places.iter().map(|&place| &lines[place]).collect();
        let mean = |side: fn(&PendingLine) -> &Side| {
            Side::geometric_mean(&cells.iter().map(|line| side(line)).collect::<Vec<_>>()).expect("two cells")
        };
        let thresholds: Vec<f64> = cells.iter().map(|line| line.threshold.ln_1p()).collect();
        let share = 1.0 / cells.len() as f64;
        let inside = cells.iter().flat_map(|line| {
            let size = line.size.expect("a cell's size");
            let drift = line.inside.iter();
            drift
                .map(move |drift| Drift { what: format!("{size}: {}", drift.what), size: drift.size * share })
        });
        let line = PendingLine {
            metric,
            baseline: mean(|line| &line.baseline),
            candidate: mean(|line| &line.candidate),
            size: None,
            memory_read: mean_by_number(&cells),
            inside: inside.collect(),
            trends: Vec::new(),
            engine_trends: Vec::new(),
            sizes: cells.iter().flat_map(|line| line.sizes.clone()).collect(),
            threshold: stats::mean(&thresholds).expect("two cells").exp_m1(),
            engine,
        };
        let line = line.with_trends(design);
        for &place in &places {
            let all = line.trends.iter().map(|drift| Drift {
                what: format!("all of {}: {}", line.engine, drift.what),
                size: drift.size,
            });
            lines[place].engine_trends = all.collect();
        }
        lines.push(line);
    }
}

/// The mean over cells of what memory gave beside them, of the replicates of which all have it.
fn mean_by_number(cells: &[&PendingLine]) -> BTreeMap<u32, f64> {
    let mut read: BTreeMap<u32, Vec<f64>> = BTreeMap::new();
    for (number, log) in cells.iter().flat_map(|cell| &cell.memory_read) {
        read.entry(*number).or_default().push(*log);
    }
    read.retain(|_, logs| logs.len() == cells.len());
    read.into_iter().filter_map(|(number, logs)| Some((number, stats::mean(&logs)?))).collect()
}

impl PendingLine {
    fn with_trends(mut self, design: Design) -> Self {
        if let (Side::Measured { means, .. }, Side::Measured { means: other, .. }) =
            (&self.baseline, &self.candidate)
        {
            self.trends = Drift::trends(means, other, design == Design::Paired, self.threshold);
        }
        self
    }

    /// What drifted, in words.
    pub(crate) fn drift(&self) -> Vec<String> {
        self.inside
            .iter()
            .chain(&self.trends)
            .chain(&self.engine_trends)
            .map(|drift| drift.what.clone())
            .collect()
    }

    /// What drift can have moved the ratio by, a logarithm. A cell's own trend and that of all its engine's cells are one drift, seen
    /// twice.
    fn margin(&self) -> f64 {
        let size = |drift: &[Drift]| drift.iter().map(|drift| drift.size).sum::<f64>();
        size(&self.inside) + size(&self.trends).max(size(&self.engine_trends))
    }

    fn statistic(&self, is_median: bool) -> Option<[&Replicates; 2]> {
        let (Side::Measured { means, medians }, Side::Measured { means: other, medians: others }) =
            (&self.baseline, &self.candidate)
        else {
            return None;
        };
        match (is_median, medians, others) {
            (false, ..) => Some([means, other]),
            (true, None, None) => None,
            (true, medians, others) => {
                Some([medians.as_ref().unwrap_or(means), others.as_ref().unwrap_or(other)])
            }
        }
    }
}

/// What is tested of a line.
#[derive(Debug)]
pub(crate) struct TestedLine {
    pub(crate) line: Line,
    /// What separate runs differ by without a change is in its intervals, or is in none.
    pub(crate) knows_runs: bool,
    /// What memory gave beside the replicates is taken out of its mean.
    pub(crate) is_adjusted: bool,
}

/// What is tested of the lines of one table, line by line.
pub(crate) fn tested(
    lines: &[PendingLine],
    heading: &str,
    design: Design,
    criteria: &Criteria<'_>,
) -> Vec<TestedLine> {
    // Cells before means, which the cells' covariate is for, too.
    let mut groups: BTreeMap<(Metric, bool), Vec<usize>> = BTreeMap::new();
    for (place, line) in lines.iter().enumerate() {
        groups.entry((line.metric, line.size.is_none())).or_default().push(place);
    }
    let empty = |line: &PendingLine| TestedLine {
        line: Line { mean: None, median: None, threshold: line.threshold, is_engine: line.size.is_none() },
        knows_runs: design != Design::Separate,
        is_adjusted: false,
    };
    let mut tested: Vec<TestedLine> = lines.iter().map(empty).collect();
    let mut covariates: BTreeMap<(Metric, bool), Covariate> = BTreeMap::new();
    for ((metric, is_mean), places) in &groups {
        for is_median in [false, true] {
            let group: Vec<(usize, &PendingLine)> =
                places.iter().map(|&place| (place, &lines[place])).collect();
            if design == Design::Paired && !is_mean {
                covariates.extend(covariate(&group, is_median).map(|found| ((*metric, is_median), found)));
            }
            let covariate = covariates.get(&(*metric, is_median));
            for (place, estimate) in estimates(&group, is_median, design, covariate) {
                let line = &lines[place];
                let spread = criteria.spread.filter(|_| design == Design::Separate).and_then(|spread| {
                    spread.log_variance(heading, &line.engine, &line.sizes, line.metric, is_median)
                });
                let margin = if criteria.allow_drift { 0.0 } else { line.margin() };
                let estimate = estimate.map(|estimate| match spread {
                    Some((variance, degrees)) => {
                        estimate.with_run_spread(variance, degrees, true).widened(margin)
                    }
                    None => estimate.widened(margin),
                });
                let TestedLine { line, knows_runs, is_adjusted } = &mut tested[place];
                *knows_runs |= spread.is_some();
                *is_adjusted |= !is_median && covariate.is_some();
                *(if is_median { &mut line.median } else { &mut line.mean }) = estimate;
            }
        }
    }
    tested
}

/// The pairs of lines of one metric in one statistic, by their places.
fn pairs<'l>(
    lines: &[(usize, &'l PendingLine)],
    is_median: bool,
) -> Vec<(usize, &'l PendingLine, Replicates)> {
    let pair = |(place, line): &(usize, &'l PendingLine)| {
        let [one, other] = line.statistic(is_median)?;
        Some((*place, *line, other.over(one)?))
    };
    lines.iter().filter_map(pair).collect()
}

/// What of the pairs of cells what memory gave beside them explains.
fn covariate(cells: &[(usize, &PendingLine)], is_median: bool) -> Option<Covariate> {
    let pairs = pairs(cells, is_median);
    let ratios: Vec<&Replicates> = pairs.iter().map(|(_, _, ratios)| ratios).collect();
    let read: Vec<BTreeMap<u32, f64>> = pairs.iter().map(|(_, line, _)| line.memory_read.clone()).collect();
    Covariate::new(&ratios, &read)
}

/// The estimates of lines of one metric, all of cells or all of means, by their places; nothing for a line without the statistic.
fn estimates(
    lines: &[(usize, &PendingLine)],
    is_median: bool,
    design: Design,
    covariate: Option<&Covariate>,
) -> Vec<(usize, Option<Estimate>)> {
    match design {
        Design::Printed => {
            let printed = lines.iter().filter(|_| !is_median).map(|(place, line)| {
                (*place, Some(Estimate::published(line.baseline.rounding(), line.candidate.rounding())))
            });
            printed.collect()
        }
        Design::Separate => {
            let sides = lines.iter().filter_map(|(place, line)| Some((*place, line.statistic(is_median)?)));
            let sides: Vec<(usize, [&Replicates; 2])> = sides.collect();
            let pool = PooledVariance::new(&sides.iter().flat_map(|(_, sides)| *sides).collect::<Vec<_>>());
            sides
                .iter()
                .map(|(place, [one, other])| (*place, Estimate::separate(one, other, &pool)))
                .collect()
        }
        Design::Paired => {
            let pairs = pairs(lines, is_median);
            let ratios: Vec<&Replicates> = pairs.iter().map(|(_, _, ratios)| ratios).collect();
            let read: Vec<BTreeMap<u32, f64>> =
                pairs.iter().map(|(_, line, _)| line.memory_read.clone()).collect();
            let estimates = paired_estimates(&ratios, &read, covariate);
            pairs.iter().map(|(place, ..)| *place).zip(estimates).collect()
        }
    }
}
