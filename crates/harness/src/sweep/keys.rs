//! The keys of a sweep, each declared once: name, type, flag, default and meaning.
//!
//! The order is that of the file that a run keeps.

use std::collections::BTreeMap;
use std::path::PathBuf;

use protocol::{Device, LockedClock, Options};
use serde::Serialize;
use serde_json::{Value as Json, json};

use crate::sweep::layer::{Key, Layer, Spec, TomlEntry, TomlFile, describe_table, layer, one_text};
use crate::sweep::setting::{Origin, Setting, SettingsError};
use crate::sweep::values::{
    Bytes, CellOrder, Isolation, PauseSeconds, PeaksPolicy, Percentage, Precisions, Seconds, SettingValue,
    SweepRow, Whole,
};

/// What is measured.
const WHAT: &str = "What to measure";
/// How it is measured.
const PROCEDURE: &str = "Procedure";
/// What ends a cell early.
const LIMITS: &str = "Limits";
/// What is done with a GPU.
const GPU: &str = "GPU";

// The first paragraph of a key's meaning is the line of `-h`: about 40 letters, so that it fits into 80 columns.
layer! {
    /// The settings that a sweep's file or flags give.
    pub struct SweepKeys {
        /// Models: names or checkpoint folders.
        ///
        /// Names have generated weights: llama2-7b, llama2-13b, llama2-70b, tinyllama-1.1b, llama2-15m.
        pub models: Option<Setting<Vec<String>>> = Spec::flag(WHAT, "model", "NAME|DIR"),
        /// Engines, in the order of the table.
        ///
        /// `llama2-bench doctor` lists the engines.
        pub engines: Option<Setting<Vec<String>>> = Spec::flag(WHAT, "engine", "ENGINE"),
        /// Batch sizes, e.g. 1,4,16.
        pub batch_sizes: Option<Setting<Vec<u32>>> = Spec::flag(WHAT, "batch-size", "B"),
        /// Prompt lengths in tokens, e.g. 16,256.
        pub prompt_lengths: Option<Setting<Vec<u32>>> = Spec::flag(WHAT, "prompt-length", "P"),
        /// Engine, batch size and prompt length of each cell.
        ///
        /// Replaces `engines`, `batch_sizes` and `prompt_lengths`.
        pub rows: Option<Setting<Vec<SweepRow>>> = Spec::FILE_ONLY,
        /// Tokens to generate.
        ///
        /// A generation is one prefill and this many decode forwards.
        pub generation_length: Option<Setting<Whole<1>>> = Spec::flag(WHAT, "generation-length", "G").default("256"),
        /// Device: cpu, cuda, cuda:N.
        pub device: Option<Setting<Device>> = Spec::setup(WHAT, "device", "DEVICE").default("\"cpu\""),
        /// Precisions, e.g. fp16,int4.
        ///
        /// fp32, fp16, bf16: the number format of weights, activations and KV cache. int8, int8-g128, int8-channel, int4, int4-g128:
        /// quantized weights in the decoder layers' projections.
        pub precision: Option<Setting<Precisions>> = Spec::setup(WHAT, "precision", "PRECISION").default("\"fp32\""),
        /// Ranks that share a model.
        ///
        /// Tensor parallelism, started with mpirun. On GPUs the ranks use those from --device on.
        pub world_size: Option<Setting<Whole<1>>> = Spec::setup(WHAT, "world-size", "N").default("1"),
        /// Machines of the ranks, for mpirun.
        ///
        /// A file as `mpirun --hostfile` reads it.
        pub hostfile: Option<Setting<PathBuf>> = Spec::setup(WHAT, "hostfile", "FILE"),
        /// Run only rank 0 of --world-size.
        ///
        /// One process on one device, without all-reduce.
        pub one_rank: Option<Setting<bool>> = Spec::setup(WHAT, "one-rank", "").default("false"),
        /// Threads per engine [default: all cores].
        ///
        /// The default is one thread per core, shared by the ranks.
        pub threads: Option<Setting<Whole<1>>> = Spec::setup(WHAT, "threads", "N"),
        /// Seed of weights and prompts.
        ///
        /// Makes generated weights and all prompts the same again.
        pub seed: Option<Setting<Whole<0>>> = Spec::flag(PROCEDURE, "seed", "N").default("0"),
        /// Memory limit of a worker, e.g. 8GiB.
        ///
        /// Counts private memory and mapped weights. A cell that needs more is out of memory (OOM).
        pub memory_limit: Option<Setting<Bytes>> = Spec::setup(LIMITS, "memory-limit", "SIZE"),
        /// GPU memory limit, e.g. 80GB.
        ///
        /// Limits an engine's memory on the GPU; --memory-limit limits host memory.
        pub device_memory_limit: Option<Setting<Bytes>> = Spec::setup(LIMITS, "device-memory-limit", "SIZE"),
        /// Time limit in seconds.
        ///
        /// Loading a model has this time limit, and so has each cell or other request.
        pub timeout_seconds: Option<Setting<Seconds>> = Spec::setup(LIMITS, "timeout-seconds", "S").default("3600"),
        /// How long a worker lives.
        ///
        /// engine: one worker for all cells of an engine. cell: a fresh worker for every cell.
        /// turn: all engines stay loaded and take turns; a replicate is a turn.
        pub isolation: Option<Setting<Isolation>> = Spec::flag(PROCEDURE, "isolation", "engine|cell|turn").default("\"engine\""),
        /// Order of cells.
        ///
        /// shuffled: by the seed, so that heat and memory do not follow size.
        /// table: as in the table; the default with --prune-oom.
        pub order: Option<Setting<CellOrder>> = Spec::flag(PROCEDURE, "order", "shuffled|table").default("\"shuffled\""),
        /// When to measure peaks.
        ///
        /// Peaks are memory bandwidth and FLOP/s. run: measure them once per run; on a CPU without a hypervisor, reuse those of the last 24 hours.
        /// again: measure them in any case. cell: also measure a CPU's memory bandwidth next to every cell.
        pub peaks: Option<Setting<PeaksPolicy>> = Spec::flag(PROCEDURE, "peaks", "run|cell|again").default("\"run\""),
        /// Measure the share of collectives.
        ///
        /// Runs one more, untimed generation of several ranks, and records which share of its time passes in collectives.
        pub collectives: Option<Setting<bool>> = Spec::flag(PROCEDURE, "collectives", "").default("false"),
        /// Skip cells larger than an OOM cell.
        ///
        /// Once a cell is out of memory, cells that need at least as much are not tried. They count as OOM and are marked inferred.
        pub prune_oom: Option<Setting<bool>> = Spec::flag(LIMITS, "prune-oom", "").default("false"),
        /// Idle seconds before each cell.
        ///
        /// The device is idle meanwhile, so that cells start at similar temperatures.
        pub cool_down_seconds: Option<Setting<PauseSeconds>> = Spec::flag(PROCEDURE, "cool-down", "SECONDS").default("0"),
        /// Repeats of a throttled cell.
        ///
        /// A cell is measured again, at most N times, if the GPU throttled for a reason other than its power limit.
        // A GPU that still throttles the third time is not cooled well enough for waiting to help.
        pub throttle_retries: Option<Setting<Whole<0>>> = Spec::flag(GPU, "throttle-retries", "N").default("2"),
        /// Lock the clock while measuring.
        ///
        /// base is the GPU's base clock. Needs root. The clock is unlocked when the run ends, also after an error or a kill.
        pub lock_gpu_clocks: Option<Setting<LockedClock>> = Spec::flag(GPU, "lock-gpu-clocks", "base|MHZ"),
        /// Time limit of a phase, e.g. load=600.
        ///
        /// Takes seconds. The phases are load, prompt and decode. May be repeated.
        pub phase_timeout_seconds: PhaseTimeoutKeys = Spec::setup(LIMITS, "phase-timeout", "PHASE=S"),
        /// How often a cell is run in a worker, and in how many workers.
        pub procedure: ProcedureKeys = Spec::FILE_ONLY,
        /// Option of an engine.
        ///
        /// Example: pytorch-eager.attention=eager. May be repeated.
        pub options: EngineOptions = Spec::setup(WHAT, "option", "ENGINE.KEY=VALUE"),
    }
}

layer! {
    /// The most seconds of each phase.
    pub struct PhaseTimeoutKeys {
        /// Loading.
        pub load: Option<Setting<Seconds>> = Spec::FILE_ONLY,
        /// The prefills.
        pub prompt: Option<Setting<Seconds>> = Spec::FILE_ONLY,
        /// The generations.
        pub decode: Option<Setting<Seconds>> = Spec::FILE_ONLY,
    }
}

layer! {
    /// How often a cell is run in a worker, and in how many workers.
    pub struct ProcedureKeys {
        /// Untimed runs first.
        ///
        /// The built-in sweep has 3. Untimed prefills before the timed ones, and untimed decode forwards before the first generation.
        pub warmup_runs: Option<Setting<Whole<0>>> = Spec::flag(PROCEDURE, "warmup-runs", "N").default("5"),
        /// Timed prefills per cell.
        ///
        /// The built-in sweep has 10.
        pub prompt_runs: Option<Setting<Whole<1>>> = Spec::flag(PROCEDURE, "prompt-runs", "N").default("100"),
        /// Timed generations [default: 1].
        ///
        /// With --until, the default is --prompt-runs.
        pub generations: Option<Setting<Whole<1>>> = Spec::flag(PROCEDURE, "generations", "N"),
        /// Stop at this precision, e.g. 0.5%.
        ///
        /// A cell's prefills and generations stop once the 95 % interval of the mean is within this share.
        /// Times no more than --prompt-runs prefills, and as many generations unless --generations is set.
        pub until: Option<Setting<Percentage>> = Spec::flag(PROCEDURE, "until", "SHARE"),
        /// Fewest runs with --until [default: 5].
        ///
        /// Counts prefills, and counts generations.
        pub min_runs: Option<Setting<Whole<2>>> = Spec::flag(PROCEDURE, "min-runs", "N"),
        /// Fresh workers per cell.
        ///
        /// A replicate is one measurement of a cell, in a fresh worker. With --isolation turn, a replicate is a turn.
        pub replicates: Option<Setting<Whole<1>>> = Spec::flag(PROCEDURE, "replicates", "N").default("1"),
    }
}

impl SweepKeys {
    /// The keys of a sweep, in the order of the file that a run keeps.
    pub fn keys() -> Vec<Key> {
        let mut keys = Vec::new();
        Self::describe("", "", &Spec::FILE_ONLY, &mut keys);
        keys
    }

    /// Sets what `flag` says of the key at `path`, over what is there.
    ///
    /// # Errors
    /// Where the flag's words are no value of the key.
    pub fn set_flag(&mut self, path: &str, flag: &str, words: &[String]) -> Result<(), SettingsError> {
        self.set(path, flag, words)
    }

    /// These settings over others.
    #[must_use]
    pub fn over(self, under: Self) -> Self {
        Layer::over(self, under)
    }

    /// A setting of this layer that must be there.
    pub(crate) fn needed<'a, T>(
        &self,
        key: &str,
        setting: &'a Option<Setting<T>>,
    ) -> Result<&'a Setting<T>, SettingsError> {
        setting.as_ref().ok_or_else(|| SettingsError {
            origin: self.file.clone().unwrap_or_else(|| "settings".into()),
            what: format!("{key} is not set"),
        })
    }

    /// These settings over the defaults.
    #[must_use]
    pub(crate) fn over_defaults(&self) -> Self {
        self.clone().over(Layer::defaults(&Spec::FILE_ONLY))
    }
}

/// The engines' own options: by engine, then by key.
#[derive(Debug, Clone, Default, Serialize)]
pub struct EngineOptions(pub BTreeMap<String, BTreeMap<String, Setting<Json>>>);

impl EngineOptions {
    /// These options, as they are written.
    pub(crate) fn new(options: &BTreeMap<String, Options>) -> Self {
        let setting = |(key, value): (&String, &Json)| (key.clone(), Setting::new(value.clone(), "a sweep"));
        let engine =
            |(engine, options): (&String, &Options)| (engine.clone(), options.iter().map(setting).collect());
        Self(options.iter().map(engine).collect())
    }
}

impl Layer for EngineOptions {
    fn read(file: &TomlFile<'_>, entry: TomlEntry<'_>) -> Result<Self, SettingsError> {
        let mut engines = BTreeMap::new();
        for (engine, entry) in tables(file, entry)? {
            let mut options = BTreeMap::new();
            for (key, entry) in tables(file, entry)? {
                options.insert(key, Option::<Setting<Json>>::read(file, entry)?);
            }
            let options = options.into_iter().filter_map(|(key, option)| Some((key, option?)));
            engines.insert(engine, options.collect());
        }
        Ok(Self(engines))
    }

    fn set(&mut self, _path: &str, flag: &str, words: &[String]) -> Result<(), SettingsError> {
        for word in words {
            // An engine's name may have a dot.
            let split = word.split_once('=').and_then(|(name, value)| Some((name.rsplit_once('.')?, value)));
            let Some(((engine, key), value)) = split else {
                let what = format!("expected ENGINE.KEY=VALUE, found \"{word}\"");
                return Err(Origin::flag(flag).error(what));
            };
            let origin = Origin::flag(&format!("{flag} {engine}.{key}"));
            let value = value.parse().unwrap_or_else(|_| toml::Value::from(value));
            let value = Json::read(&value).map_err(|what| origin.error(what))?;
            self.0.entry(engine.into()).or_default().insert(key.into(), Setting { value, origin });
        }
        Ok(())
    }

    fn check(&self) -> Result<(), SettingsError> {
        Ok(())
    }

    fn over(self, mut under: Self) -> Self {
        for (engine, options) in self.0 {
            under.0.entry(engine).or_default().extend(options);
        }
        under
    }

    fn defaults(_: &Spec) -> Self {
        Self::default()
    }

    fn describe(path: &str, help: &str, spec: &Spec, keys: &mut Vec<Key>) -> Json {
        describe_table(path, help, spec, "tables of engines' options", keys);
        json!({ "type": "object", "description": one_text(help), "additionalProperties": { "type": "object" } })
    }
}

fn tables<'a>(
    file: &TomlFile<'_>,
    entry: TomlEntry<'a>,
) -> Result<Vec<(String, TomlEntry<'a>)>, SettingsError> {
    let origin = file.origin(&entry);
    entry.entries().ok_or_else(|| origin.error("expected a table of an engine's options"))
}
