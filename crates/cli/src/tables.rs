//! A run's tables, on stdout and as files of its folder.

use anyhow::Result;
use results::{RunFolder, Table};

use crate::args::Format;
use crate::collectives::left_for_collectives;
use crate::html_report::{PAGE, html};
use crate::printer::screen_width;
use crate::{audited, printer};

/// Prints the tables of what is measured so far, where that is asked for, then writes them into the folder.
/// Whether its audit found something impossible.
pub(crate) fn write_run(folder: &RunFolder, print: bool) -> Result<bool> {
    if folder.is_empty() {
        return Ok(false);
    }
    let audited = audited::read(folder.dir())?;
    let run = &audited.run;
    let left = left_for_collectives(&run.result_tables(), None)?;
    if print {
        printer::result(&(render(&run.tables, None) + &left))?;
    }
    folder.write("table.md", (report::markdown::write(&run.tables) + &left).as_bytes())?;
    folder.write("summary.csv", report::csv::write(&run.tables).as_bytes())?;
    folder.write(PAGE, html(&audited)?.as_bytes())?;
    Ok(audited.audit.is_impossible())
}

/// The tables of runs as text; without a format, for what stdout is.
pub(crate) fn render(tables: &[Table], given: Option<Format>) -> String {
    match format(given) {
        Format::Markdown => report::markdown::write(tables),
        Format::Csv => report::csv::write(tables),
        Format::Json => report::json::write(tables),
        Format::Terminal => report::terminal::write(tables, screen_width()),
    }
}

/// The format that is asked for, or suits stdout.
pub(crate) fn format(given: Option<Format>) -> Format {
    given.unwrap_or(if printer::is_screen() { Format::Terminal } else { Format::Markdown })
}
