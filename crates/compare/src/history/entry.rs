//! A run as a small file: its revision, and the median and mean of each replicate.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use protocol::CellSize;
use results::{Metric, ResultTable};
use serde::{Deserialize, Serialize};
use stats::Replicates;

use crate::sides::{Side, measured, side};
use crate::{Refused, Subject};

/// The version of the file's layout. Version 1 has no means.
const SCHEMA: u32 = 2;

/// Accepted figures in seconds or bytes: from a nanosecond to an exabyte.
const FIGURES: RangeInclusive<f64> = 1e-9..=1e18;

/// A run, kept for later.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    schema: u32,
    /// The run's id; `None` of runs from before they had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// When it began, UTC.
    pub started: String,
    /// The measured revision.
    pub revision: String,
    /// The machine. Runs of different machines are different series.
    pub machine: String,
    /// The procedure. Runs of different procedures are different series.
    pub procedure: BTreeMap<String, String>,
    /// The engines whose latencies are scripted, not measured.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(super) scripted: BTreeSet<String>,
    tables: Vec<EntryTable>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EntryTable {
    pub(super) heading: String,
    pub(super) cells: Vec<EntryCell>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EntryCell {
    pub(super) engine: String,
    pub(super) batch_size: u32,
    pub(super) prompt_length: u32,
    /// Each replicate's median in seconds or bytes, by the metric's name. Entries before 2026-11-30 call them `launches`.
    #[serde(alias = "launches")]
    pub(super) replicates: BTreeMap<String, Vec<f64>>,
    /// Each replicate's mean, where it differs from the median.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) means: BTreeMap<String, Vec<f64>>,
}

impl EntryCell {
    pub(super) fn size(&self) -> CellSize {
        CellSize { batch_size: self.batch_size, prompt_length: self.prompt_length }
    }
}

/// The error of a file that is no entry.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct EntryError(String);

impl Entry {
    /// Makes an entry of a run; the default of `revision` is the program's own.
    ///
    /// # Errors
    /// Where the subject is no run.
    pub fn from_subject(subject: &Subject<'_>, revision: Option<&str>) -> Result<Self, Refused> {
        let Some(run) = &subject.run else {
            return Err(Refused(format!("{}: not a run's folder", subject.name)));
        };
        let environment = run.environment;
        let own = environment.program.git_revision.as_deref();
        Ok(Self {
            schema: SCHEMA,
            run: environment.id.clone(),
            started: environment.started.clone(),
            revision: revision.or(own).unwrap_or("unknown").to_owned(),
            machine: environment.machine.clone().unwrap_or_else(|| "unknown".into()),
            procedure: crate::difference::procedure(run.settings),
            scripted: subject.scripted_engines().into_iter().map(ToOwned::to_owned).collect(),
            tables: subject.tables.iter().map(table).collect(),
        })
    }

    /// Reads a file's text.
    ///
    /// # Errors
    /// Where the text is no entry of a known schema, or a figure is out of range.
    pub fn parse(text: &str) -> Result<Self, EntryError> {
        let mut entry: Self = serde_json::from_str(text).map_err(|error| EntryError(error.to_string()))?;
        // Entries before 2026-12-01 have it here, too; a table's heading says it.
        entry.procedure.remove("precision");
        if !(1..=SCHEMA).contains(&entry.schema) {
            return Err(EntryError(format!("schema: expected 1 to {SCHEMA}, found {}", entry.schema)));
        }
        let figures = entry
            .tables
            .iter()
            .flat_map(|table| &table.cells)
            .flat_map(|cell| cell.replicates.values().chain(cell.means.values()));
        if let Some(figure) = figures.flatten().find(|figure| !FIGURES.contains(figure)) {
            let (least, most) = FIGURES.into_inner();
            return Err(EntryError(format!("replicates: expected {least:e} to {most:e}, found {figure}")));
        }
        Ok(entry)
    }

    /// The file's text.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("plain JSON") + "\n"
    }

    /// What tells runs apart: the run's id, or what was measured where the run is from before there were ids.
    pub fn identity(&self) -> String {
        self.run.clone().unwrap_or_else(|| Self { revision: String::new(), ..self.clone() }.to_json())
    }

    /// The beginning of its file's name: time, place among the runs of that second, from 0, revision and machine. Names are in the order
    /// of time.
    pub fn file_stem(&self, place: usize) -> String {
        let plain = |text: &str| -> String {
            text.chars().filter(|c| c.is_ascii_alphanumeric() || "-_.".contains(*c)).take(40).collect()
        };
        let [started, revision, machine] =
            [&self.started, &self.revision, &self.machine].map(|text| plain(text));
        let place = if place == 0 { String::new() } else { format!(".{place:03}") };
        format!("{started}{place}-{revision}-{machine}")
    }

    pub(super) fn tables(&self) -> &[EntryTable] {
        &self.tables
    }
}

fn table(table: &ResultTable<'_>) -> EntryTable {
    let cells = table.rows.iter().filter(|row| row.ended().is_none()).map(|row| {
        let records = measured(row);
        let (mut medians, mut means) = (BTreeMap::new(), BTreeMap::new());
        for metric in Metric::ALL {
            let Some(Side::Measured { means: of_metric, medians: others }) = side(&records, metric) else {
                continue;
            };
            let figures = |side: &Replicates| side.figures().collect::<Vec<f64>>();
            medians.insert(metric.name().to_owned(), figures(others.as_ref().unwrap_or(&of_metric)));
            if others.is_some() {
                means.insert(metric.name().to_owned(), figures(&of_metric));
            }
        }
        EntryCell {
            engine: row.engine.into(),
            batch_size: row.size.batch_size,
            prompt_length: row.size.prompt_length,
            replicates: medians,
            means,
        }
    });
    EntryTable { heading: table.title.to_string(), cells: cells.collect() }
}
