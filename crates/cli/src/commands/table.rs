//! `table`: prints the tables of runs and of files.

use std::path::PathBuf;

use anyhow::{Result, bail};
use report::ExportInput;
use results::published::Document;
use results::{Exporter as _, Markdown, PublishedFile, ResultTable, Run, Source};

use crate::args::{ReadArgs, TableArgs};
use crate::audited;
use crate::collectives::left_for_collectives;
use crate::exit_status::ExitStatus;
use crate::folders;
use crate::rendered;
use crate::sources;
use crate::tables::exporter;

/// Runs or files, joined.
enum Printed {
    Runs(Vec<Run>),
    /// Runs are as in a file if a file is among them.
    Document {
        document: Document,
        has_runs: bool,
    },
}

impl Printed {
    fn input(&self) -> ExportInput<'_> {
        match self {
            Self::Runs(runs) => ExportInput::Runs(runs),
            Self::Document { document, .. } => ExportInput::Document(document),
        }
    }
}

pub(crate) fn run(args: &TableArgs) -> Result<ExitStatus> {
    folders::check(&args.runs)?;
    let out = args.out.as_deref();
    let exporter = exporter(args.format, out);
    let is_for_people = ["markdown", "terminal"].contains(&exporter.name());
    let printed = read(&args.runs, &args.read)?;
    let left = match (&printed, &args.published) {
        (Printed::Runs(_), Some(_)) if !is_for_people => {
            bail!("--published: only for --format terminal or markdown")
        }
        (Printed::Document { .. }, Some(_)) => {
            bail!("--published: only for runs of --one-rank, found a file")
        }
        (Printed::Runs(runs), file) if is_for_people => {
            let tables: Vec<ResultTable<'_>> = runs.iter().flat_map(Run::result_tables).collect();
            left_for_collectives(&tables, file.as_deref())?
        }
        _ => String::new(),
    };
    let mut exported = exporter.write(&printed.input());
    exported.text += &left;
    if matches!(printed, Printed::Document { has_runs: true, .. }) && !is_for_people {
        let remark = "a run next to a file has only its printed figures: replicates are left out";
        exported.remarks.push(remark.into());
    }
    rendered::write_exported(exporter.name(), &exported, out)?;
    Ok(ExitStatus::Done)
}

/// The tables of runs and files as markdown.
pub(crate) fn markdown(paths: &[PathBuf]) -> Result<String> {
    Ok(Markdown.write(&read(paths, &ReadArgs::default())?.input()).text)
}

/// A few rows of each table of runs as markdown.
pub(crate) fn summary(paths: &[PathBuf]) -> Result<String> {
    match read(paths, &ReadArgs::default())? {
        Printed::Runs(runs) => Ok(report::summary::write(runs.iter().flat_map(|run| &run.tables))),
        Printed::Document { .. } => bail!("a summary is made from runs: give their folders, not files"),
    }
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
    let has_runs = !runs.is_empty();
    let document = Document { pieces };
    Ok(if has_file { Printed::Document { document, has_runs } } else { Printed::Runs(runs) })
}
