//! The help: commands in groups, colours, exit codes.

use std::ffi::OsString;

use anstyle::{AnsiColor, Style};
use clap::builder::Styles;
use clap::error::{ContextKind, ContextValue};
use clap::{Arg, Command, CommandFactory, Error, FromArgMatches};

use super::Args;
use super::headings::{CHECKED, ENGINES, INPUT, WHAT};

/// Commands by what people want.
const GROUPS: [(&str, &[&str]); 5] = [
    ("Measure", &["run", "reproduce", "peaks", "noise", "merge"]),
    ("Read results", &["table", "report", "history", "serve"]),
    ("Compare", &["compare", "ratios"]),
    ("Check", &["audit", "verify", "check-worker", "doctor"]),
    ("Tools", &["generate", "synth", "quantize", "export", "completions", "man"]),
];

const EXIT_CODES: &str = "\
Exit codes:
    0  success; a cell that ran out of memory is a result, not a failure
    1  a regression, a failed cell, an impossible figure, a row that is not
       reproduced, or engines that disagree
    2  bad input or a broken installation
    3  inconclusive, or nothing to compare
  130  interrupted

See docs/reference/exit-codes.md for each command.";

const EXAMPLES: &str = "\
Examples:
    llama2-bench run
    llama2-bench audit llama2-a100
    llama2-bench reproduce llama2-a100 --table 1 --list
    llama2-bench compare runs/before runs/after";

const HEADER: Style = AnsiColor::Green.on_default().bold();
const LITERAL: Style = AnsiColor::Cyan.on_default().bold();

/// The command line, with its help.
pub(crate) fn command() -> Command {
    let styles = Styles::styled()
        .header(HEADER)
        .usage(HEADER)
        .literal(LITERAL)
        .placeholder(AnsiColor::Cyan.on_default());
    let command = Args::command().styles(styles).max_term_width(100).after_help(EXIT_CODES);
    // `--seed -1` is a wrong value, not an unknown option.
    let names: Vec<String> = command.get_subcommands().map(|command| command.get_name().to_owned()).collect();
    let command = names.into_iter().fold(command, |command, name| {
        let heading = heading_of_input(&name);
        command.mut_subcommand(name, |command| {
            command.mut_args(|arg| match arg.get_help_heading() {
                Some(WHAT) => take_negative_numbers(arg).help_heading(heading),
                _ => take_negative_numbers(arg),
            })
        })
    });
    let groups = groups(&command);
    command.after_long_help(format!("{EXIT_CODES}\n\n{EXAMPLES}")).help_template(format!(
        "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{groups}{{options}}{{after-help}}"
    ))
}

/// Parses the command line. clap does not suggest `run` for `rnu`, so an unknown command gets our suggestion.
pub(crate) fn parse(words: &[OsString]) -> Result<Args, Error> {
    let matches = command().try_get_matches_from(words).map_err(|mut error| {
        let word = match error.get(ContextKind::InvalidSubcommand) {
            Some(ContextValue::String(word)) if error.get(ContextKind::SuggestedSubcommand).is_none() => {
                word.clone()
            }
            _ => return error,
        };
        let command = command();
        let names: Vec<&str> = command.get_subcommands().map(Command::get_name).collect();
        if let Some(name) = harness::nearest(&word, &names) {
            error.insert(ContextKind::SuggestedSubcommand, ContextValue::Strings(vec![name.into()]));
        }
        error
    })?;
    Args::from_arg_matches(&matches)
}

/// The heading of a command's flags that several commands have as "What to measure".
fn heading_of_input(command: &str) -> &'static str {
    match command {
        "generate" | "synth" | "quantize" | "export" | "history" | "serve" | "audit" => INPUT,
        "verify" | "check-worker" => CHECKED,
        "doctor" => ENGINES,
        _ => WHAT,
    }
}

fn take_negative_numbers(arg: Arg) -> Arg {
    let is_option = !arg.is_positional() && arg.get_action().takes_values();
    if is_option { arg.allow_negative_numbers(true) } else { arg }
}

fn groups(command: &Command) -> String {
    let line = |name: &str| {
        let about = command.find_subcommand(name)?.get_about()?;
        Some(format!("  {LITERAL}{name:<13}{LITERAL:#} {about}\n"))
    };
    let group = |(title, names): (&str, &[&str])| {
        let lines: String = names.iter().filter_map(|name| line(name)).collect();
        format!("{HEADER}{title}:{HEADER:#}\n{lines}\n")
    };
    GROUPS.into_iter().map(group).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::join_lists;

    #[test]
    fn the_command_line_is_well_formed() {
        command().debug_assert();
    }

    #[test]
    fn every_command_is_in_one_group() {
        for command in command().get_subcommands() {
            let groups = GROUPS.iter().filter(|(_, names)| names.contains(&command.get_name()));
            assert_eq!(groups.count(), 1, "{}", command.get_name());
        }
    }

    #[test]
    fn every_command_has_examples_that_parse() {
        let all = command();
        for command in std::iter::once(&all).chain(all.get_subcommands()) {
            let text = command.get_after_long_help().map(ToString::to_string).unwrap_or_default();
            for line in text.lines().filter(|line| line.starts_with("    ")) {
                assert!(line.chars().count() <= 80, "too long for 80 columns: {line}");
            }
            let text = text.replace("\\\n", " ");
            let lines = text.lines().filter_map(|line| Some(line.split_once("llama2-bench ")?.1));
            let mut count = 0;
            for line in lines {
                let line = line.split(['>', '|']).next().unwrap_or_default();
                let line = line.replace("\"LLaMA-2 7B FP16 CUDA (1 A100 80GB)\"", "heading");
                let words = ["llama2-bench"].into_iter().chain(line.split_whitespace()).map(Into::into);
                let parsed = super::command().try_get_matches_from(join_lists(words));
                assert!(parsed.is_ok(), "{line}: {}", parsed.unwrap_err());
                count += 1;
            }
            assert!(count > 0, "{} has no example", command.get_name());
        }
    }
}
