//! Checks figures against what a device can do: its bandwidth, its peak FLOP/s, its memory.
//!
//! Limits are the least that a forward needs: weights once, the KV cache of the first token that a column counts, the head on
//! one position, causal attention. What the last cache can keep is not read again. Bytes and operations are spread evenly
//! over all devices. So a figure beyond them is wrong, whatever computed it, unless fewer forwards did: prompts from a cache,
//! drafted tokens. A throughput claims a time, too, even without a latency in the row: queued batches share the same device.
//! A latency may be of fewer sequences at once than the batch, if the others wait.

use std::cell::LazyCell;
use std::collections::HashSet;

use results::hardware::Peak;
use results::{Column, ResultRow};

use super::identities::tokens;
use super::{Rule, each_row, large, short};
use crate::checked_table::{CheckedTable, seconds};
use crate::{Finding, Severity};

pub(super) const TOKEN_BANDWIDTH: Rule = Rule {
    name: "token-bandwidth",
    about: "a token takes at least the time to read the weights and the prompt's KV cache once at peak bandwidth",
    measure: "× the peak",
    check: |tables| each_row_with_bits(tables, token_bandwidth),
};

pub(super) const PROMPT_BANDWIDTH: Rule = Rule {
    name: "prompt-bandwidth",
    about: "a prompt takes at least the time to read the weights once at peak bandwidth",
    measure: "× the peak",
    check: |tables| each_row_with_bits(tables, prompt_bandwidth),
};

pub(super) const TOKEN_COMPUTE: Rule = Rule {
    name: "token-compute",
    about: "a token takes at least the time of its floating-point operations at the peak",
    measure: "× the peak",
    check: |tables| each_row(tables, token_compute),
};

pub(super) const PROMPT_COMPUTE: Rule = Rule {
    name: "prompt-compute",
    about: "a prompt takes at least the time of its floating-point operations at the peak",
    measure: "× the peak",
    check: |tables| each_row(tables, prompt_compute),
};

pub(super) const WALL_CLOCK_PEAK: Rule = Rule {
    name: "wall-clock-peak",
    about: "in a row without a token latency, the wall clock is at least the time of prompt and tokens at the peaks; impossible \
            where it is too short for every number of tokens that the row allows",
    measure: "× the peak",
    check: |tables| each_row_with_bits(tables, wall_clock_peak),
};

pub(super) const MEMORY: Rule = Rule {
    name: "memory",
    about: "weights and KV cache of P + G tokens fit into the memory of all devices; impossible where a token is faster than \
            fetching from the host what does not fit for one sequence",
    measure: "× the memory",
    check: |tables| each_row_with_bits(tables, memory),
};

/// The fastest link from a host's memory to a device: NVLink-C2C of GH200 and GB200, in one direction.
const HOST_BYTES_PER_SECOND: f64 = 450e9;
/// The remark that a figure beyond a measured peak may be right.
const MEASURED: &str = "; the weights may fit in the CPU cache, or the peak was measured on a busy machine";

/// The rules of this file.
const ALL: [fn(&CheckedTable<'_>, &ResultRow<'_>) -> Option<Finding>; 6] =
    [token_bandwidth, prompt_bandwidth, token_compute, prompt_compute, wall_clock_peak, memory];

/// The columns that say how long a token takes.
pub(super) const TOKEN_PAIRS: [(Column, Column); 4] = [
    (Column::First128Latency, Column::First128Throughput),
    (Column::First256Latency, Column::First256Throughput),
    (Column::TokenLatency, Column::TokenThroughput),
    (Column::Tpot, Column::DecodeThroughput),
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
    /// Tokens that a throughput counts.
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

/// The findings of `check`, each with what explains it: weights of fewer bits than the heading says, where all rows of its engine are
/// possible with them.
fn each_row_with_bits(
    tables: &[CheckedTable<'_>],
    check: impl Fn(&CheckedTable<'_>, &ResultRow<'_>) -> Option<Finding>,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    for table in tables {
        let breaking = LazyCell::new(|| breaking_in_fewer_bits(table));
        for row in &table.source.rows {
            let Some(mut finding) = check(table, row) else { continue };
            if let Some((bits, _)) = breaking.iter().find(|(_, engines)| !engines.contains(row.engine)) {
                finding.message.push_str(&format!("; possible with weights of {bits} bits"));
            }
            findings.push(finding);
        }
    }
    findings
}

/// The bits of weights below those of the heading, from the most on, with the engines that break a rule of [`ALL`] all the same.
fn breaking_in_fewer_bits<'a>(table: &CheckedTable<'a>) -> Vec<(u64, HashSet<&'a str>)> {
    let breaking = |table: &CheckedTable<'a>| {
        let rows = table.source.rows.iter();
        let breaking = rows.filter(|row| ALL.iter().any(|check| check(table, row).is_some()));
        breaking.map(|row| row.engine).collect()
    };
    table.in_fewer_bits().into_iter().map(|(bits, table)| (bits, breaking(&table))).collect()
}

fn token_bandwidth(table: &CheckedTable<'_>, row: &ResultRow<'_>) -> Option<Finding> {
    let [batch, prompt] = sizes(row);
    let costs = table.costs.as_ref()?;
    let bytes = [1, batch].map(|batch| costs.decode_read_bytes(batch, prompt));
    reading(table, row, TOKEN_BANDWIDTH.name, &TOKEN_PAIRS, bytes, "weights and KV cache")
}

fn prompt_bandwidth(table: &CheckedTable<'_>, row: &ResultRow<'_>) -> Option<Finding> {
    let bytes = table.costs.as_ref()?.decode_read_bytes(1, 0);
    reading(table, row, PROMPT_BANDWIDTH.name, &PROMPT_PAIRS, [bytes; 2], "the weights")
}

fn token_compute(table: &CheckedTable<'_>, row: &ResultRow<'_>) -> Option<Finding> {
    let [batch, prompt] = sizes(row);
    let costs = table.costs.as_ref()?;
    let flops = [1, batch].map(|batch| costs.forward_flops(batch, 1, prompt));
    computing(table, row, TOKEN_COMPUTE.name, &TOKEN_PAIRS, flops)
}

fn prompt_compute(table: &CheckedTable<'_>, row: &ResultRow<'_>) -> Option<Finding> {
    let [batch, prompt] = sizes(row);
    let costs = table.costs.as_ref()?;
    let flops = [1, batch].map(|batch| costs.forward_flops(batch, prompt, 0));
    computing(table, row, PROMPT_COMPUTE.name, &PROMPT_PAIRS, flops)
}

/// The shortest of the claims that are below `limit`, and how sure it is wrong: a latency of one sequence is at least `of_one`.
fn judged(
    table: &CheckedTable<'_>,
    claims: &[Claim],
    [of_one, limit]: [f64; 2],
) -> Option<(Claim, Severity)> {
    let claim = worst(claims, limit)?;
    let is_sure = |claim: &Claim| claim.most < if claim.column.is_latency() { of_one } else { limit };
    let severity = if claims.iter().any(is_sure) { table.beyond_peak() } else { Severity::Remarkable };
    Some((claim, severity))
}

/// Whether a claim of `pairs` is below the time to read `bytes`: of one sequence, and of the batch.
fn reading(
    table: &CheckedTable<'_>,
    row: &ResultRow<'_>,
    rule: &'static str,
    pairs: &[(Column, Column)],
    bytes: [f64; 2],
    what: &str,
) -> Option<Finding> {
    let limits @ [_, limit] = [table.reading_seconds(bytes[0])?, table.reading_seconds(bytes[1])?];
    let (claim, severity) = judged(table, &claims(row, pairs), limits)?;
    let peak = table.peaks.bandwidth_bytes_per_second.as_ref()?;
    let message = format!(
        "{} at {}{}B/s ({}): {:.2} × the peak",
        claim.words(limit, &format!("{what}, {}B,", large(table.uncached(bytes[1])))),
        times(table),
        large(peak.value),
        peak.origin,
        limit / claim.most,
    );
    Some(beyond(table, row, (severity, rule), claim, limit, message))
}

/// Whether a claim of `pairs` is below the time of `flops` operations: of one sequence, and of the batch.
fn computing(
    table: &CheckedTable<'_>,
    row: &ResultRow<'_>,
    rule: &'static str,
    pairs: &[(Column, Column)],
    flops: [f64; 2],
) -> Option<Finding> {
    let limits @ [_, limit] = [table.computing_seconds(flops[0])?, table.computing_seconds(flops[1])?];
    let (claim, severity) = judged(table, &claims(row, pairs), limits)?;
    let peak = table.peaks.flops.as_ref()?;
    let message = format!(
        "{} at {}{}FLOP/s ({}): {:.2} × the peak",
        claim.words(limit, &format!("{}FLOP", large(flops[1]))),
        times(table),
        large(peak.value),
        peak.origin,
        limit / claim.most,
    );
    Some(beyond(table, row, (severity, rule), claim, limit, message))
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
    // A measured peak may itself be too low.
    if table.peaks.is_measured {
        message.push_str(MEASURED);
    }
    let finding = table.figure_finding(kind, row, claim.column, claim.in_unit(limit), message);
    Finding { times: Some(limit / claim.most), ..finding }
}

fn wall_clock_peak(table: &CheckedTable<'_>, row: &ResultRow<'_>) -> Option<Finding> {
    if !claims(row, &TOKEN_PAIRS).is_empty() {
        return None;
    }
    let [batch, _] = sizes(row);
    let [of_one, of_batch] = [table.least_seconds(row, 1)?, table.least_seconds(row, batch)?];
    // The prefill gives the first token.
    let least = |[prompt, token]: [f64; 2], tokens: f64| prompt + (tokens - 1.0).max(0.0) * token;
    let length = row.generation_length;
    // At least one token is generated where the length is unknown.
    let [fewest, most] = if length.is_known() { length.range() } else { [1, 1] }.map(f64::from);
    let latency = claims(row, &[(Column::WallLatency, Column::WallThroughput)]).into_iter().next()?;
    if latency.column.is_latency() {
        let limit = least(of_batch, fewest);
        let sure = least(of_one, if length.is_certain() { fewest } else { 1.0 });
        let claim = worst(&[latency], limit)?;
        return Some(beyond_peaks(table, row, (claim, fewest), claim.most < sure, limit));
    }
    // A throughput of B (P + G) tokens: its time grows with G as it does, so that its bound lies between those of one token and of
    // ever more.
    let [batch, prompt_length] = [row.size.batch_size, row.size.prompt_length].map(f64::from);
    let [prompt, token] = of_batch;
    let throughput = seconds(row, Column::WallThroughput)?;
    let bound = (batch * (prompt_length + 1.0) / prompt).max(batch / token);
    let exceeds_all = throughput.least() > bound;
    if !length.is_known() && !exceeds_all {
        return None;
    }
    let tokens = batch * (prompt_length + most);
    let claim =
        Claim { seconds: tokens / throughput.value, most: tokens / throughput.least(), tokens, ..latency };
    let limit = if length.is_known() { least(of_batch, most) } else { tokens / bound };
    let claim = worst(&[claim], limit)?;
    Some(beyond_peaks(table, row, (claim, most), length.is_certain() || exceeds_all, limit))
}

fn beyond_peaks(
    table: &CheckedTable<'_>,
    row: &ResultRow<'_>,
    (claim, tokens): (Claim, f64),
    is_sure: bool,
    limit: f64,
) -> Finding {
    let severity = if is_sure { table.beyond_peak() } else { Severity::Remarkable };
    let tokens = format!("a prompt and {tokens} {}", if tokens == 1.0 { "token" } else { "tokens" });
    let words = claim.words(limit, &tokens);
    let message = format!("{words} at the device's peaks: {:.2} × the peak", limit / claim.most);
    beyond(table, row, (severity, WALL_CLOCK_PEAK.name), claim, limit, message)
}

fn memory(table: &CheckedTable<'_>, row: &ResultRow<'_>) -> Option<Finding> {
    let Peak { value, origin } = table.peaks.memory_bytes.as_ref()?;
    let costs = table.costs.as_ref()?;
    let [batch, prompt] = sizes(row);
    let length = row.generation_length;
    let generated = if length.is_certain() { length.tokens } else { 1 };
    let need = costs.memory_bytes(batch, prompt + u64::from(generated));
    let limit = value * table.count();
    let has_figures = Column::ALL.into_iter().any(|column| seconds(row, column).is_some());
    if need <= limit || !has_figures {
        return None;
    }
    // Sequences can wait for each other, and weights be fetched from the host for every forward: in no less time than that takes.
    let fetched = (costs.memory_bytes(1, prompt) - limit).max(0.0) / (HOST_BYTES_PER_SECOND * table.count());
    let is_faster = |claim: &Claim| claim.column.is_latency() && claim.most < fetched;
    let is_sure = claims(row, &TOKEN_PAIRS).iter().any(is_faster);
    let severity = if is_sure { Severity::Impossible } else { Severity::Remarkable };
    let message = format!(
        "the row has figures, but weights and KV cache need {}B, and the memory is {}{}B ({origin})",
        large(need),
        times(table),
        large(*value),
    );
    let finding = table.row_finding(severity, MEMORY.name, row);
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
