//! `report`: an HTML report, or a table in a file that people read.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use results::published::{SUMMARY_MARKER, TABLE_MARKER, splice, takes_summary};

use crate::args::ReportArgs;
use crate::commands::table;
use crate::exit_status::ExitStatus;
use crate::files::write_output;
use crate::{html_report, printer};

pub(crate) fn run(args: &ReportArgs) -> Result<ExitStatus> {
    match &args.splice {
        Some(path) => splice_table(&args.runs, path)?,
        None => html_report::write_page(&args.runs, &args.out, write_output, args.plots.as_deref())?,
    }
    Ok(ExitStatus::Done)
}

fn splice_table(runs: &[PathBuf], path: &Path) -> Result<()> {
    let name = path.display();
    let text = llama::read_text(path).with_context(|| name.to_string())?;
    let (marker, table) = match takes_summary(&text) {
        true => (SUMMARY_MARKER, table::summary(runs)?),
        false => (TABLE_MARKER, table::markdown(runs)?),
    };
    let spliced = splice(&text, marker, &table).map_err(|error| anyhow!("{name}: {error}"))?;
    if spliced == text {
        printer::line(&format!("{name}: the table is up to date"));
        return Ok(());
    }
    write_output(path, spliced.as_bytes()).with_context(|| name.to_string())?;
    printer::line(&format!("{name}: table updated"));
    Ok(())
}
