//! The command line.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::{ArgAction, Parser, Subcommand, ValueEnum};
use harness::{Engines, Settings};
use protocol::{Device, Precision};
use toml::Value;

/// Regenerates the published LLaMA-2 latency and throughput tables: sweeps engine × batch size × prompt length,
/// each engine in a worker process of its own, every record on disk when it is shown.
///
/// Exit codes: 0 done · 1 a cell failed other than by memory, an engine computes something else than the others, a figure is
/// impossible or a row not reproduced · 2 bad input or a broken set-up · 3 nothing could be compared · 130 interrupted. A cell
/// that ran out of memory is a result, not a failure.
#[derive(Debug, Parser)]
#[command(name = "llama2-bench", version = version(), max_term_width = 110)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

fn version() -> &'static str {
    match option_env!("LLAMA2_BENCH_REVISION") {
        Some(revision) => Box::leak(format!("{} ({revision})", env!("CARGO_PKG_VERSION")).into_boxed_str()),
        None => env!("CARGO_PKG_VERSION"),
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Measure a sweep and print its table.
    Run(RunArgs),
    /// Print the table of earlier runs, or of files with published ones.
    Table(TableArgs),
    /// Check tables against arithmetic and physics.
    Audit(AuditArgs),
    /// Measure the rows of a published table here, and hold them against it.
    Reproduce(ReproduceArgs),
    /// Put a table into a file.
    Report(ReportArgs),
    /// Generate greedily from a prompt.
    Generate(GenerateArgs),
    /// Hold the engines' logits and tokens against each other.
    Verify(VerifyArgs),
    /// Write a checkpoint of seeded random weights.
    Synth(SynthArgs),
    /// Write a checkpoint as an ONNX model.
    Export(ExportArgs),
    /// Say which engines can be used here, and why others can't.
    Doctor(DoctorArgs),
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
    /// Threads of an engine's pool [default: one a core].
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<u32>,
    /// The most memory a worker may use (private memory and mapped weights), such as 1GiB.
    #[arg(long, value_name = "SIZE")]
    pub(crate) memory_limit: Option<String>,
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
        let Some(path) = &self.engines_file else { return Ok(Engines::built_in()) };
        let text = llama::read_text(path).with_context(|| path.display().to_string())?;
        let base = path.parent().unwrap_or(path);
        Ok(Engines::parse(&text, &path.display().to_string(), base)?)
    }
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
        set("threads", "--threads", self.threads.map(|threads| i64::from(threads).into()));
        set("memory_limit", "--memory-limit", self.memory_limit.clone().map(Value::from));
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
        for option in &self.options {
            let split = option.split_once('=').and_then(|(name, value)| Some((name.split_once('.')?, value)));
            let Some(((engine, key), value)) = split else {
                bail!("--option: expected ENGINE.KEY=VALUE, found \"{option}\"");
            };
            let value = value.parse::<Value>().unwrap_or_else(|_| value.into());
            settings.set(&format!("options.{engine}.{key}"), &format!("--option {engine}.{key}"), value);
        }
        Ok(())
    }
}

#[derive(Debug, clap::Args)]
pub(crate) struct RunArgs {
    /// The sweep [default: configs/quick.toml, which is built in].
    #[arg(value_name = "SWEEP.toml")]
    pub(crate) sweep: Option<PathBuf>,
    /// Print the cells and what each will need in memory; measure nothing.
    #[arg(long)]
    pub(crate) list: bool,
    /// Measure only what this earlier run's folder lacks; by its own sweep where no other is given.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["out", "list"])]
    pub(crate) resume: Option<PathBuf>,
    /// Let --resume go on with another sweep, model, library or machine; the table says which rows are whose.
    #[arg(long, requires = "resume")]
    pub(crate) allow_mixed: bool,
    /// The run's folder [default: runs/TIME-SWEEP].
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Do not hold the engines against each other before they are timed.
    #[arg(long)]
    pub(crate) no_verify: bool,
    #[command(flatten)]
    pub(crate) overrides: Overrides,
    #[command(flatten)]
    pub(crate) setup: SetupArgs,
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
    /// Measure every cell in so many fresh workers.
    #[arg(long, value_name = "N")]
    pub(crate) replicates: Option<u32>,
    /// A worker for all cells of an engine, or a fresh one for every cell.
    #[arg(long, value_name = "engine|cell")]
    pub(crate) isolation: Option<String>,
    /// Once a cell is out of memory, do not try those that need at least as much: they are OOM, and marked inferred.
    #[arg(long)]
    pub(crate) prune_oom: bool,
    /// Of seeded weights and prompts.
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u32>,
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
            ("procedure.replicates", "--replicates", whole(self.replicates)),
            ("isolation", "--isolation", self.isolation.clone().map(Value::from)),
            ("prune_oom", "--prune-oom", self.prune_oom.then(|| true.into())),
            ("seed", "--seed", whole(self.seed)),
        ];
        for (key, flag, value) in given {
            if let Some(value) = value {
                settings.set(key, flag, value);
            }
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// The documents' format.
    Markdown,
    /// The documents' columns and texts, then spread, memory and outcome.
    Csv,
    /// Every summary, in seconds and bytes.
    Json,
    /// For a screen.
    Terminal,
}

#[derive(Debug, clap::Args)]
pub(crate) struct TableArgs {
    /// Runs' folders; markdown, csv or json files with tables of the documents' columns.
    #[arg(value_name = "RUN|FILE", required = true)]
    pub(crate) runs: Vec<PathBuf>,
    /// How to print [default: terminal on a screen, else markdown].
    #[arg(long)]
    pub(crate) format: Option<Format>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct AuditArgs {
    /// Runs' folders; markdown, csv or json files with tables of the documents' columns.
    #[arg(value_name = "RUN|FILE", required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
    /// Another list of devices' peaks than the built-in configs/hardware.toml.
    #[arg(long, value_name = "FILE")]
    pub(crate) hardware: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ReproduceArgs {
    /// A markdown, csv or json file with tables of the documents' columns.
    pub(crate) file: PathBuf,
    /// Only this table of the file, from 1.
    #[arg(long, value_name = "N")]
    pub(crate) table: Option<usize>,
    /// Print what would run here, and what can't and why; measure nothing.
    #[arg(long)]
    pub(crate) list: bool,
    /// Hold an earlier run's folder against the table instead of measuring.
    #[arg(long, value_name = "RUN", conflicts_with_all = ["list", "out"])]
    pub(crate) from: Option<PathBuf>,
    /// The run's folder [default: runs/TIME-FILE-N].
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// The difference of a latency that counts as none, such as 10%.
    #[arg(long, value_name = "SHARE", default_value = "10%", value_parser = parse_share)]
    pub(crate) tolerance: f64,
    /// Do not hold the engines against each other before they are timed.
    #[arg(long)]
    pub(crate) no_verify: bool,
    #[command(flatten)]
    pub(crate) overrides: Overrides,
    #[command(flatten)]
    pub(crate) setup: SetupArgs,
}

/// `10%`, `2.5 %`.
fn parse_share(text: &str) -> Result<f64, String> {
    let number = text.trim().strip_suffix('%').and_then(|number| number.trim().parse::<f64>().ok());
    let share = number.map(|percent| percent / 100.0).filter(|share| (0.0..=10.0).contains(share));
    share.ok_or_else(|| "expected a share such as 10%".into())
}

#[derive(Debug, clap::Args)]
pub(crate) struct ReportArgs {
    /// Runs' folders; markdown, csv or json files with tables of the documents' columns.
    #[arg(value_name = "RUN|FILE", required = true)]
    pub(crate) runs: Vec<PathBuf>,
    /// Replace what stands between the lines <!-- llama2-bench:table --> and <!-- llama2-bench:end --> of this file.
    #[arg(long, value_name = "FILE")]
    pub(crate) splice: PathBuf,
}

#[derive(Debug, clap::Args)]
pub(crate) struct GenerateArgs {
    /// The engine.
    #[arg(long)]
    pub(crate) engine: String,
    /// A checkpoint's folder, or a model's name for seeded weights.
    #[arg(long, value_name = "DIR|NAME")]
    pub(crate) model: String,
    /// A text; needs the checkpoint's tokenizer.json.
    #[arg(long, value_name = "TEXT", required_unless_present = "prompt_ids", conflicts_with = "prompt_ids")]
    pub(crate) prompt: Option<String>,
    /// Token ids.
    #[arg(long, value_name = "IDS", value_delimiter = ',')]
    pub(crate) prompt_ids: Vec<u32>,
    /// The prompt, so many times at once.
    #[arg(long, value_name = "B", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) batch_size: u32,
    /// Tokens to generate; never stops at EOS.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_new_tokens: u32,
    /// Print {"tokens": [[…]], "logits_sha256": …}: new tokens only, one row a batch row.
    #[arg(long)]
    pub(crate) json: bool,
    /// Of a named model's weights.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u32,
    #[command(flatten)]
    pub(crate) setup: SetupArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct VerifyArgs {
    /// Engines [default: onnxruntime, pytorch-eager, pytorch-compile].
    #[arg(long = "engine", value_name = "ENGINE", value_delimiter = ',')]
    pub(crate) engines: Vec<String>,
    /// Models: names, or checkpoints' folders [default: llama2-15m].
    #[arg(long = "model", value_name = "NAME|DIR", value_delimiter = ',')]
    pub(crate) models: Vec<String>,
    /// Of seeded weights and prompts.
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u32>,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) setup: SetupArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct SynthArgs {
    /// A model's name, or a config.json.
    #[arg(long, value_name = "NAME|FILE")]
    pub(crate) model: String,
    /// The folder to write.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// Of the weights.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,
    /// fp32, fp16 or bf16: how the weights are stored.
    #[arg(long, default_value = "fp32")]
    pub(crate) precision: Precision,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ExportArgs {
    /// The checkpoint's folder.
    #[arg(long, value_name = "DIR")]
    pub(crate) model: PathBuf,
    /// The folder to write: model.onnx, its weights, and the checkpoint's config.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// fp32 or fp16.
    #[arg(long, default_value = "fp32")]
    pub(crate) precision: Precision,
    /// Also write ONNX Runtime's optimised graph, model.optimized.onnx.
    #[arg(long)]
    pub(crate) optimized: bool,
    #[command(flatten)]
    pub(crate) engines: EnginesArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct DoctorArgs {
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) engines: EnginesArgs,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        super::Args::command().debug_assert();
    }
}
