//! `run --against`: a baseline and a candidate, measured interleaved, then compared.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use harness::{ClockLock, Contender, Engines, Settings, Sweep};
use protocol::{Environment, Pair};
use results::RunFolder;

use crate::args::{RunArgs, read_engines, set_option};
use crate::commands::run::{
    default_dir, keep_history, lock_clocks, look_around, measure, read_settings, resolve, resume_words,
    warn_torn, watch, with_ceilings,
};
use crate::commands::{compare, report as report_page, run::quoted};
use crate::spent::Stopwatch;
use crate::{Ending, printer};

const SIDES: [&str; 2] = ["baseline", "candidate"];

/// What a launch count is where none is given: the fewest that a verdict of change rests on.
const REPLICATES: i64 = ::compare::FEWEST_LAUNCHES as i64;

pub(crate) fn is_asked_for(args: &RunArgs) -> bool {
    args.against.is_some() || !args.against_options.is_empty()
}

pub(crate) fn run(args: &RunArgs, engines: &Engines, mut stopwatch: Stopwatch) -> Result<Ending> {
    let engines = [baseline_engines(args, engines)?, engines.clone()];
    let (dir, sides, _clocks) = match &args.resume {
        Some(dir) => {
            let sides = resume(args, dir, &engines)?;
            let clocks = lock_clocks(&sides[1].0)?;
            (dir.clone(), sides, clocks)
        }
        None => begin(args, &engines, &mut stopwatch)?,
    };
    let [(baseline, mut baseline_folder), (candidate, mut candidate_folder)] = sides;
    let gpu = watch(&candidate, &args.measure)?;
    let mut contenders = [
        Contender { sweep: &baseline, engines: &engines[0], folder: &mut baseline_folder, gpu: gpu.clone() },
        Contender { sweep: &candidate, engines: &engines[1], folder: &mut candidate_folder, gpu },
    ];
    let ending = measure(&mut contenders, &args.measure, &resume_command(args, &dir), &stopwatch)?;
    if ending == Ending::Interrupted {
        return Ok(ending);
    }
    let [baseline, candidate] = SIDES.map(|side| dir.join(side));
    let report = compare::read_and_compare(&baseline, &candidate, &args.judge)?;
    std::fs::write(dir.join("comparison.md"), ::compare::markdown::write(&report))?;
    report_page::write_page(&[baseline.clone(), candidate.clone()], &dir.join(report_page::PAGE), None)?;
    let compared = compare::conclude(&report, &args.judge)?;
    keep_history(&args.history, &candidate)?;
    printer::line(&format!("the runs' folders: {} and {}", baseline.display(), candidate.display()));
    Ok(if ending == Ending::Finding { ending } else { compared })
}

fn baseline_engines(args: &RunArgs, engines: &Engines) -> Result<Engines> {
    Ok(match &args.against {
        None => engines.clone(),
        Some(path) if path.is_dir() => engines.clone().from_build(path),
        Some(path) => read_engines(path)?,
    })
}

type Side = (Sweep, RunFolder);

fn begin(
    args: &RunArgs,
    engines: &[Engines; 2],
    stopwatch: &mut Stopwatch,
) -> Result<(PathBuf, [Side; 2], Option<ClockLock>)> {
    let (settings, name) = read_settings(args.sweep.as_deref())?;
    let sweeps = sweeps(args, [settings.clone(), settings], engines)?;
    let environments = [look_around(&sweeps[0], &engines[0])?, look_around(&sweeps[1], &engines[1])?];
    check_build(args, &sweeps[0], &engines[0])?;
    let clocks = lock_clocks(&sweeps[1])?;
    let dir = args.out.clone().unwrap_or_else(|| default_dir(&format!("{name}-against")));
    let seed = format!("{} {} {}", environments[0].started, std::process::id(), dir.display());
    let id = llama::sha256_hex(seed.as_bytes())[..16].to_owned();
    let [first, second] = sweeps;
    let [its, others] = environments;
    let pair = |is_baseline| Some(Pair { id: id.clone(), is_baseline });
    let mut ceilings = None;
    let its = || {
        let its = Environment { pair: pair(true), ..its };
        let its = with_ceilings(its, &first, &engines[0], &args.measure, stopwatch);
        ceilings.clone_from(&its.ceilings);
        its
    };
    let baseline = RunFolder::create(&dir.join(SIDES[0]), &first.to_toml(), its)?;
    let others = || Environment { pair: pair(false), ceilings, ..others };
    let candidate = RunFolder::create(&dir.join(SIDES[1]), &second.to_toml(), others)?;
    let sides = [(first, baseline), (second, candidate)];
    Ok((dir, sides, clocks))
}

fn resume(args: &RunArgs, dir: &Path, engines: &[Engines; 2]) -> Result<[Side; 2]> {
    let open = |side: &str| -> Result<(Settings, RunFolder)> {
        let (folder, warning) = RunFolder::open(&dir.join(side))?;
        warn_torn(warning);
        let settings = match &args.sweep {
            Some(path) => read_settings(Some(path))?.0,
            None => {
                let (text, path) = folder.last_sweep();
                Sweep::settings(text, &path.display().to_string(), &dir.join(side))?
            }
        };
        Ok((settings, folder))
    };
    let [(baseline, baseline_folder), (candidate, candidate_folder)] = [open(SIDES[0])?, open(SIDES[1])?];
    let [baseline, candidate] = sweeps(args, [baseline, candidate], engines)?;
    let mut sides = [(baseline, baseline_folder), (candidate, candidate_folder)];
    for ((sweep, folder), engines) in sides.iter_mut().zip(engines) {
        let environment = look_around(sweep, engines)?;
        folder.resume(&sweep.to_toml(), environment, args.allow_mixed)?;
    }
    Ok(sides)
}

/// The same sweep twice, but for engines and options.
fn sweeps(args: &RunArgs, settings: [Settings; 2], engines: &[Engines; 2]) -> Result<[Sweep; 2]> {
    let [mut baseline, mut candidate] = settings;
    for settings in [&mut baseline, &mut candidate] {
        if !settings.has("procedure.replicates") {
            settings.set("procedure.replicates", "--against", REPLICATES);
        }
    }
    let candidate = resolve(args, candidate, &engines[1])?;
    args.measure.overrides.overlay(&mut baseline);
    args.measure.setup.overlay(&mut baseline)?;
    args.against_options
        .iter()
        .try_for_each(|option| set_option(&mut baseline, "--against-option", option))?;
    let baseline = Sweep::resolve(baseline, &engines[0])?;
    Ok([baseline, candidate])
}

/// A build that lacks a worker would be held against itself.
fn check_build(args: &RunArgs, sweep: &Sweep, engines: &Engines) -> Result<()> {
    let Some(dir) = args.against.as_ref().filter(|path| path.is_dir()) else { return Ok(()) };
    for engine in &sweep.engines {
        let program = &engines.find(engine).map_err(anyhow::Error::msg)?.program;
        let name = Path::new(program.file_name().unwrap_or_default());
        ensure!(
            program.parent() == Some(dir),
            "--against {}: there is no {}, the worker of {engine}",
            dir.display(),
            name.display()
        );
    }
    Ok(())
}

fn resume_command(args: &RunArgs, dir: &Path) -> String {
    let mut words = resume_words(dir, &args.measure);
    if let Some(path) = &args.against {
        words.extend(["--against".into(), path.display().to_string()]);
    }
    for option in &args.against_options {
        words.extend(["--against-option".into(), option.clone()]);
    }
    quoted(&words)
}
