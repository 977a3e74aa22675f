//! `reproduce`: measures the rows of a published table, and compares.

mod beside;
mod plan;
mod rendered;

use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use audit::Severity;
use harness::Destination;
use report::reproduction::Reproduction;
use results::hardware::Hardware;
use results::published::ReadOptions;
use results::{PublishedFile, RunFolder};

use crate::args::{ReproduceArgs, ResultFormat, check_heading};
use crate::exit_status::ExitStatus;
use crate::folders;
use crate::printer;
use crate::rendered::table_format;
use crate::session::{begin, measure, resume_command};
use crate::sources::say_remarks;
use crate::sweep_file::default_dir;
use beside::compare;
use plan::{describe, plans};

/// The file of the comparison in a run's folder.
const REPRODUCTION: &str = "reproduction.md";

pub(crate) fn run(args: &ReproduceArgs) -> Result<ExitStatus> {
    let engines = args.measure.setup.engines.read()?;
    let published = PublishedFile::read_with(&args.file, &options(args)?)?;
    say_remarks(&published);
    let (file, tables) = (&published.name, published.tables());
    let plans = plans(args, &engines, &tables)?;
    if args.list {
        printer::text(&results::plain(&plans.iter().map(describe).collect::<Vec<_>>().join("\n")))?;
        return Ok(ExitStatus::Done);
    }
    let impossible: Vec<usize> = audit::audit(&tables, &Hardware::built_in())
        .findings
        .iter()
        .filter(|finding| finding.severity == Severity::Impossible)
        .map(|finding| finding.line)
        .collect();
    if let Some(dir) = &args.from {
        folders::check(&[dir])?;
        let [plan] = &plans[..] else {
            bail!("--from: {file} has {} tables: choose one with --table N", plans.len())
        };
        return conclude(args, &[compare(args, plan, dir, &impossible)?]);
    }
    if plans.iter().all(|plan| plan.variant.is_none()) {
        plans.iter().for_each(|plan| printer::line(&describe(plan)));
        bail!("no row of {file} can run here");
    }

    // A run that is measured prints its table first.
    ensure!(
        !matches!(args.format.given(), Some(ResultFormat::Csv | ResultFormat::Json)),
        "--format: csv and json are for a run that is measured already: give it with --from"
    );
    // Check all folders before the first table is measured.
    let names: Vec<String> = plans.iter().map(|plan| format!("table-{}", plan.number)).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    if let Some(dir) = &args.out {
        results::refuse_non_empty(dir, if plans.len() > 1 { &names } else { &[] })?;
    }
    for plan in plans.iter().filter(|plan| plan.variant.is_some()) {
        results::refuse_foreign(&folder(args, plan.number, plans.len()), &[REPRODUCTION])?;
    }
    let mut reproductions = Vec::new();
    let mut is_finding = false;
    for plan in &plans {
        let Some(variant) = plan.variant.clone() else {
            printer::line(&describe(plan));
            continue;
        };
        let dir = folder(args, plan.number, plans.len());
        let destination = Destination::New { dir, shard: None };
        let mut session = begin(vec![(variant, destination)], &args.measure)?;
        let again = |folders: &[RunFolder]| resume_command(folders[0].dir(), &args.measure, &[]);
        let status = measure(&mut session, args.measure.watch, None, &again)?;
        let dir = session.folders()[0].dir();
        if status == ExitStatus::Interrupted {
            let (number, dir) = (plan.number, dir.display());
            printer::line(&format!(
                "then compare with `llama2-bench reproduce {file} --table {number} --from {dir}`"
            ));
            return Ok(status);
        }
        is_finding |= status == ExitStatus::Finding;
        let reproduction = compare(args, plan, dir, &impossible)?;
        let file = dir.join(REPRODUCTION);
        llama::write_whole(&file, reproduction.to_markdown().as_bytes())
            .with_context(|| file.display().to_string())?;
        reproductions.push(reproduction);
    }
    let status = conclude(args, &reproductions)?;
    Ok(if is_finding { ExitStatus::Finding } else { status })
}

/// What the flags say about a file that leaves it out. A single --engine is the engine of a file without an engine column.
fn options(args: &ReproduceArgs) -> Result<ReadOptions> {
    check_heading(args.heading.as_deref())?;
    let engines = args.measure.overrides.0.engines.as_ref();
    let engine = engines.and_then(|engines| <[String; 1]>::try_from(engines.value.clone()).ok());
    Ok(ReadOptions {
        engine: engine.map(|[engine]| engine),
        heading: args.heading.clone(),
        ..ReadOptions::default()
    })
}

fn conclude(args: &ReproduceArgs, reproductions: &[Reproduction]) -> Result<ExitStatus> {
    rendered::render(reproductions)?.print_as(table_format(args.format.given(), None), None)?;
    let verdicts: Vec<bool> = reproductions.iter().filter_map(Reproduction::holds).collect();
    Ok(match verdicts.iter().all(|&holds| holds) {
        _ if verdicts.is_empty() => ExitStatus::Inconclusive,
        true => ExitStatus::Done,
        false => ExitStatus::Finding,
    })
}

fn folder(args: &ReproduceArgs, number: usize, tables: usize) -> PathBuf {
    match &args.out {
        Some(dir) if tables == 1 => dir.clone(),
        Some(dir) => dir.join(format!("table-{number}")),
        None => {
            let stem = args.file.file_stem().unwrap_or_default().to_string_lossy();
            default_dir(&format!("{stem}-{number}"))
        }
    }
}
