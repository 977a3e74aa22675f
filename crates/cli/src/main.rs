//! `llama2-bench`: sweeps inference engines over LLaMA-2 models and prints the documents' tables.

mod args;
mod commands;
mod pace;
mod printer;
mod progress;
mod source;
mod spent;
mod watch;

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Args, Command};

/// What a command has to say when it ends, as in `--help`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// Nothing wrong.
    Done = 0,
    /// A regression, a cell that failed, or an engine that computes something else.
    Finding = 1,
    /// Bad input or a broken set-up, of which a worker has told the user already.
    Refused = 2,
    /// The noise does not say, or nothing could be compared.
    Inconclusive = 3,
    /// Ctrl-C.
    Interrupted = 130,
}

fn main() -> ExitCode {
    harness::Interrupt::set_up_signals();
    if let Some(code) = harness::helper_if_asked() {
        return code;
    }
    let args = Args::parse();
    let ending = match args.command {
        Command::Run(args) => commands::run::run(&args),
        Command::Merge(args) => commands::merge::run(&args),
        Command::Table(args) => commands::table::run(&args),
        Command::Audit(args) => commands::audit::run(&args),
        Command::Reproduce(args) => commands::reproduce::run(&args),
        Command::Compare(args) => commands::compare::run(&args),
        Command::Ratios(args) => commands::ratios::run(&args),
        Command::History(args) => commands::history::run(&args),
        Command::Report(args) => commands::report::run(&args),
        Command::Generate(args) => commands::generate::run(&args),
        Command::Verify(args) => commands::verify::run(&args),
        Command::Synth(args) => commands::synth::run(&args),
        Command::Export(args) => commands::export::run(&args),
        Command::Ceilings(args) => commands::ceilings::run(&args),
        Command::Doctor(args) => commands::doctor::run(&args),
    };
    match ending {
        Ok(ending) => ExitCode::from(ending as u8),
        Err(error) => {
            printer::error(&error);
            ExitCode::from(2)
        }
    }
}
