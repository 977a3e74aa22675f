//! `man`: the manual pages.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use clap::Command;
use clap_mangen::Man;

use crate::args::{ManArgs, command};
use crate::exit_status::ExitStatus;
use crate::printer;

pub(crate) fn run(args: &ManArgs) -> Result<ExitStatus> {
    let mut all = command().disable_help_subcommand(true);
    all.build();
    let Some(dir) = &args.dir else {
        printer::result(&page(all)?)?;
        return Ok(ExitStatus::Done);
    };
    fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
    let commands = all.get_subcommands().cloned();
    let mut count = 1;
    for command in commands {
        let name = format!("llama2-bench-{}", command.get_name());
        write(dir, &name, command.display_name(&name))?;
        count += 1;
    }
    write(dir, "llama2-bench", all)?;
    printer::line(&format!("{count} manual pages: {}", dir.display()));
    Ok(ExitStatus::Done)
}

fn write(dir: &Path, name: &str, command: Command) -> Result<()> {
    let path = dir.join(format!("{name}.1"));
    llama::write_whole(&path, page(command)?.as_bytes()).with_context(|| path.display().to_string())
}

fn page(command: Command) -> Result<String> {
    let mut text = Vec::new();
    let section = if command.has_subcommands() { "\"EXIT CODES AND EXAMPLES\"" } else { "EXAMPLES" };
    Man::new(command).render(&mut text)?;
    Ok(String::from_utf8(text)?.replace(".SH EXTRA", &format!(".SH {section}")))
}
