//! The command line.

mod check_worker;
mod errors;
mod headings;
mod help;
mod judge;
mod lists;
mod measure;
mod output;
mod read;
#[cfg(test)]
mod reference;
mod results;
mod run;
mod tools;

use std::ffi::OsString;

use clap::{ArgAction, Parser, Subcommand, ValueEnum};

pub(crate) use check_worker::CheckWorkerArgs;
pub(crate) use errors::message;
pub(crate) use help::{command, parse};
pub(crate) use judge::{InconclusiveExit, JudgeArgs, Output, OutputFormat};
pub(crate) use lists::join_lists;
pub(crate) use measure::{MeasureArgs, read_engines};
pub(crate) use output::{ColorWhen, ResultArgs, ResultFormat};
pub(crate) use read::{ReadArgs, check_heading};
pub(crate) use results::{
    AuditArgs, CompareArgs, Format, HistoryArgs, RatiosArgs, ReportArgs, ServeArgs, TableArgs,
};
pub(crate) use run::{HistoryFlags, MergeArgs, NoiseArgs, PeaksArgs, ReproduceArgs, RunArgs};
pub(crate) use tools::{
    CompletionsArgs, DoctorArgs, ExportArgs, GenerateArgs, ManArgs, QuantizeArgs, SynthArgs, VerifyArgs,
};

use headings::GENERAL;
use output::GeneralArgs;

/// Measures LLaMA-2 inference and regenerates the published latency tables.
///
/// Measures latency, throughput and memory of inference engines for every batch size and prompt length of a sweep.
/// Each engine runs in a worker process of its own, and every record is on disk before it is shown.
#[derive(Debug, Parser)]
#[command(name = "llama2-bench", version = version(), long_version = long_version(), disable_help_flag = true, disable_version_flag = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
    #[command(flatten)]
    pub(crate) general: GeneralArgs,
    /// Print the version.
    ///
    /// -V is one line; --version also names the target and the native libraries found.
    #[arg(short = 'V', long, action = ArgAction::Version, help_heading = GENERAL)]
    version: Option<bool>,
}

/// Reads `--color` before the other flags, since errors about them have colours, too.
pub(crate) fn color(words: &[OsString]) -> Option<ColorWhen> {
    let at = words.iter().position(|word| word.to_str().is_some_and(|word| word.starts_with("--color")))?;
    let value = match words[at].to_str()?.split_once('=') {
        Some((_, value)) => value,
        None => words.get(at + 1)?.to_str()?,
    };
    ColorWhen::from_str(value, false).ok()
}

fn version() -> &'static str {
    match option_env!("LLAMA2_BENCH_REVISION") {
        Some(revision) => Box::leak(format!("{} ({revision})", env!("CARGO_PKG_VERSION")).into_boxed_str()),
        None => env!("CARGO_PKG_VERSION"),
    }
}

/// The version, the target, and the native libraries in the folder of runtimes.
fn long_version() -> &'static str {
    let mut text = format!("{}\ntarget: {}", version(), env!("LLAMA2_BENCH_TARGET"));
    let runtime = machine::runtime_dir();
    let libraries = runtime.as_deref().map(machine::native_libraries).unwrap_or_default();
    for library in &libraries {
        text.push_str(&format!("\n{} {}: {}", library.name, library.version, library.path.display()));
    }
    if libraries.is_empty() {
        let place = runtime.map_or_else(String::new, |dir| format!(" in {}", dir.display()));
        text.push_str(&format!("\nno native libraries{place}: run `{}`", machine::set_up_command()));
    }
    Box::leak(text.into_boxed_str())
}

// `help.rs` groups them.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Measure a sweep and print its table.
    Run(RunArgs),
    /// Measure the rows of a published table here, and compare.
    Reproduce(ReproduceArgs),
    /// Measure peak memory bandwidth and matrix throughput.
    Peaks(PeaksArgs),
    /// Measure how much runs of the same build differ.
    Noise(NoiseArgs),
    /// Join the parts of a sweep into one run.
    Merge(MergeArgs),
    /// Print the tables of runs, published files and other tools.
    Table(TableArgs),
    /// Write an HTML report: plots, tables, caveats.
    Report(ReportArgs),
    /// Show how results changed over revisions.
    History(HistoryArgs),
    /// Show a folder of runs in the browser.
    Serve(ServeArgs),
    /// Compare a run with another run or a published table.
    Compare(CompareArgs),
    /// Show how many times as fast an engine is as others.
    Ratios(RatiosArgs),
    /// Check tables against arithmetic and physics.
    Audit(AuditArgs),
    /// Check that all engines produce the same logits and tokens.
    Verify(VerifyArgs),
    /// Check that a worker keeps to the protocol.
    CheckWorker(CheckWorkerArgs),
    /// Show which engines and GPUs work here, and why others don't.
    Doctor(DoctorArgs),
    /// Generate text or tokens from a prompt.
    Generate(GenerateArgs),
    /// Write a checkpoint with generated weights.
    Synth(SynthArgs),
    /// Write a checkpoint in 8 or 4 bits.
    Quantize(QuantizeArgs),
    /// Write a checkpoint as an ONNX model.
    Export(ExportArgs),
    /// Print a completion script for a shell.
    Completions(CompletionsArgs),
    /// Print the manual page, or write the pages of all commands.
    Man(ManArgs),
}
