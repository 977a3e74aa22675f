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
}

impl Column {
    /// All of them, in order.
    pub const ALL: [Self; 8] = [
        Self::PromptLatency,
        Self::PromptThroughput,
        Self::First128Latency,
        Self::First128Throughput,
        Self::First256Latency,
        Self::First256Throughput,
        Self::WallLatency,
        Self::WallThroughput,
    ];

    /// The four that are times.
    pub const LATENCIES: [Self; 4] =
        [Self::PromptLatency, Self::First128Latency, Self::First256Latency, Self::WallLatency];

    /// Its header.
    pub fn header(self) -> &'static str {
        COLUMNS[3 + self as usize]
    }

    /// The metric that it is computed from.
    pub fn metric(self) -> Metric {
        match self {
            Self::PromptLatency | Self::PromptThroughput => Metric::Prompt,
            Self::First128Latency | Self::First128Throughput => Metric::First128,
            Self::First256Latency | Self::First256Throughput => Metric::First256,
            Self::WallLatency | Self::WallThroughput => Metric::Wall,
        }
    }

    /// Whether it is a time.
    pub fn is_latency(self) -> bool {
        Self::LATENCIES.contains(&self)
    }

    /// Its unit in seconds, for times; 1 for throughputs.
    pub fn seconds(self) -> f64 {
        match self {
            Self::PromptLatency | Self::First128Latency | Self::First256Latency => 1e-3,
            _ => 1.0,
        }
    }

    /// The statistic that the published tables' header says it is.
    pub fn published_statistic(self) -> Statistic {
        match self {
            Self::First128Latency | Self::First256Latency => Statistic::Mean,
            _ => Statistic::Unknown,
        }
    }

    /// Its unit.
    pub fn unit(self) -> &'static str {
        match self {
            Self::PromptLatency | Self::First128Latency | Self::First256Latency => "ms",
            Self::WallLatency => "s",
            _ => "tps",
        }
    }
}
