//! Plans which rows of published tables run here: each table as a sweep, and why other rows cannot run.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use harness::{Engines, Precisions, Setting, SweepKeys, SweepRow, Variant, Whole};
use indexmap::{IndexMap, IndexSet};
use llama::NAMED_MODELS;
use protocol::{CellSize, Device};
use results::{DeviceKind, Heading, ResultRow, ResultTable};

use crate::args::ReproduceArgs;
use crate::listing::{Listing, in_table_order};
use crate::printer;
use crate::slow_steps::SlowSteps;

/// The plan of a published table.
pub(super) struct Plan<'t, 'a> {
    /// The table's place in the file, from 1.
    pub(super) number: usize,
    pub(super) table: &'t ResultTable<'a>,
    /// The sweep; `None` if no row can run.
    pub(super) variant: Option<Variant>,
    /// Why a row can't run, by its line. Rows that the flags leave out are not here, either.
    pub(super) not_run: BTreeMap<usize, String>,
}

/// Plans the chosen tables of the file.
///
/// # Errors
/// Fails if there is no such table, or a flag suits none.
pub(super) fn plans<'t, 'a>(
    args: &ReproduceArgs,
    engines: &Engines,
    tables: &'t [ResultTable<'a>],
) -> Result<Vec<Plan<'t, 'a>>> {
    let file = args.file.display().to_string();
    if let Some(number) = args.table {
        ensure!(
            (1..=tables.len()).contains(&number),
            "--table: {file} has tables 1 to {}, not {number}",
            tables.len()
        );
    }
    let is_of_one_rank =
        |table: &ResultTable<'_>| table.heading.as_ref().is_ok_and(|heading| heading.one_rank_of.is_some());
    ensure!(
        args.measure.setup.flags.0.one_rank.is_none() || tables.iter().all(is_of_one_rank),
        "--one-rank: {file} has tables of all ranks, and one rank cannot be compared with them: use `llama2-bench run --one-rank`, \
         then `llama2-bench table RUN --published {file}`"
    );
    let chosen =
        tables.iter().enumerate().filter(|(index, _)| args.table.is_none_or(|number| number == index + 1));
    let chosen: Vec<_> = chosen.collect();
    let flags = &args.measure.overrides.0;
    ensure!(
        chosen.iter().flat_map(|(_, table)| &table.rows).any(|row| is_asked_for(flags, row)),
        "--engine, --batch-size or --prompt-length: no row of {file} is left; its engines are {}",
        engines_of(&chosen)
    );
    chosen.into_iter().map(|(index, table)| plan(args, engines, index + 1, table)).collect()
}

/// The engines of these tables, each once.
fn engines_of(tables: &[(usize, &ResultTable<'_>)]) -> String {
    let engines: IndexSet<String> =
        tables.iter().flat_map(|(_, table)| &table.rows).map(|row| results::one_line(row.engine)).collect();
    engines.into_iter().collect::<Vec<_>>().join(", ")
}

/// Which rows can run here, and why others can't.
fn plan<'t, 'a>(
    args: &ReproduceArgs,
    engines: &Engines,
    number: usize,
    table: &'t ResultTable<'a>,
) -> Result<Plan<'t, 'a>> {
    let mut plan = Plan { number, table, variant: None, not_run: BTreeMap::new() };
    let mut rows: Vec<&ResultRow<'_>> =
        table.rows.iter().filter(|row| is_asked_for(&args.measure.overrides.0, row)).collect();
    let mut refuse = |rows: &mut Vec<&ResultRow<'_>>, why: &dyn Fn(&ResultRow<'_>) -> Option<String>| {
        rows.retain(|row| match why(row) {
            Some(why) => {
                plan.not_run.insert(row.line, why);
                false
            }
            None => true,
        });
    };
    refuse(&mut rows, &|_| table.heading.as_ref().err().map(ToString::to_string));
    refuse(&mut rows, &|row| engines.find(row.engine).err());
    let lines: Vec<(usize, (&str, CellSize))> = rows.iter().map(|row| (row.line, cell(row))).collect();
    refuse(&mut rows, &|row| {
        let first = lines.iter().find(|(_, other)| *other == cell(row))?.0;
        (first != row.line).then(|| format!("line {first} has this cell, too"))
    });
    let Ok(heading) = &table.heading else { return Ok(plan) };
    loop {
        if rows.is_empty() {
            return Ok(plan);
        }
        let origin = format!("{}:{}", table.file, table.line);
        let variant = match resolve(args, engines, &origin, heading, &rows) {
            Ok(variant) => variant,
            Err(why) => {
                refuse(&mut rows, &|_| Some(why.clone()));
                return Ok(plan);
            }
        };
        if args.from.is_some() {
            plan.variant = Some(variant);
            return Ok(plan);
        }
        let slow = SlowSteps::start();
        let unusable: BTreeMap<String, String> =
            harness::greet_each(&variant, &mut |notice| slow.hear(&notice))
                .into_iter()
                .filter_map(|(engine, hello)| Some((engine, hello.err()?.to_string())))
                .collect();
        if unusable.is_empty() {
            plan.variant = Some(variant);
            return Ok(plan);
        }
        refuse(&mut rows, &|row| unusable.get(row.engine).cloned());
    }
}

fn cell<'a>(row: &ResultRow<'a>) -> (&'a str, CellSize) {
    (row.engine, row.size)
}

/// Whether the flags choose this row.
pub(super) fn is_asked_for(flags: &SweepKeys, row: &ResultRow<'_>) -> bool {
    let among = |sizes: &Option<Setting<Vec<u32>>>, size: u32| {
        sizes.as_ref().is_none_or(|sizes| sizes.value.contains(&size))
    };
    flags.engines.as_ref().is_none_or(|engines| engines.value.iter().any(|engine| engine == row.engine))
        && among(&flags.batch_sizes, row.size.batch_size)
        && among(&flags.prompt_lengths, row.size.prompt_length)
}

/// The sweep of these rows, or why they can't run here.
fn resolve(
    args: &ReproduceArgs,
    engines: &Engines,
    origin: &str,
    heading: &Heading,
    rows: &[&ResultRow<'_>],
) -> Result<Variant, String> {
    let flags = args.measure.keys();
    if flags.models.is_none() && !NAMED_MODELS.iter().any(|(name, _)| *name == heading.model) {
        return Err(format!("no model named {}: give its checkpoint with --model", heading.model));
    }
    let device = match heading.kind {
        DeviceKind::Cuda => Device::Cuda(0),
        DeviceKind::Cpu => Device::Cpu,
    };
    let precision = heading.precision;
    let precision =
        precision.precision().ok_or_else(|| format!("no engine here runs {precision} weights"))?;
    let row =
        |row: &&ResultRow<'_>| SweepRow(row.engine.to_owned(), row.size.batch_size, row.size.prompt_length);
    // Devices that share the model.
    let world_size = heading.one_rank_of.unwrap_or(heading.count);
    let published = SweepKeys {
        rows: Some(Setting::new(rows.iter().map(row).collect(), origin)),
        models: Some(Setting::new(vec![heading.model.clone()], origin)),
        device: Some(Setting::new(device, origin)),
        precision: Some(Setting::new(Precisions(vec![precision]), origin)),
        world_size: Some(Setting::new(Whole(world_size), origin)),
        one_rank: heading.one_rank_of.map(|_| Setting::new(true, origin)),
        ..SweepKeys::default()
    };
    // These flags choose among the table's rows.
    let flags = SweepKeys { engines: None, batch_sizes: None, prompt_lengths: None, ..flags };
    Variant::resolve(&flags.over(published), engines.clone()).map_err(|error| error.to_string())
}

/// Describes what can run here, and what can't.
pub(super) fn describe(plan: &Plan<'_, '_>) -> String {
    let mut text = format!("table {}: {}\n", plan.number, results::one_line(&plan.table.title));
    if let Some(Variant { sweep, .. }) = &plan.variant {
        let precisions: Vec<_> = sweep.setup.precisions.iter().map(ToString::to_string).collect();
        text.push_str(&format!(
            "runs here, on {} in {}:\n{}",
            sweep.setup.device,
            precisions.join(" and "),
            Listing::new(&in_table_order(sweep), plan.table.heading.as_ref().ok(), &|_| false)
                .terminal(printer::screen_width())
        ));
    }
    let mut reasons: IndexMap<&String, Vec<String>> = IndexMap::new();
    for row in &plan.table.rows {
        let Some(why) = plan.not_run.get(&row.line) else { continue };
        reasons.entry(why).or_default().push(format!("{} {}", results::one_line(row.engine), row.size));
    }
    // What holds for every row is said of the table.
    if let [(why, rows)] = &reasons.iter().collect::<Vec<_>>()[..]
        && rows.len() > 1
        && plan.variant.is_none()
    {
        text.push_str(&format!("can't run here: all {} rows: {why}\n", rows.len()));
        return text;
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
