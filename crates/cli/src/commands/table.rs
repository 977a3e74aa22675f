//! `table`: print the tables of runs, and of files with published ones.

use std::path::PathBuf;

use anyhow::{Result, bail};
use results::published::{self, Document};
use results::{PublishedFile, ResultTable, Run, Source, Table};

use crate::args::{Format, ReadArgs, TableArgs};
use crate::audited;
use crate::collectives::left_for_collectives;
use crate::exit_status::ExitStatus;
use crate::printer::{self, screen_width};
use crate::sources;
use crate::tables::{format, render};

/// Runs or files, all of them as one.
enum Printed {
    Runs(Vec<Run>),
    /// Where a file is among them, runs are what they would be in a file.
    Document(Document),
}

pub(crate) fn run(args: &TableArgs) -> Result<ExitStatus> {
    printer::result(&match read(&args.runs, &args.read)? {
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
    Ok(match read(paths, &ReadArgs::default())? {
        Printed::Runs(runs) => report::markdown::write(&tables_of(runs)),
        Printed::Document(document) => published::markdown::write(&document),
    })
}

fn read(paths: &[PathBuf], args: &ReadArgs) -> Result<Printed> {
    let files: Vec<&PathBuf> = paths.iter().filter(|path| PublishedFile::is_named(path)).collect();
    let has_file = !files.is_empty();
    let mut files = sources::read(&files, args)?.into_iter().peekable();
    let (mut runs, mut pieces) = (Vec::new(), Vec::new());
    for path in paths {
        match files.next_if(|_| PublishedFile::is_named(path)) {
            Some(Source::File(file)) => pieces.extend(file.document.pieces),
            _ => {
                let run = audited::read(path)?.run;
                pieces.extend(Document::from(&run.tables[..]).pieces);
                runs.push(run);
            }
        }
    }
    Ok(if has_file { Printed::Document(Document { pieces }) } else { Printed::Runs(runs) })
}

fn tables_of(runs: Vec<Run>) -> Vec<Table> {
    runs.into_iter().flat_map(|run| run.tables).collect()
}
