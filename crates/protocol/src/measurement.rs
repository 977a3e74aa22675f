//! The record of a cell.

use serde::{Deserialize, Serialize};

use crate::{CellKey, CellSize, GpuSeries, MachineLoad, Measured, Phase, Procedure};

/// The version of [`Measurement`]'s layout. Version 1 is still read.
pub const SCHEMA: u32 = 2;

/// One timed generation: one prefill and `generation_length` decode forwards. Seconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Generation {
    /// The generation's own prefill.
    #[serde(deserialize_with = "crate::latency::latency")]
    #[cfg_attr(test, schemars(with = "crate::schema::Latency"))]
    pub prompt_seconds: f64,
    /// Each decode forward, in order.
    #[serde(deserialize_with = "crate::latency::latencies")]
    #[cfg_attr(test, schemars(with = "Vec<crate::schema::Latency>"))]
    pub token_seconds: Vec<f64>,
    /// Wall clock from before the prefill to after the last decode forward.
    #[serde(deserialize_with = "crate::latency::latency")]
    #[cfg_attr(test, schemars(with = "crate::schema::Latency"))]
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
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct DeviceSeconds {
    /// Each timed prefill.
    #[serde(deserialize_with = "crate::latency::device_latencies")]
    #[cfg_attr(test, schemars(with = "Vec<crate::schema::DeviceLatency>"))]
    pub prompt: Vec<f64>,
    /// Each decode forward of each timed generation, in order.
    #[serde(deserialize_with = "crate::latency::device_latencies_of_each")]
    #[cfg_attr(test, schemars(with = "Vec<Vec<crate::schema::DeviceLatency>>"))]
    pub tokens: Vec<Vec<f64>>,
}

/// What a cell held in memory. Bytes; `None` where the engine does not know.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Memory {
    /// The weights as the engine holds them.
    #[serde(default, deserialize_with = "crate::bounds::bytes")]
    #[cfg_attr(test, schemars(with = "Option<crate::schema::Bytes>"))]
    pub weights_bytes: Option<u64>,
    /// The KV cache at the end of the generation.
    #[serde(default, deserialize_with = "crate::bounds::bytes")]
    #[cfg_attr(test, schemars(with = "Option<crate::schema::Bytes>"))]
    pub kv_cache_bytes: Option<u64>,
    /// The most that the worker held during this cell.
    #[serde(default, deserialize_with = "crate::bounds::bytes")]
    #[cfg_attr(test, schemars(with = "Option<crate::schema::Bytes>"))]
    pub peak_bytes: Option<u64>,
}

/// Shares of a generation's time that rank 0 spends in collectives, waiting for other ranks in them included.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct CollectiveShares {
    /// Share of the prefill.
    #[serde(deserialize_with = "crate::bounds::share")]
    #[cfg_attr(test, schemars(with = "crate::schema::Fraction"))]
    pub prompt: f64,
    /// Share of the decode forwards.
    #[serde(deserialize_with = "crate::bounds::share")]
    #[cfg_attr(test, schemars(with = "crate::schema::Fraction"))]
    pub tokens: f64,
}

/// The end of a cell that was not measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
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
    /// The cell was not tried.
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
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct CellFailure {
    /// The kind of end.
    pub kind: FailureKind,
    /// The phase in which it ended; `None` where the cell was not tried.
    pub phase: Option<Phase>,
    /// What was reported, in one line.
    pub error: String,
    /// The smaller cell that ran out of memory, so that this one was not tried; `None` where it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inferred_from: Option<CellSize>,
}

impl CellFailure {
    /// The end of a cell that was tried.
    pub fn new(kind: FailureKind, phase: Phase, error: String) -> Self {
        Self { kind, phase: Some(phase), error, inferred_from: None }
    }
}

/// The result of a measured cell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct MeasuredCell {
    /// Seconds from the worker's start to its model being ready; `None` where the worker had it already.
    #[serde(default, deserialize_with = "crate::bounds::seconds")]
    #[cfg_attr(test, schemars(with = "Option<crate::schema::Seconds>"))]
    pub load_seconds: Option<f64>,
    /// The worker's notes about how it built the model, one line each.
    #[serde(default, deserialize_with = "crate::texts::record_notes", skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(test, schemars(with = "crate::schema::RecordNotes"))]
    pub notes: Vec<String>,
    /// The worker's series.
    pub series: Measured,
}

/// The end of a cell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Measured.
    Ok(Box<MeasuredCell>),
    /// Not measured.
    Failed(CellFailure),
}

/// A line of `measurements.jsonl`: one cell, one replicate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Measurement {
    /// [`SCHEMA`].
    #[cfg_attr(test, schemars(range(min = SCHEMA, max = SCHEMA)))]
    pub schema: u32,
    /// The cell's identity.
    pub key: CellKey,
    /// The replicate's number, from 0.
    pub replicate: u32,
    /// The part of the run, from 1: `environment.json`, `environment-2.json`, …
    pub part: u32,
    /// Limit of the device's memory, in bytes; `None` where there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_memory_limit_bytes: Option<u64>,
    /// The procedure, where `until` decides how many prefills and generations there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub procedure: Option<Procedure>,
    /// Bytes a second that the processor read from memory right before or right after, the most; `None` where that was not
    /// measured.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "crate::bounds::per_second"
    )]
    #[cfg_attr(test, schemars(with = "Option<crate::schema::Rate>"))]
    pub read_bytes_per_second: Option<f64>,
    /// What the GPU did; `None` on a CPU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu: Option<GpuSeries>,
    /// What else the machine did meanwhile; `None` where the cell was not tried, and in old records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine_load: Option<MachineLoad>,
    /// The end of the cell, with the series where it was measured.
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
