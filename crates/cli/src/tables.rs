//! A run's tables: on stdout, and as files in its folder.

use anyhow::Result;
use report::{ExportInput, Exporter, GithubActionBenchmark, LlamaBench};
use results::RunFolder;

use crate::args::{Format, ResultFormat};
use crate::collectives::left_for_collectives;
use crate::html_report::{PAGE, html};
use crate::printer::screen_width;
use crate::{audited, printer};

/// Prints the tables of what is measured so far, in the format that `print` has (`None`: the one that suits stdout), then writes
/// them into the folder. Returns whether the audit found something impossible.
pub(crate) fn write_run(folder: &RunFolder, print: Option<Option<ResultFormat>>) -> Result<bool> {
    if folder.is_empty() {
        return Ok(false);
    }
    let audited = audited::read(folder.dir())?;
    let run = &audited.run;
    let left = left_for_collectives(&run.result_tables(), None)?;
    if let Some(format) = print {
        let exporter = exporter(format.map(Format::from));
        let tables = exporter.write(&ExportInput::Runs(std::slice::from_ref(run))).text;
        let is_for_people = ["markdown", "terminal"].contains(&exporter.name());
        printer::result(&if is_for_people { tables + &left } else { tables })?;
    }
    folder.write("table.md", (report::markdown::write(&run.tables) + &left).as_bytes())?;
    folder.write("summary.csv", report::csv::write(&run.tables).as_bytes())?;
    folder.write(PAGE, html(&audited)?.as_bytes())?;
    Ok(audited.audit.is_impossible())
}

/// The exporter of a format that is asked for, or else of the one that suits stdout.
pub(crate) fn exporter(given: Option<Format>) -> Box<dyn Exporter> {
    match given.unwrap_or(if printer::is_screen() { Format::Terminal } else { Format::Markdown }) {
        Format::Markdown => Box::new(report::Markdown),
        Format::Csv => Box::new(report::Csv),
        Format::Json => Box::new(report::Json),
        Format::Terminal => Box::new(report::Terminal { width: screen_width() }),
        Format::LlamaBench => Box::new(LlamaBench::Json),
        Format::LlamaBenchJsonl => Box::new(LlamaBench::JsonLines),
        Format::Bencher => Box::new(report::Bencher),
        Format::GithubActionSmaller => Box::new(GithubActionBenchmark::SmallerIsBetter),
        Format::GithubActionBigger => Box::new(GithubActionBenchmark::BiggerIsBetter),
        Format::Go => Box::new(report::GoBenchmark),
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
            assert_eq!(exporter(Some(*format)).name(), name.get_name());
        }
    }
}
