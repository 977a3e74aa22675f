//! Finds figures that appear twice.

use std::collections::HashMap;

use results::{Column, ResultRow};

use super::{LARGER, NOISE, Rule, digits, percent};
use crate::checked_table::{CheckedTable, seconds};
use crate::{Finding, Severity};

/// The number of shared digits, beyond the first two of each figure, that is no coincidence.
const SHARED_DIGITS: f64 = 6.0;
/// The fewest digits of a figure that counts: shorter ones repeat by chance.
const FEWEST_DIGITS: f64 = 4.0;

pub(super) const REPEATED_ROWS: Rule = Rule {
    name: "repeated-rows",
    about: "in two tables whose work per device differs by a quarter or more, an engine's latencies are not within 5 % of each other \
            in half or more of the common cells; in any two tables with different headings they are not equal digit for digit",
    measure: "",
    check: repeated_rows,
};

pub(super) const COPIED_ROWS: Rule = Rule {
    name: "copied-rows",
    about: "no two cells of a table have equal latencies (or, without latencies, equal throughputs) digit for digit, in at least three \
            columns of four digits or two of five",
    measure: "",
    check: |tables| tables.iter().flat_map(copied_rows).collect(),
};

/// One finding per table and engine: the first earlier table that it repeats.
fn repeated_rows(tables: &[CheckedTable<'_>]) -> Vec<Finding> {
    let findings = |(index, table)| {
        let earlier = &tables[..index];
        let found = move |engine| earlier.iter().find_map(|other| repeats(table, other, engine));
        table.engines().into_iter().filter_map(found)
    };
    tables.iter().enumerate().flat_map(findings).collect()
}

fn repeats(table: &CheckedTable<'_>, earlier: &CheckedTable<'_>, engine: &str) -> Option<Finding> {
    if table.source.title == earlier.source.title {
        return None;
    }
    let work = table.bytes_a_device().zip(earlier.bytes_a_device());
    let differs = work.is_some_and(|(one, other)| one.max(other) >= LARGER * one.min(other));
    let tolerance = if differs { NOISE } else { 0.0 };
    let apart = |[row, other]: [&ResultRow<'_>; 2]| {
        let figures = Column::ALL
            .into_iter()
            .filter(|column| column.is_latency())
            .filter_map(|column| seconds(row, column).zip(seconds(other, column)));
        figures.map(|(one, other)| (one.value / other.value - 1.0).abs()).reduce(f64::max)
    };
    let compared: Vec<f64> = table.common(earlier, engine).into_iter().filter_map(apart).collect();
    let repeated: Vec<f64> = compared.iter().copied().filter(|apart| *apart <= tolerance).collect();
    if repeated.is_empty() || 2 * repeated.len() < compared.len() {
        return None;
    }
    let most = repeated.iter().copied().fold(0.0, f64::max);
    let place = if table.source.file == earlier.source.file {
        String::new()
    } else {
        format!("{}, ", earlier.source.file)
    };
    let message = format!(
        "{} of {} rows repeat those of \"{}\" ({place}line {}): all their latencies are within {}",
        repeated.len(),
        compared.len(),
        earlier.source.title,
        earlier.source.line,
        percent(most),
    );
    let finding = table.finding(Severity::Remarkable, REPEATED_ROWS.name, Some(engine));
    Some(Finding { figure: Some(most), limit: Some(tolerance), message, ..finding })
}

/// One finding per row that repeats an earlier row of its table.
fn copied_rows<'t>(table: &'t CheckedTable<'_>) -> Vec<Finding> {
    let mut seen: HashMap<Vec<(usize, u64)>, &'t ResultRow<'t>> = HashMap::new();
    let mut findings = Vec::new();
    for row in &table.source.rows {
        let figures = |is_latency: bool| {
            let columns = Column::ALL.into_iter().filter(move |column| column.is_latency() == is_latency);
            columns.filter_map(|column| Some((column as usize, row.figure(column)?))).collect::<Vec<_>>()
        };
        let latencies = figures(true);
        let figures = if latencies.is_empty() { figures(false) } else { latencies };
        let shared =
            figures.iter().map(|(_, figure)| digits(*figure)).filter(|digits| *digits >= FEWEST_DIGITS);
        if shared.map(|digits| digits.min(17.0) - 2.0).sum::<f64>() < SHARED_DIGITS {
            continue;
        }
        let key = figures.iter().map(|(column, figure)| (*column, figure.value.to_bits())).collect();
        let first = *seen.entry(key).or_insert(row);
        // Another rule reports the same cell twice.
        if (first.engine, first.size) == (row.engine, row.size) {
            continue;
        }
        let what = if figures.iter().any(|(column, _)| Column::ALL[*column].is_latency()) {
            "latencies"
        } else {
            "throughputs"
        };
        let place = if first.line > 0 { format!(" (line {})", first.line) } else { String::new() };
        let message = format!(
            "all {what} equal those of {} {}{place} digit for digit",
            results::one_line(first.engine),
            first.size
        );
        let finding = table.row_finding(Severity::Remarkable, COPIED_ROWS.name, row);
        findings.push(Finding { message, ..finding });
    }
    findings
}
