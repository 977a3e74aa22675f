//! `table`: print the tables of runs.

use std::path::Path;

use anyhow::Result;
use report::Table;

use crate::args::{Format, TableArgs};
use crate::{Ending, printer};

pub(crate) fn run(args: &TableArgs) -> Result<Ending> {
    let mut tables = Vec::new();
    for dir in &args.runs {
        tables.extend(read_tables(dir)?);
    }
    printer::result(&render(&tables, args.format))?;
    Ok(Ending::Done)
}

/// The tables of a run's folder.
pub(crate) fn read_tables(dir: &Path) -> Result<Vec<Table>> {
    let run = harness::read_run(dir)?;
    Ok(report::tables(&run.records, &run.verifications, &run.environments))
}

/// The tables as text; without a format, for what stdout is.
pub(crate) fn render(tables: &[Table], format: Option<Format>) -> String {
    let default = if printer::is_screen() { Format::Terminal } else { Format::Markdown };
    match format.unwrap_or(default) {
        Format::Markdown => report::markdown::write(tables),
        Format::Csv => report::csv::write(tables),
        Format::Json => report::json::write(tables),
        Format::Terminal => report::terminal::write(tables, crate::progress::screen_width()),
    }
}
