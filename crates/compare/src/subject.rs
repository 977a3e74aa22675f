//! One side of a comparison: a run, or a file of published tables.

use std::collections::BTreeMap;

use protocol::{Environment, Measurement, Pair};
use results::{Column, Metric, PublishedFile, ResultRow, ResultTable, Run, Source};

use crate::Refused;

/// One side of a comparison.
#[derive(Debug)]
pub struct Subject<'a> {
    pub(crate) name: &'a str,
    /// What a run was measured with; nothing is known of a published table.
    pub(crate) run: Option<MeasuredWith<'a>>,
    /// Records that its sweep asks for and that it lacks.
    pub(crate) missing: usize,
    pub(crate) tables: Vec<ResultTable<'a>>,
}

/// What a run was measured with.
#[derive(Debug)]
pub(crate) struct MeasuredWith<'a> {
    pub(crate) environment: &'a Environment,
    /// Its sweep by dotted key.
    pub(crate) settings: &'a BTreeMap<String, String>,
}

impl<'a> Subject<'a> {
    /// Takes a run or a file of published tables.
    ///
    /// # Errors
    /// Where a run's cells were measured in several ways.
    pub fn new(source: &'a Source) -> Result<Self, Refused> {
        match source {
            Source::Run(run) => Self::from_run(run),
            Source::File(file) => Ok(Self::published(file)),
        }
    }

    /// Whether its engines took turns: then its replicates are turns of one worker, else launches of a fresh one each.
    pub(crate) fn is_of_turns(&self) -> bool {
        let isolation = self.run.as_ref().and_then(|run| run.settings.get("isolation"));
        isolation.is_some_and(|isolation| isolation == "\"turn\"")
    }

    /// Takes a run.
    ///
    /// # Errors
    /// Where its cells were measured in several ways.
    pub fn from_run(run: &'a Run) -> Result<Self, Refused> {
        let ([environment], [settings]) = (&run.environments[..], &run.settings[..]) else {
            return Err(Refused(format!(
                "{}: its cells were measured in {} different ways (--allow-mixed): they are no side of a comparison",
                run.dir,
                run.environments.len()
            )));
        };
        Ok(Self {
            name: &run.dir,
            run: Some(MeasuredWith { environment, settings }),
            missing: run.missing(),
            tables: run.result_tables(),
        })
    }

    /// Takes a file of published tables.
    pub fn published(file: &'a PublishedFile) -> Self {
        Self { name: &file.name, run: None, missing: 0, tables: file.tables() }
    }

    pub(crate) fn pair(&self) -> Option<&Pair> {
        self.run.as_ref()?.environment.pair.as_ref()
    }
}

/// The launches of a cell by replicate; none of a published one, or where one was not measured.
pub(crate) fn launches<'a>(row: &ResultRow<'a>) -> Vec<&'a Measurement> {
    if row.ended().is_some() {
        return Vec::new();
    }
    let mut launches: Vec<&Measurement> = row.replicates.iter().collect();
    launches.sort_by_key(|record| record.replicate);
    launches
}

/// A published figure in seconds; `None` where the cell has none above 0.
pub(crate) fn published_figure(row: &ResultRow<'_>, metric: Metric) -> Option<f64> {
    let column = Column::LATENCIES.into_iter().find(|column| column.metric() == metric)?;
    let seconds = row.seconds(column).filter(|_| row.replicates.is_empty())?.value;
    (row.ended().is_none() && seconds > 0.0 && seconds.is_finite()).then_some(seconds)
}
