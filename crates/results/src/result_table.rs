//! Measured and published tables as one kind of thing: rows with a key and figures.

use std::borrow::Cow;
use std::collections::BTreeSet;

use indexmap::IndexMap;
use llama::LlamaConfig;
use protocol::{CellSize, FailureKind, Measurement};

use crate::published::{PublishedRow, PublishedTable};
use crate::{Column, Figure, Heading, Row, Table, UnreadableHeading, Value};

/// The published generation length.
const PUBLISHED_GENERATION: u32 = 256;

/// A table, measured or published.
#[derive(Debug, Clone)]
pub struct ResultTable<'a> {
    /// The file, or the run's folder.
    pub file: &'a str,
    /// The line of its header, from 1; 0 for a run's.
    pub line: usize,
    /// Its heading's text.
    pub title: Cow<'a, str>,
    /// What the heading says; a run's own always does.
    pub heading: Result<Heading, UnreadableHeading>,
    /// Decode forwards of a generation. Of a published table what its wall-clock columns imply.
    pub generation_length: u32,
    /// The model's config; `None` where only the heading names the model.
    pub config: Option<&'a LlamaConfig>,
    /// Whether its rows were asked for one by one: then none is missing.
    pub lists_rows: bool,
    /// The rows.
    pub rows: Vec<ResultRow<'a>>,
}

/// A row of a [`ResultTable`].
#[derive(Debug, Clone)]
pub struct ResultRow<'a> {
    /// Its line in the file, from 1; 0 for a run's.
    pub line: usize,
    /// The engine.
    pub engine: &'a str,
    /// Batch size and prompt length.
    pub size: CellSize,
    /// What stands in each column of [`Column::ALL`], in the column's unit.
    pub values: [Value; 8],
    /// The records of a measured cell; none of a published one.
    pub replicates: &'a [Measurement],
    source: RowSource<'a>,
}

#[derive(Debug, Clone, Copy)]
enum RowSource<'a> {
    Measured(&'a Row),
    Published(&'a PublishedRow),
}

impl<'a> ResultTable<'a> {
    /// The table of a run whose folder is `file`.
    pub fn measured(file: &'a str, table: &'a Table) -> Self {
        Self {
            file,
            line: 0,
            title: Cow::Owned(table.heading.to_string()),
            heading: Ok(table.heading.clone()),
            generation_length: table.key.generation_length,
            config: table.config.as_ref(),
            lists_rows: false,
            rows: table.rows.iter().map(ResultRow::measured).collect(),
        }
    }

    /// A published table of `file`.
    pub fn published(file: &'a str, table: &'a PublishedTable) -> Self {
        let rows: Vec<ResultRow<'a>> = table.rows.iter().map(ResultRow::published).collect();
        Self {
            file,
            line: table.line,
            title: Cow::Borrowed(&table.heading),
            heading: Heading::parse(&table.heading),
            generation_length: implied_generation_length(&rows),
            config: None,
            lists_rows: false,
            rows,
        }
    }

    /// The rows by engine and size, in order; of rows that are there twice the first.
    pub fn cells(&self) -> IndexMap<(&'a str, CellSize), &ResultRow<'a>> {
        let mut cells = IndexMap::with_capacity(self.rows.len());
        for row in &self.rows {
            cells.entry((row.engine, row.size)).or_insert(row);
        }
        cells
    }
}

impl<'a> ResultRow<'a> {
    fn measured(row: &'a Row) -> Self {
        let value = |column| match &row.figures {
            // A figure that is no number at all (an infinite throughput) is none.
            Some(figures) => match figures.get(column) {
                Some(value) if value.is_finite() => Value::Figure(Figure::mean(value)),
                Some(_) => Value::Empty,
                None => Value::NotAvailable,
            },
            None => row.failure().map_or(Value::NotAvailable, |failure| Value::Ended(failure.kind)),
        };
        Self {
            line: 0,
            engine: &row.key.engine,
            size: row.key.size(),
            values: Column::ALL.map(value),
            replicates: &row.replicates,
            source: RowSource::Measured(row),
        }
    }

    fn published(row: &'a PublishedRow) -> Self {
        let value = |column: Column| match row.cells[column as usize].value() {
            Value::Figure(figure) => {
                Value::Figure(Figure { statistic: column.published_statistic(), ..figure })
            }
            other => other,
        };
        Self {
            line: row.line,
            engine: &row.engine,
            size: CellSize { batch_size: row.batch_size, prompt_length: row.prompt_length },
            values: Column::ALL.map(value),
            replicates: &[],
            source: RowSource::Published(row),
        }
    }

    /// What stands in a column.
    pub fn value(&self, column: Column) -> Value {
        self.values[column as usize]
    }

    /// How the cell ended, where a column says that it has no figures.
    pub fn ended(&self) -> Option<FailureKind> {
        self.values.iter().find_map(|value| match value {
            Value::Ended(kind) => Some(*kind),
            _ => None,
        })
    }

    /// The figure in a column, in the column's unit; `None` where there is none.
    pub fn figure(&self, column: Column) -> Option<Figure> {
        self.value(column).figure()
    }

    /// The figure in a column, times in seconds; `None` where there is none.
    pub fn seconds(&self, column: Column) -> Option<Figure> {
        let figure = self.figure(column)?;
        let unit = column.seconds();
        Some(Figure { value: figure.value * unit, half_width: figure.half_width * unit, ..figure })
    }

    /// A column as it is printed.
    pub fn text(&self, column: Column) -> Cow<'a, str> {
        match self.source {
            RowSource::Published(row) => Cow::Borrowed(row.cells[column as usize].text()),
            RowSource::Measured(row) => Cow::Owned(row.text(column)),
        }
    }
}

/// The generation length that the wall-clock columns were computed with: throughput · latency = B · (P + G). 256, unless
/// most rows, of at least two prompt lengths, agree on another whole number.
fn implied_generation_length(rows: &[ResultRow<'_>]) -> u32 {
    let implied = rows.iter().filter_map(|row| {
        let CellSize { batch_size, prompt_length } = row.size;
        let product = row.figure(Column::WallLatency)?.value * row.figure(Column::WallThroughput)?.value;
        let implied = product / f64::from(batch_size) - f64::from(prompt_length);
        // Far below a token: what ten printed digits leave of P + G.
        let whole = implied.round();
        let agrees = (implied - whole).abs() < 0.01 && whole >= 1.0 && whole <= f64::from(u32::MAX);
        Some((agrees.then_some(whole as u32), prompt_length))
    });
    let implied: Vec<(Option<u32>, u32)> = implied.collect();
    let mut lengths: Vec<u32> = implied.iter().filter_map(|(length, _)| *length).collect();
    lengths.sort_unstable();
    let Some(&median) = lengths.get(lengths.len() / 2) else { return PUBLISHED_GENERATION };
    let agreeing = implied.iter().filter(|(length, _)| *length == Some(median));
    let prompts: BTreeSet<u32> = agreeing.clone().map(|(_, prompt)| *prompt).collect();
    let most = 2 * agreeing.count() > implied.len();
    if most && prompts.len() > 1 { median } else { PUBLISHED_GENERATION }
}
