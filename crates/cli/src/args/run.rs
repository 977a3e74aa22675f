//! Flags of the commands that measure a sweep.

use std::path::PathBuf;
use std::time::Duration;

use clap::ArgAction;
use protocol::{CellSize, Share};

use super::headings::{COMPARISON, GPU, OUTPUT, WHAT};
use super::judge::{JudgeArgs, parse_share};
use super::lists::whole_from;
use super::measure::{MeasureArgs, SetupArgs};
use super::output::{FormatArgs, ResultArgs};

const RUN_EXAMPLES: &str = "\
Examples:
  Measure the default sweep, about a minute:
    llama2-bench run
  Show cells, memory and time; measure nothing:
    llama2-bench run --list
  Choose engines and batch sizes:
    llama2-bench run --engine onnxruntime,pytorch-eager --batch-size 1,8
  Continue an interrupted run:
    llama2-bench run --resume runs/before
  Compare with the workers of another build:
    llama2-bench run --against ../main/target/release --budget 15m
  Compare two values of an engine's option:
    llama2-bench run --option onnxruntime.prepacking=false \\
        --against-option onnxruntime.prepacking=true
  Measure a part on each of two machines, then join the parts:
    llama2-bench run --shard 1/2 --out runs/1-of-2
    llama2-bench merge runs/1-of-2 runs/2-of-2 --out runs/whole

Profile one cell of one engine, without loading, warm-up and other cells:
    nsys profile --trace=cuda,nvtx --capture-range=cudaProfilerApi \\
        --capture-range-end=stop \\
        llama2-bench run --device cuda --engine onnxruntime --profile 1x256
    ncu --target-processes all --profile-from-start off \\
        --nvtx --nvtx-include 'decode 1x256/' \\
        llama2-bench run --device cuda --engine onnxruntime --profile 1x256
  NVTX ranges: prefill 1x256, select 1x256, decode 1x256.
  For the kernels of a CUDA graph, add --cuda-graph-trace=node to nsys.";

#[derive(Debug, clap::Args)]
#[command(after_long_help = RUN_EXAMPLES)]
pub(crate) struct RunArgs {
    /// Sweep to measure [default: built-in quick.toml].
    ///
    /// docs/reference/sweep.md describes its keys; flags replace what the file says.
    #[arg(value_name = "SWEEP.toml")]
    pub(crate) sweep: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) measure: MeasureArgs,
    /// Show the cells; measure nothing.
    ///
    /// Shows each cell, what it needs in memory, and how long the sweep will take. With --resume, the missing cells.
    /// --dry-run is the same.
    #[arg(long, alias = "dry-run", help_heading = WHAT)]
    pub(crate) list: bool,
    /// Continue an earlier run.
    ///
    /// Measures only its missing cells, with its own sweep if no other is given.
    #[arg(long, value_name = "DIR", conflicts_with = "out", help_heading = WHAT)]
    pub(crate) resume: Option<PathBuf>,
    /// Let --resume mix different set-ups.
    ///
    /// Sweep, model, library or machine may differ from the earlier run's. The table says which rows are from which.
    #[arg(long, requires = "resume", help_heading = WHAT)]
    pub(crate) allow_mixed: bool,
    /// Measure a part of the cells, e.g. 2/8.
    ///
    /// Each part has a folder of its own; `llama2-bench merge` joins them.
    #[arg(
        long,
        value_name = "I/N",
        conflicts_with_all = ["against", "against_options", "list", "resume"],
        help_heading = WHAT
    )]
    pub(crate) shard: Option<Share>,
    /// Run a cell once for nsys or ncu.
    ///
    /// Runs one untimed prefill and one decode forward of this cell, such as 1x256. Keeps nothing. Examples are below.
    #[arg(
        long,
        value_name = "CELL",
        conflicts_with_all = ["list", "resume", "out", "shard", "against", "against_options", "dir", "watch", "replicates"],
        help_heading = GPU
    )]
    pub(crate) profile: Option<CellSize>,
    /// A/B mode: compare with a baseline.
    ///
    /// Interleaves the run with a baseline, then compares. The baseline is another engines.toml, or the folder of another build's
    /// workers. The run's folder has one folder per side; 5 replicates unless set otherwise.
    #[arg(long, value_name = "FILE|DIR", conflicts_with = "list", help_heading = COMPARISON)]
    pub(crate) against: Option<PathBuf>,
    /// Give the baseline an engine option.
    ///
    /// ENGINE.KEY=VALUE. Like --against: the baseline has the same engines with this option. May be repeated.
    #[arg(
        long = "against-option",
        value_name = "OPTION",
        action = ArgAction::Append,
        conflicts_with = "list",
        help_heading = COMPARISON
    )]
    pub(crate) against_options: Vec<String>,
    /// Time for unclear cells, e.g. 15m.
    ///
    /// Needs --against. Measures cells again that regressed or are inconclusive, for at most this long.
    /// Verdicts are then from the new measurement alone, so the chance of a false alarm does not grow.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, help_heading = COMPARISON)]
    pub(crate) budget: Option<Duration>,
    /// Like --budget, without a limit.
    ///
    /// Measures until no cell is unclear.
    #[arg(long, conflicts_with = "budget", help_heading = COMPARISON)]
    pub(crate) until_clear: bool,
    #[command(flatten)]
    pub(crate) judge: JudgeArgs,
    /// Folder of the run [default: runs/TIME-SWEEP].
    #[arg(short, long, value_name = "DIR", help_heading = OUTPUT)]
    pub(crate) out: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) history: HistoryFlags,
}

/// Where a run is kept for later.
#[derive(Debug, clap::Args)]
pub(crate) struct HistoryFlags {
    /// Also keep the run for `history`.
    ///
    /// Keeps its replicates as a small file in this folder.
    #[arg(long = "history", value_name = "DIR", help_heading = OUTPUT)]
    pub(crate) dir: Option<PathBuf>,
    /// Name of the measured revision.
    ///
    /// The default is this program's own revision.
    #[arg(long, value_name = "REVISION", requires = "dir", help_heading = OUTPUT)]
    pub(crate) revision: Option<String>,
}

impl HistoryFlags {
    /// The flags that were given.
    pub(crate) fn words(&self) -> Vec<String> {
        let dir = self.dir.iter().map(|dir| ["--history".into(), dir.display().to_string()]);
        let revision = self.revision.iter().map(|name| ["--revision".into(), name.clone()]);
        dir.chain(revision).flatten().collect()
    }
}

const REPRODUCE_EXAMPLES: &str = "\
Examples:
  Show which rows of the published tables can run here, and why others cannot:
    llama2-bench reproduce llama2-a100 --list
  Measure the first table's rows of one engine with your own checkpoint:
    llama2-bench reproduce llama2-a100 --table 1 --engine onnxruntime \\
        --model path/to/llama2-7b
  Compare a run that is measured already:
    llama2-bench reproduce llama2-a100 --table 1 \\
        --from results/llama2-7b-h100 --tolerance 5%";

#[derive(Debug, clap::Args)]
#[command(after_long_help = REPRODUCE_EXAMPLES)]
pub(crate) struct ReproduceArgs {
    /// Published tables to reproduce.
    ///
    /// A markdown, csv or json file with tables, or llama2-a100 or llama2-a100-2024, the built-in published tables.
    /// If the file has no column of engines, --engine names its engine.
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) measure: MeasureArgs,
    /// Only this table of the file, from 1.
    #[arg(long, value_name = "N", value_parser = whole_from(1_usize), help_heading = WHAT)]
    pub(crate) table: Option<usize>,
    /// Heading of tables that have none.
    ///
    /// A heading says model, precision and device, e.g. "LLaMA-2 7B FP16 CUDA (1 A100 80GB)".
    #[arg(long, value_name = "TEXT", help_heading = WHAT)]
    pub(crate) heading: Option<String>,
    /// Show what can run here; measure nothing.
    ///
    /// Also shows which rows cannot run here, and why. --dry-run is the same.
    #[arg(long, alias = "dry-run", help_heading = WHAT)]
    pub(crate) list: bool,
    /// Compare this run; measure nothing.
    #[arg(long, value_name = "RUN", conflicts_with_all = ["list", "out"], help_heading = COMPARISON)]
    pub(crate) from: Option<PathBuf>,
    /// Ignore differences up to this.
    #[arg(
        long,
        value_name = "SHARE",
        default_value = "10%",
        value_parser = parse_share,
        help_heading = COMPARISON
    )]
    pub(crate) tolerance: f64,
    /// Folder of the run [default: runs/TIME-FILE-N].
    #[arg(short, long, value_name = "DIR", help_heading = OUTPUT)]
    pub(crate) out: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) format: FormatArgs,
}

const NOISE_EXAMPLES: &str = "\
Measures every cell in pairs of replicates of one build, as `run --against` does.
Shows how large a change must be to stand out from that noise.
With a smaller threshold, `compare` is inconclusive.

Examples:
  Measure the noise of this machine with a scripted engine:
    llama2-bench noise --engine mock --out runs/noise
  Evaluate an earlier measurement again:
    llama2-bench noise --from runs/noise --format json";

#[derive(Debug, clap::Args)]
#[command(after_long_help = NOISE_EXAMPLES)]
pub(crate) struct NoiseArgs {
    /// Sweep to measure [default: built-in quick.toml].
    #[arg(value_name = "SWEEP.toml")]
    pub(crate) sweep: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) measure: MeasureArgs,
    /// Show the cells of a side; measure nothing.
    ///
    /// As `run --list` does. --dry-run is the same.
    #[arg(long, alias = "dry-run", conflicts_with = "from", help_heading = WHAT)]
    pub(crate) list: bool,
    /// Use this folder; measure nothing.
    ///
    /// The folder of an earlier `noise`, or of a `run --against` of one build.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["sweep", "out"], help_heading = WHAT)]
    pub(crate) from: Option<PathBuf>,
    /// Folder of both sides [default: runs/TIME-SWEEP-noise].
    #[arg(short, long, value_name = "DIR", help_heading = OUTPUT)]
    pub(crate) out: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) format: FormatArgs,
}

const PEAKS_EXAMPLES: &str = "\
Examples:
  Measure this machine's CPU:
    llama2-bench peaks
  Measure a GPU, with 5 s of sustained load, as JSON:
    llama2-bench peaks --device cuda --sustained 5 --format json";

#[derive(Debug, clap::Args)]
#[command(after_long_help = PEAKS_EXAMPLES)]
pub(crate) struct PeaksArgs {
    /// Engines whose libraries to measure with.
    ///
    /// The default is onnxruntime and pytorch-eager.
    #[arg(long = "engine", value_name = "ENGINE", help_heading = WHAT)]
    pub(crate) names: Vec<String>,
    /// Seconds of sustained load.
    ///
    /// Repeats the fastest product this long, for a sustained peak; 0 measures a burst alone. The default is 3 on a GPU, else 0.
    #[arg(long, value_name = "SECONDS", value_parser = parse_sustained, help_heading = WHAT)]
    pub(crate) sustained: Option<f64>,
    /// Wait for an idle machine, or fail.
    ///
    /// Waits at most 60 s until other processes use at most 10 % of the processors' time.
    #[arg(long, help_heading = WHAT)]
    pub(crate) require_idle: bool,
    #[command(flatten)]
    pub(crate) setup: SetupArgs,
    #[command(flatten)]
    pub(crate) result: ResultArgs,
}

const MERGE_EXAMPLES: &str = "\
Examples:
    llama2-bench run --engine mock --shard 1/2 --out runs/1-of-2
    llama2-bench run --engine mock --shard 2/2 --out runs/2-of-2
    llama2-bench merge runs/1-of-2 runs/2-of-2 --out runs/whole";

#[derive(Debug, clap::Args)]
#[command(after_long_help = MERGE_EXAMPLES)]
pub(crate) struct MergeArgs {
    /// Folders of `run --shard`.
    ///
    /// They have the same sweep, procedure, program and libraries.
    #[arg(value_name = "RUN", required = true)]
    pub(crate) runs: Vec<PathBuf>,
    /// Folder of the whole run.
    #[arg(long, short, value_name = "DIR", help_heading = OUTPUT)]
    pub(crate) out: PathBuf,
    #[command(flatten)]
    pub(crate) format: FormatArgs,
}

/// Parses `90s`, `15m`, `1h30m`: numbers with units.
fn parse_duration(text: &str) -> Result<Duration, String> {
    let span: Result<jiff::SignedDuration, _> = text.parse();
    let duration =
        span.ok().and_then(|span| Duration::try_from(span).ok()).filter(|duration| !duration.is_zero());
    duration.ok_or_else(|| {
        let minutes = format!("{text}m");
        if text.parse::<f64>().is_ok() && parse_duration(&minutes).is_ok() {
            format!("expected a duration such as 15m or 90s: did you mean {minutes}?")
        } else {
            format!("expected a duration such as 15m or 90s, found \"{text}\"")
        }
    })
}

/// Parses seconds: a minute is long enough for any device's clocks to settle.
fn parse_sustained(text: &str) -> Result<f64, String> {
    let seconds = text.parse().ok().filter(|seconds| (0.0..=60.0).contains(seconds));
    seconds.ok_or_else(|| format!("expected seconds from 0 to 60, found \"{text}\""))
}
