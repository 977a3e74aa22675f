//! What a device can do: bytes at its bandwidth, operations at its peak, what fits into its memory.
//!
//! Limits are the least that a forward needs: weights once, the KV cache of the first token that a column counts, the head on
//! one position, causal attention; what the last cache can keep is not read again; bytes and operations are spread evenly
//! over all devices. So a figure beyond them is wrong, whatever computed it.

use results::hardware::Ceiling;
use results::{Column, Figure, ResultRow};

use super::{Rule, each_row, large, short};
use crate::checked_table::{CheckedTable, seconds};
use crate::{Finding, Severity};

pub(super) const TOKEN_BANDWIDTH: Rule = Rule {
    name: "token-bandwidth",
    about: "a token takes no less than reading the weights and the prompt's KV cache once at the peak bandwidth",
    check: |tables| each_row(tables, token_bandwidth),
};

pub(super) const PROMPT_BANDWIDTH: Rule = Rule {
    name: "prompt-bandwidth",
    about: "a prompt takes no less than reading the weights once at the peak bandwidth",
    check: |tables| each_row(tables, prompt_bandwidth),
};

pub(super) const TOKEN_COMPUTE: Rule = Rule {
    name: "token-compute",
    about: "a token takes no less than its floating-point operations at the peak",
    check: |tables| each_row(tables, token_compute),
};

pub(super) const PROMPT_COMPUTE: Rule = Rule {
    name: "prompt-compute",
    about: "a prompt takes no less than its floating-point operations at the peak",
    check: |tables| each_row(tables, prompt_compute),
};

pub(super) const MEMORY: Rule = Rule {
    name: "memory",
    about: "weights and KV cache of P + G tokens fit into the memory of all devices",
    check: |tables| each_row(tables, memory),
};

const TOKEN_COLUMNS: [Column; 2] = [Column::First128Latency, Column::First256Latency];

fn token_bandwidth(table: &CheckedTable<'_>, row: &ResultRow<'_>) -> Option<Finding> {
    let [batch, prompt] = sizes(row);
    let bytes = table.costs.as_ref()?.decode_read_bytes(batch, prompt);
    reading(table, row, TOKEN_BANDWIDTH.name, &TOKEN_COLUMNS, bytes, "weights and KV cache")
}

fn prompt_bandwidth(table: &CheckedTable<'_>, row: &ResultRow<'_>) -> Option<Finding> {
    let bytes = table.costs.as_ref()?.decode_read_bytes(1, 0);
    reading(table, row, PROMPT_BANDWIDTH.name, &[Column::PromptLatency], bytes, "the weights")
}

fn token_compute(table: &CheckedTable<'_>, row: &ResultRow<'_>) -> Option<Finding> {
    let [batch, prompt] = sizes(row);
    let flops = table.costs.as_ref()?.forward_flops(batch, 1, prompt);
    computing(table, row, TOKEN_COMPUTE.name, &TOKEN_COLUMNS, flops)
}

fn prompt_compute(table: &CheckedTable<'_>, row: &ResultRow<'_>) -> Option<Finding> {
    let [batch, prompt] = sizes(row);
    let flops = table.costs.as_ref()?.forward_flops(batch, prompt, 0);
    computing(table, row, PROMPT_COMPUTE.name, &[Column::PromptLatency], flops)
}

/// Whether one of `columns` is below the time to read `bytes`.
fn reading(
    table: &CheckedTable<'_>,
    row: &ResultRow<'_>,
    rule: &'static str,
    columns: &[Column],
    bytes: f64,
    what: &str,
) -> Option<Finding> {
    let peak = table.ceilings.bandwidth_bytes_per_second.as_ref()?;
    let cached = table.ceilings.cache_bytes as f64 * table.count();
    let bytes = bytes - cached;
    let limit = bytes / (peak.value * table.count());
    let (column, latency) = worst(row, columns, limit)?;
    let message = format!(
        "{} ms is less than the {} ms that {what}, {}B, take at {}{}B/s ({}): {:.2} × the peak",
        short(latency.value * 1e3),
        short(limit * 1e3),
        large(bytes),
        times(table),
        large(peak.value),
        peak.origin,
        limit / latency.most(),
    );
    Some(table.figure_finding((Severity::Impossible, rule), row, column, limit * 1e3, message))
}

/// Whether one of `columns` is below the time of `flops` operations.
fn computing(
    table: &CheckedTable<'_>,
    row: &ResultRow<'_>,
    rule: &'static str,
    columns: &[Column],
    flops: f64,
) -> Option<Finding> {
    let peak = table.ceilings.flops.as_ref()?;
    let limit = flops / (peak.value * table.count());
    let (column, latency) = worst(row, columns, limit)?;
    let message = format!(
        "{} ms is less than the {} ms that {}FLOP take at {}{}FLOP/s ({}): {:.2} × the peak",
        short(latency.value * 1e3),
        short(limit * 1e3),
        large(flops),
        times(table),
        large(peak.value),
        peak.origin,
        limit / latency.most(),
    );
    Some(table.figure_finding((Severity::Impossible, rule), row, column, limit * 1e3, message))
}

/// The least of the latencies in `columns` that is below `limit` seconds even if it was rounded down.
fn worst(row: &ResultRow<'_>, columns: &[Column], limit: f64) -> Option<(Column, Figure)> {
    let latencies = columns.iter().filter_map(|column| Some((*column, seconds(row, *column)?)));
    let below = latencies.filter(|(_, latency)| latency.most() < limit);
    below.min_by(|(_, one), (_, other)| one.value.total_cmp(&other.value))
}

fn memory(table: &CheckedTable<'_>, row: &ResultRow<'_>) -> Option<Finding> {
    let Ceiling { value, origin } = table.ceilings.memory_bytes.as_ref()?;
    let [batch, prompt] = sizes(row);
    let tokens = prompt + u64::from(table.source.generation_length);
    let need = table.costs.as_ref()?.memory_bytes(batch, tokens);
    let limit = value * table.count();
    let has_figures = Column::LATENCIES.into_iter().any(|column| seconds(row, column).is_some());
    if need <= limit || !has_figures {
        return None;
    }
    let message = format!(
        "the row has figures, but weights and KV cache are {}B, and the memory {}{}B ({origin})",
        large(need),
        times(table),
        large(*value),
    );
    let finding = table.row_finding(Severity::Impossible, MEMORY.name, row);
    Some(Finding { figure: Some(need), limit: Some(limit), message, ..finding })
}

/// Batch size and prompt length.
fn sizes(row: &ResultRow<'_>) -> [u64; 2] {
    [row.size.batch_size, row.size.prompt_length].map(u64::from)
}

/// `4 × ` where several devices share the model.
fn times(table: &CheckedTable<'_>) -> String {
    if table.count() > 1.0 { format!("{} × ", table.count()) } else { String::new() }
}
