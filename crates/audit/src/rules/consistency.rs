//! What the times of a row say of each other.

use results::{Column, Figure, ResultRow};

use super::{NOISE, Rule, each_row, short};
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

pub(super) const WALL_CLOCK_SHORT: Rule = Rule {
    name: "wall-clock-short",
    about: "the wall clock is not below prompt + G · token latency, but for 5 %: the prompt's mean is of other runs",
    check: |tables| each_row(tables, wall_clock_short),
};

pub(super) const WALL_CLOCK_LONG: Rule = Rule {
    name: "wall-clock-long",
    about: "the wall clock is not above prompt + G · token latency by more than the time between forwards: 10 %, 1 ms a \
            token, and B logits rows at 4 GB/s",
    check: |tables| each_row(tables, wall_clock_long),
};

pub(super) const HALVES: Rule = Rule {
    name: "first-128-256",
    about: "tokens 129 to 256 take what the first 128 do, within a quarter and the growth of the cache; the first 128 take \
            no more than all 256",
    check: |tables| each_row(tables, halves),
};

/// Prompt + G · token latency, in seconds. `growth` is what later tokens than the column's can add: a forward costs a
/// constant and a part in proportion to its position, so at most the ratio of the mean positions.
struct Parts {
    prompt: Figure,
    token: Figure,
    steps: f64,
    growth: f64,
}

impl Parts {
    fn of(table: &CheckedTable<'_>, row: &ResultRow<'_>) -> Option<Self> {
        let steps = f64::from(table.source.generation_length);
        let columns = [(Column::First256Latency, 256.0), (Column::First128Latency, 128.0)];
        let mut columns = columns.into_iter().filter(|(_, tokens)| *tokens <= steps);
        let (token, tokens) = columns.find_map(|(column, tokens)| Some((seconds(row, column)?, tokens)))?;
        let prompt_length = f64::from(row.size.prompt_length);
        let growth = (prompt_length + (steps - 1.0) / 2.0) / (prompt_length + (tokens - 1.0) / 2.0);
        Some(Self { prompt: seconds(row, Column::PromptLatency)?, token, steps, growth })
    }

    fn value(&self) -> f64 {
        self.prompt.value + self.steps * self.token.value
    }

    fn least(&self) -> f64 {
        self.prompt.least() + self.steps * self.token.least()
    }

    fn most(&self) -> f64 {
        self.prompt.most() + self.steps * self.token.most() * self.growth
    }

    fn words(&self) -> String {
        let [prompt, token] = [self.prompt, self.token].map(|number| short(number.value * 1e3));
        format!("{prompt} ms + {} × {token} ms = {} s", self.steps, short(self.value()))
    }
}

fn wall_clock_short(table: &CheckedTable<'_>, row: &ResultRow<'_>) -> Option<Finding> {
    let (wall, parts) = (seconds(row, Column::WallLatency)?, Parts::of(table, row)?);
    let limit = parts.least() * (1.0 - NOISE);
    if wall.most() >= limit {
        return None;
    }
    // The tokens are of the same generation; the prompt's mean is of other forwards, which may have been slower.
    let tokens = parts.least() - parts.prompt.least();
    let severity =
        if wall.most() < tokens * (1.0 - NOISE) { Severity::Impossible } else { Severity::Remarkable };
    let message = format!("{} s is shorter than its parts, {}", short(wall.value), parts.words());
    let kind = (severity, WALL_CLOCK_SHORT.name);
    Some(table.figure_finding(kind, row, Column::WallLatency, limit, message))
}

fn wall_clock_long(table: &CheckedTable<'_>, row: &ResultRow<'_>) -> Option<Finding> {
    let (wall, parts) = (seconds(row, Column::WallLatency)?, Parts::of(table, row)?);
    let vocabulary = table.costs.as_ref().map_or(VOCABULARY, crate::costs::Costs::vocabulary);
    let logits = f64::from(row.size.batch_size) * vocabulary * 4.0 / LOGITS_BANDWIDTH;
    let between = OVERHEAD_SHARE * parts.most() + parts.steps * (HOST_SECONDS + logits);
    let limit = parts.most() + between;
    if wall.least() <= limit {
        return None;
    }
    let message = format!(
        "{} s is {:.2} × its parts, {}: {} s that no column shows, at most {} s are accounted for",
        short(wall.value),
        wall.value / parts.value().max(f64::MIN_POSITIVE),
        parts.words(),
        short(wall.value - parts.value()),
        short(between),
    );
    let kind = (Severity::Remarkable, WALL_CLOCK_LONG.name);
    Some(table.figure_finding(kind, row, Column::WallLatency, limit, message))
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
            "the first 128 take {first_ms} ms each, so all 256 can't take less than half, {all_ms} ms"
        );
        let kind = (Severity::Impossible, HALVES.name);
        return Some(table.figure_finding(kind, row, column, first.value / 2.0 * 1e3, message));
    }
    let prompt_length = f64::from(row.size.prompt_length);
    let growth = (prompt_length + 191.5) / (prompt_length + 63.5);
    let range = [first.least() / (1.0 + HALVES_TOLERANCE), first.most() * growth * (1.0 + HALVES_TOLERANCE)];
    let second = [2.0 * all.least() - first.most(), 2.0 * all.most() - first.least()];
    if second[1] >= range[0] && second[0] <= range[1] {
        return None;
    }
    let mean = 2.0 * all.value - first.value;
    let message = format!(
        "the first 128 take {first_ms} ms each, all 256 {all_ms} ms, so tokens 129 to 256 took {} ms: {:.2} × the first, where the growing cache explains at most {growth:.2} ×",
        short(mean * 1e3),
        mean / first.value,
    );
    let limit = if second[1] < range[0] { range[0] } else { range[1] };
    let kind = (Severity::Remarkable, HALVES.name);
    Some(table.figure_finding(kind, row, column, (first.value + limit) / 2.0 * 1e3, message))
}
