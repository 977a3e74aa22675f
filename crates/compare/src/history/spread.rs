//! The spread between runs of one machine without a change.

use protocol::CellSize;
use results::Metric;
use stats::{Replicates, shifts};

use super::Entry;
use crate::Subject;
use crate::difference::procedure;

/// The least change that counts as a new level of a history.
const SHIFT: f64 = 0.05;

/// The fewest degrees of freedom for an estimate of the spread.
const FEWEST_DEGREES: usize = 4;

/// Earlier runs of one machine and procedure in the order of time, to estimate the spread between runs.
#[derive(Debug, Clone, PartialEq)]
pub struct RunSpread {
    runs: Vec<Entry>,
}

impl RunSpread {
    /// Chooses the entries with the procedure and machine of both sides, without the sides themselves.
    pub fn new(mut entries: Vec<Entry>, baseline: &Subject<'_>, candidate: &Subject<'_>) -> Self {
        entries.sort_by(|one, other| one.started.cmp(&other.started));
        let started = |subject: &Subject<'_>| Some(subject.run.as_ref()?.environment.started.clone());
        let own = [started(baseline), started(candidate)];
        let is_of = |subject: &Subject<'_>, entry: &Entry| {
            let run = subject.run.as_ref();
            run.is_some_and(|run| run.environment.machine.as_deref() == Some(&entry.machine))
        };
        let is_alike = |entry: &Entry| {
            baseline.run.as_ref().is_some_and(|run| {
                is_of(baseline, entry)
                    && is_of(candidate, entry)
                    && procedure(run.settings) == entry.procedure
                    && !own.iter().flatten().any(|started| *started == entry.started)
            })
        };
        entries.retain(is_alike);
        Self { runs: entries }
    }

    /// The number of runs.
    pub fn count(&self) -> usize {
        self.runs.len()
    }

    /// The variance of the logarithm of a run's figure, within levels, and its degrees of freedom. The figure is that of a cell, or the mean of
    /// several, in means or medians over the replicates. `None` for fewer than five runs of one level.
    pub(crate) fn log_variance(
        &self,
        heading: &str,
        engine: &str,
        sizes: &[CellSize],
        metric: Metric,
        is_median: bool,
    ) -> Option<(f64, f64)> {
        let of_run = |run: &Entry| {
            let cells = || {
                run.tables().iter().filter(|table| table.heading == heading).flat_map(|table| &table.cells)
            };
            let log = |size: &CellSize| {
                let cell = cells().find(|cell| cell.engine == engine && cell.size() == *size)?;
                let means = cell.means.get(metric.name()).filter(|_| !is_median);
                let figures = means.or_else(|| cell.replicates.get(metric.name()))?;
                stats::mean(&figures.iter().map(|figure| figure.ln()).collect::<Vec<_>>())
            };
            stats::mean(&sizes.iter().map(log).collect::<Option<Vec<f64>>>()?)
        };
        let logs: Vec<f64> = self.runs.iter().filter_map(of_run).collect();
        let levels: Option<Vec<Replicates>> =
            logs.iter().map(|log| Replicates::new([(0, log.exp())])).collect();
        let ends = shifts(&levels?, SHIFT).into_iter().map(|shift| shift.run).chain([logs.len()]);
        let (mut start, mut squares, mut degrees) = (0, 0.0, 0);
        for end in ends {
            let level = &logs[start..end];
            let centre = stats::mean(level)?;
            squares += level.iter().map(|log| (log - centre).powi(2)).sum::<f64>();
            degrees += level.len() - 1;
            start = end;
        }
        (degrees >= FEWEST_DEGREES).then(|| (squares / degrees as f64, degrees as f64))
    }
}
