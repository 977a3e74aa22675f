//! The names of columns: of both editions of the published tables, of scripts' csv files, and as people write them.

use super::decorated::{HeaderUnit, unit_kind, unit_power};
use super::error::brief;
use super::marks::FOOTNOTE_MARKS;
use crate::Column;

/// What a column has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ColumnKind {
    Engine,
    BatchSize,
    PromptLength,
    /// Decode forwards of a generation.
    GenerationLength,
    Figure(Column, HeaderUnit),
    /// The number of the row.
    Index,
    /// What a heading says for all rows: the model, its precision, the device. It is kept, and the same in all rows.
    OfHeading,
    /// Something that is kept, but not read.
    Unread,
}

/// Names of the columns that are no figures, in lower case.
const NAMES: [(&str, ColumnKind); 46] = [
    ("engine", ColumnKind::Engine),
    ("backend", ColumnKind::Engine),
    ("framework", ColumnKind::Engine),
    ("config backend", ColumnKind::Engine),
    ("batch size", ColumnKind::BatchSize),
    ("batch", ColumnKind::BatchSize),
    ("batchsize", ColumnKind::BatchSize),
    ("bs", ColumnKind::BatchSize),
    ("config batch size", ColumnKind::BatchSize),
    ("prompt length", ColumnKind::PromptLength),
    ("prompt", ColumnKind::PromptLength),
    ("prompt len", ColumnKind::PromptLength),
    ("prompt size", ColumnKind::PromptLength),
    ("prompt tokens", ColumnKind::PromptLength),
    ("input length", ColumnKind::PromptLength),
    ("input tokens", ColumnKind::PromptLength),
    ("config prompt length", ColumnKind::PromptLength),
    ("tokens generated", ColumnKind::GenerationLength),
    ("generation length", ColumnKind::GenerationLength),
    ("generated tokens", ColumnKind::GenerationLength),
    ("output length", ColumnKind::GenerationLength),
    ("output tokens", ColumnKind::GenerationLength),
    ("new tokens", ColumnKind::GenerationLength),
    ("config tokens generated", ColumnKind::GenerationLength),
    ("", ColumnKind::Index),
    ("#", ColumnKind::Index),
    ("no", ColumnKind::Index),
    ("nr", ColumnKind::Index),
    ("index", ColumnKind::Index),
    ("idx", ColumnKind::Index),
    ("row", ColumnKind::Index),
    ("unnamed 0", ColumnKind::Index),
    ("№", ColumnKind::Index),
    ("model", ColumnKind::OfHeading),
    ("model name", ColumnKind::OfHeading),
    ("config model info full name", ColumnKind::OfHeading),
    ("precision", ColumnKind::OfHeading),
    ("config precision", ColumnKind::OfHeading),
    ("dtype", ColumnKind::OfHeading),
    ("data type", ColumnKind::OfHeading),
    ("quantization", ColumnKind::OfHeading),
    ("device", ColumnKind::OfHeading),
    ("metadata device", ColumnKind::OfHeading),
    ("gpu", ColumnKind::OfHeading),
    ("hardware", ColumnKind::OfHeading),
    ("world size", ColumnKind::OfHeading),
];

/// What stands in place of a unit where a figure is compared with another.
const RATIOS: [&str; 8] = ["%", "x", "×", "ratio", "speedup", "change", "diff", "δ"];

/// Words of a figure's name that say nothing more.
const FILLERS: [&str; 14] = [
    "avg",
    "average",
    "mean",
    "of",
    "the",
    "token",
    "tokens",
    "generated",
    "generation",
    "processing",
    "metrics",
    "clock",
    "in",
    "per",
];

/// The words of the published figures' names but for the fillers, in order of the alphabet.
const FIGURES: [(&[&str], Column); 8] = [
    (&["latency", "prompt"], Column::PromptLatency),
    (&["prompt", "throughput"], Column::PromptThroughput),
    (&["128", "first", "latency"], Column::First128Latency),
    (&["128", "first", "throughput"], Column::First128Throughput),
    (&["256", "first", "latency"], Column::First256Latency),
    (&["256", "first", "throughput"], Column::First256Throughput),
    (&["latency", "wall"], Column::WallLatency),
    (&["throughput", "wall"], Column::WallThroughput),
];

/// What a header names; an error says why its unit can't be read.
pub(super) fn kind(header: &str) -> Result<ColumnKind, String> {
    let Some(name) = Name::read(header) else { return Ok(ColumnKind::Unread) };
    if let (None, Some((_, kind))) =
        (name.unit, NAMES.iter().find(|(known, _)| *known == name.words.join(" ")))
    {
        return Ok(*kind);
    }
    // `Prompt Length (tokens)`
    let is_count = name.unit.is_some_and(|unit| ["tokens", "sequences", "seqs"].contains(&unit));
    if let (true, Some((_, kind))) =
        (is_count, NAMES.iter().find(|(known, _)| *known == name.words.join(" ")))
    {
        return Ok(*kind);
    }
    let is_ratio = name.unit.is_some_and(|unit| RATIOS.contains(&unit.to_lowercase().as_str()));
    let Some(column) = name.figure().filter(|_| !is_ratio) else { return Ok(ColumnKind::Unread) };
    if let Some(count) = column.first_tokens().filter(|_| column.is_latency() && !name.says_mean()) {
        let unit = name.unit.unwrap_or("ms");
        return Err(format!(
            "the mean of a token or the sum of all {count}? Write \"Average Latency of First {count} Tokens Generated ({unit})\""
        ));
    }
    let unit = match name.unit {
        Some(unit) => HeaderUnit::Power(unit_power(unit, column).ok_or_else(|| {
            let units = if column.is_latency() { "ns, us, ms or s" } else { "tps or tokens/s" };
            format!("{} is no unit of this column: expected {units}", brief(unit))
        })?),
        None if column.is_latency() => HeaderUnit::None,
        None => HeaderUnit::Power(0),
    };
    Ok(ColumnKind::Figure(column, unit))
}

/// Whether `header` names the same figure as a column that is read.
pub(super) fn is_same_figure(read: &Result<ColumnKind, String>, header: &str) -> bool {
    let figure = Name::read(header).and_then(|name| name.figure());
    match (read, figure) {
        (Ok(ColumnKind::Figure(column, _)), Some(figure)) => *column == figure,
        _ => false,
    }
}

/// A header's words and unit.
struct Name<'a> {
    words: Vec<String>,
    unit: Option<&'a str>,
    /// Whether a remark behind the name says that it is a mean.
    has_mean_remark: bool,
}

impl<'a> Name<'a> {
    /// `None` where something is behind the name that is no unit and changes what it means.
    fn read(header: &'a str) -> Option<Self> {
        let is_decoration = |c: char| {
            c.is_whitespace() || FOOTNOTE_MARKS.contains(&c) || ['↓', '↑', '▲', '▼', ':'].contains(&c)
        };
        let mut rest = header.trim_matches(is_decoration);
        let (mut unit, mut has_mean_remark) = (None, false);
        // (ms), [ms], (mean, ms), (lower is better)
        while let Some(close) = rest.chars().last().filter(|c| [')', ']'].contains(c)) {
            let Some(open) = rest.rfind(if close == ')' { '(' } else { '[' }) else { break };
            // (ms ± std)
            let inner = &rest[open + 1..rest.len() - 1];
            let inner =
                ["±", "+/-"].iter().find_map(|sign| inner.split_once(sign)).map_or(inner, |(mean, _)| mean);
            for part in inner.split([',', ';']).map(str::trim).filter(|part| !part.is_empty()) {
                let lower = part.to_lowercase();
                let is_mean = ["mean", "avg", "avg.", "average"].contains(&lower.as_str());
                has_mean_remark |= is_mean;
                let is_remark = ["↓", "↑", "lower is better", "higher is better"].contains(&lower.as_str());
                if !is_mean && !is_remark && unit.replace(part).is_some() {
                    return None;
                }
            }
            rest = rest[..open].trim_end_matches(is_decoration);
        }
        // `Latency, ms`, `latency_ms`, `Latency in ms`, `Throughput tokens/s`
        let last = rest.rfind(|c: char| c.is_whitespace() || ['_', ','].contains(&c));
        let tail = last.map(|at| {
            (at, rest[at..].trim_start_matches(|c: char| c.is_whitespace() || ['_', ','].contains(&c)))
        });
        if let (None, Some((at, tail))) = (unit, tail.filter(|(_, tail)| unit_kind(tail).is_some())) {
            unit = Some(tail);
            rest = &rest[..at];
        }
        let (mut spaced, mut was_lower) = (String::new(), false);
        for c in rest.chars() {
            // `promptLatency`
            if was_lower && c.is_uppercase() {
                spaced.push(' ');
            }
            was_lower = c.is_lowercase();
            match c {
                '/' | '÷' => spaced.push_str(" per "),
                _ if c.is_alphanumeric() || c == '#' || c == '№' => spaced.push(c),
                _ => spaced.push(' '),
            }
        }
        let words: Vec<String> = spaced.split_whitespace().take(16).map(str::to_lowercase).collect();
        Some(Self { words, unit, has_mean_remark })
    }

    fn has(&self, words: &[&str]) -> bool {
        self.words.iter().any(|word| words.contains(&word.as_str()))
    }

    /// Whether it says that it is the mean of a token: `Average`, `ms/token`.
    fn says_mean(&self) -> bool {
        let is_of_a_token = self.unit.is_some_and(|unit| unit.to_lowercase().contains("tok"));
        self.has_mean_remark || is_of_a_token || self.is_per_token() || self.has(&["avg", "average", "mean"])
    }

    /// Whether it is `TPOT` or `Time per Output Token`.
    fn is_time_per_output_token(&self) -> bool {
        self.words == ["tpot"] || self.words == ["time", "per", "output", "token"]
    }

    /// Whether it says `per token` or `/ token`.
    fn is_per_token(&self) -> bool {
        self.words.windows(2).any(|pair| pair[0] == "per" && pair[1] == "token")
    }

    /// The figure that it names.
    fn figure(&self) -> Option<Column> {
        let mut words: Vec<&str> = self
            .words
            .iter()
            .map(|word| match word.as_str() {
                "prefill" => "prompt",
                "time" => "latency",
                "wallclock" => "wall",
                word => word,
            })
            .filter(|word| !FILLERS.contains(word))
            .collect();
        // `Prompt (ms)`, `Prompt (tok/s)`
        if let (false, Some(is_time)) =
            (self.has(&["latency", "throughput", "time"]), self.unit.and_then(unit_kind))
        {
            words.push(if is_time { "latency" } else { "throughput" });
        }
        words.sort_unstable();
        if let Some((_, column)) = FIGURES.iter().find(|(name, _)| *name == words) {
            return (!self.is_other_figure(*column)).then_some(*column);
        }
        let is_of_tokens = self.has(&["token", "tokens"]) && self.has(&["generation", "generated"]);
        // The time of all tokens is their sum: `Tokens Generation Time`.
        let is_sum = self.has(&["tokens", "time"]) && !self.says_mean();
        match words[..] {
            ["latency"] if is_of_tokens && !is_sum => Some(Column::TokenLatency),
            ["throughput"] if is_of_tokens => Some(Column::TokenThroughput),
            ["latency", "tpot"] | ["latency", "output"] if self.is_time_per_output_token() => {
                Some(Column::Tpot)
            }
            // Another unit, such as GB/s, says another figure.
            ["decode", "throughput"] if self.unit.and_then(unit_kind) == Some(false) => {
                Some(Column::DecodeThroughput)
            }
            _ => None,
        }
    }

    /// Whether it is another figure than that of `column`, whose words it has: the latency of each token of a prompt, the throughput of the
    /// generated tokens alone.
    fn is_other_figure(&self, column: Column) -> bool {
        let is_per = self.has(&["per"]);
        match column {
            Column::First128Latency | Column::First256Latency => is_per && !self.is_per_token(),
            Column::First128Throughput | Column::First256Throughput => is_per,
            _ => {
                let is_of_tokens = column.is_latency() && self.has(&["token", "tokens"]);
                is_per || is_of_tokens || self.has(&["generated", "generation"])
            }
        }
    }
}
