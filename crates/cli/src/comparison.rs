//! Compares two runs: writes the report in the requested formats, and its verdict is the exit status.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context, Result};
use compare::history::RunSpread;
use compare::{Criteria, Github, Junit, Report, Subject};
use results::{Csv, Exporter, HeadingPrecision, Json, Markdown};

use crate::args::{InconclusiveExit, JudgeArgs, Output, OutputFormat, ReadArgs};
use crate::exit_status::ExitStatus;
use crate::rendered::write_exported;
use crate::{folders, history_folder, printer, sources};

/// Compares the second of two sides with the first, of each only the tables in its precision where these are chosen. `history` is a folder of
/// earlier runs that show how far runs differ. `level_share` is the share of the false alarm level that this comparison may use.
pub(crate) fn read_and_compare(
    sides: [&Path; 2],
    precisions: Option<[HeadingPrecision; 2]>,
    read: &ReadArgs,
    judge: &JudgeArgs,
    history: Option<&Path>,
    level_share: f64,
) -> Result<Report> {
    folders::check(&sides)?;
    let sources = sources::read_with_headings(&sides, read)?;
    let (mut baseline, mut candidate) = (Subject::new(&sources[0])?, Subject::new(&sources[1])?);
    if let Some([one, other]) = precisions {
        (baseline, candidate) = (baseline.in_precision(one)?, candidate.in_precision(other)?);
    }
    let entries = history.map(history_folder::read).transpose()?;
    let spread = entries.map(|entries| RunSpread::new(entries, &baseline, &candidate));
    let criteria = Criteria { level_share, ..judge.criteria(spread.as_ref()) };
    Ok(compare::compare(&baseline, &candidate, &criteria)?)
}

/// Writes the report in the requested formats. Its verdicts are the exit status.
pub(crate) fn conclude(report: &Report, judge: &JudgeArgs) -> Result<ExitStatus> {
    for Output { format, file } in judge.outputs() {
        let out = file.as_deref();
        let exporter = exporter(format, out);
        write_exported(exporter.name(), &exporter.write(report), out)?;
        if format == OutputFormat::Github {
            add_step_summary(report)?;
        }
    }
    let counts = report.counts();
    let is_failed_provisional = counts.provisional > 0 && judge.provisional == Some(InconclusiveExit::Fail);
    Ok(match judge.inconclusive {
        _ if counts.regressed > 0 || is_failed_provisional => ExitStatus::Finding,
        _ if counts.inconclusive == 0 => ExitStatus::Done,
        Some(InconclusiveExit::Fail) => ExitStatus::Finding,
        Some(InconclusiveExit::Pass) if !report.has_hidden_regression() => ExitStatus::Done,
        _ => ExitStatus::Inconclusive,
    })
}

/// The exporter of a format that is written to a file or to stdout.
fn exporter(format: OutputFormat, out: Option<&Path>) -> Box<dyn Exporter<Report>> {
    match format {
        OutputFormat::Terminal => Box::new(printer::terminal(out)),
        OutputFormat::Markdown => Box::new(Markdown),
        OutputFormat::Csv => Box::new(Csv),
        OutputFormat::Json => Box::new(Json),
        OutputFormat::Junit => Box::new(Junit),
        OutputFormat::Github => Box::new(Github),
    }
}

/// Adds the comparison to the summary page of a GitHub Actions job.
fn add_step_summary(report: &Report) -> Result<()> {
    let Some(path) = std::env::var_os("GITHUB_STEP_SUMMARY").filter(|path| !path.is_empty()) else {
        return Ok(());
    };
    let file = OpenOptions::new().create(true).append(true).open(&path);
    let written = file.and_then(|mut file| file.write_all(Markdown.write(report).text.as_bytes()));
    written.with_context(|| format!("GITHUB_STEP_SUMMARY: {}", Path::new(&path).display()))
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::*;

    #[test]
    fn every_format_has_its_name() {
        for format in OutputFormat::value_variants() {
            let name = format.to_possible_value().unwrap();
            assert_eq!(exporter(*format, None).name(), name.get_name());
        }
    }
}
