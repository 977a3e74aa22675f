//! `compare`: a run held against another.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use compare::{Report, github, json, junit, markdown, terminal};

use crate::args::{CompareArgs, Inconclusive, JudgeArgs, Output, OutputFormat};
use crate::progress::screen_width;
use crate::{Ending, printer, source};

pub(crate) fn run(args: &CompareArgs) -> Result<Ending> {
    let report = read_and_compare(&args.baseline, &args.candidate, &args.judge)?;
    conclude(&report, &args.judge)
}

/// Holds `candidate` against `baseline`.
pub(crate) fn read_and_compare(baseline: &Path, candidate: &Path, judge: &JudgeArgs) -> Result<Report> {
    let (baseline, candidate) = std::thread::scope(|scope| {
        let other = scope.spawn(|| source::read_subject(candidate));
        (source::read_subject(baseline), other.join())
    });
    let candidate = candidate.map_err(|_| anyhow!("reading the candidate failed"))?;
    Ok(compare::compare(&baseline?, &candidate?, &judge.criteria())?)
}

/// Writes the report as it was asked for. Its verdicts are the ending.
pub(crate) fn conclude(report: &Report, judge: &JudgeArgs) -> Result<Ending> {
    for Output { format, file } in judge.outputs() {
        let text = match (format, &file) {
            (OutputFormat::Terminal, None) => {
                terminal::write(report, screen_width(), printer::is_coloured_screen())
            }
            (OutputFormat::Terminal, Some(_)) => terminal::write(report, None, false),
            (OutputFormat::Markdown, _) => markdown::write(report),
            (OutputFormat::Json, _) => json::write(report),
            (OutputFormat::Junit, _) => junit::write(report),
            (OutputFormat::Github, _) => github::write(report),
        };
        match file {
            None => printer::result(&text)?,
            Some(path) => std::fs::write(&path, text).with_context(|| path.display().to_string())?,
        }
        if format == OutputFormat::Github {
            add_step_summary(report)?;
        }
    }
    let counts = report.counts();
    Ok(match judge.inconclusive {
        _ if counts.regressed > 0 => Ending::Finding,
        _ if counts.inconclusive == 0 => Ending::Done,
        None => Ending::Inconclusive,
        Some(Inconclusive::Pass) => Ending::Done,
        Some(Inconclusive::Fail) => Ending::Finding,
    })
}

/// In a step of GitHub Actions: the page of the job shows it.
fn add_step_summary(report: &Report) -> Result<()> {
    let Some(path) = std::env::var_os("GITHUB_STEP_SUMMARY").filter(|path| !path.is_empty()) else {
        return Ok(());
    };
    let file = OpenOptions::new().create(true).append(true).open(&path);
    let written = file.and_then(|mut file| file.write_all(markdown::write(report).as_bytes()));
    written.with_context(|| format!("GITHUB_STEP_SUMMARY: {}", Path::new(&path).display()))
}
