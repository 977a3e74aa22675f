//! The keys of a sweep, each declared once: name, type, flag, default and meaning.
//!
//! The order is that of the file that a run keeps.

use std::collections::BTreeMap;
use std::path::PathBuf;

use protocol::{Device, LockedClock, Options, Precision};
use serde::Serialize;
use serde_json::{Value as Json, json};

use crate::sweep::layer::{Entry, File, Key, Layer, Spec, describe_table, layer};
use crate::sweep::setting::{Origin, Setting, SettingsError};
use crate::sweep::values::{
    Bytes, CellOrder, Isolation, PauseSeconds, Peaks, Percentage, Seconds, SettingValue, SweepRow, Whole,
};

layer! {
    /// The settings that a sweep's file or flags give.
    pub struct SweepKeys {
        /// Models: names, or checkpoints' folders.
        pub models: Option<Setting<Vec<String>>> = Spec::flag("model", "NAME|DIR"),
        /// Engines, in the order of the rows.
        pub engines: Option<Setting<Vec<String>>> = Spec::flag("engine", "ENGINE"),
        /// Sequences at once.
        pub batch_sizes: Option<Setting<Vec<u32>>> = Spec::flag("batch-size", "B"),
        /// Tokens of the prompt.
        pub prompt_lengths: Option<Setting<Vec<u32>>> = Spec::flag("prompt-length", "P"),
        /// Engine, batch size and prompt length of each cell, instead of `engines`, `batch_sizes` and `prompt_lengths`.
        pub rows: Option<Setting<Vec<SweepRow>>> = Spec::FILE_ONLY,
        /// Decode forwards of a generation.
        pub generation_length: Option<Setting<Whole<1>>> = Spec::flag("generation-length", "G").default("256"),
        /// Where to compute: cpu, cuda or cuda:N.
        pub device: Option<Setting<Device>> = Spec::setup("device", "DEVICE").default("\"cpu\""),
        /// fp32, fp16 or bf16: of weights, activations and KV cache.
        pub precision: Option<Setting<Precision>> = Spec::setup("precision", "PRECISION").default("\"fp32\""),
        /// Ranks that share a model (tensor parallelism), started with mpirun; the GPUs from --device on.
        pub world_size: Option<Setting<Whole<1>>> = Spec::setup("world-size", "N").default("1"),
        /// The machines of the ranks, as `mpirun --hostfile` reads it.
        pub hostfile: Option<Setting<PathBuf>> = Spec::setup("hostfile", "FILE"),
        /// Measure only rank 0 of --world-size ranks: one process, one device, no all-reduce.
        pub one_rank: Option<Setting<bool>> = Spec::setup("one-rank", "").default("false"),
        /// Threads of an engine's pool [default: one a core, shared by the ranks].
        pub threads: Option<Setting<Whole<1>>> = Spec::setup("threads", "N"),
        /// Seed for generated weights and prompts.
        pub seed: Option<Setting<Whole<0>>> = Spec::flag("seed", "N").default("0"),
        /// The most memory a worker may use (private memory and mapped weights), such as 1GiB.
        pub memory_limit: Option<Setting<Bytes>> = Spec::setup("memory-limit", "SIZE"),
        /// Limit an engine's GPU memory, such as 80GB (--memory-limit limits host memory).
        pub device_memory_limit: Option<Setting<Bytes>> = Spec::setup("device-memory-limit", "SIZE"),
        /// The most seconds that loading, or a cell, may take [default: 3600].
        pub timeout_seconds: Option<Setting<Seconds>> = Spec::setup("timeout-seconds", "SECONDS").default("3600"),
        /// Workers: one for all cells of an engine, a fresh one for every cell, or all engines loaded and taking turns (a replicate is a turn).
        pub isolation: Option<Setting<Isolation>> = Spec::flag("isolation", "engine|cell|turn").default("\"engine\""),
        /// Order of an engine's cells: shuffled by the seed, so that heat and memory do not follow size, or that of the table (the default with prune_oom).
        pub order: Option<Setting<CellOrder>> = Spec::flag("order", "shuffled|table").default("\"shuffled\""),
        /// What the device can do at most is measured once a run; or, how fast a CPU reads memory, beside every cell, too.
        pub peaks: Option<Setting<Peaks>> = Spec::flag("peaks", "run|cell").default("\"run\""),
        /// Also run an untimed generation of several ranks that says which share of the time passes in collectives.
        pub collectives: Option<Setting<bool>> = Spec::flag("collectives", "").default("false"),
        /// Once a cell is out of memory, do not try those that need at least as much: they are OOM, and marked inferred.
        pub prune_oom: Option<Setting<bool>> = Spec::flag("prune-oom", "").default("false"),
        /// Wait this long before each cell, with the device idle, so that cells start at similar temperatures [default: 0].
        pub cool_down_seconds: Option<Setting<PauseSeconds>> = Spec::flag("cool-down", "SECONDS").default("0"),
        /// Measure a cell again, at most N times, if the GPU throttled for a reason other than its power limit [default: 2].
        // A GPU that still throttles the third time is not cooled well enough for waiting to help.
        pub throttle_retries: Option<Setting<Whole<0>>> = Spec::flag("throttle-retries", "N").default("2"),
        /// Lock the GPU's clock while measuring: base, or a clock in MHz. Needs root; unlocked when the run ends, also after an error or a kill.
        pub lock_gpu_clocks: Option<Setting<LockedClock>> = Spec::flag("lock-gpu-clocks", "base|MHZ"),
        /// The most seconds of a phase (load, prompt or decode), such as load=600; may be repeated.
        pub phase_timeout_seconds: PhaseTimeoutKeys = Spec::setup("phase-timeout", "PHASE=SECONDS"),
        /// How often a cell is run in a worker, and in how many.
        pub procedure: ProcedureKeys = Spec::FILE_ONLY,
        /// An engine's own option, such as pytorch-eager.attention=eager; may be repeated.
        pub options: EngineOptions = Spec::setup("option", "ENGINE.KEY=VALUE"),
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
    /// How often a cell is run in a worker, and in how many.
    pub struct ProcedureKeys {
        /// Untimed prefills first, and untimed decode forwards before the first generation.
        pub warmup_runs: Option<Setting<Whole<0>>> = Spec::flag("warmup-runs", "N").default("5"),
        /// Timed prefills.
        pub prompt_runs: Option<Setting<Whole<1>>> = Spec::flag("prompt-runs", "N").default("100"),
        /// Timed generations.
        pub generations: Option<Setting<Whole<1>>> = Spec::flag("generations", "N"),
        /// Stop a cell's prefills and generations once the 95 % interval of the mean is within this share, such as 0.5%. At most
        /// --prompt-runs prefills, and as many generations unless `generations` is set.
        pub until: Option<Setting<Percentage>> = Spec::flag("until", "SHARE"),
        /// Fewest prefills and generations with --until [default: 5].
        pub min_runs: Option<Setting<Whole<2>>> = Spec::flag("min-runs", "N"),
        /// Measure every cell in so many fresh workers, or turns (replicates).
        pub replicates: Option<Setting<Whole<1>>> = Spec::flag("replicates", "N").default("1"),
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
    fn read(file: &File<'_>, entry: Entry<'_>) -> Result<Self, SettingsError> {
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
        json!({ "type": "object", "description": help, "additionalProperties": { "type": "object" } })
    }
}

fn tables<'a>(file: &File<'_>, entry: Entry<'a>) -> Result<Vec<(String, Entry<'a>)>, SettingsError> {
    let origin = file.origin(&entry);
    entry.entries().ok_or_else(|| origin.error("expected a table of an engine's options"))
}
