//! The reference page of the command line, as clap knows it: `INSTA_UPDATE=always cargo nextest run -p llama2-bench reference`
//! writes it.

use std::fmt::Write as _;
use std::path::Path;

use clap::{Arg, Command};

use super::headings::GENERAL;

const INTRODUCTION: &str = "\
# Command line

`llama2-bench COMMAND -h` prints a short help, `llama2-bench COMMAND --help` a long one with examples.
[Exit codes](exit-codes.md) says what each exit code means.

This page is made from the program's own help, `crates/cli/src/args`.
";

fn page() -> String {
    let mut all = super::command();
    all.build();
    let general = all.get_arguments().filter(|arg| arg.get_help_heading() == Some(GENERAL));
    let mut page = format!("{INTRODUCTION}\n## Options of every command\n\n{}", table(general));
    for command in all.get_subcommands().filter(|command| command.get_name() != "help") {
        page += &section(command);
    }
    page
}

fn section(command: &Command) -> String {
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    let usage = command.clone().render_usage().to_string();
    let mut text = format!("\n## {}\n\n{about}.\n\n```text\n{usage}\n```\n", command.get_name());
    let shown: Vec<&Arg> = command.get_arguments().filter(|arg| !arg.is_hide_set()).collect();
    let mut headings: Vec<&str> =
        shown.iter().map(|arg| heading(arg)).filter(|name| *name != GENERAL).collect();
    headings.sort_by_key(|name| shown.iter().position(|arg| heading(arg) == *name));
    headings.dedup();
    for name in headings {
        let args = shown.iter().copied().filter(|arg| heading(arg) == name);
        let _ = write!(text, "\n**{name}**\n\n{}", table(args));
    }
    if let Some(more) = command.get_after_long_help() {
        let _ = write!(text, "\n```text\n{more}\n```\n");
    }
    text
}

fn heading(arg: &Arg) -> &str {
    if arg.is_positional() { "Arguments" } else { arg.get_help_heading().unwrap_or("Options") }
}

fn table<'a>(args: impl Iterator<Item = &'a Arg>) -> String {
    args.fold("| option | meaning |\n|---|---|\n".to_owned(), |table, arg| {
        let cells = [name(arg), meaning(arg)].map(|cell| cell.replace('|', "\\|").replace('<', "&lt;"));
        table + &format!("| {} |\n", cells.join(" | "))
    })
}

/// Names an option as one writes it: `-o, --out FILE`.
fn name(arg: &Arg) -> String {
    let values =
        arg.get_value_names().unwrap_or_default().iter().map(|value| format!(" {value}")).collect::<String>();
    let values = if arg.get_action().takes_values() { values } else { String::new() };
    if arg.is_positional() {
        return format!("`{}`", values.trim());
    }
    let short = arg.get_short().map(|short| format!("-{short}"));
    let long = arg.get_long().map(|long| format!("--{long}"));
    let aliases = arg.get_visible_aliases().unwrap_or_default();
    let aliases = aliases.into_iter().map(|alias| format!("--{alias}"));
    format!("`{}{values}`", short.into_iter().chain(long).chain(aliases).collect::<Vec<_>>().join(", "))
}

fn meaning(arg: &Arg) -> String {
    let help = arg.get_long_help().or_else(|| arg.get_help()).map(ToString::to_string).unwrap_or_default();
    let mut text = help.split_whitespace().collect::<Vec<_>>().join(" ");
    if !arg.is_hide_possible_values_set() && arg.get_action().takes_values() {
        let values = arg.get_possible_values();
        let values = values.iter().map(|value| {
            let help = value.get_help().map(|help| format!(": {help}")).unwrap_or_default();
            format!("`{}`{help}", value.get_name())
        });
        let values = values.collect::<Vec<_>>().join("; ");
        if !values.is_empty() {
            let _ = write!(text, " Values: {values}.");
        }
    }
    let defaults = arg.get_default_values();
    if !defaults.is_empty() && !arg.is_hide_default_value_set() && arg.get_action().takes_values() {
        let defaults = defaults.iter().map(|value| value.to_string_lossy()).collect::<Vec<_>>().join(" ");
        let _ = write!(text, " [default: {defaults}]");
    }
    text
}

#[test]
fn the_page_is_that_of_the_help() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/cli.md");
    if std::env::var("INSTA_UPDATE").is_ok_and(|update| update == "always") {
        std::fs::write(&path, page()).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(written, page(), "INSTA_UPDATE=always cargo nextest run -p llama2-bench reference writes it");
}
