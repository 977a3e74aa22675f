//! The rows that importers make, and the tables that they stand in.

use std::collections::HashMap;

use indexmap::map::Entry;
use indexmap::{IndexMap, IndexSet};
use protocol::CellSize;

use super::{Column, ImportError};
use crate::published::ReadOptions;
use crate::{Heading, HeadingPrecision, format_g10};

/// What a file says of weights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ImportedWeights {
    /// They have a precision that headings know.
    Of(HeadingPrecision),
    /// They are of few bits, by another name.
    Quantized(String),
}

impl ImportedWeights {
    fn may_be(&self, precision: HeadingPrecision) -> bool {
        match self {
            Self::Of(own) => *own == precision,
            Self::Quantized(_) => precision.is_low_bit(),
        }
    }
}

/// What a tool says of one cell, all of it or a part.
#[derive(Debug, Clone)]
pub(crate) struct ImportedRow {
    /// The line of its record.
    pub(crate) line: usize,
    /// What the file says of model, precision and device.
    pub(crate) title: String,
    /// The weights, where the file says what they are.
    pub(crate) weights: Option<ImportedWeights>,
    pub(crate) engine: String,
    pub(crate) size: CellSize,
    /// Decode forwards of a generation, where the cell has any.
    pub(crate) generation_length: Option<u32>,
    /// Times in seconds, rates in tokens a second.
    pub(crate) figures: Vec<(Column, f64)>,
    /// What else is kept, by its column's name.
    pub(crate) more: Vec<(&'static str, String)>,
}

/// A table as texts, its columns by names.
#[derive(Debug)]
pub(crate) struct ImportedTable {
    pub(crate) heading: String,
    pub(crate) columns: Vec<String>,
    /// Each with the line of its record.
    pub(crate) rows: Vec<(usize, Vec<String>)>,
}

/// The rows of a table; of cells that are there several times the first, the second…
type ImportedRowsByCell = IndexMap<(String, CellSize, usize), ImportedRow>;

/// Puts rows into tables: one for each title and generation length. Parts of one cell become one row; a figure that is there again
/// starts another row.
pub(super) fn tables(
    rows: Vec<ImportedRow>,
    options: &ReadOptions,
) -> Result<Vec<ImportedTable>, ImportError> {
    check_heading(&rows, options)?;
    let mut seen: HashMap<(String, Option<u32>, String, CellSize, Column), usize> = HashMap::new();
    let mut tables: IndexMap<(String, Option<u32>), ImportedRowsByCell> = IndexMap::new();
    for row in rows {
        let mut times = 0;
        for (column, _) in &row.figures {
            let key = (row.title.clone(), row.generation_length, row.engine.clone(), row.size, *column);
            let count = seen.entry(key).or_default();
            times = times.max(*count);
            *count += 1;
        }
        let cells = tables.entry((row.title.clone(), row.generation_length)).or_default();
        match cells.entry((row.engine.clone(), row.size, times)) {
            Entry::Occupied(mut first) => {
                first.get_mut().figures.extend(row.figures);
                first.get_mut().more.extend(row.more);
            }
            Entry::Vacant(place) => drop(place.insert(row)),
        }
    }
    Ok(tables.into_iter().map(|((heading, length), cells)| table(&heading, length, &cells)).collect())
}

/// Checks a heading that is given against what the rows say.
fn check_heading(rows: &[ImportedRow], options: &ReadOptions) -> Result<(), ImportError> {
    let Some(given) = &options.heading else { return Ok(()) };
    // A row of this program has its own.
    let rows: Vec<&ImportedRow> = rows.iter().filter(|row| Heading::parse(&row.title).is_err()).collect();
    let titles: IndexSet<&str> = rows.iter().map(|row| row.title.as_str()).collect();
    if titles.len() > 1 {
        let titles: Vec<&str> = titles.into_iter().take(4).collect();
        return Err(ImportError::of_file(format!(
            "--heading: the file is of several models or devices, and a heading names one: {}",
            crate::one_line(&titles.join(", "))
        )));
    }
    let Ok(heading) = Heading::parse(given) else { return Ok(()) };
    let mut weights = rows.iter().filter_map(|row| Some((row.line, row.weights.as_ref()?)));
    let Some((line, weights)) = weights.find(|(_, weights)| !weights.may_be(heading.precision)) else {
        return Ok(());
    };
    let given = heading.precision;
    let what = match weights {
        ImportedWeights::Of(own) => {
            format!("--heading says {given}, and this record is of {own} weights: write {own}")
        }
        ImportedWeights::Quantized(own) => {
            let own = crate::one_line(own);
            format!(
                "--heading says {given}, and this record is of {own} weights: write INT4, INT8 or FP8, the nearest below their bits"
            )
        }
    };
    Err(ImportError { line: Some(line), what })
}

fn table(heading: &str, generation_length: Option<u32>, cells: &ImportedRowsByCell) -> ImportedTable {
    let has =
        |column: &Column| cells.values().any(|row| row.figures.iter().any(|(other, _)| other == column));
    let figures: Vec<Column> = Column::ALL.into_iter().filter(has).collect();
    let more: IndexSet<&str> = cells.values().flat_map(|row| &row.more).map(|(name, _)| *name).collect();
    let mut columns = ["Engine", "Batch Size", "Prompt Length"].map(str::to_owned).to_vec();
    columns.extend(generation_length.map(|_| "Generation Length".into()));
    columns.extend(figures.iter().map(|column| column.header().to_owned()));
    columns.extend(more.iter().map(|name| (*name).to_owned()));
    let rows = cells.values().map(|row| {
        let CellSize { batch_size, prompt_length } = row.size;
        let engine = crate::one_line(&row.engine);
        let mut texts = vec![engine, batch_size.to_string(), prompt_length.to_string()];
        texts.extend(generation_length.map(|length| length.to_string()));
        let figure = |column: &Column| {
            let found = row.figures.iter().find(|(other, _)| other == column);
            found.map_or_else(|| "N/A".into(), |(_, value)| format_g10(value / column.seconds()))
        };
        texts.extend(figures.iter().map(figure));
        let kept = |name: &&str| {
            let found = row.more.iter().find(|(other, _)| other == name);
            found.map(|(_, text)| crate::one_line(text)).unwrap_or_default()
        };
        texts.extend(more.iter().map(kept));
        (row.line, texts)
    });
    ImportedTable { heading: crate::one_line(heading), columns, rows: rows.collect() }
}
