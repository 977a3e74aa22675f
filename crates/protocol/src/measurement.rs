//! The record of a cell.

use serde::{Deserialize, Serialize};

use crate::{CellKey, CellSize, GpuSeries, MachineLoad, Measured, Phase, Procedure};

/// The version of [`Measurement`]'s layout. Version 1 is still read.
pub const SCHEMA: u32 = 2;

/// One timed generation: one prefill and `generation_length` decode forwards. Seconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Generation {
    /// The generation's own prefill.
    #[serde(deserialize_with = "crate::latency::latency")]
    pub prompt_seconds: f64,
    /// Each decode forward, in order.
    #[serde(deserialize_with = "crate::latency::latencies")]
    pub token_seconds: Vec<f64>,
    /// From before the prefill to after the last decode forward, with everything between.
    #[serde(deserialize_with = "crate::latency::latency")]
    pub wall_seconds: f64,
}

impl Generation {
    /// Time per output token, TPOT: the wall clock without the prefill, over the tokens; `None` of no token. Seconds.
    pub fn seconds_per_token(&self) -> Option<f64> {
        let tokens = self.token_seconds.len();
        (tokens > 0).then(|| (self.wall_seconds - self.prompt_seconds) / tokens as f64)
    }
}

/// The same forwards by the device's own clock: CUDA events around each. Seconds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceSeconds {
    /// Each timed prefill.
    #[serde(deserialize_with = "crate::latency::device_latencies")]
    pub prompt: Vec<f64>,
    /// Each decode forward of each timed generation, in order.
    #[serde(deserialize_with = "crate::latency::device_latencies_of_each")]
    pub tokens: Vec<Vec<f64>>,
}

/// What a cell held in memory. Bytes; `None` where the engine does not know.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Memory {
    /// The weights as the engine holds them.
    #[serde(default, deserialize_with = "crate::bounds::bytes")]
    pub weights_bytes: Option<u64>,
    /// The KV cache at the end of the generation.
    #[serde(default, deserialize_with = "crate::bounds::bytes")]
    pub kv_cache_bytes: Option<u64>,
    /// The most that the worker held during this cell.
    #[serde(default, deserialize_with = "crate::bounds::bytes")]
    pub peak_bytes: Option<u64>,
}

/// Shares of a generation's time that rank 0 spends in collectives, waiting for other ranks in them included.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CollectiveShares {
    /// Of the prefill, from 0 to 1.
    #[serde(deserialize_with = "crate::bounds::share")]
    pub prompt: f64,
    /// Of the decode forwards, from 0 to 1.
    #[serde(deserialize_with = "crate::bounds::share")]
    pub tokens: f64,
}

/// How a cell ended that was not measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
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

impl FailureKind {
    /// The word in records and in `summary.csv`.
    pub fn word(self) -> &'static str {
        match self {
            Self::OutOfMemory => "out_of_memory",
            Self::TimedOut => "timed_out",
            Self::Crashed => "crashed",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }

    /// The word that tables print instead of figures.
    pub fn table_word(self) -> &'static str {
        match self {
            Self::OutOfMemory => "OOM",
            Self::TimedOut => "TIMEOUT",
            Self::Crashed => "CRASHED",
            Self::Failed => "FAILED",
            Self::Skipped => "SKIPPED",
        }
    }
}

/// Why a cell has no figures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CellFailure {
    /// How it ended.
    pub kind: FailureKind,
    /// Where it ended; `None` where it was not tried.
    pub phase: Option<Phase>,
    /// What was reported: one line.
    pub error: String,
    /// The cell whose end this one repeats; `None` where the cell itself was tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inferred_from: Option<CellSize>,
}

impl CellFailure {
    /// The end of a cell that was tried.
    pub fn new(kind: FailureKind, phase: Phase, error: String) -> Self {
        Self { kind, phase: Some(phase), error, inferred_from: None }
    }
}

/// What a cell that was measured left.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MeasuredCell {
    /// Seconds from the worker's start to its model being ready; `None` where the worker had it already.
    #[serde(default, deserialize_with = "crate::bounds::seconds")]
    pub load_seconds: Option<f64>,
    /// What the worker said of how it built the model, one line each.
    #[serde(default, deserialize_with = "crate::texts::record_notes", skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// The worker's series.
    pub series: Measured,
}

/// How a cell ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Measured.
    Ok(Box<MeasuredCell>),
    /// Not measured.
    Failed(CellFailure),
}

/// A line of `measurements.jsonl`: one cell, one replicate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measurement {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The cell.
    pub key: CellKey,
    /// Which measurement of the cell, from 0.
    pub replicate: u32,
    /// Which part of its run this belongs to, from 1: `environment.json`, `environment-2.json`, …
    pub part: u32,
    /// The most device memory that the engine was allowed to use; `None` where nothing bounded it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_memory_limit_bytes: Option<u64>,
    /// The procedure, where it does not fix how many prefills and generations there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub procedure: Option<Procedure>,
    /// Bytes a second that the processor read from memory right before or right after, the most; `None` where that was not
    /// measured.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "crate::bounds::per_second"
    )]
    pub read_bytes_per_second: Option<f64>,
    /// What the GPU did; `None` where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu: Option<GpuSeries>,
    /// What else the machine did meanwhile; `None` where the cell was not tried, and in records of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine_load: Option<MachineLoad>,
    /// How it ended, with the series where it was measured.
    pub outcome: Outcome,
}

impl Measurement {
    /// The kind of its end; `None` where the cell was measured.
    pub fn failure_kind(&self) -> Option<FailureKind> {
        self.failure().map(|failure| failure.kind)
    }

    /// How it ended: `ok`, or the failure's word.
    pub fn outcome_word(&self) -> &'static str {
        self.failure().map_or("ok", |failure| failure.kind.word())
    }

    /// What was measured; `None` where the cell ended otherwise.
    pub fn measured(&self) -> Option<&MeasuredCell> {
        match &self.outcome {
            Outcome::Ok(measured) => Some(measured),
            Outcome::Failed(_) => None,
        }
    }

    /// The worker's series; `None` where the cell ended otherwise.
    pub fn series(&self) -> Option<&Measured> {
        self.measured().map(|measured| &measured.series)
    }

    /// Why there are no figures; `None` where the cell was measured.
    pub fn failure(&self) -> Option<&CellFailure> {
        match &self.outcome {
            Outcome::Ok(_) => None,
            Outcome::Failed(failure) => Some(failure),
        }
    }
}

pub(crate) fn first_part() -> u32 {
    1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_latency_is_read_as_it_was_written_to_the_last_bit() {
        for wall_seconds in [0.007_457_659_223_156_506_5, 8.210_960_089_474_2e-7, 0.1 + 0.2] {
            let one = Generation { prompt_seconds: 1.0, token_seconds: Vec::new(), wall_seconds };
            let text = serde_json::to_string(&one).unwrap();
            assert_eq!(serde_json::from_str::<Generation>(&text).unwrap(), one);
        }
    }

    #[test]
    fn a_latency_that_can_be_none_is_refused_where_it_is_read() {
        let read = |seconds: &str, on_device: &str| {
            let json = format!(
                r#"{{"prompt_seconds":[1.0,{seconds}],"generations":[],"memory":{{}},"tokens_sha256":"",
                "device_seconds":{{"prompt":[{on_device}],"tokens":[[1.0,{on_device}]]}}}}"#
            );
            serde_json::from_str::<Measured>(&json).map(|_| ()).map_err(|error| error.to_string())
        };
        assert_eq!(read("1e-9", "0"), Ok(()));
        assert_eq!(read("1e9", "1e-9"), Ok(()));
        for bad in ["0.0", "-1.0", "9e-10", "2.3e-308", "5e-324", "1.1e9", "1e308"] {
            let error = read(bad, "1").unwrap_err();
            assert!(error.starts_with("latency must be from 1e-9 to 1e9 s, found "), "{error}");
        }
        for bad in ["-1e-9", "5e-324", "1e308"] {
            let error = read("1", bad).unwrap_err();
            assert!(error.starts_with("latency must be 0, or from 1e-9 to 1e9 s, found "), "{error}");
        }
        assert!(read("1e999", "0").is_err());
    }
}
