//! `environment.json`: what a run's figures depend on.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Gpu, Hello, LockedClock, MeasuredPeaks, ProcessorState, Share};

/// The model's identity.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ModelFacts {
    /// SHA-256 over its config and weights (docs/concepts/checkpoints.md says how).
    pub fingerprint: String,
    /// HF's `config.json`.
    pub config: serde_json::Value,
}

/// The program that an engine's worker is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct EngineProgram {
    /// Program and arguments as they were started, folders left out.
    pub command: String,
    /// SHA-256 in hex of the program's file, of each argument that is a file, and of each entry of `also`. A file of more than
    /// 1 GiB is hashed by its length and 64 blocks. Files of program and arguments that can't be read are left out.
    pub sha256: Vec<String>,
}

/// The engines file that a run began with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct EnginesFile {
    /// Its path, as it was given.
    pub path: String,
    /// SHA-256 of its text, in hex.
    pub sha256: String,
}

/// Two runs that were measured interleaved, so that drift common to both cancels out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Pair {
    /// An id that only these two runs share.
    pub id: String,
    /// True for the baseline.
    pub is_baseline: bool,
}

/// The version of llama2-bench.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ProgramVersion {
    /// Its version.
    pub version: String,
    /// The git revision that it was built from, with `-dirty` where the tree had changes.
    pub git_revision: Option<String>,
}

/// `environment.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Environment {
    /// The run's id, which stays when the run is resumed or moved; `None` in runs from before 2026-11-30.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// When the run began, UTC.
    pub started: String,
    /// The version of llama2-bench.
    pub program: ProgramVersion,
    /// The kernel's name and version.
    pub kernel: String,
    /// The processor's model name.
    pub cpu: String,
    /// The number of processors that this program may run on.
    pub cores: u32,
    /// The frequency governor; `None` where there is none.
    pub cpu_governor: Option<String>,
    /// The CPUs that the run may use, and what changes their speed; `None` in old runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub processor: Option<ProcessorState>,
    /// The machine's RAM, in bytes.
    #[serde(deserialize_with = "crate::bounds::bytes")]
    #[cfg_attr(test, schemars(with = "crate::schema::Bytes"))]
    pub memory_bytes: u64,
    /// The one-minute load average when the run began.
    #[serde(deserialize_with = "crate::bounds::load_average")]
    #[cfg_attr(test, schemars(with = "crate::schema::LoadAverage"))]
    pub load_average: f64,
    /// NVIDIA GPUs; empty where there are none.
    pub gpus: Vec<Gpu>,
    /// The device's measured peaks; `None` where none were measured. Runs from before 2026-11-30 call them `ceilings`.
    #[serde(default, alias = "ceilings", skip_serializing_if = "Option::is_none")]
    pub peaks: Option<MeasuredPeaks>,
    /// The hello of each engine's worker.
    pub engines: BTreeMap<String, Hello>,
    /// The program of each engine's worker.
    #[serde(default)]
    pub programs: BTreeMap<String, EngineProgram>,
    /// The engines file that was given; `None` for the built-in one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engines_file: Option<EnginesFile>,
    /// The models, by name.
    #[serde(default)]
    pub models: BTreeMap<String, ModelFacts>,
    /// The machine: a hash of its `machine-id` that only this program makes; `None` where it has none.
    #[serde(default)]
    pub machine: Option<String>,
    /// SHA-256 of the `sweep.toml` beside this file, in hex.
    #[serde(default)]
    pub sweep_sha256: String,
    /// The pair, in a run that was measured interleaved with another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pair: Option<Pair>,
    /// The share of the sweep's cells, such as `2/8`, in a run of `--shard`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard: Option<Share>,
    /// The clock that the GPUs were locked to during the run; `None` where they were left alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locked_gpu_clocks: Option<LockedClock>,
    /// Differences from the run's first part, one line each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub differs_from_first_part: Vec<String>,
}

impl Environment {
    /// What figures depend on, by name. Kernel, load and time are not among it: they vary within a run, too.
    pub fn facts(&self) -> BTreeMap<String, String> {
        let gpus: Vec<String> =
            self.gpus.iter().map(|gpu| format!("{} ({} bytes)", gpu.name, gpu.memory_bytes)).collect();
        let drivers: Vec<&str> = self.gpus.iter().map(|gpu| gpu.driver_version.as_str()).collect();
        let revision = self.program.git_revision.as_deref().unwrap_or("unknown");
        let mut facts = BTreeMap::from([
            ("processor".to_owned(), self.cpu.clone()),
            ("cores".to_owned(), self.cores.to_string()),
            ("GPUs".to_owned(), gpus.join(", ")),
            ("driver".to_owned(), drivers.join(", ")),
            ("program".to_owned(), format!("{} ({revision})", self.program.version)),
        ]);
        facts.extend(self.processor.iter().flat_map(ProcessorState::facts));
        if let Some(governor) = &self.cpu_governor {
            facts.insert("frequency governor".into(), governor.clone());
        }
        if let Some(machine) = &self.machine {
            facts.insert("machine".into(), machine.clone());
        }
        for (engine, hello) in &self.engines {
            let libraries =
                hello.libraries.iter().map(|library| format!("{} {}", library.name, library.version));
            facts.insert(format!("libraries of {engine}"), libraries.collect::<Vec<_>>().join(", "));
        }
        for (engine, program) in &self.programs {
            let short = program.sha256.iter().map(|sha256| sha256.get(..12).unwrap_or(sha256));
            let hashes = short.collect::<Vec<_>>().join(" ");
            facts.insert(format!("worker of {engine}"), format!("{} ({hashes})", program.command));
        }
        for (model, identity) in &self.models {
            facts.insert(format!("model {model}"), identity.fingerprint.clone());
        }
        facts
    }
}
