//! The columns of a published table.

use crate::{Metric, Statistic};

/// The headers of a published table, in order.
pub const COLUMNS: [&str; 11] = [
    "Engine",
    "Batch Size",
    "Prompt Length",
    "Prompt Latency (ms)",
    "Prompt Throughput (tps)",
    "First 128 Tokens Generated Avg Latency (ms)",
    "First 128 Tokens Generated Avg Throughput (tps)",
    "First 256 Tokens Generated Avg Latency (ms)",
    "First 256 Tokens Generated Avg Throughput (tps)",
    "Wall-Clock Latency (s)",
    "Wall-Clock Throughput (tps)",
];

/// A column of figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Column {
    /// The mean prefill.
    PromptLatency,
    /// Prompt tokens a second.
    PromptThroughput,
    /// The mean of decode forwards 1…128.
    First128Latency,
    /// Tokens a second in them.
    First128Throughput,
    /// The mean of decode forwards 1…256.
    First256Latency,
    /// Tokens a second in them.
    First256Throughput,
    /// The mean generation from prompt to last token.
    WallLatency,
    /// Prompt and generated tokens a second in it.
    WallThroughput,
    /// The mean of all decode forwards of a generation of another length than 128 or 256. No column of the published tables.
    TokenLatency,
    /// Tokens a second in them.
    TokenThroughput,
    /// Time per output token: a generation without its prefill, over its tokens. It includes choosing the token.
    Tpot,
    /// Generated tokens per second: the batch over the time per output token.
    DecodeThroughput,
}

impl Column {
    /// The columns of a published table, in order.
    pub const PUBLISHED: [Self; 8] = [
        Self::PromptLatency,
        Self::PromptThroughput,
        Self::First128Latency,
        Self::First128Throughput,
        Self::First256Latency,
        Self::First256Throughput,
        Self::WallLatency,
        Self::WallThroughput,
    ];

    /// All of them: the published ones, then the others.
    pub const ALL: [Self; 12] = [
        Self::PromptLatency,
        Self::PromptThroughput,
        Self::First128Latency,
        Self::First128Throughput,
        Self::First256Latency,
        Self::First256Throughput,
        Self::WallLatency,
        Self::WallThroughput,
        Self::TokenLatency,
        Self::TokenThroughput,
        Self::Tpot,
        Self::DecodeThroughput,
    ];

    /// The published columns that are times.
    pub const LATENCIES: [Self; 4] =
        [Self::PromptLatency, Self::First128Latency, Self::First256Latency, Self::WallLatency];

    /// The columns of a run's table whose generations have `tokens` tokens, in order. The published columns of longer generations are
    /// left out; TPOT over all tokens stands in for them.
    pub fn of_generation(tokens: u32) -> Vec<Self> {
        let applies = |column: &Self| column.first_tokens().is_none_or(|first| first <= tokens);
        let mut columns: Vec<Self> = Self::PUBLISHED.into_iter().filter(applies).collect();
        if columns.len() < Self::PUBLISHED.len() {
            let wall = columns.len() - 2;
            columns.splice(wall..wall, [Self::Tpot, Self::DecodeThroughput]);
        }
        columns
    }

    /// The number of first tokens whose mean this is; `None` for another column.
    pub(crate) fn first_tokens(self) -> Option<u32> {
        match self {
            Self::First128Latency | Self::First128Throughput => Some(128),
            Self::First256Latency | Self::First256Throughput => Some(256),
            _ => None,
        }
    }

    /// Its header.
    pub fn header(self) -> &'static str {
        match self {
            Self::TokenLatency => "Tokens Generated Avg Latency (ms)",
            Self::TokenThroughput => "Tokens Generated Avg Throughput (tps)",
            Self::Tpot => "Time per Output Token (ms)",
            Self::DecodeThroughput => "Decode Throughput (tps)",
            published => COLUMNS[3 + published as usize],
        }
    }

    /// The metric that it is computed from.
    pub fn metric(self) -> Metric {
        match self {
            Self::PromptLatency | Self::PromptThroughput => Metric::Prompt,
            Self::First128Latency | Self::First128Throughput => Metric::First128,
            Self::First256Latency | Self::First256Throughput => Metric::First256,
            Self::WallLatency | Self::WallThroughput => Metric::Wall,
            Self::TokenLatency | Self::TokenThroughput => Metric::Token,
            Self::Tpot | Self::DecodeThroughput => Metric::Tpot,
        }
    }

    /// Whether it is a time.
    pub fn is_latency(self) -> bool {
        self.unit() != "tps"
    }

    /// Its unit in seconds, for times; 1 for throughputs.
    pub fn seconds(self) -> f64 {
        if self.unit() == "ms" { 1e-3 } else { 1.0 }
    }

    /// The statistic that the published tables' header says it is.
    pub fn published_statistic(self) -> Statistic {
        match self {
            Self::First128Latency | Self::First256Latency | Self::TokenLatency | Self::Tpot => {
                Statistic::Mean
            }
            _ => Statistic::Unknown,
        }
    }

    /// The column of the mean over all tokens that this one is, too, where a generation has that many: 128 or 256.
    pub(crate) fn of_all_tokens(self, generation_length: u32) -> Option<Self> {
        match (self, generation_length) {
            (Self::First128Latency, 128) | (Self::First256Latency, 256) => Some(Self::TokenLatency),
            (Self::First128Throughput, 128) | (Self::First256Throughput, 256) => Some(Self::TokenThroughput),
            _ => None,
        }
    }

    /// Its unit.
    pub fn unit(self) -> &'static str {
        match self {
            Self::PromptLatency
            | Self::First128Latency
            | Self::First256Latency
            | Self::TokenLatency
            | Self::Tpot => "ms",
            Self::WallLatency => "s",
            Self::PromptThroughput
            | Self::First128Throughput
            | Self::First256Throughput
            | Self::WallThroughput
            | Self::TokenThroughput
            | Self::DecodeThroughput => "tps",
        }
    }
}
