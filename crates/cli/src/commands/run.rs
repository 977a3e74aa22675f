//! `run`: measure a sweep.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use harness::{
    Cell, Engines, Interrupt, QUICK_SWEEP, RunFolder, RunSummary, Settings, Sweep, format_bytes, plan,
    read_environment,
};
use protocol::{ProgramVersion, Verification};

use crate::args::RunArgs;
use crate::progress::Progress;
use crate::{Ending, commands::table, printer};

pub(crate) fn run(args: &RunArgs) -> Result<Ending> {
    let engines = args.setup.engines.read()?;
    if let Some(dir) = &args.resume {
        return resume(args, dir, &engines);
    }
    let (mut settings, name) = read_settings(args.sweep.as_deref())?;
    args.overrides.overlay(&mut settings);
    args.setup.overlay(&mut settings)?;
    let sweep = Sweep::resolve(settings, &engines)?;
    if args.list {
        printer::result(&list(&sweep))?;
        return Ok(Ending::Done);
    }
    refuse_unsupported(&sweep)?;
    let environment = read_environment(program(), harness::greet_all(&sweep, &engines)?);
    let dir = args.out.clone().unwrap_or_else(|| default_dir(&name));
    let folder = RunFolder::create(&dir, &sweep, &environment)?;
    measure(args, &sweep, &engines, folder)
}

fn resume(args: &RunArgs, dir: &Path, engines: &Engines) -> Result<Ending> {
    let mut given = Settings::default();
    args.overrides.overlay(&mut given);
    args.setup.overlay(&mut given)?;
    if let Some(flag) = given.first_origin() {
        bail!("{flag}: --resume measures the sweep of {} as it is", dir.display());
    }
    let (folder, sweep, warning) = RunFolder::resume(dir, engines)?;
    if let Some(warning) = warning {
        printer::line(&format!("warning: {warning}"));
    }
    refuse_unsupported(&sweep)?;
    folder.check_environment(&read_environment(program(), harness::greet_all(&sweep, engines)?))?;
    measure(args, &sweep, engines, folder)
}

fn program() -> ProgramVersion {
    ProgramVersion {
        version: env!("CARGO_PKG_VERSION").into(),
        git_revision: option_env!("LLAMA2_BENCH_REVISION").map(str::to_owned),
    }
}

fn measure(args: &RunArgs, sweep: &Sweep, engines: &Engines, mut folder: RunFolder) -> Result<Ending> {
    let _interrupt = Interrupt::install();
    let mut progress = Progress::new(sweep);
    let summary =
        harness::run(sweep, engines, &mut folder, !args.no_verify, &mut |event| progress.show(&event))?;
    progress.finish();

    let dir = folder.dir().to_path_buf();
    if !folder.records().is_empty() {
        let tables = table::read_tables(&dir)?;
        folder.write("table.md", report::markdown::write(&tables).as_bytes())?;
        folder.write("summary.csv", report::csv::write(&tables).as_bytes())?;
        printer::result(&table::render(&tables, None))?;
    }
    Ok(conclude(&dir, summary))
}

fn conclude(dir: &Path, summary: RunSummary) -> Ending {
    let dir = dir.display();
    if summary.interrupted {
        printer::line(&format!("interrupted: `llama2-bench run --resume {dir}` measures the rest"));
        return Ending::Interrupted;
    }
    printer::line(&format!("the run's folder: {dir}"));
    if summary.failed > 0 || summary.disagreement { Ending::Finding } else { Ending::Done }
}

/// The sweep's settings, and its name for the run's folder.
fn read_settings(path: Option<&Path>) -> Result<(Settings, String)> {
    let Some(path) = path else {
        return Ok((Sweep::settings(QUICK_SWEEP, "configs/quick.toml", Path::new(""))?, "quick".into()));
    };
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let base = path.parent().unwrap_or(path);
    let name = path.file_stem().map_or_else(|| "sweep".into(), |stem| stem.to_string_lossy().into_owned());
    Ok((Sweep::settings(&text, &path.display().to_string(), base)?, name))
}

fn refuse_unsupported(sweep: &Sweep) -> Result<()> {
    ensure!(
        sweep.world_size == 1,
        "world_size {}: no engine runs on more than one rank yet",
        sweep.world_size
    );
    Ok(())
}

fn default_dir(name: &str) -> PathBuf {
    let now = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ");
    Path::new("runs").join(format!("{now}-{name}"))
}

fn list(sweep: &Sweep) -> String {
    let limit = sweep.setup.memory_limit;
    let mut text = String::from(
        "cell  model            engine            batch  prompt     weights    KV cache  activations       total\n",
    );
    for (index, cell) in plan(sweep).iter().enumerate() {
        let Cell { model, engine, batch_size, prompt_length, .. } = cell;
        let need = cell.memory_need(sweep);
        let [weights, cache, activations, total] =
            [need.weights, need.kv_cache, need.activations, need.total()].map(format_bytes);
        let over = limit.is_some_and(|limit| need.total() > limit);
        let mark = if over { "  over the limit" } else { "" };
        text.push_str(&format!(
            "{:>4}  {:<16} {engine:<16} {batch_size:>6}  {prompt_length:>6}  {weights:>10}  {cache:>10}  {activations:>11}  {total:>10}{mark}\n",
            index + 1,
            model.name,
        ));
    }
    if let Some(limit) = limit {
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
