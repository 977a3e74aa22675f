//! `table`: print the tables of runs, and of files with published ones.

use std::path::PathBuf;

use anyhow::Result;
use report::Table;
use report::published::{self, Document};

use crate::args::{Format, TableArgs};
use crate::progress::screen_width;
use crate::source::Source;
use crate::{Ending, printer};

pub(crate) fn run(args: &TableArgs) -> Result<Ending> {
    printer::result(&match read(&args.runs)? {
        Source::Run(tables) => render(&tables, args.format),
        Source::File(document) => match format(args.format) {
            Format::Markdown => published::markdown::write(&document),
            Format::Csv => published::csv::write(&document),
            Format::Json => published::json::write(&document),
            Format::Terminal => report::terminal::write_published(&document, screen_width()),
        },
    })?;
    Ok(Ending::Done)
}

/// The tables of runs and files as markdown.
pub(crate) fn markdown(paths: &[PathBuf]) -> Result<String> {
    Ok(match read(paths)? {
        Source::Run(tables) => report::markdown::write(&tables),
        Source::File(document) => published::markdown::write(&document),
    })
}

/// All of them as one: where a file is among them, runs are what they would be in a file.
fn read(paths: &[PathBuf]) -> Result<Source> {
    let sources = paths.iter().map(|path| Source::read(path)).collect::<Result<Vec<_>>>()?;
    if sources.iter().all(|source| matches!(source, Source::Run(_))) {
        let tables = sources.into_iter().filter_map(|source| match source {
            Source::Run(tables) => Some(tables),
            Source::File(_) => None,
        });
        return Ok(Source::Run(tables.flatten().collect()));
    }
    let documents = sources.into_iter().map(|source| match source {
        Source::Run(tables) => Document::from(&tables[..]),
        Source::File(document) => document,
    });
    Ok(Source::File(Document { pieces: documents.flat_map(|document| document.pieces).collect() }))
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

fn format(given: Option<Format>) -> Format {
    given.unwrap_or(if printer::is_screen() { Format::Terminal } else { Format::Markdown })
}
