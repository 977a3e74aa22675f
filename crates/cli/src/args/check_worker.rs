//! The arguments of `check-worker`.

use clap::ValueEnum;
use protocol::{Device, Precision};

use crate::args::EnginesArgs;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  llama2-bench check-worker ./my-worker --some-argument
  llama2-bench check-worker --engine my-engine --engines-file engines.toml

Exit codes: 0 every check passed or was skipped · 1 a check failed · 2 the worker does not start.")]
pub(crate) struct CheckWorkerArgs {
    /// The worker's program and its arguments.
    #[arg(
        value_name = "COMMAND",
        required_unless_present = "engine",
        num_args = 1..,
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    pub(crate) command: Vec<String>,
    /// Check the worker of this engine, with the options that its engines.toml gives it.
    #[arg(long, value_name = "NAME", conflicts_with = "command")]
    pub(crate) engine: Option<String>,
    /// Device to compute on [default: the first that the worker can use].
    #[arg(long, value_name = "DEVICE")]
    pub(crate) device: Option<Device>,
    /// Precision of the model: fp32, fp16 or bf16.
    #[arg(long, value_name = "PRECISION", default_value = "fp32")]
    pub(crate) precision: Precision,
    /// Checkpoint folder, or a model's name [default: a tiny checkpoint, written for the check].
    #[arg(long, value_name = "DIR|NAME")]
    pub(crate) model: Option<String>,
    /// Time limit of each request.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) timeout_seconds: u64,
    /// Output format.
    #[arg(long, value_name = "FORMAT", default_value = "terminal")]
    pub(crate) format: CheckFormat,
    #[command(flatten)]
    pub(crate) engines: EnginesArgs,
}

/// How checks are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum CheckFormat {
    /// One line for each check, as it ends.
    Terminal,
    /// One JSON object.
    Json,
}
