//! `table`: print the tables of runs, and of files with published ones.

use std::path::PathBuf;

use anyhow::{Result, bail};
use results::published::{self, Document};
use results::{PublishedFile, ResultTable, Run, Table};

use crate::args::{Format, TableArgs};
use crate::audited;
use crate::collectives::left_for_collectives;
use crate::exit_status::ExitStatus;
use crate::printer::{self, screen_width};
use crate::tables::{format, render};

/// Runs or files, all of them as one.
enum Printed {
    Runs(Vec<Run>),
    /// Where a file is among them, runs are what they would be in a file.
    Document(Document),
}

pub(crate) fn run(args: &TableArgs) -> Result<ExitStatus> {
    printer::result(&match read(&args.runs)? {
        Printed::Runs(runs) => {
            let left = match (&args.published, format(args.format)) {
                (None, Format::Csv | Format::Json) => String::new(),
                (Some(_), Format::Csv | Format::Json) => {
                    bail!("--published: expected --format markdown or terminal")
                }
                (file, _) => {
                    let tables: Vec<ResultTable<'_>> = runs.iter().flat_map(Run::result_tables).collect();
                    left_for_collectives(&tables, file.as_deref())?
                }
            };
            render(&tables_of(runs), args.format) + &left
        }
        Printed::Document(_) if args.published.is_some() => {
            bail!("--published: expected runs of --one-rank, found a file")
        }
        Printed::Document(document) => match format(args.format) {
            Format::Markdown => published::markdown::write(&document),
            Format::Csv => published::csv::write(&document),
            Format::Json => published::json::write(&document),
            Format::Terminal => report::terminal::write_published(&document, screen_width()),
        },
    })?;
    Ok(ExitStatus::Done)
}

/// The tables of runs and files as markdown.
pub(crate) fn markdown(paths: &[PathBuf]) -> Result<String> {
    Ok(match read(paths)? {
        Printed::Runs(runs) => report::markdown::write(&tables_of(runs)),
        Printed::Document(document) => published::markdown::write(&document),
    })
}

fn read(paths: &[PathBuf]) -> Result<Printed> {
    let (mut runs, mut pieces, mut has_file) = (Vec::new(), Vec::new(), false);
    for path in paths {
        if path.is_file() {
            has_file = true;
            pieces.extend(PublishedFile::read(path)?.document.pieces);
        } else {
            let run = audited::read(path)?.run;
            pieces.extend(Document::from(&run.tables[..]).pieces);
            runs.push(run);
        }
    }
    Ok(if has_file { Printed::Document(Document { pieces }) } else { Printed::Runs(runs) })
}

fn tables_of(runs: Vec<Run>) -> Vec<Table> {
    runs.into_iter().flat_map(|run| run.tables).collect()
}
