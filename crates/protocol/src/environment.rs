//! `environment.json`: what a run's figures depend on.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Hello;

/// An NVIDIA GPU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gpu {
    /// The driver's name of it.
    pub name: String,
    /// Its memory.
    pub memory_bytes: u64,
    /// The driver.
    pub driver_version: String,
}

/// Which model this is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelFacts {
    /// Of its config and weights (METHODOLOGY.md says how).
    pub fingerprint: String,
    /// HF's `config.json`.
    pub config: serde_json::Value,
}

/// This program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgramVersion {
    /// Its version.
    pub version: String,
    /// The git revision that it was built from, with `-dirty` where the tree had changes.
    pub git_revision: Option<String>,
}

/// `environment.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Environment {
    /// When the run began, UTC.
    pub started: String,
    /// This program.
    pub program: ProgramVersion,
    /// The operating system's kernel, by its number.
    pub kernel: String,
    /// The processor's model name.
    pub cpu: String,
    /// Processors that this program may run on.
    pub cores: u32,
    /// Of the frequency governor, where there is one.
    pub cpu_governor: Option<String>,
    /// RAM.
    pub memory_bytes: u64,
    /// The one-minute load average when the run began.
    pub load_average: f64,
    /// NVIDIA GPUs; empty where there are none.
    pub gpus: Vec<Gpu>,
    /// Who each engine's worker said it is.
    pub engines: BTreeMap<String, Hello>,
    /// Which model each name is.
    #[serde(default)]
    pub models: BTreeMap<String, ModelFacts>,
    /// Which machine this is: a hash of its `machine-id`, of this program's own; `None` where it has none.
    #[serde(default)]
    pub machine: Option<String>,
    /// SHA-256 of the `sweep.toml` beside this file, in hex.
    #[serde(default)]
    pub sweep_sha256: String,
    /// In a run of several parts: what this part does otherwise than the first, one line each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub differs_from_first_part: Vec<String>,
}
