//! Checks the times of a row against each other.

use indexmap::IndexMap;
use results::{Column, Figure, ResultRow, Statistic};

use super::{NOISE, Rule, assumed, each_row, short};
use crate::checked_table::{CheckedTable, seconds};
use crate::{Finding, Severity};

/// Time between forwards, a step: an interpreter's loop, launching, preparing inputs. Published harnesses take 0.4 to 4 ms.
const HOST_SECONDS: f64 = 1e-3;
/// The logits, in FP32, brought to the host from pageable memory and looked over there. Bytes per second.
const LOGITS_BANDWIDTH: f64 = 4e9;
/// Time between forwards in proportion to them: synchronisation, growing caches, clocks that fall in a long run.
const OVERHEAD_SHARE: f64 = 0.1;
/// LLaMA's vocabulary, where the model is not known.
const VOCABULARY: f64 = 32_000.0;
/// How far the second half of a series can be from the first beyond what the growing cache explains: interference on a shared
/// machine moves the mean of 128 forwards by some percent, seldom by a quarter.
const HALVES_TOLERANCE: f64 = 0.25;

/// A generation's own clock can't show less than the tokens that it timed: this share is for columns of other statistics.
const TOKENS_SHORT: f64 = 0.01;

pub(super) const WALL_CLOCK_SHORT: Rule = Rule {
    name: "wall-clock-short",
    about: "the wall clock is at least prompt + G × token latency, less 5 % of the prompt (its mean is from other runs) and 1 % of \
            the tokens; impossible where it is more than 5 % below the tokens alone, both are means, and their number is certain",
    measure: "× the sum of its parts",
    check: |tables| each_row(tables, wall_clock_short),
};

pub(super) const WALL_CLOCK_LONG: Rule = Rule {
    name: "wall-clock-long",
    about: "the wall clock exceeds prompt + G × token latency by no more than the time between forwards: 10 %, 1 ms per token, \
            and B logits rows at 4 GB/s",
    measure: "× the sum of its parts",
    check: |tables| each_row(tables, wall_clock_long),
};

pub(super) const GENERATION_LENGTH: Rule = Rule {
    name: "generation-length",
    about: "the wall clock covers at least as many tokens as the row's columns of first tokens, and as many as in most rows",
    measure: "× the tokens",
    check: generation_length,
};

pub(super) const HALVES: Rule = Rule {
    name: "first-128-256",
    about: "tokens 129 to 256 take as long as the first 128, within a quarter and the growth of the cache; the first 128 take \
            no longer than all 256",
    measure: "× the first 128",
    check: |tables| each_row(tables, halves),
};

/// Columns of the mean of first tokens, and how many, those of most first.
const FIRST_TOKENS: [(Column, u32); 2] = [(Column::First256Latency, 256), (Column::First128Latency, 128)];

/// Prompt + G · token latency, in seconds.
struct WallClockParts {
    /// 0 where it has no figure of its own.
    prompt: Figure,
    token: Figure,
    /// The least and the most decode forwards that there can be, and how many there are taken to be.
    steps: [f64; 2],
    likely: f64,
    /// A remark where the number is assumed.
    assumed: &'static str,
    /// What later tokens than the column's can add: a forward costs a constant and a part in proportion to its position, so at
    /// most the ratio of the mean positions.
    growth: f64,
}

impl WallClockParts {
    fn new(row: &ResultRow<'_>) -> Option<Self> {
        let length = row.generation_length;
        let steps = length.range().map(f64::from);
        let has = |(column, tokens): &(Column, u32)| {
            f64::from(*tokens) <= steps[1] && seconds(row, *column).is_some()
        };
        let all_tokens = (Column::TokenLatency, length.tokens);
        let (column, tokens) = FIRST_TOKENS.into_iter().chain([all_tokens]).find(has)?;
        // Some number of tokens explains any wall clock.
        if !length.is_known() && tokens < length.tokens {
            return None;
        }
        let prompt_length = f64::from(row.size.prompt_length);
        let growth =
            (prompt_length + (steps[1] - 1.0) / 2.0) / (prompt_length + (f64::from(tokens) - 1.0) / 2.0);
        let nothing = Figure::mean(0.0);
        Some(Self {
            prompt: seconds(row, Column::PromptLatency).unwrap_or(nothing),
            token: seconds(row, column)?,
            steps,
            likely: f64::from(length.tokens),
            assumed: assumed(length),
            growth: growth.max(1.0),
        })
    }

    fn value(&self) -> f64 {
        self.prompt.value + self.likely * self.token.value
    }

    fn most(&self) -> f64 {
        self.prompt.most() + self.steps[1] * self.token.most() * self.growth
    }

    fn words(&self) -> String {
        let [prompt, token] = [self.prompt, self.token].map(|number| short(number.value * 1e3));
        let prompt = if self.prompt.value > 0.0 { format!("{prompt} ms + ") } else { String::new() };
        format!("{prompt}{} × {token} ms = {} s{}", self.likely, short(self.value()), self.assumed)
    }

    /// A wall clock over the sum of its parts.
    fn times(&self, wall: Figure) -> f64 {
        wall.value / self.value().max(f64::MIN_POSITIVE)
    }
}

fn wall_clock_short(table: &CheckedTable<'_>, row: &ResultRow<'_>) -> Option<Finding> {
    let (wall, parts) = (seconds(row, Column::WallLatency)?, WallClockParts::new(row)?);
    // Many programs count the token that the prefill gives.
    let tokens = (parts.steps[0] - 1.0) * parts.token.least();
    let limit = parts.prompt.least() * (1.0 - NOISE) + tokens * (1.0 - TOKENS_SHORT);
    if wall.most() >= limit {
        return None;
    }
    // The tokens are of the same generation; the prompt's mean is of other forwards, which may have been slower. A median, or the
    // best of several, can be below a mean by any factor.
    let are_means = [wall, parts.token].iter().all(|figure| figure.statistic == Statistic::Mean);
    let is_sure = are_means && row.generation_length.is_certain() && wall.most() < tokens * (1.0 - NOISE);
    let severity = if is_sure { Severity::Impossible } else { Severity::Remarkable };
    let message = format!("{} s is shorter than the sum of its parts, {}", short(wall.value), parts.words());
    let kind = (severity, WALL_CLOCK_SHORT.name);
    let finding = table.figure_finding(kind, row, Column::WallLatency, limit, message);
    Some(Finding { times: Some(parts.times(wall)), ..finding })
}

fn wall_clock_long(table: &CheckedTable<'_>, row: &ResultRow<'_>) -> Option<Finding> {
    let (wall, parts) = (seconds(row, Column::WallLatency)?, WallClockParts::new(row)?);
    seconds(row, Column::PromptLatency)?;
    let vocabulary = table.costs.as_ref().map_or(VOCABULARY, crate::costs::Costs::vocabulary);
    let logits = f64::from(row.size.batch_size) * vocabulary * 4.0 / LOGITS_BANDWIDTH;
    let between = OVERHEAD_SHARE * parts.most() + parts.steps[1] * (HOST_SECONDS + logits);
    let limit = parts.most() + between;
    if wall.least() <= limit {
        return None;
    }
    let message = format!(
        "{} s is {:.2} × the sum of its parts, {}: {} s unaccounted for, at most {} s expected",
        short(wall.value),
        parts.times(wall),
        parts.words(),
        short(wall.value - parts.value()),
        short(between),
    );
    let kind = (Severity::Remarkable, WALL_CLOCK_LONG.name);
    let finding = table.figure_finding(kind, row, Column::WallLatency, limit, message);
    Some(Finding { times: Some(parts.times(wall)), ..finding })
}

fn generation_length(tables: &[CheckedTable<'_>]) -> Vec<Finding> {
    tables.iter().flat_map(|table| fewer_tokens(table).chain(other_lengths(table))).collect()
}

/// Rows whose wall clock covers fewer tokens than one of their columns.
fn fewer_tokens<'t>(table: &'t CheckedTable<'_>) -> impl Iterator<Item = Finding> + use<'t> {
    table.source.rows.iter().filter_map(|row| {
        let length = row.generation_length;
        let (column, tokens) = FIRST_TOKENS.into_iter().find(|(column, _)| row.figure(*column).is_some())?;
        if !length.is_known() || length.range()[1] >= tokens || row.figure(Column::WallLatency).is_none() {
            return None;
        }
        let message = format!(
            "the wall clock covers {length} tokens, but \"{}\" covers {tokens}: not the same generation",
            column.header()
        );
        Some(other_length(table, row, tokens, message))
    })
}

/// Rows whose wall clock covers another number of tokens than in most rows of the table.
fn other_lengths<'t>(table: &'t CheckedTable<'_>) -> impl Iterator<Item = Finding> + use<'t> {
    let is_known = |row: &&ResultRow<'_>| {
        row.generation_length.is_known()
            && row.figure(Column::WallLatency).is_some()
            && row.figure(Column::WallThroughput).is_some()
    };
    let rows = move || table.source.rows.iter().filter(is_known);
    let mut counts: IndexMap<[u32; 2], usize> = IndexMap::new();
    for row in rows() {
        *counts.entry(row.generation_length.range()).or_default() += 1;
    }
    let most = counts.iter().max_by_key(|(_, count)| **count).map(|(range, _)| *range);
    rows().filter_map(move |row| {
        let (length, [least, greatest]) = (row.generation_length, most?);
        let [from, to] = length.range();
        if from <= greatest && least <= to {
            return None;
        }
        let tokens = f64::midpoint(f64::from(least), f64::from(greatest)) as u32;
        let message =
            format!("the wall clock covers {length} tokens, but {tokens} in most rows: not comparable");
        Some(other_length(table, row, tokens, message))
    })
}

fn other_length(table: &CheckedTable<'_>, row: &ResultRow<'_>, tokens: u32, message: String) -> Finding {
    let length = f64::from(row.generation_length.tokens);
    let finding = table.row_finding(Severity::Remarkable, GENERATION_LENGTH.name, row);
    Finding {
        figure: Some(length),
        limit: Some(f64::from(tokens)),
        times: Some(length / f64::from(tokens)),
        message,
        ..finding
    }
}

fn halves(table: &CheckedTable<'_>, row: &ResultRow<'_>) -> Option<Finding> {
    let (first, all) = (seconds(row, Column::First128Latency)?, seconds(row, Column::First256Latency)?);
    if first.value <= first.half_width {
        return None;
    }
    let column = Column::First256Latency;
    let [first_ms, all_ms] = [first, all].map(|number| short(number.value * 1e3));
    if first.least() > 2.0 * all.most() {
        let message = format!(
            "the first 128 tokens take {first_ms} ms each, so the mean of all 256 can't be less than half of that: {all_ms} ms"
        );
        let kind = (Severity::Impossible, HALVES.name);
        let finding = table.figure_finding(kind, row, column, first.value / 2.0 * 1e3, message);
        return Some(Finding { times: Some((2.0 * all.value - first.value) / first.value), ..finding });
    }
    let prompt_length = f64::from(row.size.prompt_length);
    let growth = (prompt_length + 191.5) / (prompt_length + 63.5);
    let range = [first.least() / (1.0 + HALVES_TOLERANCE), first.most() * growth * (1.0 + HALVES_TOLERANCE)];
    let second = [2.0 * all.least() - first.most(), 2.0 * all.most() - first.least()];
    if second[1] >= range[0] && second[0] <= range[1] {
        return None;
    }
    let mean = 2.0 * all.value - first.value;
    let explained = if second[1] < range[0] {
        "later tokens can't be faster".to_owned()
    } else {
        format!("the growing KV cache explains at most {growth:.2} ×")
    };
    let message = format!(
        "the first 128 tokens take {first_ms} ms each and all 256 {all_ms} ms, so tokens 129 to 256 take {} ms: {:.2} × the first 128; \
         {explained}",
        short(mean * 1e3),
        mean / first.value,
    );
    let limit = if second[1] < range[0] { range[0] } else { range[1] };
    let kind = (Severity::Remarkable, HALVES.name);
    let finding = table.figure_finding(kind, row, column, (first.value + limit) / 2.0 * 1e3, message);
    Some(Finding { times: Some(mean / first.value), ..finding })
}
