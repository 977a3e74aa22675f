//! `run`: measure a sweep.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use harness::{
    ClockLock, Contender, Engines, Interrupt, Model, QUICK_SWEEP, RunSummary, Settings, Sweep, clocked,
};
use machine::gpu::{GpuWatch, Gpus};
use machine::read_environment;
use protocol::{Device, Environment, ModelFacts, ProgramVersion, Verification};
use results::RunFolder;

use crate::args::{HistoryFlags, MeasureArgs, RunArgs};
use crate::commands::report::{PAGE, html as page_of};
use crate::commands::{against, ceilings, history, plan, profile, table};
use crate::spent::Stopwatch;
use crate::watch::Shown;
use crate::{Ending, printer, source};

pub(crate) fn run(args: &RunArgs) -> Result<Ending> {
    let mut stopwatch = Stopwatch::start();
    let engines = args.measure.setup.engines.read()?;
    if against::is_asked_for(args) {
        return against::run(args, &engines, stopwatch);
    }
    ensure!(
        !args.judge.is_given(),
        "--threshold, --allow-drift, --inconclusive and --format are for a comparison: --against says with what"
    );
    if let Some(dir) = &args.resume {
        let (mut folder, warning) = RunFolder::open(dir)?;
        warn_torn(warning);
        let settings = match &args.sweep {
            Some(path) => read_settings(Some(path))?.0,
            None => {
                let (text, path) = folder.last_sweep();
                Sweep::settings(text, &path.display().to_string(), dir)?
            }
        };
        let sweep = resolve(args, settings, &engines)?;
        let gpu = watch(&sweep, &args.measure)?;
        folder.resume(&sweep.to_toml(), look_around(&sweep, &engines)?, args.allow_mixed)?;
        let _clocks = lock_clocks(&sweep)?;
        return finish(args, &sweep, &engines, folder, gpu, &stopwatch);
    }
    let (settings, name) = read_settings(args.sweep.as_deref())?;
    let sweep = resolve(args, settings, &engines)?;
    if args.list {
        printer::text(&plan::list(&sweep, None))?;
        return Ok(Ending::Done);
    }
    if let Some(cell) = args.profile {
        return profile::run(sweep, &engines, cell);
    }
    let environment = look_around(&sweep, &engines)?;
    let gpu = watch(&sweep, &args.measure)?;
    let _clocks = lock_clocks(&sweep)?;
    let environment = Environment { shard: args.shard, ..environment };
    let name = match args.shard {
        Some(share) => format!("{name}-{}of{}", share.index(), share.count()),
        None => name,
    };
    let dir = args.out.clone().unwrap_or_else(|| default_dir(&name));
    let folder = RunFolder::create(&dir, &sweep.to_toml(), || {
        with_ceilings(environment, &sweep, &engines, &args.measure, &mut stopwatch)
    })?;
    finish(args, &sweep, &engines, folder, gpu, &stopwatch)
}

pub(crate) fn warn_torn(warning: Option<String>) {
    if let Some(warning) = warning {
        printer::line(&format!("warning: {warning}"));
    }
}

fn finish(
    args: &RunArgs,
    sweep: &Sweep,
    engines: &Engines,
    folder: RunFolder,
    gpu: Option<GpuWatch>,
    stopwatch: &Stopwatch,
) -> Result<Ending> {
    let dir = folder.dir().to_path_buf();
    let ending = measure_one(sweep, engines, folder, &args.measure, gpu, stopwatch)?;
    if ending != Ending::Interrupted {
        keep_history(&args.history, &dir)?;
        printer::line(&format!("the run's folder: {}", dir.display()));
    }
    Ok(ending)
}

/// Where it is asked for, keeps what the run in `dir` measured for `history`.
pub(crate) fn keep_history(flags: &HistoryFlags, dir: &Path) -> Result<()> {
    if let Some(history) = &flags.dir {
        let file = history::add(history, dir, flags.revision.as_deref())?;
        printer::line(&format!("kept in {}", file.display()));
    }
    Ok(())
}

/// The sweep, with what the flags set over it.
pub(crate) fn resolve(args: &RunArgs, mut settings: Settings, engines: &Engines) -> Result<Sweep> {
    args.measure.overrides.overlay(&mut settings);
    args.measure.setup.overlay(&mut settings)?;
    Ok(Sweep::resolve(settings, engines)?)
}

pub(crate) fn look_around(sweep: &Sweep, engines: &Engines) -> Result<Environment> {
    let program = ProgramVersion {
        version: env!("CARGO_PKG_VERSION").into(),
        git_revision: option_env!("LLAMA2_BENCH_REVISION").map(str::to_owned),
    };
    let hellos = harness::greet_all(sweep, engines)?;
    let facts = |model: &Model| {
        let fingerprint = llama::fingerprint(&model.source)?;
        Ok((model.name.clone(), ModelFacts { fingerprint, config: model.config.to_json() }))
    };
    let models = sweep.models.iter().map(facts).collect::<Result<_>>()?;
    let of_engine = |engine: &String| Some(engines.get(engine)?.facts().map(|facts| (engine.clone(), facts)));
    let programs = sweep.engines.iter().filter_map(of_engine).collect::<Result<_, _>>()?;
    let gpus = Gpus::find().map(|gpus| gpus.facts()).unwrap_or_default();
    let locked_gpu_clocks = sweep.lock_gpu_clocks.as_ref().map(|setting| setting.clock);
    let environment = read_environment(program, hellos, programs, models, gpus);
    Ok(Environment { locked_gpu_clocks, ..environment })
}

/// Locks the GPU's clocks where the sweep asks for it, until the result is dropped.
pub(crate) fn lock_clocks(sweep: &Sweep) -> Result<Option<ClockLock>> {
    let Some(setting) = &sweep.lock_gpu_clocks else { return Ok(None) };
    Ok(Some(ClockLock::take(setting, sweep.setup.device, &sweep.setup.processes())?))
}

/// The environment with what the device can do at most, unless that is not to be measured.
pub(crate) fn with_ceilings(
    environment: Environment,
    sweep: &Sweep,
    engines: &Engines,
    args: &MeasureArgs,
    stopwatch: &mut Stopwatch,
) -> Environment {
    let measure = || ceilings::of_run(sweep, engines, &environment.engines);
    let ceilings = if args.no_ceilings { None } else { clocked(&mut stopwatch.ceilings, measure) };
    Environment { ceilings, ..environment }
}

/// [`measure`] of one run, with its tables on stdout.
pub(crate) fn measure_one(
    sweep: &Sweep,
    engines: &Engines,
    mut folder: RunFolder,
    args: &MeasureArgs,
    gpu: Option<GpuWatch>,
    stopwatch: &Stopwatch,
) -> Result<Ending> {
    let again = quoted(&resume_words(folder.dir(), args));
    let contender = Contender { sweep, engines, folder: &mut folder, gpu };
    measure(&mut [contender], args, &again, stopwatch)
}

/// A watch over the GPU that computes, where there is one; others who use it are told, or refused where it is to be ours alone.
pub(crate) fn watch(sweep: &Sweep, args: &MeasureArgs) -> Result<Option<GpuWatch>> {
    let device = sweep.setup.device;
    let Some(gpu) = Gpus::find().ok().and_then(|gpus| gpus.watch(device)) else {
        let is_gpu = device != Device::Cpu;
        ensure!(
            !(args.exclusive && is_gpu),
            "--exclusive: nobody says who uses {device}: see `llama2-bench doctor`"
        );
        return Ok(None);
    };
    if let Some(others) = gpu.other_processes() {
        ensure!(!args.exclusive, "--exclusive: {device} is also used by {others}");
        printer::line(&format!("warning: {device} is also used by {others}: figures may be theirs, too"));
    }
    Ok(Some(gpu))
}

/// Measures what the folders lack and writes their tables; prints those of a run that is alone. Where that does not go to
/// its end, `again` is shown, the command that goes on; else where the time went.
pub(crate) fn measure(
    contenders: &mut [Contender<'_>],
    args: &MeasureArgs,
    again: &str,
    stopwatch: &Stopwatch,
) -> Result<Ending> {
    let _interrupt = Interrupt::install();
    let mut shown = Shown::new(contenders, args.watch);
    let outcome = harness::run(contenders, !args.no_verify, &mut |event| shown.show(&event));
    shown.finish();

    let is_alone = contenders.len() == 1;
    let shown = contenders.iter().try_fold(false, |found, one| Ok(show(one.folder, is_alone)? | found));
    match outcome {
        Ok(RunSummary { interrupted: true, .. }) => {
            tell(&shown);
            printer::line(&format!("interrupted: `{again}` measures the rest"));
            Ok(Ending::Interrupted)
        }
        Ok(summary) => {
            let is_impossible = shown?;
            printer::line(&stopwatch.line(&summary.spent));
            let is_finding = summary.failed > 0 || summary.disagreement || is_impossible;
            Ok(if is_finding { Ending::Finding } else { Ending::Done })
        }
        Err(error) => {
            tell(&shown);
            printer::line(&format!("stopped: what was measured before is kept: `{again}` measures the rest"));
            Err(error.into())
        }
    }
}

fn tell(shown: &Result<bool>) {
    if let Err(error) = shown {
        printer::error(error);
    }
}

/// Prints the tables of what is measured so far, where that is asked for, then writes them into the folder.
/// Whether its audit found something impossible.
pub(crate) fn show(folder: &RunFolder, print: bool) -> Result<bool> {
    if folder.is_empty() {
        return Ok(false);
    }
    let run = source::read_whole(folder.dir())?;
    let tables = source::with_findings(&run);
    let left = table::left_for_collectives(&tables, None)?;
    if print {
        printer::result(&(table::render(&tables, None) + &left))?;
    }
    folder.write("table.md", (report::markdown::write(&tables) + &left).as_bytes())?;
    folder.write("summary.csv", report::csv::write(&tables).as_bytes())?;
    folder.write(PAGE, page_of(&run)?.as_bytes())?;
    Ok(run.audit.is_impossible())
}

/// The command that measures what a run's folder lacks.
pub(crate) fn resume_words(dir: &Path, args: &MeasureArgs) -> Vec<String> {
    let dir = dir.display().to_string();
    let mut words = vec!["llama2-bench".to_owned(), "run".into(), "--resume".into(), dir];
    if let Some(file) = args.setup.engines.file() {
        words.extend(["--engines-file".into(), file.display().to_string()]);
    }
    if args.no_verify {
        words.push("--no-verify".into());
    }
    words
}

/// A command for a shell.
pub(crate) fn quoted(words: &[String]) -> String {
    words.iter().map(|word| quote(word)).collect::<Vec<_>>().join(" ")
}

/// A word as a POSIX shell reads it back.
fn quote(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./:+=,@".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// The sweep's settings, and its name for the run's folder.
pub(crate) fn read_settings(path: Option<&Path>) -> Result<(Settings, String)> {
    let Some(path) = path else {
        return Ok((Sweep::settings(QUICK_SWEEP, "configs/quick.toml", Path::new(""))?, "quick".into()));
    };
    let text = llama::read_text(path).with_context(|| path.display().to_string())?;
    let base = path.parent().unwrap_or(path);
    let name = path.file_stem().map_or_else(|| "sweep".into(), |stem| stem.to_string_lossy().into_owned());
    Ok((Sweep::settings(&text, &path.display().to_string(), base)?, name))
}

#[expect(clippy::disallowed_methods, reason = "a folder's name")]
pub(crate) fn default_dir(name: &str) -> PathBuf {
    let now = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ");
    Path::new("runs").join(format!("{now}-{name}"))
}

/// One line on how the engines stand to each other.
pub(crate) fn describe(verification: &Verification) -> String {
    let Verification { model, tolerance, .. } = verification;
    let against = verification.against.as_deref().unwrap_or("nothing");
    let engines: Vec<String> = verification
        .agreements
        .iter()
        .map(|one| {
            let engine = &one.engine;
            if let Some(error) = &one.error {
                return format!("{engine} did not answer: {error}");
            }
            let tokens = if one.same_tokens { "same tokens" } else { "other tokens" };
            let verdict = if verification.agrees(one) { "" } else { " — DIFFERS" };
            let place = one.largest_error_at.map_or_else(String::new, |(step, row, id)| {
                format!(" at step {step}, row {row}, token {id}")
            });
            format!("{engine}: {tokens}, largest error of a logit {:.2e}{place}{verdict}", one.largest_error)
        })
        .collect();
    let missing =
        verification.reference_error.as_ref().map(|error| format!("the reference did not answer: {error}"));
    if engines.is_empty() {
        return format!(
            "{model}: only {against} computes it here, and there is nothing to hold that against"
        );
    }
    let lines: Vec<String> = missing.into_iter().chain(engines).collect();
    format!("{model} against {against} (tolerance {tolerance:.2e})\n  {}", lines.join("\n  "))
}
