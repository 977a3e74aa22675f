//! A table in a few rows, for a README: every engine at the smallest and the largest batch size, with the longest prompt.

use std::fmt::Write as _;

use results::{Column, Row, Table, escape_markdown, format_short};

const HEADER: &str = "\
| Engine | Batch size | Prompt length | Prefill (ms) | Time per output token (ms) | Output tokens/s | Peak memory (MiB) |
| --- | ---: | ---: | ---: | ---: | ---: | ---: |
";

/// Writes each table's summary under its heading.
pub fn write<'a>(tables: impl IntoIterator<Item = &'a Table>) -> String {
    tables.into_iter().map(one).collect::<Vec<_>>().join("\n")
}

fn one(table: &Table) -> String {
    let mut text = format!("**{}**\n\n{HEADER}", escape_markdown(&table.heading.to_string()));
    let sizes = || table.rows.iter().map(|row| row.key.batch_size);
    let batch_sizes = [sizes().min(), sizes().max()];
    let prompt_length = table.rows.iter().map(|row| row.key.prompt_length).max();
    for row in &table.rows {
        let key = &row.key;
        if batch_sizes.contains(&Some(key.batch_size)) && prompt_length == Some(key.prompt_length) {
            let figures = figures(row).join(" | ");
            let engine = escape_markdown(&key.engine);
            let _ = writeln!(text, "| {engine} | {} | {} | {figures} |", key.batch_size, key.prompt_length);
        }
    }
    text
}

/// Four significant digits, or what happened instead.
fn figures(row: &Row) -> [String; 4] {
    let outcome = || row.outcome_text().to_owned();
    let Some(figures) = &row.figures else { return std::array::from_fn(|_| outcome()) };
    let tpot = figures.tpot.mean;
    let mebibytes = row.peak_bytes().map(|bytes| bytes as f64 / f64::from(1 << 20));
    [
        figures.get(Column::PromptLatency),
        Some(tpot * 1e3),
        Some(f64::from(row.key.batch_size) / tpot),
        mebibytes,
    ]
    .map(|figure| figure.map_or_else(|| "N/A".into(), format_short))
}
