//! `merge`: joins the parts of a sweep into one run.

use std::path::Path;

use anyhow::Result;
use results::Run;

use crate::args::MergeArgs;
use crate::exit_status::ExitStatus;
use crate::folders;
use crate::format::shell_command;
use crate::printer;
use crate::tables::write_run;

pub(crate) fn run(args: &MergeArgs) -> Result<ExitStatus> {
    folders::check(&args.runs)?;
    let merged = results::merge(&args.runs, &args.out)?;
    let dir = merged.folder.dir().display().to_string();
    for run in &args.runs {
        printer::line(&describe(run)?);
    }
    let is_impossible = write_run(&merged.folder, Some(args.format.given()))?;
    if merged.missing > 0 {
        let absent: Vec<String> = merged.absent.iter().map(ToString::to_string).collect();
        let parts = match &absent[..] {
            [] => String::new(),
            [part] => format!(" (part {part} is not among the runs)"),
            parts => format!(" (parts {} are not among the runs)", parts.join(", ")),
        };
        let resume = ["llama2-bench", "run", "--resume", &dir].map(str::to_owned);
        printer::line(&format!(
            "warning: {} missing{parts}: measure here with `{}`",
            cells(merged.missing),
            shell_command(&resume)
        ));
    }
    printer::line(&format!("joined run: {dir}"));
    let is_finding = is_impossible || merged.folder.has_failed();
    Ok(if is_finding { ExitStatus::Finding } else { ExitStatus::Done })
}

/// A line about a run that was joined: its part of the sweep, and its cells.
fn describe(dir: &Path) -> Result<String> {
    let run = Run::read(dir)?;
    let records = run.tables.iter().flat_map(|table| &table.rows).map(|row| row.replicates.len()).sum();
    let part = run.environments.iter().find_map(|environment| environment.shard);
    let part = part.map(|part| format!(" (part {part})")).unwrap_or_default();
    Ok(format!("joined {}{part}: {}", dir.display(), cells(records)))
}

fn cells(count: usize) -> String {
    if count == 1 { "1 cell".into() } else { format!("{count} cells") }
}
