//! Cells and their figures, for formats without tables.

use std::collections::HashSet;
use std::fmt::Write as _;

use protocol::{CellSize, Environment, Measurement};
use results::{Column, Heading, Metric, ResultRow, ResultTable, Row, one_line, scripted_words};
use stats::{Interval, Replicates};

use crate::ExportInput;

/// A table of the input, with the cells that have figures.
pub(crate) struct CellTable<'a> {
    /// Its heading's text, on one line.
    pub(crate) title: String,
    /// What the heading says; `None` where it says no model, precision and device.
    pub(crate) heading: Option<Heading>,
    pub(crate) cells: Vec<ExportedCell<'a>>,
    /// The cells that have none: engine, size and how they ended.
    pub(crate) ended: Vec<String>,
    /// Columns of a file beside the published ones.
    other_columns: usize,
}

/// Which figures of a cell a format takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FigureKind {
    /// Latencies and peak memory.
    Latencies,
    Throughputs,
}

impl FigureKind {
    fn other(self) -> Self {
        if self == Self::Latencies { Self::Throughputs } else { Self::Latencies }
    }

    fn columns(self) -> impl Iterator<Item = Column> {
        Column::ALL.into_iter().filter(move |column| column.is_latency() == (self == Self::Latencies))
    }
}

/// A cell with figures.
pub(crate) struct ExportedCell<'a> {
    pub(crate) row: ResultRow<'a>,
    /// Whether its latencies are scripted, on a virtual clock.
    pub(crate) is_scripted: bool,
    /// The environment of its part of the run; `None` of a file's cell.
    pub(crate) environment: Option<&'a Environment>,
}

/// A figure of a cell: seconds or bytes.
pub(crate) struct CellFigure {
    pub(crate) metric: Metric,
    /// What the table prints: the mean of all samples; of memory the most.
    pub(crate) value: f64,
    /// The 95 % Student interval of the replicates' means; `None` where there is no second replicate.
    pub(crate) interval: Option<Interval>,
    /// The replicates that it is of; 0 in a file.
    pub(crate) replicates: usize,
}

/// The tables of the input.
pub(crate) fn cell_tables<'a>(input: &ExportInput<'a>) -> Vec<CellTable<'a>> {
    match *input {
        ExportInput::Runs(runs) => {
            let tables = runs.iter().flat_map(|run| run.tables.iter().map(move |table| (run, table)));
            let table = |(run, table): (&'a results::Run, &'a results::Table)| {
                CellTable::new(ResultTable::measured(&run.dir, table), &table.rows, &run.environments, 0)
            };
            tables.map(table).collect()
        }
        ExportInput::Document(document) => {
            let table = |table: &'a results::published::PublishedTable| {
                let more = table.rows.iter().map(|row| row.more.len()).max().unwrap_or(0);
                CellTable::new(ResultTable::published("", table), &[], &[], more)
            };
            document.tables().map(table).collect()
        }
    }
}

impl<'a> CellTable<'a> {
    /// A table whose rows are those of `measured`, where it is a run's.
    fn new(
        table: ResultTable<'a>,
        measured: &'a [Row],
        environments: &'a [Environment],
        other_columns: usize,
    ) -> Self {
        let (mut cells, mut ended) = (Vec::new(), Vec::new());
        for (index, row) in table.rows.into_iter().enumerate() {
            if Column::ALL.into_iter().any(|column| row.figure(column).is_some()) {
                let part = row.replicates.first().map_or(0, |record| record.part as usize);
                let environment = environments.get(part.wrapping_sub(1));
                let is_scripted = measured.get(index).is_some_and(|row| row.is_scripted);
                cells.push(ExportedCell { row, is_scripted, environment });
            } else {
                let how = row.ended().map_or("N/A", protocol::FailureKind::table_word);
                ended.push(one_line(&format!("{} {}: {how}", row.engine, row.size)));
            }
        }
        let title = one_line(&table.title);
        Self { title, heading: table.heading.ok(), cells, ended, other_columns }
    }

    /// What a format of these figures has no place for, one line each.
    pub(crate) fn remarks(&self, kind: FigureKind) -> Vec<String> {
        let mut remarks = Vec::new();
        if !self.ended.is_empty() {
            remarks.push(format!("{}: no figures, left out: {}", self.title, self.ended.join(", ")));
        }
        if self.other_columns > 0 {
            remarks.push(format!("{}: columns other than the published ones are left out", self.title));
        }
        let (these, others) = match kind {
            FigureKind::Latencies => ("latency", "throughputs"),
            FigureKind::Throughputs => ("throughput", "latencies"),
        };
        let alone: usize = self.cells.iter().map(|cell| cell.others_alone(kind)).sum();
        if alone > 0 {
            remarks.push(format!("{}: {others} without a matching {these}, left out: {alone}", self.title));
        }
        let zeros: usize = self.cells.iter().map(|cell| cell.unsound(kind)).sum();
        if zeros > 0 {
            remarks.push(format!("{}: figures that are not positive, left out: {zeros}", self.title));
        }
        let depends = |cell: &ExportedCell<'_>| {
            let columns = [Column::WallLatency, Column::WallThroughput, Column::TokenLatency, Column::Tpot];
            columns.into_iter().any(|column| cell.row.figure(column).is_some())
        };
        if self.cells.iter().any(|cell| !cell.row.generation_length.is_known() && depends(cell)) {
            let title = &self.title;
            remarks.push(format!(
                "{title}: generations are assumed to have 256 tokens; give --generation-length"
            ));
        }
        remarks.extend(self.scripted());
        remarks
    }

    /// That latencies are scripted, where they are.
    pub(crate) fn scripted(&self) -> Option<String> {
        let engines = self.cells.iter().filter(|cell| cell.is_scripted).map(|cell| cell.row.engine);
        let mut seen = HashSet::new();
        let engines: Vec<&str> = engines.filter(|engine| seen.insert(*engine)).collect();
        (!engines.is_empty()).then(|| one_line(&scripted_words(engines)))
    }
}

impl ExportedCell<'_> {
    /// Its times and its memory, in the order of [`Metric::ALL`]. Seconds and bytes.
    pub(crate) fn figures(&self) -> Vec<CellFigure> {
        if self.is_measured() {
            return Metric::ALL.into_iter().filter_map(|metric| self.measured(metric)).collect();
        }
        self.printed(FigureKind::Latencies)
    }

    /// Its throughputs in tokens a second, a measured one's from its latency.
    pub(crate) fn throughputs(&self) -> Vec<CellFigure> {
        if self.is_measured() {
            let throughput = |figure: CellFigure| {
                let tokens = self.tokens(figure.metric)?;
                let interval = figure
                    .interval
                    .map(|interval| Interval { low: tokens / interval.high, high: tokens / interval.low });
                Some(CellFigure { value: tokens / figure.value, interval, ..figure })
            };
            return self.figures().into_iter().filter_map(throughput).collect();
        }
        self.printed(FigureKind::Throughputs)
    }

    /// How many printed figures there are of the other kind alone.
    fn others_alone(&self, kind: FigureKind) -> usize {
        let has = |column: Column| self.row.figure(column).is_some();
        let is_alone = |other: &Column| {
            let is_partner = |one: &Column| one.metric() == other.metric();
            has(*other) && !kind.columns().find(is_partner).is_some_and(has)
        };
        if self.is_measured() { 0 } else { kind.other().columns().filter(is_alone).count() }
    }

    /// How many printed figures are none that [`ExportedCell::printed`] takes.
    fn unsound(&self, kind: FigureKind) -> usize {
        let printed = kind.columns().filter(|column| self.row.figure(*column).is_some()).count();
        if self.is_measured() { 0 } else { printed - self.printed(kind).len() }
    }

    /// Whether it is a run's, and not a file's.
    pub(crate) fn is_measured(&self) -> bool {
        !self.row.replicates.is_empty()
    }

    /// Each replicate's samples of a metric, where all have some.
    pub(crate) fn samples(&self, metric: Metric) -> Vec<(&Measurement, Vec<f64>)> {
        let samples = self.row.replicates.iter().map(|record| (record, metric.samples(record)));
        let samples: Vec<_> = samples.collect();
        if samples.iter().any(|(_, samples)| samples.is_empty()) { Vec::new() } else { samples }
    }

    fn measured(&self, metric: Metric) -> Option<CellFigure> {
        let samples = self.samples(metric);
        let all = || samples.iter().flat_map(|(_, samples)| samples).copied();
        let replicates = samples.len();
        if metric == Metric::Memory {
            let value = all().reduce(f64::max)?;
            return is_sound(value).then_some(CellFigure { metric, value, interval: None, replicates });
        }
        let value = stats::mean(&all().collect::<Vec<_>>()).filter(|mean| is_sound(*mean))?;
        let means =
            Replicates::means(samples.iter().map(|(record, samples)| (record.replicate, &samples[..])));
        // The interval is of the replicates' geometric mean: it is widened to hold the figure, which is the mean of all samples.
        let around_value =
            |interval: Interval| Interval { low: interval.low.min(value), high: interval.high.max(value) };
        let interval = means.and_then(|means| means.interval()).map(around_value);
        let interval = interval.filter(|interval| is_sound(interval.low) && is_sound(interval.high));
        Some(CellFigure { metric, value, interval, replicates })
    }

    fn printed(&self, kind: FigureKind) -> Vec<CellFigure> {
        let figure = |column: Column| {
            let value = self.row.seconds(column)?.value;
            is_sound(value).then_some(CellFigure {
                metric: column.metric(),
                value,
                interval: None,
                replicates: 0,
            })
        };
        kind.columns().filter_map(figure).collect()
    }

    /// The tokens that a metric's latency is of; `None` of memory.
    fn tokens(&self, metric: Metric) -> Option<f64> {
        let CellSize { batch_size, prompt_length } = self.row.size;
        let of_row = match metric {
            Metric::Prompt => u64::from(prompt_length),
            Metric::First128 | Metric::First256 | Metric::Token | Metric::Tpot => 1,
            Metric::Wall => u64::from(prompt_length) + u64::from(self.row.generation_length.tokens),
            Metric::Memory => return None,
        };
        Some(f64::from(batch_size) * of_row as f64)
    }
}

/// Whether a figure is positive, and finite in every unit.
fn is_sound(figure: f64) -> bool {
    (1e-100..1e100).contains(&figure)
}

/// A figure in another unit, in the 15 digits that a double always holds: 11.967659 ms are no 11.967659000000001.
pub(crate) fn scaled(figure: f64, factor: f64) -> f64 {
    format!("{:.14e}", figure * factor).parse().unwrap_or(figure * factor)
}

/// A text with everything but `kept` characters as a URL has it, `%20`: no two texts become the same where `%` is not kept.
pub(crate) fn percent_encoded(text: &str, kept: impl Fn(char) -> bool) -> String {
    let mut encoded = String::with_capacity(text.len());
    for c in text.chars() {
        if kept(c) {
            encoded.push(c);
        } else {
            let mut bytes = [0; 4];
            for byte in c.encode_utf8(&mut bytes).bytes() {
                let _ = write!(encoded, "%{byte:02X}");
            }
        }
    }
    encoded
}
