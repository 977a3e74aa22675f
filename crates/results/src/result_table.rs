//! Measured and published tables as one kind of thing: rows with a key and figures.

use std::borrow::Cow;

use indexmap::IndexMap;
use llama::LlamaConfig;
use protocol::{CellSize, FailureKind, MeasuredPeaks, Measurement};

use crate::published::{PublishedRow, PublishedTable};
use crate::{
    Column, Figure, GenerationLength, Heading, Row, Table, UnreadableHeading, Value, generation_length,
};

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
    /// The model's config; `None` where only the heading names the model.
    pub config: Option<&'a LlamaConfig>,
    /// The peaks that its run measured.
    pub measured_peaks: Option<&'a MeasuredPeaks>,
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
    /// Decode forwards of a generation. Of a published row what the wall-clock columns of its engine imply.
    pub generation_length: GenerationLength,
    /// What stands in each column of [`Column::ALL`], in the column's unit.
    pub values: [Value; 12],
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
            config: table.config.as_ref(),
            measured_peaks: None,
            lists_rows: false,
            rows: table.rows.iter().map(ResultRow::measured).collect(),
        }
    }

    /// A published table of `file`.
    pub fn published(file: &'a str, table: &'a PublishedTable) -> Self {
        let row = |row| ResultRow::published(row, table.is_exact);
        let mut rows: Vec<ResultRow<'a>> = table.rows.iter().map(row).collect();
        match table.generation_length {
            Some(stated) => {
                rows.iter_mut().for_each(|row| row.generation_length = GenerationLength::stated(stated));
            }
            None => generation_length::infer(&mut rows),
        }
        rows.iter_mut().for_each(ResultRow::name_first_tokens);
        Self {
            file,
            line: table.line,
            title: Cow::Borrowed(&table.heading),
            heading: Heading::parse(&table.heading),
            config: None,
            measured_peaks: None,
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
            generation_length: GenerationLength::stated(row.key.generation_length),
            values: Column::ALL.map(value),
            replicates: &row.replicates,
            source: RowSource::Measured(row),
        }
    }

    fn published(row: &'a PublishedRow, is_exact: bool) -> Self {
        let value = |column: Column| match row.cells[column as usize].value() {
            Value::Figure(figure) => {
                let figure = match is_exact {
                    true => Figure { half_width: 0.0, ..figure },
                    false => figure.with_rounded_zeros(),
                };
                Value::Figure(Figure { statistic: column.published_statistic(), ..figure })
            }
            other => other,
        };
        Self {
            line: row.line,
            engine: &row.engine,
            size: CellSize { batch_size: row.batch_size, prompt_length: row.prompt_length },
            generation_length: GenerationLength::ASSUMED,
            values: Column::ALL.map(value),
            replicates: &[],
            source: RowSource::Published(row),
        }
    }

    /// Moves a mean over all tokens to the published column that it is where they are 128 or 256.
    fn name_first_tokens(&mut self) {
        for column in Column::PUBLISHED {
            if let Some(all) = self.all_tokens(column) {
                let value = std::mem::replace(&mut self.values[all as usize], Value::NotAvailable);
                self.values[column as usize] = value;
            }
        }
    }

    /// The column of the published row in which the figure of a column of first tokens stands, where that has none of its own.
    fn all_tokens(&self, column: Column) -> Option<Column> {
        let RowSource::Published(row) = self.source else { return None };
        let is_certain = self.generation_length.is_certain();
        let all = column.of_all_tokens(self.generation_length.tokens).filter(|_| is_certain)?;
        let has_none = row.cells[column as usize].value() == Value::NotAvailable;
        (has_none && row.cells[all as usize].value() != Value::NotAvailable).then_some(all)
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
            RowSource::Published(row) => {
                let place = self.all_tokens(column).unwrap_or(column);
                Cow::Borrowed(row.cells[place as usize].text())
            }
            RowSource::Measured(row) => Cow::Owned(row.text(column)),
        }
    }
}
