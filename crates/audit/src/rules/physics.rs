//! What a device can do: bytes at its bandwidth, operations at its peak, what fits into its memory.
//!
//! Limits are the least that a forward needs: weights once, the KV cache of the first token that a column counts, the head on
//! one position, causal attention; what the last cache can keep is not read again; bytes and operations are spread evenly
//! over all devices. So a figure beyond them is wrong, whatever computed it. A throughput is a claim of a time, too, also where
//! no latency stands beside it: batches that are queued share the same device.

use results::hardware::Ceiling;
use results::{Column, ResultRow};

use super::identities::tokens;
use super::{Rule, each_row, large, short};
use crate::checked_table::{CheckedTable, seconds};
use crate::{Finding, Severity};

pub(super) const TOKEN_BANDWIDTH: Rule = Rule {
    name: "token-bandwidth",
    about: "a token takes no less than reading the weights and the prompt's KV cache once at the peak bandwidth",
    measure: "× the peak",
    check: |tables| each_row(tables, token_bandwidth),
};

pub(super) const PROMPT_BANDWIDTH: Rule = Rule {
    name: "prompt-bandwidth",
    about: "a prompt takes no less than reading the weights once at the peak bandwidth",
    measure: "× the peak",
    check: |tables| each_row(tables, prompt_bandwidth),
};

pub(super) const TOKEN_COMPUTE: Rule = Rule {
    name: "token-compute",
    about: "a token takes no less than its floating-point operations at the peak",
    measure: "× the peak",
    check: |tables| each_row(tables, token_compute),
};

pub(super) const PROMPT_COMPUTE: Rule = Rule {
    name: "prompt-compute",
    about: "a prompt takes no less than its floating-point operations at the peak",
    measure: "× the peak",
    check: |tables| each_row(tables, prompt_compute),
};

pub(super) const WALL_CLOCK_PEAK: Rule = Rule {
    name: "wall-clock-peak",
    about: "where a row has no token latency, its wall clock and its throughput are within what prompt and tokens take at the \
            peaks; impossible where that holds for any number of tokens that the row allows",
    measure: "× the peak",
    check: |tables| each_row(tables, wall_clock_peak),
};

pub(super) const MEMORY: Rule = Rule {
    name: "memory",
    about: "weights and KV cache of P + G tokens fit into the memory of all devices",
    measure: "× the memory",
    check: |tables| each_row(tables, memory),
};

const MEASURED: &str = "; a cache may keep the weights, or the machine was busy when the peak was measured";

/// The columns that say how long a token takes.
pub(super) const TOKEN_PAIRS: [(Column, Column); 2] = [
    (Column::First128Latency, Column::First128Throughput),
    (Column::First256Latency, Column::First256Throughput),
];
/// Those that say how long a prompt takes.
pub(super) const PROMPT_PAIRS: [(Column, Column); 1] = [(Column::PromptLatency, Column::PromptThroughput)];

/// A time that a row claims, by a latency or by the throughput that takes as long.
#[derive(Debug, Clone, Copy)]
pub(super) struct Claim {
    pub(super) column: Column,
    /// Seconds.
    pub(super) seconds: f64,
    /// The most that rounds to it.
    pub(super) most: f64,
    /// Of a throughput, the tokens that it counts.
    tokens: f64,
}

impl Claim {
    /// A time in the column's unit, or the throughput of it.
    pub(super) fn in_unit(&self, seconds: f64) -> f64 {
        if self.column.is_latency() { seconds / self.column.seconds() } else { self.tokens / seconds }
    }

    /// `6.500 ms is less than the 6.623 ms that the weights take`, or `160.0 tps is more than the 151.0 tps that the weights allow`.
    fn words(&self, limit: f64, what: &str) -> String {
        let unit = self.column.unit();
        let (compared, verb) = if self.column.is_latency() { ("less", "take") } else { ("more", "allow") };
        let [figure, limit] = [self.seconds, limit].map(|seconds| short(self.in_unit(seconds)));
        format!("{figure} {unit} is {compared} than the {limit} {unit} that {what} {verb}")
    }
}

/// The times that the columns of a row claim, those of latencies first.
pub(super) fn claims(row: &ResultRow<'_>, pairs: &[(Column, Column)]) -> Vec<Claim> {
    let latency = |&(column, _): &(Column, Column)| {
        let figure = seconds(row, column)?;
        Some(Claim { column, seconds: figure.value, most: figure.most(), tokens: 0.0 })
    };
    let throughput = |&(latency, column): &(Column, Column)| {
        let figure = seconds(row, column)?;
        let [least, most] = tokens(row, latency);
        Some(Claim {
            column,
            seconds: most / figure.value,
            most: most / figure.least(),
            tokens: f64::midpoint(least, most),
        })
    };
    pairs.iter().filter_map(latency).chain(pairs.iter().filter_map(throughput)).collect()
}

/// The shortest of the claims that are below `limit` seconds even if they were rounded down; one of a latency, if there is.
pub(super) fn worst(claims: &[Claim], limit: f64) -> Option<Claim> {
    let below = |is_latency: bool| {
        let below = claims.iter().filter(move |claim| {
            claim.column.is_latency() == is_latency && claim.most < limit && limit.is_finite()
        });
        below.copied().min_by(|one, other| one.seconds.total_cmp(&other.seconds))
    };
    below(true).or_else(|| below(false))
}

fn token_bandwidth(table: &CheckedTable<'_>, row: &ResultRow<'_>) -> Option<Finding> {
    let [batch, prompt] = sizes(row);
    let bytes = table.costs.as_ref()?.decode_read_bytes(batch, prompt);
    reading(table, row, TOKEN_BANDWIDTH.name, &TOKEN_PAIRS, bytes, "weights and KV cache")
}

fn prompt_bandwidth(table: &CheckedTable<'_>, row: &ResultRow<'_>) -> Option<Finding> {
    let bytes = table.costs.as_ref()?.decode_read_bytes(1, 0);
    reading(table, row, PROMPT_BANDWIDTH.name, &PROMPT_PAIRS, bytes, "the weights")
}

fn token_compute(table: &CheckedTable<'_>, row: &ResultRow<'_>) -> Option<Finding> {
    let [batch, prompt] = sizes(row);
    let flops = table.costs.as_ref()?.forward_flops(batch, 1, prompt);
    computing(table, row, TOKEN_COMPUTE.name, &TOKEN_PAIRS, flops)
}

fn prompt_compute(table: &CheckedTable<'_>, row: &ResultRow<'_>) -> Option<Finding> {
    let [batch, prompt] = sizes(row);
    let flops = table.costs.as_ref()?.forward_flops(batch, prompt, 0);
    computing(table, row, PROMPT_COMPUTE.name, &PROMPT_PAIRS, flops)
}

/// Whether a claim of `pairs` is below the time to read `bytes`.
fn reading(
    table: &CheckedTable<'_>,
    row: &ResultRow<'_>,
    rule: &'static str,
    pairs: &[(Column, Column)],
    bytes: f64,
    what: &str,
) -> Option<Finding> {
    let limit = table.reading_seconds(bytes)?;
    let claim = worst(&claims(row, pairs), limit)?;
    let peak = table.ceilings.bandwidth_bytes_per_second.as_ref()?;
    let message = format!(
        "{} at {}{}B/s ({}): {:.2} × the peak",
        claim.words(limit, &format!("{what}, {}B,", large(table.uncached(bytes)))),
        times(table),
        large(peak.value),
        peak.origin,
        limit / claim.most,
    );
    Some(beyond(table, row, (table.beyond_peak(), rule), claim, limit, message))
}

/// Whether a claim of `pairs` is below the time of `flops` operations.
fn computing(
    table: &CheckedTable<'_>,
    row: &ResultRow<'_>,
    rule: &'static str,
    pairs: &[(Column, Column)],
    flops: f64,
) -> Option<Finding> {
    let limit = table.computing_seconds(flops)?;
    let claim = worst(&claims(row, pairs), limit)?;
    let peak = table.ceilings.flops.as_ref()?;
    let message = format!(
        "{} at {}{}FLOP/s ({}): {:.2} × the peak",
        claim.words(limit, &format!("{}FLOP", large(flops))),
        times(table),
        large(peak.value),
        peak.origin,
        limit / claim.most,
    );
    Some(beyond(table, row, (table.beyond_peak(), rule), claim, limit, message))
}

/// A finding about a claim that is below `limit` seconds.
pub(super) fn beyond(
    table: &CheckedTable<'_>,
    row: &ResultRow<'_>,
    kind: (Severity, &'static str),
    claim: Claim,
    limit: f64,
    mut message: String,
) -> Finding {
    // A measured peak has reasons of its own to be too low.
    if table.ceilings.is_measured {
        message.push_str(MEASURED);
    }
    let finding = table.figure_finding(kind, row, claim.column, claim.in_unit(limit), message);
    Finding { times: Some(limit / claim.most), ..finding }
}

fn wall_clock_peak(table: &CheckedTable<'_>, row: &ResultRow<'_>) -> Option<Finding> {
    if !claims(row, &TOKEN_PAIRS).is_empty() {
        return None;
    }
    let [prompt, token] = table.least_seconds(row)?;
    // The prefill gives the first token.
    let least = |tokens: f64| prompt + (tokens - 1.0).max(0.0) * token;
    let length = row.generation_length;
    let claims = claims(row, &[(Column::WallLatency, Column::WallThroughput)]);
    let claimed = |column: Column| claims.iter().find(|claim| claim.column == column).copied();
    let [fewest, most] = length.range().map(f64::from);
    let found = |claim: Claim, is_sure: bool, limit: f64| {
        let severity = if is_sure { table.beyond_peak() } else { Severity::Remarkable };
        let message = format!(
            "{} at the device's peaks: {:.2} × the peak",
            claim.words(limit, &format!("a prompt and {length} tokens")),
            limit / claim.most,
        );
        beyond(table, row, (severity, WALL_CLOCK_PEAK.name), claim, limit, message)
    };
    if let Some(claim) = claimed(Column::WallLatency) {
        let limit = least(fewest);
        let sure = least(if length.is_certain() { fewest } else { 1.0 });
        return worst(&[claim], limit).map(|claim| found(claim, claim.most < sure, limit));
    }
    // A throughput of B (P + G) tokens: its time grows with G as it does, so that its bound lies between those of the fewest and
    // of ever more tokens.
    let claim = claimed(Column::WallThroughput)?;
    let [batch, prompt_length] = [row.size.batch_size, row.size.prompt_length].map(f64::from);
    let throughput = row.figure(Column::WallThroughput)?.least();
    let limit = least(most);
    let bounds = [batch * (prompt_length + 1.0) / prompt, batch / token];
    let is_sure = length.is_certain() || bounds.into_iter().all(|bound| throughput > bound);
    worst(&[claim], limit).map(|claim| found(claim, is_sure, limit))
}

fn memory(table: &CheckedTable<'_>, row: &ResultRow<'_>) -> Option<Finding> {
    let Ceiling { value, origin } = table.ceilings.memory_bytes.as_ref()?;
    let [batch, prompt] = sizes(row);
    let length = row.generation_length;
    let generated = if length.is_certain() { length.tokens } else { 1 };
    let need = table.costs.as_ref()?.memory_bytes(batch, prompt + u64::from(generated));
    let limit = value * table.count();
    let has_figures = Column::ALL.into_iter().any(|column| seconds(row, column).is_some());
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
    let times = Some(need / limit);
    Some(Finding { figure: Some(need), limit: Some(limit), times, message, ..finding })
}

/// Batch size and prompt length.
pub(super) fn sizes(row: &ResultRow<'_>) -> [u64; 2] {
    [row.size.batch_size, row.size.prompt_length].map(u64::from)
}

/// `4 × ` where several devices share the model.
pub(super) fn times(table: &CheckedTable<'_>) -> String {
    if table.count() > 1.0 { format!("{} × ", table.count()) } else { String::new() }
}
