//! Compares a run with the published table that it reproduces.

use std::path::Path;

use anyhow::{Result, bail, ensure};
use llama::NAMED_MODELS;
use llama::{LlamaConfig, RopeScaling};
use report::reproduction::{Known, Reproduction};
use results::hardware::Hardware;
use results::{Heading, ResultRow, ResultTable, Run};

use super::plan::{Plan, is_asked_for};
use crate::args::ReproduceArgs;

/// Compares the run in `dir` with the published table.
pub(super) fn compare(
    args: &ReproduceArgs,
    plan: &Plan<'_, '_>,
    dir: &Path,
    impossible: &[usize],
) -> Result<Reproduction> {
    let run = Run::read(dir)?;
    let tables = run.result_tables();
    let there = &plan.table.heading;
    let (model_there, ranks_there) =
        there.as_ref().map_or(("", None), |there| (there.model.as_str(), there.one_rank_of));
    let measured =
        |table| -> Option<(&ResultTable<'_>, &Heading)> { Some((table, table.heading.as_ref().ok()?)) };
    let is_same = |(table, heading): &(&ResultTable<'_>, &Heading)| {
        heading.model == model_there || is_named(model_there, table.config)
    };
    let tables: Vec<_> = tables.iter().filter_map(measured).collect();
    let mut of_same_ranks = tables.iter().filter(|(_, heading)| heading.one_rank_of == ranks_there);
    let same =
        of_same_ranks.find(|table| is_same(table)).or_else(|| tables.iter().find(|table| is_same(table)));
    let Some((here, heading)) = same.or_else(|| tables.first().filter(|_| tables.len() == 1)) else {
        bail!("{}: no table of {}", dir.display(), plan.table.title);
    };
    ensure!(
        heading.one_rank_of == ranks_there,
        "{}: \"{}\" and \"{}\": one rank cannot be compared with all ranks: `llama2-bench table RUN --published FILE` estimates \
         the time of collectives",
        dir.display(),
        here.title,
        plan.table.title
    );
    let other = match (there, same) {
        (Err(error), _) => Some((error.to_string(), None)),
        (Ok(_), None) => Some(("another model".into(), None)),
        (Ok(there), Some(_)) => other_device(there, heading),
    };
    let known = |row: &ResultRow<'_>| {
        let not_run = plan.not_run.get(&row.line).cloned();
        let known = Known { not_run, impossible: impossible.contains(&row.line) };
        is_asked_for(&args.measure.overrides.0, row).then_some(known)
    };
    let why = other.as_ref().map(|(why, _)| why.as_str());
    let mut reproduction = Reproduction::new(plan.table, Some(here), args.tolerance, why, known);
    reproduction.notes.extend(other.and_then(|(_, note)| note));
    Ok(reproduction)
}

/// Whether a checkpoint has the sizes of the named model.
fn is_named(name: &str, config: Option<&LlamaConfig>) -> bool {
    let text = NAMED_MODELS.iter().find(|(known, _)| *known == name).map(|(_, text)| *text);
    let named = text.and_then(|text| LlamaConfig::parse(text, name).ok());
    let sizes = |config: &LlamaConfig| LlamaConfig {
        max_position_embeddings: 0,
        rms_norm_eps: 0.0,
        rope_theta: 0.0,
        rope_scaling: RopeScaling::None,
        ..config.clone()
    };
    named.zip(config).is_some_and(|(named, config)| sizes(&named) == sizes(config))
}

/// Why the figures are not comparable, and a note on the devices; `None` if they are comparable.
fn other_device(there: &Heading, here: &Heading) -> Option<(String, Option<String>)> {
    if there.precision != here.precision {
        return Some((format!("{} there, {} here", there.precision, here.precision), None));
    }
    let device = |heading: &Heading| (heading.kind, heading.count, heading.device.clone(), heading.cores);
    if device(there) == device(here) {
        return None;
    }
    let hardware = Hardware::built_in();
    let note = match (hardware.peaks(there), hardware.peaks(here)) {
        (Ok(theirs), Ok(ours)) => {
            let ratio = |ours: &Option<results::hardware::Peak>, theirs: &Option<results::hardware::Peak>| {
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
            format!("cannot scale between devices: {}", why.join("; "))
        }
    };
    Some(("another device".into(), Some(note)))
}
