//! Flags of the commands that check engines, and of tools.

use std::path::PathBuf;

use clap::ArgGroup;
use clap_complete::Shell;
use protocol::Precision;

use super::headings::{OUTPUT, WHAT};
use super::lists::whole_from;
use super::measure::{EnginesArgs, SetupArgs};
use super::output::ResultArgs;

const GENERATE_EXAMPLES: &str = "\
Examples:
  Generate from token ids, with generated weights:
    llama2-bench generate --engine reference --model llama2-15m \\
        --prompt-ids 1,2,3 --max-new-tokens 4
  Generate text with a checkpoint that has a tokenizer.json:
    llama2-bench generate --engine onnxruntime --model path/to/llama2-7b \\
        --prompt Hello --max-new-tokens 16";

#[derive(Debug, clap::Args)]
#[command(after_long_help = GENERATE_EXAMPLES)]
#[command(group = ArgGroup::new("prompts").args(["prompt", "prompt_ids"]).required(true))]
pub(crate) struct GenerateArgs {
    /// Engine.
    #[arg(long, help_heading = WHAT)]
    pub(crate) engine: String,
    /// Model: name or checkpoint folder.
    ///
    /// A name has generated weights.
    #[arg(long, value_name = "DIR|NAME", help_heading = WHAT)]
    pub(crate) model: String,
    /// Prompt as text.
    ///
    /// Needs the checkpoint's tokenizer.json.
    #[arg(long, value_name = "TEXT", help_heading = WHAT)]
    pub(crate) prompt: Option<String>,
    /// Prompt as token ids, e.g. 1,2,3.
    #[arg(long, value_name = "IDS", value_delimiter = ',', value_parser = parse_token_id, help_heading = WHAT)]
    pub(crate) prompt_ids: Vec<u32>,
    /// Copies of the prompt at once.
    #[arg(
        long,
        value_name = "B",
        default_value_t = 1,
        value_parser = whole_from(1_u32),
        help_heading = WHAT
    )]
    pub(crate) batch_size: u32,
    /// Tokens to generate.
    ///
    /// Never stops at EOS.
    #[arg(long, value_name = "N", value_parser = whole_from(1_u32), help_heading = WHAT)]
    pub(crate) max_new_tokens: u32,
    /// Seed of generated weights.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = whole_from(0_u32), help_heading = WHAT)]
    pub(crate) seed: u32,
    #[command(flatten)]
    pub(crate) setup: SetupArgs,
    #[command(flatten)]
    pub(crate) result: ResultArgs,
}

fn parse_token_id(text: &str) -> Result<u32, String> {
    text.trim().parse().map_err(|_| "expected token ids such as 1,2,3".to_owned())
}

const VERIFY_EXAMPLES: &str = "\
Examples:
  Check the default engines on a small model with generated weights:
    llama2-bench verify
  Check one engine on your own checkpoint:
    llama2-bench verify --engine onnxruntime --model path/to/llama2-7b";

#[derive(Debug, clap::Args)]
#[command(after_long_help = VERIFY_EXAMPLES)]
pub(crate) struct VerifyArgs {
    /// Engines to check.
    ///
    /// The default is onnxruntime, pytorch-eager and pytorch-compile.
    #[arg(long = "engine", value_name = "ENGINE", help_heading = WHAT)]
    pub(crate) engines: Vec<String>,
    /// Models [default: llama2-15m].
    ///
    /// Names or checkpoint folders.
    #[arg(long = "model", value_name = "NAME|DIR", help_heading = WHAT)]
    pub(crate) models: Vec<String>,
    /// Seed of generated weights and prompts.
    #[arg(long, value_name = "N", value_parser = whole_from(0_u32), help_heading = WHAT)]
    pub(crate) seed: Option<u32>,
    #[command(flatten)]
    pub(crate) setup: SetupArgs,
    #[command(flatten)]
    pub(crate) result: ResultArgs,
}

const SYNTH_EXAMPLES: &str = "\
Examples:
    llama2-bench synth --model llama2-15m --out checkpoints/llama2-15m
    llama2-bench run --model checkpoints/llama2-15m";

#[derive(Debug, clap::Args)]
#[command(after_long_help = SYNTH_EXAMPLES)]
pub(crate) struct SynthArgs {
    /// Model: a name, or a config.json.
    #[arg(long, value_name = "NAME|FILE", help_heading = WHAT)]
    pub(crate) model: String,
    /// Seed of the weights.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = whole_from(0_u64), help_heading = WHAT)]
    pub(crate) seed: u64,
    /// Stored precision, e.g. fp16 or int4.
    #[arg(long, default_value = "fp32", help_heading = WHAT)]
    pub(crate) precision: Precision,
    /// Folder to write.
    #[arg(short, long, value_name = "DIR", help_heading = OUTPUT)]
    pub(crate) out: PathBuf,
}

const QUANTIZE_EXAMPLES: &str = "\
Examples:
    llama2-bench quantize --model checkpoints/llama2-7b --out llama2-7b-int4
    llama2-bench verify --model llama2-7b-int4 --precision int4";

#[derive(Debug, clap::Args)]
#[command(after_long_help = QUANTIZE_EXAMPLES)]
pub(crate) struct QuantizeArgs {
    /// Folder of the checkpoint.
    #[arg(long, value_name = "DIR", help_heading = WHAT)]
    pub(crate) model: PathBuf,
    /// Precision: int8, int4, or a variant.
    ///
    /// int8-g128 and int4-g128 have a scale for 128 weights instead of 32, int8-channel one for each output channel.
    #[arg(long, default_value = "int4", help_heading = WHAT)]
    pub(crate) precision: Precision,
    /// Folder to write.
    ///
    /// Has the weights as compressed-tensors packs them, the config and the tokenizer.
    #[arg(short, long, value_name = "DIR", help_heading = OUTPUT)]
    pub(crate) out: PathBuf,
}

const EXPORT_EXAMPLES: &str = "\
Examples:
    llama2-bench synth --model llama2-15m --out checkpoints/llama2-15m
    llama2-bench export --model checkpoints/llama2-15m --out onnx/llama2-15m";

#[derive(Debug, clap::Args)]
#[command(after_long_help = EXPORT_EXAMPLES)]
pub(crate) struct ExportArgs {
    /// Folder of the checkpoint.
    #[arg(long, value_name = "DIR", help_heading = WHAT)]
    pub(crate) model: PathBuf,
    /// Precision: fp32 or fp16.
    #[arg(long, default_value = "fp32", help_heading = WHAT)]
    pub(crate) precision: Precision,
    #[command(flatten)]
    pub(crate) engines: EnginesArgs,
    /// Folder to write.
    ///
    /// Has model.onnx, its weights, and the checkpoint's config. Batches may be padded on either side.
    #[arg(short, long, value_name = "DIR", help_heading = OUTPUT)]
    pub(crate) out: PathBuf,
    /// Also write the optimised graph.
    ///
    /// ONNX Runtime's optimised graph, as model.optimized.onnx.
    #[arg(long, help_heading = OUTPUT)]
    pub(crate) optimized: bool,
}

const DOCTOR_EXAMPLES: &str = "\
Examples:
    llama2-bench doctor
    llama2-bench doctor --format json";

#[derive(Debug, clap::Args)]
#[command(after_long_help = DOCTOR_EXAMPLES)]
pub(crate) struct DoctorArgs {
    #[command(flatten)]
    pub(crate) engines: EnginesArgs,
    #[command(flatten)]
    pub(crate) result: ResultArgs,
}

const COMPLETIONS_EXAMPLES: &str = "\
Examples:
    llama2-bench completions bash \\
        > ~/.local/share/bash-completion/completions/llama2-bench
    llama2-bench completions zsh > ~/.zfunc/_llama2-bench
    llama2-bench completions fish \\
        > ~/.config/fish/completions/llama2-bench.fish";

#[derive(Debug, clap::Args)]
#[command(after_long_help = COMPLETIONS_EXAMPLES)]
pub(crate) struct CompletionsArgs {
    /// Shell.
    pub(crate) shell: Shell,
}

const MAN_EXAMPLES: &str = "\
Examples:
    llama2-bench man | man -l -
    llama2-bench man ~/.local/share/man/man1";

#[derive(Debug, clap::Args)]
#[command(after_long_help = MAN_EXAMPLES)]
pub(crate) struct ManArgs {
    /// Folder for a page of every command.
    ///
    /// Prints the page of llama2-bench if no folder is given.
    #[arg(value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
}
