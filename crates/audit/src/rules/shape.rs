//! What rows say of each other: their order, their absence, their likeness.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{NOISE, Rule, percent, short};
use crate::context::{Column, Row, Table};
use crate::{Finding, Severity};

/// A model is larger when a forward has this many times the bytes to read: less could be lost in noise and launch times.
const LARGER: f64 = 1.25;
/// Two cells are two measurements, each within the noise.
const FALL: f64 = 2.0 * NOISE;
/// Cells that a message lists.
const LISTED: usize = 8;

pub(super) const LARGER_MODEL: Rule = Rule {
    name: "larger-model",
    about: "a model of at least 1.25 × the bytes is more than 5 % slower than a smaller one, in at least half of the cells \
            that one engine has on one device in one file",
    check: larger_model,
};

pub(super) const REPEATED_ROWS: Rule = Rule {
    name: "repeated-rows",
    about: "an engine's latencies in tables whose work a device differs (by a quarter or more) are not within 5 % of each \
            other in half of the common cells or more; nor, to the digit, in any two tables of different headings",
    check: repeated_rows,
};

pub(super) const FALLING_LATENCY: Rule = Rule {
    name: "falling-latency",
    about: "prompt and token latency do not fall by more than 10 % from one batch size or prompt length to the next",
    check: falling_latency,
};

pub(super) const MISSING_CELLS: Rule = Rule {
    name: "missing-cells",
    about: "every engine has every batch size with every prompt length of the table, and a row has all figures or none",
    check: missing_cells,
};

pub(super) const DUPLICATE_CELLS: Rule = Rule {
    name: "duplicate-cells",
    about: "an engine has a batch size with a prompt length once in a table",
    check: duplicate_cells,
};

type Cells<'t> = HashMap<(&'t str, u32, u32), &'t Row<'t>>;

/// Rows by cell; of duplicates the first.
fn cells<'t>(table: &'t Table<'_>) -> Cells<'t> {
    let mut cells = Cells::new();
    for row in &table.rows {
        cells.entry(row.cell()).or_insert(row);
    }
    cells
}

/// Bytes that one device must read for a token, where model and device are known.
fn bytes_a_device(table: &Table<'_>) -> Option<f64> {
    Some(table.costs.as_ref()?.decode_read_bytes(1, 0) / table.count())
}

/// The rows of `engine` in `table`, each with that of the same cell in another table.
fn common<'t>(table: &'t Table<'t>, other: &Cells<'t>, engine: &str) -> Vec<(&'t Row<'t>, &'t Row<'t>)> {
    let mut seen = BTreeSet::new();
    let rows = table.rows.iter().filter(|row| row.cell().0 == engine && seen.insert(row.cell()));
    rows.filter_map(|row| Some((row, *other.get(&row.cell())?))).collect()
}

/// How many times as long a row takes as another, by prompt and token latency.
fn ratios(row: &Row<'_>, other: &Row<'_>) -> Vec<f64> {
    let columns = [Column::PromptLatency, Column::First128Latency, Column::First256Latency];
    let ratio =
        |column| Some(row.number(column)?.value / row.number(column).and(other.number(column))?.value);
    columns.into_iter().filter_map(ratio).filter(|ratio| ratio.is_finite()).collect()
}

/// One finding a table and engine: against the first smaller model that it is as fast as.
fn larger_model(tables: &[Table<'_>]) -> Vec<Finding> {
    let all: Vec<Cells<'_>> = tables.iter().map(cells).collect();
    let findings = |larger| {
        let smaller: Vec<_> = tables.iter().zip(&all).filter(|(other, _)| is_larger(larger, other)).collect();
        let engines = larger.engines().into_iter();
        engines.filter_map(move |engine| {
            smaller.iter().find_map(|(other, cells)| as_fast(larger, other, cells, engine))
        })
    };
    tables.iter().flat_map(findings).collect()
}

/// Whether two tables of one file differ in nothing but the model, and `table` has the larger one.
fn is_larger(table: &Table<'_>, other: &Table<'_>) -> bool {
    let device = |table: &Table<'_>| {
        let parts = table.parts.as_ref()?;
        Some((parts.kind, parts.count, parts.device.clone(), parts.cores, parts.precision))
    };
    let sizes = bytes_a_device(table).zip(bytes_a_device(other));
    table.file == other.file
        && sizes.is_some_and(|(large, small)| large >= LARGER * small)
        && device(table) == device(other)
}

fn as_fast<'t>(
    larger: &'t Table<'t>,
    smaller: &Table<'_>,
    cells: &Cells<'t>,
    engine: &str,
) -> Option<Finding> {
    let pairs = common(larger, cells, engine).into_iter();
    let compared: Vec<Vec<f64>> =
        pairs.map(|(row, other)| ratios(row, other)).filter(|ratios| !ratios.is_empty()).collect();
    let fast: Vec<&Vec<f64>> =
        compared.iter().filter(|ratios| ratios.iter().all(|ratio| *ratio <= 1.0 + NOISE)).collect();
    if fast.is_empty() || 2 * fast.len() < compared.len() {
        return None;
    }
    let found = fast.iter().flat_map(|ratios| ratios.iter().copied());
    let (least, most) = (found.clone().fold(f64::INFINITY, f64::min), found.fold(0.0, f64::max));
    let message = format!(
        "{} of {} cells take {least:.2} to {most:.2} × what those of \"{}\" (line {}) take, with {:.2} × the bytes to read",
        fast.len(),
        compared.len(),
        smaller.heading,
        smaller.line,
        bytes_a_device(larger)? / bytes_a_device(smaller)?,
    );
    let finding = larger.finding(Severity::Remarkable, LARGER_MODEL.name, Some(engine));
    Some(Finding { figure: Some(most), limit: Some(1.0 + NOISE), message, ..finding })
}

/// One finding a table and engine: against the first earlier table that it repeats.
fn repeated_rows(tables: &[Table<'_>]) -> Vec<Finding> {
    let all: Vec<Cells<'_>> = tables.iter().map(cells).collect();
    let findings = |(index, table): (usize, _)| {
        let earlier = &tables[..index];
        let engines = Table::engines(table).into_iter();
        let all = &all;
        engines.filter_map(move |engine| {
            earlier.iter().zip(all).find_map(|(other, cells)| repeats(table, other, cells, engine))
        })
    };
    tables.iter().enumerate().flat_map(findings).collect()
}

fn repeats<'t>(
    table: &'t Table<'t>,
    earlier: &Table<'_>,
    cells: &Cells<'t>,
    engine: &str,
) -> Option<Finding> {
    if table.heading == earlier.heading {
        return None;
    }
    let work = bytes_a_device(table).zip(bytes_a_device(earlier));
    let differs = work.is_some_and(|(one, other)| one.max(other) >= LARGER * one.min(other));
    let tolerance = if differs { NOISE } else { 0.0 };
    let apart = |(row, other): (&Row<'_>, &Row<'_>)| {
        let figures =
            Column::LATENCIES.into_iter().filter_map(|column| row.number(column).zip(other.number(column)));
        figures.map(|(one, other)| (one.value / other.value - 1.0).abs()).reduce(f64::max)
    };
    let compared: Vec<f64> = common(table, cells, engine).into_iter().filter_map(apart).collect();
    let repeated: Vec<f64> = compared.iter().copied().filter(|apart| *apart <= tolerance).collect();
    if repeated.is_empty() || 2 * repeated.len() < compared.len() {
        return None;
    }
    let most = repeated.iter().copied().fold(0.0, f64::max);
    let place = if table.file == earlier.file { String::new() } else { format!("{}, ", earlier.file) };
    let message = format!(
        "{} of {} rows repeat those of \"{}\" ({place}line {}): all their latencies are within {}",
        repeated.len(),
        compared.len(),
        earlier.heading,
        earlier.line,
        percent(most),
    );
    let finding = table.finding(Severity::Remarkable, REPEATED_ROWS.name, Some(engine));
    Some(Finding { figure: Some(most), limit: Some(tolerance), message, ..finding })
}

fn falling_latency(tables: &[Table<'_>]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for table in tables {
        // What a row is held against: the next smaller prompt of its batch, and the next smaller batch of its prompt.
        let mut by_prompt: BTreeMap<(&str, u32, u32), &Row<'_>> = BTreeMap::new();
        let mut by_batch: BTreeMap<(&str, u32, u32), &Row<'_>> = BTreeMap::new();
        for row in &table.rows {
            let (engine, batch, prompt) = row.cell();
            by_prompt.entry((engine, batch, prompt)).or_insert(row);
            by_batch.entry((engine, prompt, batch)).or_insert(row);
        }
        for row in &table.rows {
            let (engine, batch, prompt) = row.cell();
            let columns = [Some(Column::PromptLatency), row.token().map(|(column, _)| column)];
            for column in columns.into_iter().flatten() {
                let Some(figure) = row.number(column) else { continue };
                let has_figure = |row: &&&Row<'_>| row.number(column).is_some();
                let shorter = by_prompt.range((engine, batch, 0)..(engine, batch, prompt));
                let fewer = by_batch.range((engine, prompt, 0)..(engine, prompt, batch));
                let neighbours = [
                    shorter.map(|(_, row)| row).rfind(has_figure),
                    fewer.map(|(_, row)| row).rfind(has_figure),
                ];
                let figures =
                    neighbours.into_iter().flatten().filter_map(|row| Some((row, row.number(column)?)));
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
                    other.source.batch_size,
                    other.source.prompt_length,
                    unit = column.unit(),
                );
                let kind = (Severity::Remarkable, FALLING_LATENCY.name);
                findings.push(table.figure_finding(kind, row, column, limit / column.seconds(), message));
            }
        }
    }
    findings
}

fn missing_cells(tables: &[Table<'_>]) -> Vec<Finding> {
    let rows = |table: &Table<'_>| if table.lists_rows { Vec::new() } else { missing_rows(table) };
    tables.iter().flat_map(|table| rows(table).into_iter().chain(missing_figures(table))).collect()
}

/// Rows that the table's grid has and an engine has not: one finding an engine.
fn missing_rows(table: &Table<'_>) -> Vec<Finding> {
    let batches: BTreeSet<u32> = table.rows.iter().map(|row| row.source.batch_size).collect();
    let prompts: BTreeSet<u32> = table.rows.iter().map(|row| row.source.prompt_length).collect();
    let cells = cells(table);
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for (engine, _, _) in cells.keys() {
        *counts.entry(engine).or_default() += 1;
    }
    let whole = batches.len() * prompts.len();
    let short_of = table.engines().into_iter().map(|engine| (engine, whole - counts[engine]));
    short_of
        .filter(|(_, missing)| *missing > 0)
        .map(|(engine, missing)| {
            let grid = batches.iter().flat_map(|batch| prompts.iter().map(move |prompt| (*batch, *prompt)));
            let absent = grid.filter(|(batch, prompt)| !cells.contains_key(&(engine, *batch, *prompt)));
            let listed: Vec<String> =
                absent.take(LISTED).map(|(batch, prompt)| format!("{batch}×{prompt}")).collect();
            let more = missing.saturating_sub(LISTED);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            let message = format!("no row for {}{more}, of a grid of {whole} cells", listed.join(", "));
            let finding = table.finding(Severity::Remarkable, MISSING_CELLS.name, Some(engine));
            Finding { figure: Some((whole - missing) as f64), limit: Some(whole as f64), message, ..finding }
        })
        .collect()
}

/// Rows of which some columns say something else than others. A column that does not apply (`N/A`) says nothing.
fn missing_figures<'t>(table: &'t Table<'_>) -> impl Iterator<Item = Finding> + use<'t> {
    use results::published::Value;
    table.rows.iter().filter_map(move |row| {
        let says = |value: &&Value| !matches!(value, Value::NotAvailable);
        let kind = |value: &Value| std::mem::discriminant(value);
        let figures = row.values.iter().filter(|value| matches!(value, Value::Number(_))).count();
        let mut values = row.values.iter().filter(says).map(kind);
        let first = values.next()?;
        let is_empty = matches!(row.values.iter().find(says), Some(Value::Empty));
        if values.all(|other| other == first) && !is_empty {
            return None;
        }
        let odd = row.values.iter().position(|value| says(&value) && !matches!(value, Value::Number(_)))?;
        let column = results::COLUMNS[3 + odd];
        let text = row.source.cells[odd].text();
        let what = if text.is_empty() { "nothing".to_owned() } else { format!("\"{text}\"") };
        let message = match figures {
            0 => format!("{what} stands here, and no column has a figure"),
            _ => format!("{what} stands here, and figures in {figures} other columns"),
        };
        let finding = table.row_finding(Severity::Remarkable, MISSING_CELLS.name, row);
        Some(Finding { column: Some(column), message, ..finding })
    })
}

fn duplicate_cells(tables: &[Table<'_>]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for table in tables {
        let mut seen = Cells::new();
        for row in &table.rows {
            let Some(first) = seen.get(&row.cell()) else {
                seen.insert(row.cell(), row);
                continue;
            };
            let same = first.values == row.values;
            let line = first.source.line;
            let message = format!(
                "line {line} has this cell, with {} figures",
                if same { "the same" } else { "other" }
            );
            let finding = table.row_finding(Severity::Remarkable, DUPLICATE_CELLS.name, row);
            findings.push(Finding { message, ..finding });
        }
    }
    findings
}
