//! Format and place of a printed result, and what every command has.

use std::path::PathBuf;

use clap::{ArgAction, ValueEnum};

use super::headings::{GENERAL, OUTPUT};

/// Format of a result that every command prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ResultFormat {
    Terminal,
    Markdown,
    Csv,
    Json,
}

/// The format of a printed result.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct FormatArgs {
    /// Format of the result.
    ///
    /// terminal, markdown, csv or json. Tables are markdown by default if they are not printed on a terminal.
    #[arg(
        long,
        value_name = "FORMAT",
        value_enum,
        ignore_case = true,
        hide_possible_values = true,
        help_heading = OUTPUT
    )]
    format: Option<ResultFormat>,
    // Older name of `--format json`.
    #[arg(long, hide = true, conflicts_with = "format")]
    json: bool,
}

impl FormatArgs {
    /// The format that is asked for.
    pub(crate) fn given(&self) -> Option<ResultFormat> {
        if self.json { Some(ResultFormat::Json) } else { self.format }
    }
}

/// The format of a printed result, and the file that it goes to.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct ResultArgs {
    #[command(flatten)]
    pub(crate) format: FormatArgs,
    /// Write the result to this file.
    #[arg(short, long, value_name = "FILE", help_heading = OUTPUT)]
    pub(crate) out: Option<PathBuf>,
}

/// What every command has.
#[derive(Debug, clap::Args)]
pub(crate) struct GeneralArgs {
    /// Print only results, warnings and errors.
    #[arg(short, long, global = true, help_heading = GENERAL)]
    pub(crate) quiet: bool,
    /// Use colour [default: auto].
    ///
    /// auto: on a terminal, unless NO_COLOR is set. CLICOLOR_FORCE=1 means always.
    #[arg(
        long,
        value_name = "auto|always|never",
        global = true,
        default_value = "auto",
        hide_default_value = true,
        hide_possible_values = true,
        help_heading = GENERAL
    )]
    pub(crate) color: ColorWhen,
    /// Print help: -h is short, --help is long.
    #[arg(short, long, global = true, action = ArgAction::Help, help_heading = GENERAL)]
    help: Option<bool>,
}

/// When text has colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ColorWhen {
    Auto,
    Always,
    Never,
}
