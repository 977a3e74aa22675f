//! The command line.

mod check_worker;
mod judge;
mod lists;
mod measure;
mod read;

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Parser, Subcommand, ValueEnum};
use protocol::{CellSize, Precision, Share};

pub(crate) use check_worker::{CheckFormat, CheckWorkerArgs};
pub(crate) use judge::{JudgeArgs, Outcome, Output, OutputFormat, parse_share};
pub(crate) use lists::join_lists;
pub(crate) use measure::{EnginesArgs, MeasureArgs, SetupArgs, read_engines};
pub(crate) use read::{ReadArgs, check_heading};

/// Regenerates the published LLaMA-2 latency and throughput tables: sweeps engine × batch size × prompt length,
/// each engine in a worker process of its own, every record on disk when it is shown.
///
/// Exit codes: 0 done · 1 a regression, a cell failed other than by memory, an engine computes something else than the others, a
/// figure is impossible or a row not reproduced · 2 bad input or a broken set-up · 3 inconclusive, or nothing could be compared ·
/// 130 interrupted. A cell that ran out of memory is a result, not a failure.
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
    /// Join runs that each measured a share of one sweep into one run.
    Merge(MergeArgs),
    /// Print the table of earlier runs, or of files with published ones.
    Table(TableArgs),
    /// Check tables against arithmetic and physics.
    Audit(AuditArgs),
    /// Measure the rows of a published table here, and hold them against it.
    Reproduce(ReproduceArgs),
    /// Compare a run with another run or a published table: a verdict for every cell and metric.
    Compare(CompareArgs),
    /// Measure this machine against itself: which threshold a number of replicates can hold.
    Noise(NoiseArgs),
    /// Hold an engine against the others of the same run: how many times as fast it is.
    Ratios(RatiosArgs),
    /// Show how a machine's runs went over revisions, and where they changed.
    History(HistoryArgs),
    /// Write a page to look at: plots, tables and what speaks against a run; or put a table into a file.
    Report(ReportArgs),
    /// Generate greedily from a prompt.
    Generate(GenerateArgs),
    /// Hold the engines' logits and tokens against each other.
    Verify(VerifyArgs),
    /// Write a checkpoint of seeded random weights.
    Synth(SynthArgs),
    /// Write a checkpoint as an ONNX model.
    Export(ExportArgs),
    /// Measure what a device can do at most: how fast it reads memory and multiplies matrices.
    Peaks(PeaksArgs),
    /// Say which engines can be used here, and why others can't.
    Doctor(DoctorArgs),
    /// Check that a worker keeps to the protocol.
    CheckWorker(CheckWorkerArgs),
}

/// How to have a profiler see one cell and nothing else.
const PROFILING: &str = "\
Profile one cell of one engine, without loading, warm-ups and other cells:
  nsys profile --trace=cuda,nvtx --capture-range=cudaProfilerApi --capture-range-end=stop \\
      llama2-bench run SWEEP.toml --engine ENGINE --profile 1x256
  ncu --target-processes all --profile-from-start off --nvtx --nvtx-include 'decode 1x256/' \\
      llama2-bench run SWEEP.toml --engine ENGINE --profile 1x256
NVTX ranges: prefill 1x256, select 1x256, decode 1x256. For the kernels of a CUDA graph add \
--cuda-graph-trace=node to nsys.";

#[derive(Debug, clap::Args)]
#[command(after_help = PROFILING)]
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
    /// Measure a share of the cells alone, such as 2/8, into a folder of its own; `merge` joins them.
    #[arg(long, value_name = "I/N", conflicts_with_all = ["against", "against_options", "list", "resume"])]
    pub(crate) shard: Option<Share>,
    /// Measure the same interleaved with a baseline, then compare: another engines.toml, or the folder of another build's
    /// workers. The run's folder has a folder for each, and 5 replicates unless set otherwise.
    #[arg(long, value_name = "FILE|DIR", conflicts_with = "list")]
    pub(crate) against: Option<PathBuf>,
    /// Like --against, with another option of an engine, or the same engines with it; may be repeated.
    #[arg(long = "against-option", value_name = "ENGINE.KEY=VALUE", action = ArgAction::Append, conflicts_with = "list")]
    pub(crate) against_options: Vec<String>,
    /// Run one untimed prefill and one decode forward of this cell, such as 1x256, for nsys or ncu; keep nothing. Examples
    /// are below.
    #[arg(
        long,
        value_name = "CELL",
        conflicts_with_all = ["list", "resume", "out", "shard", "against", "against_options", "dir", "watch", "replicates"]
    )]
    pub(crate) profile: Option<CellSize>,
    /// With --against: measure what regressed or is inconclusive again, for at most this long, e.g. 15m. Its verdicts are then of the
    /// new measurement alone, and the chance of a false alarm stays what it is.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) budget: Option<Duration>,
    /// Like --budget, without a limit: until nothing is open.
    #[arg(long, conflicts_with = "budget")]
    pub(crate) until_clear: bool,
    #[command(flatten)]
    pub(crate) judge: JudgeArgs,
    #[command(flatten)]
    pub(crate) history: HistoryFlags,
    #[command(flatten)]
    pub(crate) measure: MeasureArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct MergeArgs {
    /// The folders of `run --shard`: of the same sweep, procedure, program and libraries.
    #[arg(value_name = "RUN", required = true)]
    pub(crate) runs: Vec<PathBuf>,
    /// The folder of the whole run.
    #[arg(long, short, value_name = "DIR")]
    pub(crate) out: PathBuf,
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
    /// llama.cpp's llama-bench -o json: prefill, decode and generation of the cells of batch size 1.
    LlamaBench,
    /// The same records, one a line: llama-bench -o jsonl.
    LlamaBenchJsonl,
    /// Bencher Metric Format: latencies in nanoseconds and peak memory in bytes, with 95 % intervals.
    Bencher,
    /// Latencies and peak memory for github-action-benchmark's customSmallerIsBetter.
    GithubActionSmaller,
    /// Throughputs for github-action-benchmark's customBiggerIsBetter.
    GithubActionBigger,
    /// Go's benchmark format, for benchstat: a line for each replicate.
    Go,
}

#[derive(Debug, clap::Args)]
pub(crate) struct TableArgs {
    /// Runs' folders; markdown, csv or json files with tables; results of llama-bench, sglang, vllm or optimum-benchmark; llama2-a100 or
    /// llama2-a100-2024, the built-in published ones.
    #[arg(value_name = "RUN|FILE", required = true)]
    pub(crate) runs: Vec<PathBuf>,
    /// How to print [default: terminal on a screen, else markdown].
    #[arg(long)]
    pub(crate) format: Option<Format>,
    /// Published tables for the "left for collectives" comparison under a table of --one-rank [default: the built-in ones].
    #[arg(long, value_name = "FILE")]
    pub(crate) published: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) read: ReadArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct AuditArgs {
    /// Runs' folders; markdown, csv or json files with tables; results of llama-bench, sglang, vllm or optimum-benchmark; llama2-a100 or
    /// llama2-a100-2024, the built-in published ones.
    #[arg(value_name = "RUN|FILE", required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// Print each finding on its own line instead of one line per rule and engine.
    #[arg(long, conflicts_with = "json")]
    pub(crate) details: bool,
    /// Print JSON: groups and every finding.
    #[arg(long)]
    pub(crate) json: bool,
    /// Another list of devices' peaks than the built-in configs/hardware.toml.
    #[arg(long, value_name = "FILE")]
    pub(crate) hardware: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) read: ReadArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ReproduceArgs {
    /// A markdown, csv or json file with tables; llama2-a100 or llama2-a100-2024, the built-in published ones. Where it has no column
    /// of engines, --engine says which engine it is.
    pub(crate) file: PathBuf,
    /// The heading of tables that have none which says model, precision and device.
    #[arg(long, value_name = "TEXT")]
    pub(crate) heading: Option<String>,
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
    #[command(flatten)]
    pub(crate) measure: MeasureArgs,
}

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes: 0 nothing regressed · 1 a regression · 2 bad input, or what can't be compared · 3 inconclusive. \
                  Provisional verdicts, of two separate runs without a history or of a published table without --threshold, pass unless \
                  --provisional fail."
)]
pub(crate) struct CompareArgs {
    /// The baseline: a run's folder; a markdown, csv or json file with tables; results of llama-bench, sglang, vllm or optimum-benchmark;
    /// llama2-a100 or llama2-a100-2024, the built-in published ones.
    pub(crate) baseline: PathBuf,
    /// What is compared with it.
    pub(crate) candidate: PathBuf,
    /// Take from the runs that `run --history` kept in this folder how far separate runs of the machine differ without a change.
    #[arg(long, value_name = "DIR")]
    pub(crate) history: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) read: ReadArgs,
    #[command(flatten)]
    pub(crate) judge: JudgeArgs,
}

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Measures every cell in pairs of replicates of one build, as `run --against` does, and says how large a change must be to be told from \
                  that. A threshold below it makes `compare` inconclusive."
)]
pub(crate) struct NoiseArgs {
    /// The sweep [default: configs/quick.toml, which is built in].
    #[arg(value_name = "SWEEP.toml")]
    pub(crate) sweep: Option<PathBuf>,
    /// The folder of the two sides [default: runs/TIME-SWEEP-noise].
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Measure nothing: take the folder of an earlier `noise`, or of a `run --against` of one build.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["sweep", "out"])]
    pub(crate) from: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) measure: MeasureArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct RatiosArgs {
    /// A run's folder; a markdown, csv or json file with tables; results of llama-bench, sglang, vllm or optimum-benchmark; llama2-a100 or
    /// llama2-a100-2024, the built-in published ones.
    #[arg(value_name = "RUN|FILE")]
    pub(crate) run: PathBuf,
    /// The engine.
    pub(crate) engine: String,
    /// What it is held against [default: all others].
    #[arg(value_name = "OTHER")]
    pub(crate) others: Vec<String>,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) read: ReadArgs,
}

/// Where a run is kept for later.
#[derive(Debug, clap::Args)]
pub(crate) struct HistoryFlags {
    /// Also keep the run's replicates as a small file in this folder, for `history`.
    #[arg(long = "history", value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// What the run is of, such as a commit [default: this program's own revision].
    #[arg(long, value_name = "REVISION", requires = "dir")]
    pub(crate) revision: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct HistoryArgs {
    /// The folder that `run --history` writes to.
    pub(crate) dir: PathBuf,
    /// First add this earlier run; may be repeated.
    #[arg(long, value_name = "RUN", action = ArgAction::Append)]
    pub(crate) add: Vec<PathBuf>,
    /// What the added runs are of, such as a commit [default: the revision of the program that measured them].
    #[arg(long, value_name = "REVISION", requires = "add")]
    pub(crate) revision: Option<String>,
    /// Show every cell, not only each engine's mean.
    #[arg(long)]
    pub(crate) cells: bool,
    /// The change of level that counts as none, such as 5%.
    #[arg(long, value_name = "SHARE", default_value = "5%", value_parser = parse_share)]
    pub(crate) threshold: f64,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ReportArgs {
    /// Runs' folders, the first what others are held against; for --splice also files with tables.
    #[arg(value_name = "RUN|FILE", required = true)]
    pub(crate) runs: Vec<PathBuf>,
    /// The page: one HTML file with everything in it.
    #[arg(short, long, value_name = "FILE", default_value = "report.html")]
    pub(crate) out: PathBuf,
    /// Also write each plot into this folder, as .svg and .png.
    #[arg(long, value_name = "DIR")]
    pub(crate) plots: Option<PathBuf>,
    /// Write no page: replace what stands between the lines <!-- llama2-bench:table --> and <!-- llama2-bench:end --> of this
    /// file.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["out", "plots"])]
    pub(crate) splice: Option<PathBuf>,
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
    /// Seed for the generated weights of a named model.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u32,
    #[command(flatten)]
    pub(crate) setup: SetupArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct VerifyArgs {
    /// Engines [default: onnxruntime, pytorch-eager, pytorch-compile].
    #[arg(long = "engine", value_name = "ENGINE")]
    pub(crate) engines: Vec<String>,
    /// Models: names, or checkpoints' folders [default: llama2-15m].
    #[arg(long = "model", value_name = "NAME|DIR")]
    pub(crate) models: Vec<String>,
    /// Seed for generated weights and prompts.
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u32>,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) setup: SetupArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct PeaksArgs {
    /// Engines whose libraries to measure with [default: onnxruntime, pytorch-eager].
    #[arg(long = "engine", value_name = "ENGINE")]
    pub(crate) names: Vec<String>,
    /// Also repeat the fastest product this long, for a sustained peak; 0 measures a burst alone [default: 3 on a GPU, else 0].
    #[arg(long, value_name = "SECONDS", value_parser = parse_sustained)]
    pub(crate) sustained: Option<f64>,
    /// Wait, 60 s at most, until other processes use at most 10 % of the processors' time; refuse to measure where they do not.
    #[arg(long)]
    pub(crate) require_idle: bool,
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
    /// Seed for the weights.
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
    /// The folder to write: model.onnx, its weights, and the checkpoint's config. Its batches may be padded on either side.
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

/// `90s`, `15m`, `1h30m`: numbers with units.
fn parse_duration(text: &str) -> Result<Duration, String> {
    let span: Result<jiff::SignedDuration, _> = text.parse();
    let duration =
        span.ok().and_then(|span| Duration::try_from(span).ok()).filter(|duration| !duration.is_zero());
    duration.ok_or_else(|| format!("expected a duration such as 15m or 90s, found \"{text}\""))
}

/// A minute is long enough for any device's clocks to settle.
fn parse_sustained(text: &str) -> Result<f64, String> {
    let seconds = text.parse().ok().filter(|seconds| (0.0..=60.0).contains(seconds));
    seconds.ok_or_else(|| format!("expected seconds from 0 to 60, found \"{text}\""))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        super::Args::command().debug_assert();
    }
}
