//! `reproduce`: the table is the sweep.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail, ensure};
use audit::{AuditedTable, Hardware, Severity};
use harness::{Engines, NAMED_MODELS, Settings, Sweep};
use llama::LlamaConfig;
use report::reproduction::{Known, Reproduction};
use results::RunFolder;
use results::Table;
use results::published::{DeviceKind, Heading, PublishedRow, PublishedTable};
use toml::Value;

use crate::args::{Overrides, ReproduceArgs};
use crate::commands::plan::list;
use crate::commands::run::{default_dir, lock_clocks, look_around, measure_one, watch, with_ceilings};
use crate::spent::Stopwatch;
use crate::{Ending, printer, source};

/// What of a published table can run here.
struct Plan<'a> {
    /// Its place in the file, from 1.
    number: usize,
    table: &'a PublishedTable,
    /// `None` where no row can.
    sweep: Option<Sweep>,
    /// By line, why a row can't; rows that were not asked for are in neither.
    not_run: BTreeMap<usize, String>,
}

pub(crate) fn run(args: &ReproduceArgs) -> Result<Ending> {
    let engines = args.measure.setup.engines.read()?;
    let document = source::read_file(&args.file)?;
    let file = args.file.display().to_string();
    let tables: Vec<&PublishedTable> = document.tables().collect();
    if let Some(number) = args.table {
        ensure!(
            (1..=tables.len()).contains(&number),
            "--table: {file} has tables 1 to {}, not {number}",
            tables.len()
        );
    }
    let is_of_one_rank = |table: &&PublishedTable| {
        Heading::parse(&table.heading).is_ok_and(|heading| heading.one_rank_of.is_some())
    };
    ensure!(
        !args.measure.setup.one_rank || tables.iter().all(is_of_one_rank),
        "--one-rank: {file} is of whole models, which one rank is never compared with: `llama2-bench run --one-rank`, then \
         `llama2-bench table RUN --published {file}`"
    );
    let chosen =
        tables.iter().enumerate().filter(|(index, _)| args.table.is_none_or(|number| number == index + 1));
    let plans = chosen
        .map(|(index, table)| plan(args, &engines, &file, index + 1, table))
        .collect::<Result<Vec<_>>>()?;
    if args.list {
        printer::text(&plans.iter().map(describe).collect::<Vec<_>>().join("\n"))?;
        return Ok(Ending::Done);
    }
    let audited = AuditedTable::of(&file, &document);
    let impossible: Vec<usize> = audit::audit(&audited, &Hardware::built_in())
        .findings
        .iter()
        .filter(|finding| finding.severity == Severity::Impossible)
        .map(|finding| finding.line)
        .collect();
    if let Some(dir) = &args.from {
        let [plan] = &plans[..] else {
            bail!("--from: {file} has {} tables: --table names one", plans.len())
        };
        return conclude(&[compare(args, plan, dir, &impossible)?]);
    }
    if plans.iter().all(|plan| plan.sweep.is_none()) {
        plans.iter().for_each(|plan| printer::line(&describe(plan)));
        bail!("no row of {file} can run here");
    }

    let mut reproductions = Vec::new();
    let mut is_finding = false;
    for plan in &plans {
        let Some(sweep) = &plan.sweep else {
            printer::line(&describe(plan));
            continue;
        };
        let mut stopwatch = Stopwatch::start();
        let dir = folder(args, plan.number, plans.len());
        let environment = look_around(sweep, &engines)?;
        let gpu = watch(sweep, &args.measure)?;
        let _clocks = lock_clocks(sweep)?;
        let folder = RunFolder::create(&dir, &sweep.to_toml(), || {
            with_ceilings(environment, sweep, &engines, &args.measure, &mut stopwatch)
        })?;
        let ending = measure_one(sweep, &engines, folder, &args.measure, gpu, &stopwatch)?;
        if ending == Ending::Interrupted {
            let (number, dir) = (plan.number, dir.display());
            printer::line(&format!(
                "then `llama2-bench reproduce {file} --table {number} --from {dir}` compares"
            ));
            return Ok(Ending::Interrupted);
        }
        is_finding |= ending == Ending::Finding;
        let reproduction = compare(args, plan, &dir, &impossible)?;
        std::fs::write(dir.join("reproduction.md"), reproduction.to_markdown())?;
        reproductions.push(reproduction);
    }
    let ending = conclude(&reproductions)?;
    Ok(if is_finding { Ending::Finding } else { ending })
}

fn conclude(reproductions: &[Reproduction]) -> Result<Ending> {
    for reproduction in reproductions {
        printer::result(&format!("\n{}", reproduction.to_markdown()))?;
    }
    let verdicts: Vec<bool> = reproductions.iter().filter_map(Reproduction::holds).collect();
    Ok(match verdicts.iter().all(|&holds| holds) {
        _ if verdicts.is_empty() => Ending::Inconclusive,
        true => Ending::Done,
        false => Ending::Finding,
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

/// Which rows can run here, and why others can't.
fn plan<'a>(
    args: &ReproduceArgs,
    engines: &Engines,
    file: &str,
    number: usize,
    table: &'a PublishedTable,
) -> Result<Plan<'a>> {
    let mut plan = Plan { number, table, sweep: None, not_run: BTreeMap::new() };
    let mut rows: Vec<&PublishedRow> =
        table.rows.iter().filter(|row| is_asked_for(&args.measure.overrides, row)).collect();
    let mut refuse = |rows: &mut Vec<&PublishedRow>, why: &dyn Fn(&PublishedRow) -> Option<String>| {
        rows.retain(|row| match why(row) {
            Some(why) => {
                plan.not_run.insert(row.line, why);
                false
            }
            None => true,
        });
    };
    let heading = Heading::parse(&table.heading);
    refuse(&mut rows, &|_| match &heading {
        Err(error) => Some(error.to_string()),
        Ok(_) => None,
    });
    refuse(&mut rows, &|row| engines.find(&row.engine).err());
    let lines: Vec<(usize, (&str, u32, u32))> = rows.iter().map(|row| (row.line, cell(row))).collect();
    refuse(&mut rows, &|row| {
        let first = lines.iter().find(|(_, other)| *other == cell(row))?.0;
        (first != row.line).then(|| format!("line {first} has this cell, too"))
    });
    let Ok(heading) = heading else { return Ok(plan) };
    loop {
        if rows.is_empty() {
            return Ok(plan);
        }
        let origin = format!("{file}:{}", table.line);
        let sweep = match resolve(args, engines, &origin, &heading, &rows)? {
            Ok(sweep) => sweep,
            Err(why) => {
                refuse(&mut rows, &|_| Some(why.clone()));
                return Ok(plan);
            }
        };
        if args.from.is_some() {
            plan.sweep = Some(sweep);
            return Ok(plan);
        }
        let unusable: BTreeMap<String, String> = harness::greet_each(&sweep, engines)
            .into_iter()
            .filter_map(|(engine, hello)| Some((engine, hello.err()?.to_string())))
            .collect();
        if unusable.is_empty() {
            plan.sweep = Some(sweep);
            return Ok(plan);
        }
        refuse(&mut rows, &|row| unusable.get(&row.engine).cloned());
    }
}

fn cell(row: &PublishedRow) -> (&str, u32, u32) {
    (&row.engine, row.batch_size, row.prompt_length)
}

/// Flags choose among the table's rows.
fn is_asked_for(overrides: &Overrides, row: &PublishedRow) -> bool {
    let among = |sizes: &[u32], size: u32| sizes.is_empty() || sizes.contains(&size);
    (overrides.engines.is_empty() || overrides.engines.contains(&row.engine))
        && among(&overrides.batch_sizes, row.batch_size)
        && among(&overrides.prompt_lengths, row.prompt_length)
}

/// The sweep of these rows; the inner error is why they can't run here.
fn resolve(
    args: &ReproduceArgs,
    engines: &Engines,
    origin: &str,
    heading: &Heading,
    rows: &[&PublishedRow],
) -> Result<Result<Sweep, String>> {
    let mut settings = Settings::default();
    let size = |size: u32| Value::from(i64::from(size));
    let row = |row: &&PublishedRow| {
        Value::Array(vec![row.engine.clone().into(), size(row.batch_size), size(row.prompt_length)])
    };
    let device = match heading.kind {
        DeviceKind::Cuda => "cuda:0",
        DeviceKind::Cpu => "cpu",
    };
    settings.set("rows", origin, Value::Array(rows.iter().map(row).collect()));
    settings.set("models", origin, Value::Array(vec![heading.model.clone().into()]));
    settings.set("device", origin, device);
    settings.set("precision", origin, heading.precision.to_string());
    // Devices that share the model.
    settings.set("world_size", origin, i64::from(heading.one_rank_of.unwrap_or(heading.count)));
    if heading.one_rank_of.is_some() {
        settings.set("one_rank", origin, true);
    }
    if args.measure.overrides.models.is_empty()
        && !NAMED_MODELS.iter().any(|(name, _)| *name == heading.model)
    {
        return Ok(Err(format!("no model named {}: --model gives a checkpoint of it", heading.model)));
    }
    let overrides = Overrides {
        engines: Vec::new(),
        batch_sizes: Vec::new(),
        prompt_lengths: Vec::new(),
        ..args.measure.overrides.clone()
    };
    overrides.overlay(&mut settings);
    args.measure.setup.overlay(&mut settings)?;
    Ok(Sweep::resolve(settings, engines).map_err(|error| error.to_string()))
}

/// What would run here, and what can't.
fn describe(plan: &Plan<'_>) -> String {
    let mut text = format!("table {}: {}\n", plan.number, results::one_line(&plan.table.heading));
    if let Some(sweep) = &plan.sweep {
        text.push_str(&format!(
            "runs here, on {} in {}:\n{}",
            sweep.setup.device,
            sweep.setup.precision,
            list(sweep, Heading::parse(&plan.table.heading).as_ref().ok())
        ));
    }
    let mut reasons: Vec<(&String, Vec<String>)> = Vec::new();
    for row in &plan.table.rows {
        let Some(why) = plan.not_run.get(&row.line) else { continue };
        let (engine, batch_size, prompt_length) = cell(row);
        let name = format!("{} {batch_size}×{prompt_length}", results::one_line(engine));
        match reasons.iter_mut().find(|(other, _)| *other == why) {
            Some((_, rows)) => rows.push(name),
            None => reasons.push((why, vec![name])),
        }
    }
    for (why, rows) in reasons {
        let rows = match &rows[..] {
            [first, .., last] if rows.len() > 4 => format!("{} rows, {first} to {last}", rows.len()),
            rows => rows.join(", "),
        };
        text.push_str(&format!("can't run here: {rows}: {why}\n"));
    }
    text
}

/// The run in `dir` beside the published table.
fn compare(args: &ReproduceArgs, plan: &Plan<'_>, dir: &Path, impossible: &[usize]) -> Result<Reproduction> {
    let (tables, configs) = source::read_run_with_configs(dir)?;
    let there = Heading::parse(&plan.table.heading);
    let model_there = there.as_ref().map_or("", |there| there.model.as_str());
    let is_same =
        |table: &&Table| table.model == model_there || is_named(model_there, configs.get(&table.model));
    let ranks_there = there.as_ref().ok().and_then(|there| there.one_rank_of);
    let of_same_ranks = |table: &&Table| is_same(table) && table.one_rank_of == ranks_there;
    let same = tables.iter().find(of_same_ranks).or_else(|| tables.iter().find(is_same));
    let Some(here) = same.or_else(|| tables.first().filter(|_| tables.len() == 1)) else {
        bail!("{}: no table of {}", dir.display(), plan.table.heading);
    };
    ensure!(
        here.one_rank_of == ranks_there,
        "{}: \"{}\" and \"{}\" are of one rank alone and of something else: `llama2-bench table RUN --published FILE` says what \
         is left for collectives",
        dir.display(),
        here.heading,
        plan.table.heading
    );
    let other = match (&there, same) {
        (Err(error), _) => Some((error.to_string(), Vec::new())),
        (Ok(_), None) => Some(("another model".into(), Vec::new())),
        (Ok(there), Some(_)) => other_device(there, here),
    };
    let known = |row: &PublishedRow| {
        let not_run = plan.not_run.get(&row.line).cloned();
        let known = Known { not_run, impossible: impossible.contains(&row.line) };
        is_asked_for(&args.measure.overrides, row).then_some(known)
    };
    let why = other.as_ref().map(|(why, _)| why.as_str());
    let mut reproduction = Reproduction::of(plan.table, Some(here), args.tolerance, why, known);
    reproduction.notes.extend(other.into_iter().flat_map(|(_, notes)| notes));
    Ok(reproduction)
}

/// Whether a checkpoint has the sizes of the model of this name.
fn is_named(name: &str, config: Option<&LlamaConfig>) -> bool {
    let text = NAMED_MODELS.iter().find(|(known, _)| *known == name).map(|(_, text)| *text);
    let named = text.and_then(|text| LlamaConfig::parse(text, name).ok());
    let sizes = |config: &LlamaConfig| LlamaConfig {
        max_position_embeddings: 0,
        rms_norm_eps: 0.0,
        rope_theta: 0.0,
        ..config.clone()
    };
    named.zip(config).is_some_and(|(named, config)| sizes(&named) == sizes(config))
}

/// Why figures of the two are of different kinds, with what is known of the devices; `None` where they are of one.
fn other_device(there: &Heading, here: &Table) -> Option<(String, Vec<String>)> {
    let Ok(mine) = Heading::parse(&here.heading) else {
        return Some(("a run whose heading says no device".into(), Vec::new()));
    };
    if there.precision != mine.precision {
        return Some((format!("{} there, {} here", there.precision, mine.precision), Vec::new()));
    }
    if (there.kind, there.count, &there.device, there.cores)
        == (mine.kind, mine.count, &mine.device, mine.cores)
    {
        return None;
    }
    let hardware = Hardware::built_in();
    let note = match (hardware.ceilings(there), hardware.ceilings(&mine)) {
        (Ok(theirs), Ok(ours)) => {
            let ratio = |ours: &Option<audit::Ceiling>, theirs: &Option<audit::Ceiling>| {
                let ratio =
                    ours.as_ref().zip(theirs.as_ref()).map(|(ours, theirs)| ours.value / theirs.value);
                ratio.map_or_else(|| "unknown".into(), |ratio| format!("{ratio:.2}"))
            };
            format!(
                "peaks here / there: bandwidth {}, FLOP/s {}",
                ratio(&ours.bandwidth_bytes_per_second, &theirs.bandwidth_bytes_per_second),
                ratio(&ours.flops, &theirs.flops)
            )
        }
        (theirs, ours) => {
            let why: Vec<String> = [theirs.err(), ours.err()].into_iter().flatten().collect();
            format!("the devices' peaks can't be set against each other: {}", why.join("; "))
        }
    };
    Some(("another device".into(), vec![note]))
}
