//! Flags of the commands that read results.

use std::path::PathBuf;

use clap::{ArgAction, ValueEnum};

use results::{HeadingPrecision, UnknownPrecision};

use super::headings::{COMPARISON, OUTPUT, WHAT};
use super::judge::{JudgeArgs, parse_share};
use super::output::{ResultArgs, ResultFormat};
use super::read::ReadArgs;

/// Format of a table: for people, and for other tools.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Columns that fit the terminal.
    Terminal,
    /// The published tables' format.
    Markdown,
    /// The published columns, then spread, memory and outcome.
    Csv,
    /// Every summary, in seconds and bytes.
    Json,
    /// The format of llama-bench -o json: prefill, decode and generation of cells of batch size 1.
    LlamaBench,
    /// The format of llama-bench -o jsonl: the same records, one per line.
    LlamaBenchJsonl,
    /// Bencher Metric Format: latencies in nanoseconds and peak memory in bytes, with 95 % intervals.
    Bencher,
    /// Latencies and peak memory for github-action-benchmark's customSmallerIsBetter.
    GithubActionSmaller,
    /// Throughputs for github-action-benchmark's customBiggerIsBetter.
    GithubActionBigger,
    /// Go's benchmark format for benchstat: a line per replicate.
    Go,
}

impl From<ResultFormat> for Format {
    fn from(format: ResultFormat) -> Self {
        match format {
            ResultFormat::Terminal => Self::Terminal,
            ResultFormat::Markdown => Self::Markdown,
            ResultFormat::Csv => Self::Csv,
            ResultFormat::Json => Self::Json,
        }
    }
}

const TABLE_EXAMPLES: &str = "\
Examples:
  Print a run's table, and the built-in published tables:
    llama2-bench table results/llama2-15m-fp32-cpu
    llama2-bench table llama2-a100
  Save a run's table as csv:
    llama2-bench table results/llama2-15m-fp32-cpu --format csv --out table.csv
  Compare two runs with benchstat:
    llama2-bench table runs/before --format go --out before.txt
    llama2-bench table runs/after --format go --out after.txt
    benchstat before.txt after.txt";

#[derive(Debug, clap::Args)]
#[command(after_long_help = TABLE_EXAMPLES)]
pub(crate) struct TableArgs {
    /// Folders of runs, or files with tables.
    ///
    /// Files are markdown, csv or json with tables, or results of llama-bench, sglang, vllm or optimum-benchmark.
    /// llama2-a100 and llama2-a100-2024 are the built-in published tables.
    #[arg(value_name = "RUN|FILE", required = true)]
    pub(crate) runs: Vec<PathBuf>,
    /// Published tables of several ranks.
    ///
    /// Used for the "left for collectives" comparison under a table of --one-rank. The default is the built-in tables.
    #[arg(long, value_name = "FILE", help_heading = COMPARISON)]
    pub(crate) published: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) read: ReadArgs,
    /// Format of the tables.
    ///
    /// The default is terminal on a terminal, else markdown.
    #[arg(long, value_name = "FORMAT", help_heading = OUTPUT)]
    pub(crate) format: Option<Format>,
    /// Write the tables to this file.
    #[arg(short, long, value_name = "FILE", help_heading = OUTPUT)]
    pub(crate) out: Option<PathBuf>,
}

const REPORT_EXAMPLES: &str = "\
Examples:
  Write an HTML report of a run:
    llama2-bench report results/llama2-15m-fp32-cpu --out report.html
  Compare two runs in one report:
    llama2-bench report runs/before runs/after --out comparison.html
  Update the table in a README:
    llama2-bench report results/llama2-15m-fp32-cpu --splice README.md";

#[derive(Debug, clap::Args)]
#[command(after_long_help = REPORT_EXAMPLES)]
pub(crate) struct ReportArgs {
    /// Folders of runs.
    ///
    /// Other runs are compared with the first. With --splice, also files with tables.
    #[arg(value_name = "RUN|FILE", required = true)]
    pub(crate) runs: Vec<PathBuf>,
    /// Report to write.
    ///
    /// One HTML file with everything in it.
    #[arg(short, long, value_name = "FILE", default_value = "report.html", help_heading = OUTPUT)]
    pub(crate) out: PathBuf,
    /// Also write plots here: .svg, in a release build also .png.
    #[arg(long, value_name = "DIR", help_heading = OUTPUT)]
    pub(crate) plots: Option<PathBuf>,
    /// Put the table into this file instead.
    ///
    /// Replaces the lines between <!-- llama2-bench:table --> and <!-- llama2-bench:end -->. Writes no report.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["out", "plots"], help_heading = OUTPUT)]
    pub(crate) splice: Option<PathBuf>,
}

const AUDIT_EXAMPLES: &str = "\
Examples:
  Audit the published tables, and a run:
    llama2-bench audit llama2-a100
    llama2-bench audit results/llama2-15m-fp32-cpu --details
  Audit a file whose tables have no heading:
    llama2-bench audit tables.md --heading \"LLaMA-2 7B FP16 CUDA (1 A100 80GB)\"";

#[derive(Debug, clap::Args)]
#[command(after_long_help = AUDIT_EXAMPLES)]
pub(crate) struct AuditArgs {
    /// Folders of runs, or files with tables.
    ///
    /// Files are markdown, csv or json with tables, or results of llama-bench, sglang, vllm or optimum-benchmark.
    /// llama2-a100 and llama2-a100-2024 are the built-in published tables.
    #[arg(value_name = "RUN|FILE", required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// List of peaks of devices.
    ///
    /// The default is the built-in configs/hardware.toml.
    #[arg(long, value_name = "FILE", help_heading = WHAT)]
    pub(crate) hardware: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) read: ReadArgs,
    /// Print each finding on its own line.
    ///
    /// The default is one line per rule and engine. csv and json always have each finding.
    #[arg(long, help_heading = OUTPUT)]
    pub(crate) details: bool,
    #[command(flatten)]
    pub(crate) result: ResultArgs,
}

const COMPARE_EXAMPLES: &str = "\
Exit codes: 0 nothing regressed; 1 a regression; 2 bad input, or not comparable; 3 inconclusive.
Verdicts are provisional for two separate runs without --history, and for a published table without --threshold.
Provisional verdicts pass unless --provisional fail.

Examples:
  Compare two runs:
    llama2-bench compare runs/before runs/after
  Fail a CI job on a regression of more than 10 %, and write a JUnit file:
    llama2-bench compare runs/before runs/after --threshold 10% \\
        --format terminal --format junit=compare.xml
  Compare a run with published tables:
    llama2-bench compare llama2-a100 results/llama2-7b-h100 --allow-missing
  Compare two precisions of a run:
    llama2-bench compare runs/mine runs/mine --precision fp32,int4";

#[derive(Debug, clap::Args)]
#[command(after_long_help = COMPARE_EXAMPLES)]
pub(crate) struct CompareArgs {
    /// Run or file to compare with.
    ///
    /// A run's folder, a markdown, csv or json file with tables, or results of llama-bench, sglang, vllm or optimum-benchmark.
    /// llama2-a100 and llama2-a100-2024 are the built-in published tables.
    pub(crate) baseline: PathBuf,
    /// Run or file to compare.
    pub(crate) candidate: PathBuf,
    /// Compare two precisions, e.g. fp32,int4.
    ///
    /// The baseline is in the first, the candidate in the second. Two precisions of one run are compared replicate by replicate, unless its engines took turns.
    #[arg(long, value_name = "FROM,TO", value_parser = parse_precisions, help_heading = COMPARISON)]
    pub(crate) precision: Option<[HeadingPrecision; 2]>,
    /// Folder of earlier runs.
    ///
    /// Runs that `run --history` kept there show how far separate runs of this machine differ without a change.
    #[arg(long, value_name = "DIR", help_heading = COMPARISON)]
    pub(crate) history: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) judge: JudgeArgs,
    #[command(flatten)]
    pub(crate) read: ReadArgs,
}

/// Reads `fp32,int4`.
fn parse_precisions(text: &str) -> Result<[HeadingPrecision; 2], String> {
    let both = text.split_once(',').ok_or("expected two precisions, such as fp32,int4")?;
    let read = |word: &str| word.trim().parse().map_err(|error: UnknownPrecision| error.to_string());
    Ok([read(both.0)?, read(both.1)?])
}

const RATIOS_EXAMPLES: &str = "\
Examples:
  Compare onnxruntime with every other engine of a run:
    llama2-bench ratios results/llama2-15m-turns-fp32-cpu onnxruntime
  Compare it with one engine of the published tables:
    llama2-bench ratios llama2-a100 onnxruntime pytorch-eager

Precisions of a model are compared with the one of the most bits.";

#[derive(Debug, clap::Args)]
#[command(after_long_help = RATIOS_EXAMPLES)]
pub(crate) struct RatiosArgs {
    /// Folder of a run, or a file with tables.
    ///
    /// A file is markdown, csv or json with tables, or results of llama-bench, sglang, vllm or optimum-benchmark.
    /// llama2-a100 and llama2-a100-2024 are the built-in published tables.
    #[arg(value_name = "RUN|FILE")]
    pub(crate) run: PathBuf,
    /// Engine.
    pub(crate) engine: String,
    /// Engines to compare with [default: all others].
    #[arg(value_name = "OTHER")]
    pub(crate) others: Vec<String>,
    #[command(flatten)]
    pub(crate) read: ReadArgs,
    #[command(flatten)]
    pub(crate) result: ResultArgs,
}

const HISTORY_EXAMPLES: &str = "\
Examples:
  Keep a run for later, then show what changed:
    llama2-bench run --engine mock --history kept --revision 1a2b3c4
    llama2-bench history kept --cells
  Add a run that was measured earlier:
    llama2-bench history kept --add runs/before --revision 0f9e8d7";

#[derive(Debug, clap::Args)]
#[command(after_long_help = HISTORY_EXAMPLES)]
pub(crate) struct HistoryArgs {
    /// Folder that `run --history` writes to.
    pub(crate) dir: PathBuf,
    /// First add this earlier run.
    ///
    /// May be repeated.
    #[arg(long, value_name = "RUN", action = ArgAction::Append, help_heading = WHAT)]
    pub(crate) add: Vec<PathBuf>,
    /// Revision of the added runs.
    ///
    /// The default is the revision of the program that measured them.
    #[arg(long, value_name = "REVISION", requires = "add", help_heading = WHAT)]
    pub(crate) revision: Option<String>,
    /// Ignore changes up to this.
    #[arg(
        long,
        value_name = "SHARE",
        default_value = "5%",
        value_parser = parse_share,
        help_heading = COMPARISON
    )]
    pub(crate) threshold: f64,
    /// Show every cell.
    ///
    /// The default is the geometric mean of each engine's cells.
    #[arg(long, help_heading = OUTPUT)]
    pub(crate) cells: bool,
    #[command(flatten)]
    pub(crate) result: ResultArgs,
}

const SERVE_EXAMPLES: &str = "\
Examples:
  Show the runs in runs/ at http://127.0.0.1:8000/:
    llama2-bench serve runs
  Use any free port, and add the runs that `run --history kept` kept:
    llama2-bench serve runs --port 0 --history kept
  Look from another machine, through SSH:
    ssh -t -L 8000:127.0.0.1:8000 HOST llama2-bench serve runs";

#[derive(Debug, clap::Args)]
#[command(after_long_help = SERVE_EXAMPLES)]
pub(crate) struct ServeArgs {
    /// Folder of runs.
    ///
    /// Nothing is written to it, and it is read again for each page.
    pub(crate) dir: PathBuf,
    /// Folder that `run --history` writes to.
    ///
    /// Adds the runs that were kept there to the history.
    #[arg(long, value_name = "DIR", help_heading = WHAT)]
    pub(crate) history: Option<PathBuf>,
    /// Port on 127.0.0.1; 0 for any free port.
    ///
    /// Other machines cannot connect.
    #[arg(long, value_name = "PORT", default_value_t = 8000, value_parser = parse_port, help_heading = OUTPUT)]
    pub(crate) port: u16,
}

fn parse_port(text: &str) -> Result<u16, String> {
    text.parse().map_err(|_| format!("expected a port from 0 to 65535, found \"{text}\""))
}
