//! What measuring takes: a sweep's overrides, engines, and how workers are started.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::ArgAction;
use harness::{Engines, Settings};
use protocol::{Device, Precision};
use toml::Value;

/// How to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct MeasureArgs {
    /// Do not hold the engines against each other before they are timed.
    #[arg(long)]
    pub(crate) no_verify: bool,
    /// Do not measure first what the device can do at most.
    #[arg(long)]
    pub(crate) no_ceilings: bool,
    /// Refuse to measure on a GPU that other programs use, too.
    #[arg(long)]
    pub(crate) exclusive: bool,
    /// Show the sweep as a live picture; q stops it in order. Where stderr is no terminal, lines as without it.
    #[arg(long)]
    pub(crate) watch: bool,
    #[command(flatten)]
    pub(crate) overrides: Overrides,
    #[command(flatten)]
    pub(crate) setup: SetupArgs,
}

impl MeasureArgs {
    /// Sets what was given over the sweep's settings.
    pub(crate) fn overlay(&self, settings: &mut Settings) -> Result<()> {
        self.overrides.overlay(settings);
        self.setup.overlay(settings)
    }
}

/// How workers are started and models loaded.
#[derive(Debug, clap::Args)]
pub(crate) struct SetupArgs {
    /// Where to compute: cpu, cuda or cuda:N.
    #[arg(long)]
    pub(crate) device: Option<Device>,
    /// fp32, fp16 or bf16: of weights, activations and KV cache.
    #[arg(long)]
    pub(crate) precision: Option<Precision>,
    /// Ranks that share a model (tensor parallelism), started with mpirun; the GPUs from --device on.
    #[arg(long, value_name = "N")]
    pub(crate) world_size: Option<u32>,
    /// The machines of the ranks, as `mpirun --hostfile` reads it.
    #[arg(long, value_name = "FILE")]
    pub(crate) hostfile: Option<PathBuf>,
    /// Threads of an engine's pool [default: one a core, shared by the ranks].
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<u32>,
    /// The most memory a worker may use (private memory and mapped weights), such as 1GiB.
    #[arg(long, value_name = "SIZE")]
    pub(crate) memory_limit: Option<String>,
    /// Limit an engine's GPU memory, such as 80GB (--memory-limit limits host memory).
    #[arg(long, value_name = "SIZE")]
    pub(crate) device_memory_limit: Option<String>,
    /// Measure only rank 0 of --world-size ranks: one process, one device, no all-reduce.
    #[arg(long)]
    pub(crate) one_rank: bool,
    /// The most seconds that loading, or a cell, may take [default: 3600].
    #[arg(long, value_name = "SECONDS")]
    pub(crate) timeout_seconds: Option<f64>,
    /// The most seconds of a phase (load, prompt or decode), such as load=600; may be repeated.
    #[arg(long = "phase-timeout", value_name = "PHASE=SECONDS", action = ArgAction::Append)]
    pub(crate) phase_timeouts: Vec<String>,
    /// An engine's own option, such as pytorch-eager.attention=eager; may be repeated.
    #[arg(long = "option", value_name = "ENGINE.KEY=VALUE", action = ArgAction::Append)]
    pub(crate) options: Vec<String>,
    #[command(flatten)]
    pub(crate) engines: EnginesArgs,
}

/// Which engines there are.
#[derive(Debug, clap::Args)]
pub(crate) struct EnginesArgs {
    /// Another list of engines than the built-in configs/engines.toml.
    #[arg(long, value_name = "FILE")]
    engines_file: Option<PathBuf>,
}

impl EnginesArgs {
    /// The file, where another than the built-in one was given.
    pub(crate) fn file(&self) -> Option<&Path> {
        self.engines_file.as_deref()
    }

    /// The engines to choose from.
    pub(crate) fn read(&self) -> Result<Engines> {
        self.engines_file.as_deref().map_or_else(|| Ok(Engines::built_in()), read_engines)
    }
}

/// Reads an `engines.toml`.
pub(crate) fn read_engines(path: &Path) -> Result<Engines> {
    let text = llama::read_text(path).with_context(|| path.display().to_string())?;
    let base = path.parent().unwrap_or(path);
    Ok(Engines::parse(&text, &path.display().to_string(), base)?)
}

impl SetupArgs {
    /// Sets what was given over the sweep's settings.
    pub(crate) fn overlay(&self, settings: &mut Settings) -> Result<()> {
        let mut set = |key: &str, flag: &str, value: Option<Value>| {
            if let Some(value) = value {
                settings.set(key, flag, value);
            }
        };
        set("device", "--device", self.device.map(|device| device.to_string().into()));
        set("precision", "--precision", self.precision.map(|precision| precision.to_string().into()));
        set("world_size", "--world-size", self.world_size.map(|size| i64::from(size).into()));
        let hostfile = self.hostfile.as_ref().map(|path| path.display().to_string().into());
        set("hostfile", "--hostfile", hostfile);
        set("threads", "--threads", self.threads.map(|threads| i64::from(threads).into()));
        set("memory_limit", "--memory-limit", self.memory_limit.clone().map(Value::from));
        let device_memory_limit = self.device_memory_limit.clone().map(Value::from);
        set("device_memory_limit", "--device-memory-limit", device_memory_limit);
        set("one_rank", "--one-rank", self.one_rank.then(|| true.into()));
        set("timeout_seconds", "--timeout-seconds", self.timeout_seconds.map(Value::from));
        for timeout in &self.phase_timeouts {
            let split =
                timeout.split_once('=').and_then(|(phase, seconds)| Some((phase, seconds.parse().ok()?)));
            let Some((phase @ ("load" | "prompt" | "decode"), seconds)) = split else {
                bail!(
                    "--phase-timeout: expected load, prompt or decode, =, and seconds, found \"{timeout}\""
                );
            };
            settings.set(
                &format!("phase_timeout_seconds.{phase}"),
                &format!("--phase-timeout {phase}"),
                Value::Float(seconds),
            );
        }
        self.options.iter().try_for_each(|option| set_option(settings, "--option", option))
    }
}

/// Sets an engine's option, given as `ENGINE.KEY=VALUE` after `flag`.
pub(crate) fn set_option(settings: &mut Settings, flag: &str, option: &str) -> Result<()> {
    let split = option.split_once('=').and_then(|(name, value)| Some((name.split_once('.')?, value)));
    let Some(((engine, key), value)) = split else {
        bail!("{flag}: expected ENGINE.KEY=VALUE, found \"{option}\"");
    };
    let value = value.parse::<Value>().unwrap_or_else(|_| value.into());
    settings.set(&format!("options.{engine}.{key}"), &format!("{flag} {engine}.{key}"), value);
    Ok(())
}

/// What overrides the sweep's file.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Overrides {
    /// Engines, in the order of the rows.
    #[arg(long = "engine", value_name = "ENGINE", value_delimiter = ',')]
    pub(crate) engines: Vec<String>,
    /// Models: names, or checkpoints' folders.
    #[arg(long = "model", value_name = "NAME|DIR", value_delimiter = ',')]
    pub(crate) models: Vec<String>,
    /// Sequences at once.
    #[arg(long = "batch-size", value_name = "B", value_delimiter = ',')]
    pub(crate) batch_sizes: Vec<u32>,
    /// Tokens of the prompt.
    #[arg(long = "prompt-length", value_name = "P", value_delimiter = ',')]
    pub(crate) prompt_lengths: Vec<u32>,
    /// Decode forwards of a generation.
    #[arg(long, value_name = "G")]
    pub(crate) generation_length: Option<u32>,
    /// Untimed prefills first, and untimed decode forwards before the first generation.
    #[arg(long, value_name = "N")]
    pub(crate) warmup_runs: Option<u32>,
    /// Timed prefills.
    #[arg(long, value_name = "N")]
    pub(crate) prompt_runs: Option<u32>,
    /// Timed generations.
    #[arg(long, value_name = "N")]
    pub(crate) generations: Option<u32>,
    /// Stop a cell's prefills and generations once the 95 % interval of the mean is within this share, such as 0.5%. At most
    /// --prompt-runs prefills, and as many generations unless `generations` is set.
    #[arg(long, value_name = "SHARE")]
    pub(crate) until: Option<String>,
    /// Fewest prefills and generations with --until [default: 5].
    #[arg(long, value_name = "N")]
    pub(crate) min_runs: Option<u32>,
    /// Measure every cell in so many fresh workers.
    #[arg(long, value_name = "N")]
    pub(crate) replicates: Option<u32>,
    /// A worker for all cells of an engine, or a fresh one for every cell.
    #[arg(long, value_name = "engine|cell")]
    pub(crate) isolation: Option<String>,
    /// What the device can do at most is measured once a run; or, how fast a CPU reads memory, beside every cell, too.
    #[arg(long, value_name = "run|cell")]
    pub(crate) ceilings: Option<String>,
    /// Of several ranks: also run an untimed generation that says which share of the time passes in collectives.
    #[arg(long)]
    pub(crate) collectives: bool,
    /// Once a cell is out of memory, do not try those that need at least as much: they are OOM, and marked inferred.
    #[arg(long)]
    pub(crate) prune_oom: bool,
    /// Of seeded weights and prompts.
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u32>,
    /// Wait this long before each cell, with the device idle, so that cells start at similar temperatures [default: 0].
    #[arg(long = "cool-down", value_name = "SECONDS")]
    pub(crate) cool_down: Option<f64>,
    /// Measure a cell again, at most N times, if the GPU throttled for a reason other than its power limit [default: 2].
    #[arg(long, value_name = "N")]
    pub(crate) throttle_retries: Option<u32>,
    /// Lock the GPU's clock while measuring: base, or a clock in MHz. Needs root; unlocked when the run ends, also after an error or a kill.
    #[arg(long, value_name = "base|MHZ")]
    pub(crate) lock_gpu_clocks: Option<String>,
}

impl Overrides {
    /// The flag that would set something, where one was given.
    pub(crate) fn overlay(&self, settings: &mut Settings) {
        let words = |words: &[String]| {
            (!words.is_empty()).then(|| Value::Array(words.iter().cloned().map(Value::from).collect()))
        };
        let sizes = |sizes: &[u32]| {
            (!sizes.is_empty())
                .then(|| Value::Array(sizes.iter().map(|&size| i64::from(size).into()).collect()))
        };
        let whole = |number: Option<u32>| number.map(|number| i64::from(number).into());
        let given = [
            ("engines", "--engine", words(&self.engines)),
            ("models", "--model", words(&self.models)),
            ("batch_sizes", "--batch-size", sizes(&self.batch_sizes)),
            ("prompt_lengths", "--prompt-length", sizes(&self.prompt_lengths)),
            ("generation_length", "--generation-length", whole(self.generation_length)),
            ("procedure.warmup_runs", "--warmup-runs", whole(self.warmup_runs)),
            ("procedure.prompt_runs", "--prompt-runs", whole(self.prompt_runs)),
            ("procedure.generations", "--generations", whole(self.generations)),
            ("procedure.until", "--until", self.until.clone().map(Value::from)),
            ("procedure.min_runs", "--min-runs", whole(self.min_runs)),
            ("procedure.replicates", "--replicates", whole(self.replicates)),
            ("isolation", "--isolation", self.isolation.clone().map(Value::from)),
            ("ceilings", "--ceilings", self.ceilings.clone().map(Value::from)),
            ("collectives", "--collectives", self.collectives.then(|| true.into())),
            ("prune_oom", "--prune-oom", self.prune_oom.then(|| true.into())),
            ("seed", "--seed", whole(self.seed)),
            ("cool_down_seconds", "--cool-down", self.cool_down.map(Value::from)),
            ("throttle_retries", "--throttle-retries", whole(self.throttle_retries)),
            ("lock_gpu_clocks", "--lock-gpu-clocks", self.lock_gpu_clocks.clone().map(Value::from)),
        ];
        for (key, flag, value) in given {
            if let Some(value) = value {
                settings.set(key, flag, value);
            }
        }
    }
}
