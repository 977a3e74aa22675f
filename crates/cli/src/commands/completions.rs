//! `completions`: a completion script for a shell.

use anyhow::Result;

use crate::args::{CompletionsArgs, command};
use crate::exit_status::ExitStatus;
use crate::printer;

pub(crate) fn run(args: &CompletionsArgs) -> Result<ExitStatus> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command(), "llama2-bench", &mut script);
    printer::result(&String::from_utf8(script)?)?;
    Ok(ExitStatus::Done)
}
