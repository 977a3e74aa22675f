//! The record of a cell.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Device, GpuSeries, Phase, Precision, Procedure};

/// The version of [`Measurement`]'s layout.
pub const SCHEMA: u32 = 1;

/// How a cell ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Measured.
    Ok,
    /// The cell needs more memory than there is: a result, printed as `OOM`.
    OutOfMemory,
    /// A deadline passed.
    TimedOut,
    /// The worker died.
    Crashed,
    /// The engine, or the worker's side of the pipe, reported an error.
    Failed,
    /// Not attempted.
    Skipped,
}

impl Outcome {
    /// The word of the record.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::OutOfMemory => "out_of_memory",
            Self::TimedOut => "timed_out",
            Self::Crashed => "crashed",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }
}

/// One timed generation: one prefill and `generation_length` decode forwards. Seconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Generation {
    /// The generation's own prefill.
    pub prompt_seconds: f64,
    /// Each decode forward, in order.
    pub token_seconds: Vec<f64>,
    /// From before the prefill to after the last decode forward, with everything between.
    pub wall_seconds: f64,
}

/// The same forwards by the device's own clock: CUDA events around each. Seconds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceSeconds {
    /// Each timed prefill.
    pub prompt: Vec<f64>,
    /// Each decode forward of each timed generation, in order.
    pub tokens: Vec<Vec<f64>>,
}

/// What a cell held in memory. Bytes; `None` where the engine does not know.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Memory {
    /// The weights as the engine holds them.
    pub weights_bytes: Option<u64>,
    /// The KV cache at the end of the generation.
    pub kv_cache_bytes: Option<u64>,
    /// The most that the worker held during this cell.
    pub peak_bytes: Option<u64>,
}

/// Shares of a generation's time that rank 0 spends in collectives, waiting for other ranks in them included.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CollectiveShares {
    /// Of the prefill, from 0 to 1.
    pub prompt: f64,
    /// Of the decode forwards, from 0 to 1.
    pub tokens: f64,
}

/// A cell as its sizes name it among those of its engine and model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CellSize {
    /// Sequences at once.
    pub batch_size: u32,
    /// Tokens of the prompt.
    pub prompt_length: u32,
}

impl fmt::Display for CellSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}×{}", self.batch_size, self.prompt_length)
    }
}

impl FromStr for CellSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let size = |text: &str| text.parse().ok().filter(|size| *size > 0);
        let sizes =
            text.split_once(['x', '×']).and_then(|(batch, prompt)| Some((size(batch)?, size(prompt)?)));
        let (batch_size, prompt_length) = sizes
            .ok_or_else(|| format!("expected a cell as BATCHxPROMPT, such as 1x256, found \"{text}\""))?;
        Ok(Self { batch_size, prompt_length })
    }
}

/// A line of `measurements.jsonl`: one cell, one replicate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measurement {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The engine's name in `engines.toml`.
    pub engine: String,
    /// The model's name.
    pub model: String,
    /// Precision of weights, activations and KV cache.
    pub precision: Precision,
    /// Where it ran.
    pub device: Device,
    /// Ranks of tensor parallelism.
    pub world_size: u32,
    /// Rank 0's part alone was measured, in one process and without the sums over the `world_size` ranks.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub one_rank: bool,
    /// The most device memory that the engine was allowed to use; `None` where nothing bounded it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_memory_limit_bytes: Option<u64>,
    /// Sequences at once.
    pub batch_size: u32,
    /// Tokens of the prompt.
    pub prompt_length: u32,
    /// Decode forwards of a generation.
    pub generation_length: u32,
    /// Which repetition of the cell, from 0.
    pub replicate: u32,
    /// How it ended.
    pub outcome: Outcome,
    /// Where it ended, when not `ok`.
    pub phase: Option<Phase>,
    /// What was reported, when not `ok`: one line.
    pub error: Option<String>,
    /// The cell whose end this record repeats; `None` where the cell itself was tried.
    #[serde(default)]
    pub inferred_from: Option<CellSize>,
    /// Which part of its run this belongs to, from 1: `environment.json`, `environment-2.json`, …
    #[serde(default = "first_part")]
    pub part: u32,
    /// Seconds from the worker's start to its model being ready; `None` where the worker had it already.
    pub load_seconds: Option<f64>,
    /// What the worker said of how it built the model, one line each; empty where the cell was not measured.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// The procedure, where it does not fix how many prefills and generations there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub procedure: Option<Procedure>,
    /// Seconds of each timed prefill.
    pub prompt_seconds: Vec<f64>,
    /// The timed generations.
    pub generations: Vec<Generation>,
    /// Its forwards by the device's clock; `None` where the device has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_seconds: Option<DeviceSeconds>,
    /// Memory of the cell; of several ranks, the most that one of them held.
    pub memory: Memory,
    /// Of several ranks: the memory of each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ranks: Vec<Memory>,
    /// Of several ranks: the time in collectives, where it was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collectives: Option<CollectiveShares>,
    /// SHA-256 of the greedy tokens (little-endian u32, batch row after batch row), in hex.
    pub tokens_sha256: Option<String>,
    /// Bytes a second that the processor read from memory right before or right after, the most; `None` where that was not
    /// measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_bytes_per_second: Option<f64>,
    /// What the GPU did; `None` where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu: Option<GpuSeries>,
}

impl Measurement {
    /// The ranks of which this is rank 0's part alone; `None` where the whole model was measured.
    pub fn one_rank_of(&self) -> Option<u32> {
        self.one_rank.then_some(self.world_size)
    }
}

pub(crate) fn first_part() -> u32 {
    1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_named_by_its_sizes() {
        let cell = CellSize { batch_size: 4, prompt_length: 256 };
        assert_eq!(
            ("4x256".parse(), "4×256".parse(), cell.to_string()),
            (Ok(cell), Ok(cell), "4×256".into())
        );
        for text in ["", "4", "x256", "4x", "0x256", "4x0", "4x256x1", "4 x 256", "-1x2", "99999999999x1"] {
            let error = text.parse::<CellSize>().unwrap_err();
            assert_eq!(error, format!("expected a cell as BATCHxPROMPT, such as 1x256, found \"{text}\""));
        }
    }

    #[test]
    fn a_latency_is_read_as_it_was_written_to_the_last_bit() {
        for wall_seconds in [0.007_457_659_223_156_506_5, 8.210_960_089_474_2e-7, 0.1 + 0.2] {
            let one = Generation { prompt_seconds: 0.0, token_seconds: Vec::new(), wall_seconds };
            let text = serde_json::to_string(&one).unwrap();
            assert_eq!(serde_json::from_str::<Generation>(&text).unwrap(), one);
        }
    }
}
