//! A run's tables: on stdout, and as files in its folder.

use std::path::Path;
use std::slice;

use anyhow::Result;
use report::{Bencher, ExportInput, GithubActionBenchmark, GoBenchmark, LlamaBench, TableExporter};
use results::{Csv, Exporter as _, Json, Markdown, RunFolder};

use crate::args::{Format, ResultFormat};
use crate::collectives::left_for_collectives;
use crate::html_report::{PAGE, html};
use crate::rendered::table_format;
use crate::{audited, printer};

/// Prints the tables of what is measured so far, in the format that `print` has (`None`: the one that suits stdout), then writes
/// them into the folder. Returns whether the audit found something impossible.
pub(crate) fn write_run(folder: &RunFolder, print: Option<Option<ResultFormat>>) -> Result<bool> {
    if folder.is_empty() {
        return Ok(false);
    }
    let audited = audited::read(folder.dir())?;
    let run = &audited.run;
    let input = ExportInput::Runs(slice::from_ref(run));
    let left = left_for_collectives(&run.result_tables(), None)?;
    if let Some(format) = print {
        let exporter = exporter(format.map(Format::from), None);
        let tables = exporter.write(&input).text;
        let is_for_people = ["markdown", "terminal"].contains(&exporter.name());
        printer::result(&if is_for_people { tables + &left } else { tables })?;
    }
    folder.write("table.md", (Markdown.write(&input).text + &left).as_bytes())?;
    folder.write("summary.csv", Csv.write(&input).text.as_bytes())?;
    folder.write(PAGE, html(&audited).as_bytes())?;
    Ok(audited.audit.is_impossible())
}

/// The exporter of the given format, else of the one that suits the file or stdout.
pub(crate) fn exporter(given: Option<Format>, out: Option<&Path>) -> Box<TableExporter> {
    match given.unwrap_or_else(|| table_format(None, out).into()) {
        Format::Markdown => Box::new(Markdown),
        Format::Csv => Box::new(Csv),
        Format::Json => Box::new(Json),
        Format::Terminal => Box::new(printer::terminal(out)),
        Format::LlamaBench => Box::new(LlamaBench::Json),
        Format::LlamaBenchJsonl => Box::new(LlamaBench::JsonLines),
        Format::Bencher => Box::new(Bencher),
        Format::GithubActionSmaller => Box::new(GithubActionBenchmark::SmallerIsBetter),
        Format::GithubActionBigger => Box::new(GithubActionBenchmark::BiggerIsBetter),
        Format::Go => Box::new(GoBenchmark),
    }
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::*;

    #[test]
    fn every_format_has_its_name() {
        for format in Format::value_variants() {
            let name = format.to_possible_value().unwrap();
            assert_eq!(exporter(Some(*format), None).name(), name.get_name());
        }
    }
}
