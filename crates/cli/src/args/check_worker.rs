//! Flags of `check-worker`.

use clap::ArgGroup;
use protocol::{Device, Precision};

use super::headings::WHAT;
use super::lists::whole_from;
use super::measure::EnginesArgs;
use super::output::ResultArgs;

const EXAMPLES: &str = "\
Exit codes: 0 every check passed or was skipped; 1 a check failed; 2 the worker does not start.

Examples:
  Check a program:
    llama2-bench check-worker ./my-worker --some-argument
  Check an engine of an engines.toml, with its options:
    llama2-bench check-worker --engine my-engine --engines-file engines.toml";

#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
#[command(group = ArgGroup::new("worker").args(["command", "engine"]).required(true))]
pub(crate) struct CheckWorkerArgs {
    /// Worker: its program and arguments.
    #[arg(
        value_name = "COMMAND",
        num_args = 1..,
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    pub(crate) command: Vec<String>,
    /// Check the worker of this engine.
    ///
    /// The worker gets the options of its engines.toml.
    #[arg(long, value_name = "ENGINE", help_heading = WHAT)]
    pub(crate) engine: Option<String>,
    /// Device [default: the first usable one].
    #[arg(long, value_name = "DEVICE", help_heading = WHAT)]
    pub(crate) device: Option<Device>,
    /// fp32, fp16 or bf16.
    ///
    /// The precision of the model.
    #[arg(long, value_name = "PRECISION", default_value = "fp32", help_heading = WHAT)]
    pub(crate) precision: Precision,
    /// Model: name or checkpoint folder.
    ///
    /// The default is a tiny checkpoint, written for the check.
    #[arg(long, value_name = "DIR|NAME", help_heading = WHAT)]
    pub(crate) model: Option<String>,
    /// Time limit of each request.
    #[arg(
        long,
        value_name = "S",
        default_value_t = 60,
        value_parser = whole_from(1_u64),
        help_heading = WHAT
    )]
    pub(crate) timeout_seconds: u64,
    #[command(flatten)]
    pub(crate) engines: EnginesArgs,
    #[command(flatten)]
    pub(crate) result: ResultArgs,
}
