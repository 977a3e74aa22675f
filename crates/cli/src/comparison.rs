//! Compares two runs: writes the report in the requested formats, and its verdict is the exit status.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context, Result};
use compare::history::RunSpread;
use compare::{Criteria, Report, Subject, github, json, junit, markdown, terminal};

use crate::args::{InconclusiveExit, JudgeArgs, Output, OutputFormat, ReadArgs};
use crate::exit_status::ExitStatus;
use crate::files::write_output;
use crate::printer::screen_width;
use crate::rendered::csv_of_json;
use crate::{folders, history_folder, printer, sources};

/// The lists of a comparison that are rows of its csv.
const LISTS: [&[&str]; 3] =
    [&["tables", "sections", "cells"], &["tables", "sections", "means"], &["tables", "ends"]];
/// The columns of its csv.
const COLUMNS: &str = "\
    schema baseline candidate tables.baseline tables.candidate metric unit threshold list engine \
    batch_size prompt_length baseline.value baseline.replicates candidate.value candidate.replicates \
    ratio interval.low interval.high adjusted_p pairs verdict other_median.mean other_median.median \
    other_median.median_ratio other_median.is_tail replicates_needed is_by_median is_adjusted round \
    own_threshold drift is_hidden_regression ends.baseline ends.candidate";

/// Compares the second of two sides with the first. `history` is a folder of earlier runs that show how far runs differ.
/// `level_share` is the share of the false alarm level that this comparison may use.
pub(crate) fn read_and_compare(
    sides: [&Path; 2],
    read: &ReadArgs,
    judge: &JudgeArgs,
    history: Option<&Path>,
    level_share: f64,
) -> Result<Report> {
    folders::check(&sides)?;
    let sources = sources::read_with_headings(&sides, read)?;
    let (baseline, candidate) = (Subject::new(&sources[0])?, Subject::new(&sources[1])?);
    let entries = history.map(history_folder::read).transpose()?;
    let spread = entries.map(|entries| RunSpread::new(entries, &baseline, &candidate));
    let criteria = Criteria { level_share, ..judge.criteria(spread.as_ref()) };
    Ok(compare::compare(&baseline, &candidate, &criteria)?)
}

/// Writes the report in the requested formats. Its verdicts are the exit status.
pub(crate) fn conclude(report: &Report, judge: &JudgeArgs) -> Result<ExitStatus> {
    for Output { format, file } in judge.outputs() {
        let text = match (format, &file) {
            (OutputFormat::Terminal, None) => terminal::write(report, screen_width(), printer::is_coloured()),
            (OutputFormat::Terminal, Some(_)) => terminal::write(report, None, false),
            (OutputFormat::Markdown, _) => markdown::write(report),
            (OutputFormat::Csv, _) => csv_of_json(&json::write(report), &LISTS, COLUMNS)?,
            (OutputFormat::Json, _) => json::write(report),
            (OutputFormat::Junit, _) => junit::write(report),
            (OutputFormat::Github, _) => github::write(report),
        };
        match file {
            None => printer::result(&text)?,
            Some(path) => write_output(&path, text.as_bytes()).with_context(|| path.display().to_string())?,
        }
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

/// Adds the comparison to the summary page of a GitHub Actions job.
fn add_step_summary(report: &Report) -> Result<()> {
    let Some(path) = std::env::var_os("GITHUB_STEP_SUMMARY").filter(|path| !path.is_empty()) else {
        return Ok(());
    };
    let file = OpenOptions::new().create(true).append(true).open(&path);
    let written = file.and_then(|mut file| file.write_all(markdown::write(report).as_bytes()));
    written.with_context(|| format!("GITHUB_STEP_SUMMARY: {}", Path::new(&path).display()))
}
