//! `llama2-bench`: measures LLaMA-2 inference and prints the published tables.

mod args;
mod audited;
mod collectives;
mod commands;
mod comparison;
mod eta;
mod event_lines;
mod exit_status;
mod files;
mod folders;
mod format;
mod history_folder;
mod html_report;
mod listing;
mod printer;
mod progress;
mod rendered;
mod serve;
mod session;
mod slow_steps;
mod sources;
mod sweep_file;
mod tables;
mod time_breakdown;
mod watch;
mod words;

use std::process::ExitCode;

use crate::args::{Command, join_lists};

fn main() -> ExitCode {
    harness::Interrupt::set_up_signals();
    if let Some(code) = harness::helper_if_asked() {
        return code;
    }
    let words = join_lists(std::env::args_os());
    if let Some(when) = args::color(&words) {
        printer::set_color(when);
    }
    let args = match args::parse(&words) {
        Ok(args) => args,
        Err(error) => match args::message(&error, &words) {
            None => error.exit(),
            Some(message) => {
                printer::error(&anyhow::Error::msg(message));
                return ExitCode::from(2);
            }
        },
    };
    if args.general.quiet {
        printer::be_quiet();
    }
    let status = match args.command {
        Command::Run(args) => commands::run::run(&args),
        Command::Merge(args) => commands::merge::run(&args),
        Command::Table(args) => commands::table::run(&args),
        Command::Audit(args) => commands::audit::run(&args),
        Command::Reproduce(args) => commands::reproduce::run(&args),
        Command::Compare(args) => commands::compare::run(&args),
        Command::Noise(args) => commands::noise::run(&args),
        Command::Ratios(args) => commands::ratios::run(&args),
        Command::History(args) => commands::history::run(&args),
        Command::Report(args) => commands::report::run(&args),
        Command::Serve(args) => commands::serve::run(&args),
        Command::Generate(args) => commands::generate::run(&args),
        Command::Verify(args) => commands::verify::run(&args),
        Command::Synth(args) => commands::synth::run(&args),
        Command::Quantize(args) => commands::quantize::run(&args),
        Command::Export(args) => commands::export::run(&args),
        Command::Peaks(args) => commands::peaks::run(&args),
        Command::CheckWorker(args) => commands::check_worker::run(&args),
        Command::Doctor(args) => commands::doctor::run(&args),
        Command::Completions(args) => commands::completions::run(&args),
        Command::Man(args) => commands::man::run(&args),
    };
    match status {
        Ok(status) => ExitCode::from(status as u8),
        Err(error) => {
            printer::error(&error);
            ExitCode::from(2)
        }
    }
}
