//! `run --against`: a baseline and a candidate, measured interleaved, then compared.

use std::path::Path;

use anyhow::{Context, Result};
use harness::{Destination, Engines, Setting, SweepKeys, Variant, Whole};
use results::{Exporter as _, Markdown, RunFolder};

use crate::args::{MeasureArgs, RunArgs, read_engines};
use crate::commands::confirm;
use crate::exit_status::ExitStatus;
use crate::format::shell_command;
use crate::session::{begin, keep_history, measure, prepare_history, resume_command};
use crate::sweep_file::{EarlierRun, default_dir, open_earlier, read_settings};
use crate::{comparison, html_report, printer};

/// The folders of the two sides.
pub(crate) const SIDES: [&str; 2] = ["baseline", "candidate"];

/// The file of the comparison in the session's folder.
const COMPARISON: &str = "comparison.md";

/// The default of `replicates`: the fewest with which a verdict of change is possible.
const REPLICATES: u32 = compare::FEWEST_REPLICATES as u32;

pub(crate) fn is_asked_for(args: &RunArgs) -> bool {
    args.against.is_some() || !args.against_options.is_empty()
}

pub(crate) fn run(args: &RunArgs) -> Result<ExitStatus> {
    let (sides, engines) = open(args)?;
    let engines = &engines;
    prepare_history(&args.history)?;
    let settings = sides.each_ref().map(|(settings, _)| settings.clone());
    let mut session = begin(variants(args, sides, engines)?, &args.measure)?;
    let again = |folders: &[RunFolder]| again(args, dir_of(folders));
    let status = measure(&mut session, args.measure.watch, None, &again)?;
    if status == ExitStatus::Interrupted {
        return Ok(status);
    }
    let dir = dir_of(session.folders()).to_path_buf();
    let [baseline, candidate] = [0, 1].map(|side| session.folders()[side].dir().to_path_buf());
    let mut report = confirm::compare_round(args, &baseline, &candidate, 0)?;
    let mut is_interrupted = false;
    if let Some(budget) = confirm::budget(args) {
        drop(session);
        (report, is_interrupted) = confirm::rounds(args, engines, &dir, &settings, budget, report)?;
    }
    let file = dir.join(COMPARISON);
    llama::write_whole(&file, Markdown.write(&report).text.as_bytes())
        .with_context(|| file.display().to_string())?;
    let page = dir.join(html_report::PAGE);
    html_report::write_page(&[baseline.clone(), candidate.clone()], &page, llama::write_whole, None)?;
    let compared = comparison::conclude(&report, &args.judge)?;
    keep_history(&args.history, &candidate)?;
    let sides = [&baseline, &candidate].map(|side| side.display().to_string());
    let command = shell_command(&[&["llama2-bench", "compare"].map(str::to_owned)[..], &sides].concat());
    printer::line(&format!("Results: {}; open {} or run `{command}`", dir.display(), page.display()));
    Ok(match status {
        _ if is_interrupted => ExitStatus::Interrupted,
        ExitStatus::Finding => status,
        _ => compared,
    })
}

/// The folder of a session, which has a folder for each side.
fn dir_of(folders: &[RunFolder]) -> &Path {
    folders[0].dir().parent().unwrap_or(Path::new("."))
}

/// Resolves both sides.
pub(crate) fn variants(
    args: &RunArgs,
    [(baseline_settings, baseline_to), (settings, to)]: [(SweepKeys, Destination); 2],
    engines: &Engines,
) -> Result<Vec<(Variant, Destination)>> {
    let candidate = Variant::resolve(&settings, engines.clone())?;
    Ok(vec![(baseline(args, baseline_settings, engines.clone())?, baseline_to), (candidate, to)])
}

/// The settings of both sides in new folders of `dir`. The default of `replicates` is the fewest for a verdict of change; `origin` names what
/// needs them.
///
/// # Errors
/// Where `dir` holds anything else.
pub(crate) fn sides_of_new(
    dir: &Path,
    settings: &SweepKeys,
    measure: &MeasureArgs,
    origin: &str,
) -> Result<[(SweepKeys, Destination); 2]> {
    results::refuse_non_empty(dir, &SIDES)?;
    for side in SIDES {
        results::refuse_non_empty(&dir.join(side), &[])?;
    }
    Ok(SIDES.map(|side| {
        (
            with_replicates(settings.clone(), measure, origin),
            Destination::New { dir: dir.join(side), shard: None },
        )
    }))
}

fn with_replicates(mut settings: SweepKeys, measure: &MeasureArgs, origin: &str) -> SweepKeys {
    settings.procedure.replicates.get_or_insert_with(|| Setting::new(Whole(REPLICATES), origin));
    measure.keys().over(settings)
}

/// The settings that both sides share, their folders, and the candidate's engines.
fn open(args: &RunArgs) -> Result<([(SweepKeys, Destination); 2], Engines)> {
    let sweep = args.sweep.as_deref();
    let engines = &args.measure.setup.engines;
    Ok(match &args.resume {
        Some(dir) => {
            let open = |side: &str| open_earlier(&dir.join(side), sweep, args.allow_mixed);
            let sides = [open(SIDES[0])?, open(SIDES[1])?];
            let engines = engines.read_or_of_run(dir, sides[1].engines_file.as_ref())?;
            let with_replicates = |side: EarlierRun| {
                (with_replicates(side.settings, &args.measure, "--against"), side.destination)
            };
            (sides.map(with_replicates), engines)
        }
        None => {
            let (settings, name) = read_settings(sweep)?;
            let dir = args.out.clone().unwrap_or_else(|| default_dir(&format!("{name}-against")));
            (sides_of_new(&dir, &settings, &args.measure, "--against")?, engines.read()?)
        }
    })
}

/// The baseline: different options, engines of another file, or the workers of another build.
fn baseline(args: &RunArgs, mut settings: SweepKeys, engines: Engines) -> Result<Variant> {
    settings.set_flag("options", "--against-option", &args.against_options)?;
    Ok(match &args.against {
        None => Variant::resolve(&settings, engines)?,
        Some(path) if path.is_dir() => Variant::resolve(&settings, engines)?
            .with_workers_of(path, &format!("--against {}", path.display()))?,
        Some(path) => Variant::resolve(&settings, read_engines(path)?)?,
    })
}

/// The command that continues the session in `dir`.
pub(crate) fn again(args: &RunArgs, dir: &Path) -> String {
    let against = args.against.iter().map(|path| ["--against".into(), path.display().to_string()]);
    let options = args.against_options.iter().map(|option| ["--against-option".into(), option.clone()]);
    let budget = args.budget.map(|budget| ["--budget".into(), format!("{}s", budget.as_secs().max(1))]);
    let pairs = against.chain(options).chain(budget).chain(args.judge.words());
    let until_clear = args.until_clear.then(|| "--until-clear".to_owned());
    let history = args.history.words();
    let words: Vec<String> =
        pairs.flatten().chain(history).chain(until_clear).chain(args.judge.switches()).collect();
    resume_command(dir, &args.measure, &words)
}
