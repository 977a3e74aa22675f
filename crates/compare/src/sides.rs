//! A subject's cells as sides of comparisons.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use protocol::{CellSize, FailureKind, Measurement};
use results::{Column, Metric, ResultRow, ResultTable};
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

/// The sides of every cell of a table, by engine and size: its replicates, or its printed figures where `is_printed`.
pub(crate) fn sides<'t>(
    table: &'t ResultTable<'_>,
    thresholds: &Thresholds,
    is_printed: bool,
) -> IndexMap<(&'t str, CellSize), Sides<'t>> {
    let side = |row| if is_printed { Sides::printed(row) } else { Sides::measured(row, thresholds) };
    table.cells().into_iter().map(|(cell, row)| (cell, side(row))).collect()
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

    /// As tables print it: of a run's row the mean of all samples that were measured.
    fn printed(row: &'t ResultRow<'t>) -> Self {
        let records = measured(row);
        let side = |column: Column| {
            if !row.replicates.is_empty() {
                let samples: Vec<f64> =
                    records.iter().flat_map(|record| column.metric().samples(record)).collect();
                let value = stats::mean(&samples).filter(|mean| *mean > 0.0)?;
                let rounding = Interval { low: value, high: value };
                return Some((column.metric(), Side::Printed { value, rounding }));
            }
            let figure = row.seconds(column)?;
            let rounding = Interval { low: figure.least(), high: figure.most() };
            let is_sound = rounding.low > 0.0 && rounding.high.is_finite();
            is_sound.then_some((column.metric(), Side::Printed { value: figure.value, rounding }))
        };
        let by_metric = Column::LATENCIES.into_iter().filter_map(side).collect();
        Self { row, by_metric, drift: BTreeMap::new(), memory_read: BTreeMap::new() }
    }

    /// How it ended where nothing of it was measured; `None` where something was.
    pub(crate) fn ended(&self) -> Option<FailureKind> {
        self.row.ended().filter(|_| self.by_metric.is_empty())
    }
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
