//! Errors of the command line, written like all other errors: what, where, what to do.

use std::ffi::OsString;

use clap::Error;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::command;

/// The text of an error; `None` for what clap prints itself, such as the help.
pub(crate) fn message(error: &Error, words: &[OsString]) -> Option<String> {
    let texts = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => vec![text.clone()],
        Some(ContextValue::Strings(texts)) => texts.clone(),
        _ => Vec::new(),
    };
    let text = |kind| texts(kind).into_iter().next().unwrap_or_default();
    let flag = name(&text(ContextKind::InvalidArg));
    let value = text(ContextKind::InvalidValue);
    let did_you_mean = |kind| texts(kind).first().map(|name| format!(": did you mean {name}?"));
    let help = || format!(": see `{} -h`", called(words));
    Some(match error.kind() {
        ErrorKind::DisplayHelp
        | ErrorKind::DisplayVersion
        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => return None,
        ErrorKind::InvalidSubcommand => {
            let word = text(ContextKind::InvalidSubcommand);
            format!("{word}: unknown command")
                + &did_you_mean(ContextKind::SuggestedSubcommand).unwrap_or_else(help)
        }
        ErrorKind::UnknownArgument => {
            let what = if flag.starts_with('-') { "unknown option" } else { "unexpected argument" };
            format!("{flag}: {what}") + &did_you_mean(ContextKind::SuggestedArg).unwrap_or_else(help)
        }
        ErrorKind::MissingRequiredArgument => {
            let needed: Vec<String> =
                texts(ContextKind::InvalidArg).iter().map(|arg| alternatives(arg)).collect();
            format!("give {}{}", listed(&needed, "and"), help())
        }
        ErrorKind::ArgumentConflict => match texts(ContextKind::PriorArg).first() {
            Some(prior) if name(prior) != flag => format!("{flag}: not together with {}", name(prior)),
            _ => format!("{flag}: give it once"),
        },
        ErrorKind::InvalidValue => {
            let valid = texts(ContextKind::ValidValue);
            let expected = if valid.is_empty() { "a value".into() } else { listed(&valid, "or") };
            match did_you_mean(ContextKind::SuggestedValue) {
                Some(suggestion) => format!("{flag}: unknown value \"{value}\"{suggestion}"),
                None if value.is_empty() => format!("{flag}: expected {expected}"),
                None => format!("{flag}: expected {expected}, found \"{value}\""),
            }
        }
        ErrorKind::ValueValidation if !flag.is_empty() => {
            let why = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
            let says_what_is_there = why.contains(&format!("\"{value}\"")) || why.contains("did you mean");
            let found = if says_what_is_there { String::new() } else { format!(", found \"{value}\"") };
            format!("{flag}: {why}{found}")
        }
        _ => {
            let text = error.to_string();
            text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned()
        }
    })
}

/// The command whose help says more.
fn called(words: &[OsString]) -> String {
    let command = command();
    let names = words.iter().skip(1).filter_map(|word| command.find_subcommand(word));
    names.take(1).fold("llama2-bench".into(), |called, command| format!("{called} {}", command.get_name()))
}

/// `--out` of `--out <FILE>`, `RUN` of `<RUN>...`.
fn name(arg: &str) -> String {
    let first = arg.split(' ').next().unwrap_or_default();
    if first.starts_with('-') { first.to_owned() } else { without_brackets(first) }
}

/// `--prompt TEXT or --prompt-ids IDS` of `<--prompt <TEXT>|--prompt-ids <IDS>>`.
fn alternatives(arg: &str) -> String {
    without_brackets(&arg.replace("|--", " or --"))
}

fn without_brackets(arg: &str) -> String {
    arg.replace(['<', '>', '[', ']'], "").replace("...", "")
}

fn listed(items: &[String], word: &str) -> String {
    match items {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} {word} {last}", first.join(", ")),
    }
}
