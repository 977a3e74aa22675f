//! `run --against`: a baseline and a candidate, measured interleaved, then compared.

use std::path::{Path, PathBuf};

use anyhow::Result;
use harness::{Destination, Engines, Setting, SweepKeys, Variant, Whole};

use crate::args::{RunArgs, read_engines};
use crate::exit_status::ExitStatus;
use crate::session::{begin, keep_history, measure, resume_command};
use crate::sweep_file::{default_dir, open_earlier, read_settings};
use crate::{comparison, html_report, printer};

const SIDES: [&str; 2] = ["baseline", "candidate"];

/// What `replicates` is where none is given: the fewest that a verdict of change rests on.
const REPLICATES: u32 = compare::FEWEST_REPLICATES as u32;

pub(crate) fn is_asked_for(args: &RunArgs) -> bool {
    args.against.is_some() || !args.against_options.is_empty()
}

pub(crate) fn run(args: &RunArgs, engines: Engines) -> Result<ExitStatus> {
    let (dir, [(baseline_settings, baseline_to), (candidate_settings, candidate_to)]) = open(args)?;
    let candidate = Variant::resolve(&candidate_settings, engines.clone())?;
    let baseline = baseline(args, baseline_settings, engines)?;
    let variants = vec![(baseline, baseline_to), (candidate, candidate_to)];
    let mut session = begin(variants, &args.measure)?;
    let status = measure(&mut session, args.measure.watch, &again(args, &dir))?;
    if status == ExitStatus::Interrupted {
        return Ok(status);
    }
    let [baseline, candidate] = SIDES.map(|side| dir.join(side));
    let report = comparison::read_and_compare(&baseline, &candidate, &args.judge, None)?;
    std::fs::write(dir.join("comparison.md"), compare::markdown::write(&report))?;
    html_report::write_page(&[baseline.clone(), candidate.clone()], &dir.join(html_report::PAGE), None)?;
    let compared = comparison::conclude(&report, &args.judge)?;
    keep_history(&args.history, &candidate)?;
    printer::line(&format!("the runs' folders: {} and {}", baseline.display(), candidate.display()));
    Ok(if status == ExitStatus::Finding { status } else { compared })
}

/// The settings of both sides, but for what the baseline alone has, and their folders in the session's.
fn open(args: &RunArgs) -> Result<(PathBuf, [(SweepKeys, Destination); 2])> {
    let sweep = args.sweep.as_deref();
    let (dir, mut sides) = match &args.resume {
        Some(dir) => {
            let open = |side: &str| open_earlier(&dir.join(side), sweep, args.allow_mixed);
            (dir.clone(), [open(SIDES[0])?, open(SIDES[1])?])
        }
        None => {
            let (settings, name) = read_settings(sweep)?;
            let dir = args.out.clone().unwrap_or_else(|| default_dir(&format!("{name}-against")));
            let new = |side: &str| Destination::New { dir: dir.join(side), shard: None };
            let sides = SIDES.map(|side| (settings.clone(), new(side)));
            (dir, sides)
        }
    };
    for (settings, _) in &mut sides {
        let replicates = &mut settings.procedure.replicates;
        replicates.get_or_insert_with(|| Setting::new(Whole(REPLICATES), "--against"));
        *settings = args.measure.keys().over(std::mem::take(settings));
    }
    Ok((dir, sides))
}

/// The baseline: other options, engines of another file, or the workers of another build.
fn baseline(args: &RunArgs, mut settings: SweepKeys, engines: Engines) -> Result<Variant> {
    settings.set_flag("options", "--against-option", &args.against_options)?;
    Ok(match &args.against {
        None => Variant::resolve(&settings, engines)?,
        Some(path) if path.is_dir() => Variant::resolve(&settings, engines)?
            .with_workers_of(path, &format!("--against {}", path.display()))?,
        Some(path) => Variant::resolve(&settings, read_engines(path)?)?,
    })
}

fn again(args: &RunArgs, dir: &Path) -> String {
    let against = args.against.iter().map(|path| ["--against".into(), path.display().to_string()]);
    let options = args.against_options.iter().map(|option| ["--against-option".into(), option.clone()]);
    resume_command(dir, &args.measure, &against.chain(options).collect::<Vec<_>>())
}
