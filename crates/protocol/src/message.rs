//! The lines of the pipe.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use crate::{
    CollectiveShares, Device, DeviceSeconds, Generation, Memory, PeaksRequest, Phase, Precision,
    ProductInputs, Reached,
};

/// An engine's own options, as the sweep writes them (`attention = "sdpa"`).
pub type Options = BTreeMap<String, serde_json::Value>;

/// What the harness asks of a worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "request", rename_all = "snake_case")]
pub enum Request {
    /// Build the model. Answered by [`Reply::Loaded`].
    Load(LoadRequest),
    /// Measure a cell. Answered by [`Reply::Measured`].
    Measure(MeasureRequest),
    /// Generate greedily, untimed. Answered by [`Reply::Generated`].
    Generate(GenerateRequest),
    /// Measure the device's peaks. Answered by [`Reply::Peaks`].
    Peaks(PeaksRequest),
    /// Run one forward of each kind of a cell for a profiler, untimed. Answered by [`Reply::Profiled`].
    Profile(MeasureRequest),
    /// Stop gracefully. Answered by the worker's exit.
    Shutdown,
}

/// What a worker says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "reply", rename_all = "snake_case")]
pub enum Reply {
    /// The first line of every worker, unasked.
    Hello(Hello),
    /// The worker's progress, at any time between a request and its answer.
    Progress(Progress),
    /// The model is ready.
    Loaded(Loaded),
    /// The cell is measured.
    Measured(Measured),
    /// The generated tokens.
    Generated(Generated),
    /// The peaks that were reached.
    Peaks(Reached),
    /// The forwards were run.
    Profiled(Profiled),
    /// The request failed; the worker waits for the next one.
    Failed(Failure),
}

/// The source of the weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ModelSource {
    /// A folder in HF's format: `config.json` and safetensors.
    Checkpoint {
        /// The folder.
        dir: PathBuf,
    },
    /// Seeded random weights of a config, as `llama2-bench synth` writes them.
    Seeded {
        /// HF's `config.json`.
        config: serde_json::Value,
        /// The seed.
        seed: u64,
    },
}

/// Build this model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct LoadRequest {
    /// The source of the weights.
    pub model: ModelSource,
    /// The device to compute on.
    pub device: Device,
    /// The precision to compute in.
    pub precision: Precision,
    /// Threads of the engine's own pool; `None` takes one a core.
    pub threads: Option<u32>,
    /// The most host memory the worker may use, in bytes.
    pub memory_limit_bytes: Option<u64>,
    /// The most device memory the engine may use, in bytes; `None` bounds nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_memory_limit_bytes: Option<u64>,
    /// Build rank 0's part of a model that this many ranks share, without the sums over ranks; `None` builds the whole model, or this rank's part of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub one_rank_of: Option<u32>,
    /// The engine's own options.
    #[serde(default)]
    pub options: Options,
}

/// The number of forwards that a cell is measured with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Procedure {
    /// Untimed prefills first, and untimed decode forwards before the first generation.
    pub warmup_runs: u32,
    /// Timed prefills; with `until`, at most.
    pub prompt_runs: u32,
    /// Timed generations; with `until`, at most.
    pub generations: u32,
    /// Stop earlier once the 95 % interval of the mean is at most this share of the mean to each side; `None` runs them all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<f64>,
    /// The fewest timed prefills and generations with `until`; 0 without it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub min_runs: u32,
}

impl Procedure {
    /// The fewest timed prefills, or generations, of which `most` are the most.
    pub fn fewest(&self, most: u32) -> u32 {
        if self.until.is_some() { self.min_runs.min(most) } else { most }
    }
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// Measure this cell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct MeasureRequest {
    /// Token ids, one row a sequence, all of one length.
    pub prompt_ids: Vec<Vec<u32>>,
    /// Decode forwards of a generation.
    pub generation_length: u32,
    /// The procedure.
    pub procedure: Procedure,
    /// Run one more, untimed generation of several ranks, and report the share of its time in collectives.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub collectives: bool,
}

/// Generate this many tokens, greedily, and never stop at EOS.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct GenerateRequest {
    /// Token ids, one row a sequence, all of one length.
    pub prompt_ids: Vec<Vec<u32>>,
    /// Tokens a row.
    pub max_new_tokens: u32,
    /// Send the logits of every step, not only their hash.
    pub logits: bool,
}

/// A library an engine is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Library {
    /// Its name.
    pub name: String,
    /// Its version, as the library itself reports it at run time.
    pub version: String,
    /// The file it was loaded from.
    pub path: Option<PathBuf>,
}

/// A device as an engine sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct UsableDevice {
    /// Its name in a sweep; `cuda` alone where no index can be said.
    pub device: String,
    /// The reason why it can't be used; `None` where it can.
    pub unusable: Option<String>,
}

/// The worker's first line.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Hello {
    /// [`crate::PROTOCOL`].
    pub protocol: u32,
    /// The engine's name.
    pub engine: String,
    /// The libraries it computes with.
    pub libraries: Vec<Library>,
    /// The devices it knows.
    pub devices: Vec<UsableDevice>,
    /// The engine's own options, with the values that each may have, the default first; none where any will do.
    #[serde(default)]
    pub options: BTreeMap<String, Vec<serde_json::Value>>,
    /// True where its latencies are scripted and don't pass on a real clock.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub virtual_clock: bool,
    /// True where it can be started as several ranks that share a model.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub tensor_parallel: bool,
    /// True where it can limit the device memory that it uses ([`LoadRequest::device_memory_limit_bytes`]).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub device_memory_limit: bool,
    /// True where it can measure one rank of several by itself ([`LoadRequest::one_rank_of`]).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub one_rank: bool,
    /// The places of its ranks, in order; empty for one process.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ranks: Vec<RankPlace>,
}

/// The place of a rank.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RankPlace {
    /// The machine's name.
    pub host: String,
    /// The process's id there; `None` in a file, where it says nothing any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<u32>,
}

/// A worker's progress.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Progress {
    /// The phase.
    pub phase: Phase,
    /// Forwards done in it.
    pub done: u32,
    /// Forwards in it, warm-up included.
    pub of: u32,
    /// The last forward's latency.
    #[serde(default, deserialize_with = "crate::bounds::seconds")]
    #[cfg_attr(test, schemars(with = "Option<crate::schema::Seconds>"))]
    pub last_seconds: Option<f64>,
}

/// The model is ready.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Loaded {
    /// The weights as the engine holds them.
    #[serde(deserialize_with = "crate::bounds::bytes")]
    #[cfg_attr(test, schemars(with = "crate::schema::Bytes"))]
    pub weights_bytes: u64,
    /// What a reader should know about how the model was built, one line each.
    #[serde(default, deserialize_with = "crate::texts::notes")]
    #[cfg_attr(test, schemars(with = "crate::schema::Notes"))]
    pub notes: Vec<String>,
}

/// The series of a cell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Measured {
    /// Seconds of each timed prefill.
    #[serde(deserialize_with = "crate::latency::latencies")]
    #[cfg_attr(test, schemars(with = "Vec<crate::schema::Latency>"))]
    pub prompt_seconds: Vec<f64>,
    /// The timed generations.
    pub generations: Vec<Generation>,
    /// The same forwards by the device's clock; `None` where the device has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_seconds: Option<DeviceSeconds>,
    /// Memory of the cell; with several ranks, the most that one of them held.
    pub memory: Memory,
    /// Memory of each rank; empty for one process.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ranks: Vec<Memory>,
    /// Time of several ranks in collectives, where the request asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collectives: Option<CollectiveShares>,
    /// SHA-256 of the greedy tokens (little-endian u32, batch row after batch row), in hex.
    pub tokens_sha256: String,
}

/// `[step][row][vocabulary]`.
pub type Logits = Vec<Vec<Vec<f32>>>;

/// The greedy tokens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Generated {
    /// New tokens only, one row a sequence.
    pub tokens: Vec<Vec<u32>>,
    /// SHA-256 of the logits that chose them (little-endian f32; step, then batch row, then vocabulary).
    pub logits_sha256: String,
    /// `[step][row][vocabulary]`, when asked for. Each is finite.
    #[serde(default, deserialize_with = "finite")]
    pub logits: Option<Logits>,
    /// What matrix products took their activations in, where that is not the format that the precision has on this device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub product_inputs: Option<ProductInputs>,
}

/// The forwards for a profiler were run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Profiled {
    /// What kept a profiler from seeing the forwards, one line each.
    #[serde(default, deserialize_with = "crate::texts::notes")]
    #[cfg_attr(test, schemars(with = "crate::schema::Notes"))]
    pub notes: Vec<String>,
}

/// A request failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Failure {
    /// The phase in which it failed.
    pub phase: Phase,
    /// What the engine reported.
    pub message: String,
}

/// A number that JSON can write may be one that `f32` can't hold.
fn finite<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Logits>, D::Error> {
    let logits = Option::<Logits>::deserialize(deserializer)?;
    let mut numbers = logits.iter().flatten().flatten().flatten();
    if numbers.all(|logit| logit.is_finite()) {
        Ok(logits)
    } else {
        Err(D::Error::custom("a logit that is beyond f32"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_logit_beyond_f32_is_no_answer() {
        let line = |logits: &str| {
            let line = format!(r#"{{"reply":"generated","tokens":[],"logits_sha256":""{logits}}}"#);
            serde_json::from_str::<Reply>(&line).map_err(|error| error.to_string())
        };
        for logits in ["", r#","logits":null"#, r#","logits":[[[3.4028235e38]]]"#] {
            assert!(line(logits).is_ok(), "{logits}");
        }
        assert_eq!(line(r#","logits":[[[1e39]]]"#).unwrap_err(), "a logit that is beyond f32");
    }
}
