//! What is measured of a cell. Less is better in all of it.

use std::fmt;
use std::str::FromStr;

use protocol::{Generation, Measurement};

use crate::format_short;

/// A figure of a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Metric {
    /// The timed prefills.
    Prompt,
    /// Decode forwards 1…128.
    First128,
    /// Decode forwards 1…256.
    First256,
    /// All decode forwards, of generations too short for the two above.
    Token,
    /// Time per output token: a generation's wall clock without its prefill, over its tokens. Choosing the token is in it.
    Tpot,
    /// The generations' wall clock.
    Wall,
    /// The most memory that the worker held.
    Memory,
}

/// A word that names no metric.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown metric \"{0}\": expected one of {names}", names = Metric::ALL.map(Metric::name).join(", "))]
pub struct UnknownMetric(String);

impl Metric {
    /// All of them, in the order of the published columns.
    pub const ALL: [Self; 7] =
        [Self::Prompt, Self::First128, Self::First256, Self::Token, Self::Tpot, Self::Wall, Self::Memory];

    /// Its name on the command line and in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Prompt => "prompt",
            Self::First128 => "first-128",
            Self::First256 => "first-256",
            Self::Token => "token",
            Self::Tpot => "tpot",
            Self::Wall => "wall",
            Self::Memory => "memory",
        }
    }

    /// What a reader is told that it is.
    pub fn title(self) -> &'static str {
        match self {
            Self::Prompt => "Prompt Latency",
            Self::First128 => "First 128 Tokens Generated Avg Latency",
            Self::First256 => "First 256 Tokens Generated Avg Latency",
            Self::Token => "Tokens Generated Avg Latency",
            Self::Tpot => "Time per Output Token",
            Self::Wall => "Wall-Clock Latency",
            Self::Memory => "Peak Memory",
        }
    }

    /// A value in seconds or bytes as text with a unit: `12.07 ms`, `1.234 s`, `512.3 MiB`.
    pub fn format(self, value: f64) -> String {
        let units: &[(f64, &str)] = match self {
            Self::Memory => &[(1_073_741_824.0, "GiB"), (1_048_576.0, "MiB"), (1024.0, "KiB"), (1.0, "B")],
            _ => &[(1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns")],
        };
        let fitting = units.iter().find(|(size, _)| value >= *size).unwrap_or(&units[units.len() - 1]);
        format!("{} {}", format_short(value / fitting.0), fitting.1)
    }
}

impl Metric {
    /// A record's samples of it, in seconds or bytes; none where it does not apply or the cell was not measured.
    pub fn samples(self, record: &Measurement) -> Vec<f64> {
        let Some(series) = record.series() else { return Vec::new() };
        let length = record.key.generation_length as usize;
        let first = |count: usize| {
            let generations = series.generations.iter().filter(|_| length >= count);
            generations.flat_map(|one| one.token_seconds.iter().take(count)).copied().collect()
        };
        match self {
            Self::Prompt => series.prompt_seconds.clone(),
            Self::First128 => first(128),
            Self::First256 => first(256),
            Self::Token if length < 128 => first(length),
            Self::Token => Vec::new(),
            Self::Tpot => series.generations.iter().filter_map(Generation::seconds_per_token).collect(),
            Self::Wall => series.generations.iter().map(|one| one.wall_seconds).collect(),
            Self::Memory => series.memory.peak_bytes.into_iter().map(|bytes| bytes as f64).collect(),
        }
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Metric {
    type Err = UnknownMetric;

    fn from_str(word: &str) -> Result<Self, UnknownMetric> {
        Self::ALL.into_iter().find(|metric| metric.name() == word).ok_or_else(|| UnknownMetric(word.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_is_read_back_from_its_name_and_stands_at_its_place() {
        for (place, metric) in Metric::ALL.into_iter().enumerate() {
            assert_eq!((metric as usize, metric.name().parse()), (place, Ok(metric)));
        }
        let error = "decode".parse::<Metric>().unwrap_err().to_string();
        assert_eq!(
            error,
            "unknown metric \"decode\": expected one of prompt, first-128, first-256, token, tpot, wall, memory"
        );
    }

    #[test]
    fn values_have_their_units() {
        assert_eq!(Metric::Prompt.format(0.012_07), "12.07 ms");
        assert_eq!(Metric::Wall.format(1.2345), "1.234 s");
        assert_eq!(Metric::First128.format(2.5e-7), "250.0 ns");
        assert_eq!(Metric::Memory.format(512.3 * 1_048_576.0), "512.3 MiB");
        assert_eq!(Metric::Memory.format(1000.0), "1000 B");
    }
}
