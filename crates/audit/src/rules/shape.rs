//! Compares rows with each other: their order, their absence, their likeness.

use std::collections::{BTreeMap, BTreeSet};

use indexmap::IndexMap;
use protocol::{CellSize, FailureKind};
use results::{Column, ResultRow, Value};

use super::{LARGER, NOISE, Rule, percent, short};
use crate::checked_table::{CheckedTable, seconds};
use crate::{Finding, Severity};

/// The largest fall that noise explains: two cells are two measurements, each within the noise.
const FALL: f64 = 2.0 * NOISE;
/// Cells that a message lists.
const LISTED: usize = 8;

pub(super) const LARGER_MODEL: Rule = Rule {
    name: "larger-model",
    about: "a model of at least 1.25 × the bytes is more than 5 % slower than a smaller one, in at least half of the cells \
            that one engine has on one device in one file",
    measure: "× the smaller model's time",
    check: larger_model,
};

pub(super) const FALLING_LATENCY: Rule = Rule {
    name: "falling-latency",
    about: "prompt and token latency do not fall by more than 10 % from one batch size or prompt length to the next",
    measure: "× the smaller cell's time",
    check: falling_latency,
};

pub(super) const OUT_OF_MEMORY_ORDER: Rule = Rule {
    name: "out-of-memory-order",
    about: "an engine that ran out of memory in a cell has no figures in a cell with as large a batch and as long a prompt",
    measure: "",
    check: |tables| tables.iter().flat_map(out_of_memory_order).collect(),
};

pub(super) const MISSING_CELLS: Rule = Rule {
    name: "missing-cells",
    about: "every engine has every batch size with every prompt length of the table, and a row has all its figures or none",
    measure: "× the grid",
    check: missing_cells,
};

pub(super) const DUPLICATE_CELLS: Rule = Rule {
    name: "duplicate-cells",
    about: "a table has each engine, batch size and prompt length once",
    measure: "",
    check: duplicate_cells,
};

/// How many times as long a row takes as another, by prompt and token latency.
fn ratios(row: &ResultRow<'_>, other: &ResultRow<'_>) -> Vec<f64> {
    let columns = [
        Column::PromptLatency,
        Column::First128Latency,
        Column::First256Latency,
        Column::TokenLatency,
        Column::Tpot,
    ];
    let ratio =
        |column| Some(seconds(row, column)?.value / seconds(row, column).and(seconds(other, column))?.value);
    columns.into_iter().filter_map(ratio).filter(|ratio| ratio.is_finite()).collect()
}

/// One finding per table and engine: the first smaller model that it is as fast as.
fn larger_model(tables: &[CheckedTable<'_>]) -> Vec<Finding> {
    let findings = |larger| {
        let smaller: Vec<_> = tables.iter().filter(|other| is_larger(larger, other)).collect();
        let found = move |engine| smaller.iter().find_map(|other| as_fast(larger, other, engine));
        larger.engines().into_iter().filter_map(found)
    };
    tables.iter().flat_map(findings).collect()
}

/// Whether two tables of one file differ in nothing but the model, and `table` has the larger one.
fn is_larger(table: &CheckedTable<'_>, other: &CheckedTable<'_>) -> bool {
    let device = |table: &CheckedTable<'_>| {
        let heading = table.source.heading.as_ref().ok()?;
        Some((heading.kind, heading.count, heading.device.clone(), heading.cores, heading.precision))
    };
    let sizes = table.bytes_a_device().zip(other.bytes_a_device());
    table.source.file == other.source.file
        && sizes.is_some_and(|(large, small)| large >= LARGER * small)
        && device(table) == device(other)
}

fn as_fast(larger: &CheckedTable<'_>, smaller: &CheckedTable<'_>, engine: &str) -> Option<Finding> {
    let pairs = larger.common(smaller, engine).into_iter();
    let compared: Vec<Vec<f64>> =
        pairs.map(|[row, other]| ratios(row, other)).filter(|ratios| !ratios.is_empty()).collect();
    let fast: Vec<&Vec<f64>> =
        compared.iter().filter(|ratios| ratios.iter().all(|ratio| *ratio <= 1.0 + NOISE)).collect();
    if fast.is_empty() || 2 * fast.len() < compared.len() {
        return None;
    }
    let found = fast.iter().flat_map(|ratios| ratios.iter().copied());
    let (least, most) = (found.clone().fold(f64::INFINITY, f64::min), found.fold(0.0, f64::max));
    let message = format!(
        "{} of {} cells take {least:.2} to {most:.2} × the time of those of \"{}\" (line {}), with {:.2} × the bytes to read",
        fast.len(),
        compared.len(),
        smaller.source.title,
        smaller.source.line,
        larger.bytes_a_device()? / smaller.bytes_a_device()?,
    );
    let finding = larger.finding(Severity::Remarkable, LARGER_MODEL.name, Some(engine));
    Some(Finding { figure: Some(most), limit: Some(1.0 + NOISE), times: Some(most), message, ..finding })
}

/// The mean of a token: over the first 256 where there is one, else over the first 128, else over all.
fn token_column(row: &ResultRow<'_>) -> Option<Column> {
    let columns = [Column::First256Latency, Column::First128Latency, Column::TokenLatency, Column::Tpot];
    columns.into_iter().find(|column| row.figure(*column).is_some())
}

fn falling_latency(tables: &[CheckedTable<'_>]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for table in tables {
        // A row is compared with the next smaller prompt of its batch, and with the next smaller batch of its prompt.
        let mut by_prompt: BTreeMap<(&str, u32, u32), &ResultRow<'_>> = BTreeMap::new();
        let mut by_batch: BTreeMap<(&str, u32, u32), &ResultRow<'_>> = BTreeMap::new();
        for row in &table.source.rows {
            let (engine, CellSize { batch_size: batch, prompt_length: prompt }) = (row.engine, row.size);
            by_prompt.entry((engine, batch, prompt)).or_insert(row);
            by_batch.entry((engine, prompt, batch)).or_insert(row);
        }
        for row in &table.source.rows {
            let (engine, CellSize { batch_size: batch, prompt_length: prompt }) = (row.engine, row.size);
            let columns = [Some(Column::PromptLatency), token_column(row)];
            for column in columns.into_iter().flatten() {
                let Some(figure) = seconds(row, column) else { continue };
                let has_figure = |row: &&&ResultRow<'_>| seconds(row, column).is_some();
                let shorter = by_prompt.range((engine, batch, 0)..(engine, batch, prompt));
                let fewer = by_batch.range((engine, prompt, 0)..(engine, prompt, batch));
                let neighbours = [
                    shorter.map(|(_, row)| row).rfind(has_figure),
                    fewer.map(|(_, row)| row).rfind(has_figure),
                ];
                let figures =
                    neighbours.into_iter().flatten().filter_map(|row| Some((row, seconds(row, column)?)));
                let slowest = figures.max_by(|(_, one), (_, other)| one.value.total_cmp(&other.value));
                let Some((other, before)) = slowest else { continue };
                let limit = before.least() * (1.0 - FALL);
                if figure.most() >= limit {
                    continue;
                }
                let message = format!(
                    "{} {unit} is {} less than the {} {unit} of {}×{}, which has less to compute",
                    short(figure.value / column.seconds()),
                    percent(1.0 - figure.value / before.value),
                    short(before.value / column.seconds()),
                    other.size.batch_size,
                    other.size.prompt_length,
                    unit = column.unit(),
                );
                let kind = (Severity::Remarkable, FALLING_LATENCY.name);
                let finding = table.figure_finding(kind, row, column, limit / column.seconds(), message);
                findings.push(Finding { times: Some(figure.value / before.value), ..finding });
            }
        }
    }
    findings
}

/// One finding per row that ran out of memory where a larger cell of its engine did not.
fn out_of_memory_order(table: &CheckedTable<'_>) -> Vec<Finding> {
    let has_figures = |row: &ResultRow<'_>| row.values.iter().any(|value| value.figure().is_some());
    // The longest prompt with figures, by engine and batch size.
    let mut longest: BTreeMap<(&str, u32), u32> = BTreeMap::new();
    for row in table.source.rows.iter().filter(|row| has_figures(row)) {
        let prompt = longest.entry((row.engine, row.size.batch_size)).or_default();
        *prompt = row.size.prompt_length.max(*prompt);
    }
    let out_of_memory =
        |row: &&ResultRow<'_>| row.ended() == Some(FailureKind::OutOfMemory) && !has_figures(row);
    let found = |row: &ResultRow<'_>| {
        let CellSize { batch_size: batch, prompt_length: prompt } = row.size;
        let mut larger = longest.range((row.engine, batch)..=(row.engine, u32::MAX));
        let ((_, larger_batch), longest) = larger.find(|(_, longest)| **longest >= prompt)?;
        let message =
            format!("out of memory, though {larger_batch}×{longest} has figures and needs at least as much");
        let finding = table.row_finding(Severity::Remarkable, OUT_OF_MEMORY_ORDER.name, row);
        Some(Finding { message, ..finding })
    };
    table.source.rows.iter().filter(out_of_memory).filter_map(found).collect()
}

fn missing_cells(tables: &[CheckedTable<'_>]) -> Vec<Finding> {
    let rows =
        |table: &CheckedTable<'_>| if table.source.lists_rows { Vec::new() } else { missing_rows(table) };
    tables.iter().flat_map(|table| rows(table).into_iter().chain(missing_figures(table))).collect()
}

/// Rows of the table's grid that an engine lacks: one finding per engine.
fn missing_rows(table: &CheckedTable<'_>) -> Vec<Finding> {
    let batches: BTreeSet<u32> = table.source.rows.iter().map(|row| row.size.batch_size).collect();
    let prompts: BTreeSet<u32> = table.source.rows.iter().map(|row| row.size.prompt_length).collect();
    let mut counts: IndexMap<&str, usize> = IndexMap::new();
    for (engine, _) in table.cells.keys() {
        *counts.entry(engine).or_default() += 1;
    }
    let whole = batches.len() * prompts.len();
    counts
        .into_iter()
        .map(|(engine, count)| (engine, whole - count))
        .filter(|(_, missing)| *missing > 0)
        .map(|(engine, missing)| {
            let size = |batch_size, prompt_length| CellSize { batch_size, prompt_length };
            let grid = batches.iter().flat_map(|batch| prompts.iter().map(|prompt| size(*batch, *prompt)));
            let absent = grid.filter(|size| !table.cells.contains_key(&(engine, *size)));
            let listed: Vec<String> = absent.take(LISTED).map(|size| size.to_string()).collect();
            let more = missing.saturating_sub(LISTED);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            let message = format!("no row for {}{more}, of a grid of {whole} cells", listed.join(", "));
            let finding = table.finding(Severity::Remarkable, MISSING_CELLS.name, Some(engine));
            Finding { figure: Some((whole - missing) as f64), limit: Some(whole as f64), message, ..finding }
        })
        .collect()
}

/// Rows in which some columns have figures and others an outcome. A column that does not apply (`N/A`) does not count.
fn missing_figures<'t>(table: &'t CheckedTable<'_>) -> impl Iterator<Item = Finding> + use<'t> {
    table.source.rows.iter().filter_map(move |row| {
        let says = |value: &&Value| !matches!(value, Value::NotAvailable);
        let out_of_memory = Value::Ended(FailureKind::OutOfMemory);
        let kind = |value: &Value| (std::mem::discriminant(value), *value == out_of_memory);
        let figures = row.values.iter().filter(|value| matches!(value, Value::Figure(_))).count();
        let mut values = row.values.iter().filter(says).map(kind);
        let first = values.next()?;
        let is_empty = matches!(row.values.iter().find(says), Some(Value::Empty));
        if values.all(|other| other == first) && !is_empty {
            return None;
        }
        let odd = |column: &Column| !matches!(row.value(*column), Value::NotAvailable | Value::Figure(_));
        let column = Column::ALL.into_iter().find(odd)?;
        let what = match row.value(column) {
            Value::Empty => "no value".to_owned(),
            _ => format!("\"{}\"", row.text(column)),
        };
        let message = match figures {
            0 => format!("{what} here, and no column has a figure"),
            _ => format!("{what} here, but figures in {figures} other columns"),
        };
        let finding = table.row_finding(Severity::Remarkable, MISSING_CELLS.name, row);
        Some(Finding { column: Some(column.header()), message, ..finding })
    })
}

fn duplicate_cells(tables: &[CheckedTable<'_>]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for table in tables {
        let mut seen = BTreeSet::new();
        for row in table.source.rows.iter().filter(|row| !seen.insert((row.engine, row.size))) {
            let first = table.cells[&(row.engine, row.size)];
            let same = first.values == row.values;
            let line = first.line;
            let message = format!(
                "line {line} has the same cell, with {} figures",
                if same { "the same" } else { "other" }
            );
            let finding = table.row_finding(Severity::Remarkable, DUPLICATE_CELLS.name, row);
            findings.push(Finding { message, ..finding });
        }
    }
    findings
}
