//! How many times as fast an engine is as the others of the same run, and as itself in another precision.

use indexmap::{IndexMap, IndexSet};
use protocol::CellSize;
use results::{ResultRow, ResultTable};
use stats::{Interval, Summary};

use crate::precision_ratios::PrecisionRatios;
use crate::ratio::{Ratio, RowRatios};
use crate::sides::measured;
use crate::subject::Subject;

/// Why there are no ratios.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoRatios {
    /// It lacks one of the engines.
    #[error("{subject} has no engine {engine}; it has {}", known.join(", "))]
    NoSuchEngine {
        /// The run, or the file.
        subject: String,
        /// What was asked for.
        engine: String,
        /// What it has.
        known: Vec<String>,
    },
    /// The engines share no cell.
    #[error("{subject}: no cell was measured with both {engine} and another engine")]
    NoCommonCell {
        /// The run, or the file.
        subject: String,
        /// What was asked for.
        engine: String,
    },
    /// The only engine is the one that was asked for.
    #[error("{subject} has only one engine: {engine}")]
    NoOther {
        /// The run, or the file.
        subject: String,
        /// Its only engine.
        engine: String,
    },
}

/// The phase of a [`KnownRatio`] that is one of peak memory.
const MEMORY: &str = "memory";

/// One engine against others, table by table, and against itself in other precisions.
#[derive(Debug)]
pub struct Ratios {
    pub(crate) engine: String,
    /// What a replicate is called: `replicate` or `turn`.
    pub(crate) unit: &'static str,
    /// That latencies are scripted, where they are.
    pub(crate) scripted: Option<String>,
    pub(crate) tables: Vec<EngineRatios>,
    pub(crate) precisions: Vec<PrecisionRatios>,
}

/// One ratio that is known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KnownRatio<'a> {
    /// The heading of the cell's table.
    pub heading: &'a str,
    /// `prefill`, `decode`, `TPOT` or `memory`.
    pub phase: &'static str,
    /// The other engine, or the precision.
    pub other: &'a str,
    /// The cell.
    pub size: CellSize,
    /// The other engine's latency over the engine's; or the unquantized latency over the precision's, of memory the precision's share.
    pub ratio: f64,
    /// Its 95 % interval, where there are replicates.
    pub interval: Option<Interval>,
}

/// The ratios of one table.
#[derive(Debug)]
pub(crate) struct EngineRatios {
    pub(crate) heading: String,
    pub(crate) lines: Vec<RatioLine>,
    /// Median seconds from a worker's start to its model being ready, by engine.
    pub(crate) loads: Vec<(String, f64)>,
}

/// The ratios of one cell.
#[derive(Debug)]
pub(crate) struct RatioLine {
    /// The other engine, or the precision.
    pub(crate) name: String,
    pub(crate) size: CellSize,
    pub(crate) ratios: RowRatios,
}

impl RatioLine {
    /// The ratios, each with its phase.
    fn phases(&self) -> [(&'static str, &Ratio); 4] {
        let RowRatios { prefill, decode, tpot, memory, .. } = &self.ratios;
        [("prefill", prefill), ("decode", decode), ("TPOT", tpot), (MEMORY, memory)]
    }
}

impl Ratios {
    /// Compares `engine` with `others`, or with all engines of the subject where none is named, in every cell that both have. It compares
    /// replicate by replicate: these are close in time, so that what the machine does to both cancels out. The interval is Student's, of
    /// the logarithms.
    ///
    /// # Errors
    /// Where the subject lacks one of the engines, has no other, or no cell of both.
    pub fn compare(subject: &Subject<'_>, engine: &str, others: &[String]) -> Result<Self, NoRatios> {
        let rows = subject.tables.iter().flat_map(|table| &table.rows);
        let known: IndexSet<&str> = rows.map(|row| row.engine).collect();
        let mut asked = [engine].into_iter().chain(others.iter().map(String::as_str));
        let (name, engine_name) = (|| subject.name.to_owned(), || engine.to_owned());
        if let Some(missing) = asked.find(|one| !known.contains(one)) {
            let known = known.into_iter().map(str::to_owned).collect();
            return Err(NoRatios::NoSuchEngine { subject: name(), engine: missing.into(), known });
        }
        let others: Vec<&str> = if others.is_empty() {
            known.into_iter().filter(|name| *name != engine).collect()
        } else {
            others.iter().map(String::as_str).collect()
        };
        if others.is_empty() {
            return Err(NoRatios::NoOther { subject: name(), engine: engine_name() });
        }
        let engines: Vec<&str> = [engine].into_iter().chain(others.iter().copied()).collect();
        let tables = subject.tables.iter().map(|table| EngineRatios {
            heading: table.title.to_string(),
            lines: lines(&table.cells(), engine, &others, subject.run.is_some()),
            loads: loads(table, &engines),
        });
        let tables: Vec<EngineRatios> = tables.filter(|table| !table.lines.is_empty()).collect();
        if tables.is_empty() {
            return Err(NoRatios::NoCommonCell { subject: name(), engine: engine_name() });
        }
        Ok(Self { tables, ..Self::without_lines(subject, engine) })
    }

    /// Compares `engine` as [`Self::compare`] does, and each of its precisions with the one of the most bits: only that where the subject has
    /// no other engine, or none in the same cells.
    ///
    /// # Errors
    /// Where there is nothing of either kind to compare.
    pub fn with_precisions(subject: &Subject<'_>, engine: &str, others: &[String]) -> Result<Self, NoRatios> {
        let precisions = PrecisionRatios::compare(subject, engine);
        match Self::compare(subject, engine, others) {
            Ok(ratios) => Ok(Self { precisions, ..ratios }),
            Err(NoRatios::NoOther { .. } | NoRatios::NoCommonCell { .. })
                if others.is_empty() && !precisions.is_empty() =>
            {
                Ok(Self { precisions, ..Self::without_lines(subject, engine) })
            }
            Err(error) => Err(error),
        }
    }

    fn without_lines(subject: &Subject<'_>, engine: &str) -> Self {
        Self {
            engine: engine.into(),
            unit: if subject.is_of_turns() { "turn" } else { "replicate" },
            scripted: subject.scripted(),
            tables: Vec::new(),
            precisions: Vec::new(),
        }
    }

    /// Every ratio to another engine that is known, table by table.
    pub fn known(&self) -> impl Iterator<Item = KnownRatio<'_>> {
        let known = self.tables.iter().flat_map(|table| known(&table.heading, &table.lines));
        known.filter(|ratio| ratio.phase != MEMORY)
    }
}

/// Every ratio of some lines that is known.
pub(crate) fn known<'a>(heading: &'a str, lines: &'a [RatioLine]) -> impl Iterator<Item = KnownRatio<'a>> {
    lines.iter().flat_map(move |line| {
        line.phases().into_iter().filter_map(move |(phase, ratio)| match *ratio {
            Ratio::Of { ratio, interval, .. } => {
                Some(KnownRatio { heading, phase, other: &line.name, size: line.size, ratio, interval })
            }
            Ratio::Missing(_) => None,
        })
    })
}

/// A table's rows by engine and size.
type RowsByCell<'t> = IndexMap<(&'t str, CellSize), &'t ResultRow<'t>>;

fn lines<'t>(cells: &RowsByCell<'t>, engine: &str, others: &[&str], is_run: bool) -> Vec<RatioLine> {
    let line = |other: &str, (size, row): (CellSize, &ResultRow<'t>)| {
        let ratios = RowRatios::new((engine, row), (other, cells.get(&(other, size))?), is_run);
        Some(RatioLine { name: other.into(), size, ratios })
    };
    let rows = || cells.iter().filter(|((name, _), _)| *name == engine).map(|((_, size), row)| (*size, *row));
    others.iter().flat_map(|other| rows().filter_map(move |row| line(other, row))).collect()
}

/// Each engine's median seconds from a worker's start to its model being ready.
fn loads(table: &ResultTable<'_>, engines: &[&str]) -> Vec<(String, f64)> {
    let median = |engine: &&str| {
        let records = table.rows.iter().filter(|row| row.engine == *engine).flat_map(measured);
        let seconds: Vec<f64> = records.filter_map(|record| record.measured()?.load_seconds).collect();
        Some(((*engine).to_owned(), Summary::from_series(&seconds)?.median))
    };
    engines.iter().filter_map(median).collect()
}
