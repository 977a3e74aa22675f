//! A subject's cells as sides of comparisons.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use protocol::{CellSize, FailureKind, Measurement};
use results::{Column, Figure, Metric, ResultRow, ResultTable};
use stats::{Interval, Replicates};

use crate::Thresholds;
use crate::drift::Drift;

/// A cell in all its metrics.
#[derive(Debug)]
pub(crate) struct Sides<'t> {
    pub(crate) row: &'t ResultRow<'t>,
    pub(crate) by_metric: BTreeMap<Metric, Side>,
    /// What changed inside its replicates, by metric.
    pub(crate) drift: BTreeMap<Metric, Vec<Drift>>,
    /// What memory gave beside each replicate, in bytes a second, by the replicate's number.
    pub(crate) memory_read: BTreeMap<u32, f64>,
}

/// A cell in one metric, in seconds or bytes.
#[derive(Debug, Clone)]
pub(crate) enum Side {
    /// The replicates that were measured, of each the mean and the median of its samples; the means alone where no replicate has
    /// more than one.
    Measured { means: Replicates, medians: Option<Replicates> },
    /// A printed figure, and what may have been printed as it.
    Printed { value: f64, rounding: Interval },
}

impl Side {
    /// The side's figure: the geometric mean of its replicates' means, or what is printed.
    pub(crate) fn centre(&self) -> f64 {
        match self {
            Self::Measured { means, .. } => means.centre(),
            Self::Printed { value, .. } => *value,
        }
    }

    /// The geometric mean over cells; `None` of no cell.
    pub(crate) fn geometric_mean(cells: &[&Self]) -> Option<Self> {
        let mean = |figure: fn(&Self) -> f64| {
            let logs: Vec<f64> = cells.iter().map(|cell| figure(cell).ln()).collect();
            stats::mean(&logs).map(f64::exp)
        };
        let measured = cells.iter().map(|cell| match cell {
            Self::Measured { means, medians } => Some((means, medians.as_ref().unwrap_or(means))),
            Self::Printed { .. } => None,
        });
        let Some(measured) = measured.collect::<Option<Vec<_>>>() else {
            return Some(Self::Printed {
                value: mean(Self::centre)?,
                rounding: Interval {
                    low: mean(|cell| cell.rounding().low)?,
                    high: mean(|cell| cell.rounding().high)?,
                },
            });
        };
        let (means, medians): (Vec<&Replicates>, Vec<&Replicates>) = measured.into_iter().unzip();
        let has_medians = |cell: &&Self| matches!(cell, Self::Measured { medians: Some(_), .. });
        let medians = if cells.iter().any(has_medians) { Replicates::geometric_mean(&medians) } else { None };
        Some(Self::Measured { means: Replicates::geometric_mean(&means)?, medians })
    }

    pub(crate) fn rounding(&self) -> Interval {
        match self {
            Self::Measured { means, .. } => Interval { low: means.centre(), high: means.centre() },
            Self::Printed { rounding, .. } => *rounding,
        }
    }
}

/// The sides of every cell of a table, by engine and size: its replicates.
pub(crate) fn sides<'t>(
    table: &'t ResultTable<'_>,
    thresholds: &Thresholds,
) -> IndexMap<(&'t str, CellSize), Sides<'t>> {
    table.cells().into_iter().map(|(cell, row)| (cell, Sides::measured(row, thresholds))).collect()
}

/// The same as figures that are printed, where one of the two tables is of a file: of the run's those that the file's rows have, too.
pub(crate) fn printed_sides<'t>(
    table: &'t ResultTable<'_>,
    other: &ResultTable<'_>,
) -> IndexMap<(&'t str, CellSize), Sides<'t>> {
    let others = other.cells();
    let side = |cell, row| Sides::printed(row, others.get(&cell).copied());
    table.cells().into_iter().map(|(cell, row)| (cell, side(cell, row))).collect()
}

/// Whether the wall clocks of two rows are of generations of one length, or of nearly one: programs that count the prefill's token do one
/// forward less.
pub(crate) fn have_same_generations(one: &ResultRow<'_>, other: &ResultRow<'_>) -> bool {
    let [one, other] = [one.generation_length, other.generation_length];
    let apart = f64::from(one.tokens.abs_diff(other.tokens)) / f64::from(one.tokens.max(other.tokens).max(1));
    !(one.is_certain() && other.is_certain()) || apart <= NEARLY_ONE_LENGTH
}

impl<'t> Sides<'t> {
    fn measured(row: &'t ResultRow<'t>, thresholds: &Thresholds) -> Self {
        let records = measured(row);
        let side = |metric| Some((metric, side(&records, metric)?));
        let by_metric: BTreeMap<Metric, Side> = Metric::ALL.into_iter().filter_map(side).collect();
        let drift = Drift::inside(&records, by_metric.keys().copied(), thresholds);
        let memory_read =
            records.iter().filter_map(|record| Some((record.replicate, record.read_bytes_per_second?)));
        let memory_read = memory_read.filter(|(_, read)| *read > 0.0).collect();
        Self { row, by_metric, drift, memory_read }
    }

    /// The side as tables print it: the mean of all samples of a run's row.
    fn printed(row: &'t ResultRow<'t>, other: Option<&ResultRow<'_>>) -> Self {
        let side = |column: Column| {
            let is_same = other.is_none_or(|other| match column {
                Column::WallLatency => have_same_generations(row, other),
                Column::TokenLatency => has(other, column, row) && have_same_tokens(row, other),
                Column::Tpot => has(other, column, row),
                _ => true,
            });
            let figure = if row.replicates.is_empty() {
                row.seconds(column)?
            } else {
                Figure::mean(mean(row, column, other).filter(|mean| *mean > 0.0)?)
            };
            let rounding = Interval { low: figure.least(), high: figure.most() };
            let is_sound = is_same && rounding.low > 0.0 && rounding.high.is_finite();
            is_sound.then_some((column.metric(), Side::Printed { value: figure.value, rounding }))
        };
        let columns = Column::LATENCIES.into_iter().chain([Column::TokenLatency, Column::Tpot]);
        let by_metric = columns.filter_map(side).collect();
        Self { row, by_metric, drift: BTreeMap::new(), memory_read: BTreeMap::new() }
    }

    /// How it ended where nothing of it was measured; `None` where something was.
    pub(crate) fn ended(&self) -> Option<FailureKind> {
        self.row.ended().filter(|_| self.by_metric.is_empty())
    }
}

/// How far two generation lengths may be apart whose wall clocks are compared: less than any threshold.
const NEARLY_ONE_LENGTH: f64 = 0.01;

/// Whether a row, the other side of `of`, has a figure in a column.
fn has(row: &ResultRow<'_>, column: Column, of: &ResultRow<'_>) -> bool {
    if row.replicates.is_empty() {
        row.seconds(column).is_some()
    } else {
        mean(row, column, Some(of)).is_some()
    }
}

/// Whether the means over all tokens of two rows are of as many; a run can leave out the last ones.
fn have_same_tokens(one: &ResultRow<'_>, other: &ResultRow<'_>) -> bool {
    let has_as_many = |run: &ResultRow<'_>, file: &ResultRow<'_>| {
        let is_long = run.generation_length.tokens >= file.generation_length.tokens;
        !run.replicates.is_empty() && is_long
    };
    let [lengths, certain] = [
        one.generation_length.tokens == other.generation_length.tokens,
        one.generation_length.is_certain() && other.generation_length.is_certain(),
    ];
    certain && (lengths || has_as_many(one, other) || has_as_many(other, one))
}

/// The mean of a run's samples of a column; of tokens as many as the `other` row is of.
fn mean(row: &ResultRow<'_>, column: Column, other: Option<&ResultRow<'_>>) -> Option<f64> {
    let records = measured(row);
    let samples = |record: &&Measurement| match (column, other, record.series()) {
        (Column::TokenLatency, Some(other), Some(series)) => {
            let count = other.generation_length.tokens as usize;
            series.generations.iter().flat_map(|one| one.token_seconds.iter().take(count)).copied().collect()
        }
        _ => column.metric().samples(record),
    };
    stats::mean(&records.iter().flat_map(samples).collect::<Vec<f64>>())
}

/// The records of a cell that were measured, by replicate.
pub(crate) fn measured<'a>(row: &ResultRow<'a>) -> Vec<&'a Measurement> {
    let mut records: Vec<&Measurement> =
        row.replicates.iter().filter(|record| record.series().is_some()).collect();
    records.sort_by_key(|record| record.replicate);
    records
}

/// Records in one metric; `None` where there is none, or one of them has no samples of it.
pub(crate) fn side(records: &[&Measurement], metric: Metric) -> Option<Side> {
    let series: Vec<(u32, Vec<f64>)> =
        records.iter().map(|record| (record.replicate, metric.samples(record))).collect();
    let slices = || series.iter().map(|(number, samples)| (*number, samples.as_slice()));
    let has_several = series.iter().any(|(_, samples)| samples.len() > 1);
    let means = Replicates::means(slices())?;
    Some(Side::Measured { means, medians: if has_several { Replicates::medians(slices()) } else { None } })
}
