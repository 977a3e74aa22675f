//! `run`: measure a sweep.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use harness::{
    Cell, Engines, Interrupt, Model, QUICK_SWEEP, RunFolder, RunSummary, Settings, Sweep, format_bytes, plan,
    read_environment,
};
use protocol::{Device, Environment, ModelFacts, ProgramVersion, Verification};

use crate::args::RunArgs;
use crate::progress::Progress;
use crate::{Ending, commands::table, printer, source};

pub(crate) fn run(args: &RunArgs) -> Result<Ending> {
    let engines = args.setup.engines.read()?;
    if let Some(dir) = &args.resume {
        return resume(args, dir, &engines);
    }
    let (settings, name) = read_settings(args.sweep.as_deref())?;
    let sweep = resolve(args, settings, &engines)?;
    if args.list {
        printer::text(&list(&sweep))?;
        return Ok(Ending::Done);
    }
    let environment = look_around(&sweep, &engines)?;
    let dir = args.out.clone().unwrap_or_else(|| default_dir(&name));
    let folder = RunFolder::create(&dir, &sweep, environment)?;
    conclude(measure(&sweep, &engines, folder, args.no_verify, args.setup.engines.file())?)
}

fn resume(args: &RunArgs, dir: &Path, engines: &Engines) -> Result<Ending> {
    let (mut folder, warning) = RunFolder::open(dir)?;
    if let Some(warning) = warning {
        printer::line(&format!("warning: {warning}"));
    }
    let settings = match &args.sweep {
        Some(path) => read_settings(Some(path))?.0,
        None => {
            let (text, path) = folder.last_sweep();
            Sweep::settings(text, &path.display().to_string(), dir)?
        }
    };
    let sweep = resolve(args, settings, engines)?;
    folder.resume(&sweep, look_around(&sweep, engines)?, args.allow_mixed)?;
    conclude(measure(&sweep, engines, folder, args.no_verify, args.setup.engines.file())?)
}

fn conclude(Measured { dir, ending }: Measured) -> Result<Ending> {
    if ending != Ending::Interrupted {
        printer::line(&format!("the run's folder: {}", dir.display()));
    }
    Ok(ending)
}

/// The sweep, with what the flags set over it.
fn resolve(args: &RunArgs, mut settings: Settings, engines: &Engines) -> Result<Sweep> {
    args.overrides.overlay(&mut settings);
    args.setup.overlay(&mut settings)?;
    let sweep = Sweep::resolve(settings, engines)?;
    ensure!(
        sweep.world_size == 1,
        "world_size {}: no engine runs on more than one rank yet",
        sweep.world_size
    );
    Ok(sweep)
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
    Ok(read_environment(program, hellos, models))
}

/// A run that went to its end.
pub(crate) struct Measured {
    pub(crate) dir: PathBuf,
    pub(crate) ending: Ending,
}

/// Measures what the folder lacks and prints its tables. Where that does not go to its end, the command that goes on is
/// shown.
pub(crate) fn measure(
    sweep: &Sweep,
    engines: &Engines,
    mut folder: RunFolder,
    no_verify: bool,
    engines_file: Option<&Path>,
) -> Result<Measured> {
    let _interrupt = Interrupt::install();
    let mut progress = Progress::new(sweep);
    let outcome = harness::run(sweep, engines, &mut folder, !no_verify, &mut |event| progress.show(&event));
    progress.finish();

    let dir = folder.dir().to_path_buf();
    let again = resume_command(&dir, engines_file, no_verify);
    let shown = show(&folder);
    let ending = match outcome {
        Ok(RunSummary { interrupted: true, .. }) => {
            tell(&shown);
            printer::line(&format!("interrupted: `{again}` measures the rest"));
            Ending::Interrupted
        }
        Ok(summary) => {
            let is_impossible = shown?;
            let is_finding = summary.failed > 0 || summary.disagreement || is_impossible;
            if is_finding { Ending::Finding } else { Ending::Done }
        }
        Err(error) => {
            tell(&shown);
            printer::line(&format!("stopped: what was measured before is kept: `{again}` measures the rest"));
            return Err(error.into());
        }
    };
    Ok(Measured { dir, ending })
}

fn tell(shown: &Result<bool>) {
    if let Err(error) = shown {
        printer::error(error);
    }
}

/// Prints the tables of what is measured so far, then writes them into the folder.
/// Whether its audit found something impossible.
fn show(folder: &RunFolder) -> Result<bool> {
    if folder.is_empty() {
        return Ok(false);
    }
    let (tables, is_impossible) = source::read_run(folder.dir())?;
    printer::result(&table::render(&tables, None))?;
    folder.write("table.md", report::markdown::write(&tables).as_bytes())?;
    folder.write("summary.csv", report::csv::write(&tables).as_bytes())?;
    Ok(is_impossible)
}

/// The command that measures what a run's folder lacks, for a shell.
fn resume_command(dir: &Path, engines_file: Option<&Path>, no_verify: bool) -> String {
    let dir = dir.display().to_string();
    let mut words = vec!["llama2-bench".to_owned(), "run".into(), "--resume".into(), dir];
    if let Some(file) = engines_file {
        words.extend(["--engines-file".into(), file.display().to_string()]);
    }
    if no_verify {
        words.push("--no-verify".into());
    }
    let quoted: Vec<String> = words.iter().map(|word| quote(word)).collect();
    quoted.join(" ")
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
fn read_settings(path: Option<&Path>) -> Result<(Settings, String)> {
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

pub(crate) fn list(sweep: &Sweep) -> String {
    let (limit, whose) = match (sweep.setup.memory_limit, sweep.setup.device) {
        (None, Device::Cpu) => {
            (Some(harness::memory_bytes()).filter(|&bytes| bytes > 0), "this machine's memory")
        }
        (limit, _) => (limit, "the limit"),
    };
    let mut text = String::from(
        "cell  model            engine            batch  prompt     weights    KV cache  activations       total\n",
    );
    for (index, cell) in plan(sweep).iter().enumerate() {
        let Cell { model, engine, batch_size, prompt_length, .. } = cell;
        let need = cell.memory_need(sweep);
        let [weights, cache, activations, total] =
            [need.weights, need.kv_cache, need.activations, need.total()].map(format_bytes);
        let over = limit.is_some_and(|limit| need.total() > limit);
        let mark = if over { format!("  over {whose}") } else { String::new() };
        text.push_str(&format!(
            "{:>4}  {:<16} {engine:<16} {batch_size:>6}  {prompt_length:>6}  {weights:>10}  {cache:>10}  {activations:>11}  {total:>10}{mark}\n",
            index + 1,
            model.name,
        ));
    }
    if let Some(limit) = sweep.setup.memory_limit {
        text.push_str(&format!("memory_limit: {}\n", format_bytes(limit)));
    }
    text
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
