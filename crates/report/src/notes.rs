//! What stands under a table: findings that its columns can't show.

use protocol::{CellSize, Environment, Measurement, Outcome, Verification};

use crate::{Row, format_size};

/// The documents' generations.
const PUBLISHED_GENERATION: u32 = 256;
/// Timed prefills of a cell there.
const PUBLISHED_PROMPT_RUNS: usize = 100;

/// Everything that a reader of these rows must know.
pub(crate) fn of_table<'a>(
    rows: &[Row],
    records: &[&Measurement],
    verifications: impl Iterator<Item = &'a Verification>,
    environments: &[Environment],
    heading_part: u32,
) -> Vec<String> {
    let mut notes = Vec::new();
    notes.extend(one_rank(records));
    notes.extend(device_memory_limit(records));
    notes.extend(shorter_generations(records));
    notes.extend(other_prompt_runs(records));
    notes.extend(verifications.flat_map(disagreements));
    notes.extend(different_tokens(rows));
    notes.extend(failures(rows));
    notes.extend(inferred(rows));
    notes.extend(collectives(rows));
    notes.extend(above_ceilings(rows));
    notes.extend(of_gpu(rows));
    notes.extend(locked_clocks(environments, heading_part));
    notes.extend(other_parts(rows, environments, heading_part));
    notes
}

/// What a table of rank 0's part alone is not.
fn one_rank(records: &[&Measurement]) -> Option<String> {
    let ranks = records.first()?.one_rank_of()?;
    Some(format!(
        "rank 0 of {ranks} alone, without the sums over ranks: its logits and tokens are partial, and verified only \
         against other engines that compute the same rank"
    ))
}

/// The bounds on device memory: one, or with the cells that each was for.
fn device_memory_limit(records: &[&Measurement]) -> Vec<String> {
    let mut limits: Vec<(Option<u64>, u32)> = Vec::new();
    for record in records {
        if !limits.iter().any(|(limit, _)| *limit == record.device_memory_limit_bytes) {
            limits.push((record.device_memory_limit_bytes, record.part));
        }
    }
    let is_one = limits.len() == 1;
    let note = |(limit, part): &(Option<u64>, u32)| {
        let limited = format!("device memory limited to {}", format_size((*limit)?));
        Some(if is_one { limited } else { format!("part {part} of the run: {limited}") })
    };
    limits.iter().filter_map(note).collect()
}

fn shorter_generations(records: &[&Measurement]) -> Option<String> {
    let length = records.first()?.generation_length;
    (length != PUBLISHED_GENERATION).then(|| {
        format!("generations are of {length} tokens (the documents': {PUBLISHED_GENERATION}): wall clocks are theirs")
    })
}

/// Of how many forwards a launch's mean prompt latency is, where that is not as in the documents.
fn other_prompt_runs(records: &[&Measurement]) -> Option<String> {
    let measured = records.iter().filter(|record| record.outcome == Outcome::Ok);
    let mut runs: Vec<usize> = measured.map(|record| record.prompt_seconds.len()).collect();
    runs.sort_unstable();
    let (least, most) = (*runs.first()?, *runs.last()?);
    let many = if least == most { least.to_string() } else { format!("{least} to {most}") };
    let forwards = if most == 1 { "forward" } else { "forwards" };
    (most != PUBLISHED_PROMPT_RUNS || least != most).then(|| {
        format!(
            "prompt latencies are of {many} {forwards} a launch (the documents': {PUBLISHED_PROMPT_RUNS})"
        )
    })
}

/// What the engines' workers said of how they built the model: a line for each engine, and the cells only where it did
/// not say the same of all that were measured.
pub(crate) fn of_engines(rows: &[Row]) -> Vec<String> {
    let said = rows.iter().filter(|row| !row.engine_notes.is_empty());
    let groups = groups(said.map(|row| (format!("{}: {}", row.engine, row.engine_notes.join("; ")), row)));
    let line = |(what, its): (String, Vec<&Row>)| {
        let first = its[0];
        let mut measured = rows.iter().filter(|row| row.engine == first.engine && row.outcome == Outcome::Ok);
        if measured.all(|row| row.engine_notes == first.engine_notes) { what } else { of_cells(&what, &its) }
    };
    groups.into_iter().map(line).collect()
}

/// Engines that compute something else than the one they were held against.
fn disagreements(verification: &Verification) -> Vec<String> {
    let against = verification.against.as_deref().unwrap_or("nothing");
    let differing =
        verification.agreements.iter().filter(|one| one.error.is_none() && !verification.agrees(one));
    differing
        .map(|one| {
            let (engine, error, tolerance) = (&one.engine, one.largest_error, verification.tolerance);
            if error <= tolerance {
                return format!("{engine} chooses other tokens than {against}, from the same logits");
            }
            format!("{engine} computes something else than {against}: a logit differs by {error:.2e}, tolerance {tolerance:.2e}")
        })
        .collect()
}

/// Cells whose greedy tokens are not those of the other engines. In half precision that can be every cell.
fn different_tokens(rows: &[Row]) -> Vec<String> {
    let mut differing = Vec::new();
    for (index, row) in rows.iter().enumerate() {
        let same_cell =
            |other: &&Row| other.batch_size == row.batch_size && other.prompt_length == row.prompt_length;
        let hashed = |row: &Row| row.tokens_sha256.is_some();
        if !hashed(row) || rows[..index].iter().filter(same_cell).any(hashed) {
            continue;
        }
        let cell: Vec<&Row> = rows.iter().filter(same_cell).filter(|row| hashed(row)).collect();
        let mut groups: Vec<(&str, Vec<&str>)> = Vec::new();
        for row in cell {
            let hash = row.tokens_sha256.as_deref().unwrap_or_default();
            match groups.iter_mut().find(|(other, _)| *other == hash) {
                Some((_, engines)) => engines.push(&row.engine),
                None => groups.push((hash, vec![&row.engine])),
            }
        }
        if groups.len() > 1 {
            let engines: Vec<String> = groups.iter().map(|(_, engines)| engines.join(", ")).collect();
            differing.push((format!("the greedy tokens differ: {}", engines.join(" ≠ ")), row));
        }
    }
    grouped(differing.into_iter())
}

/// Cells that have no figures, with what was reported; equal reports of one engine in one note.
fn failures(rows: &[Row]) -> Vec<String> {
    let tried = rows.iter().filter(|row| row.outcome != Outcome::Ok && row.inferred_from.is_none());
    let what = |row: &Row| {
        let phase = row.phase.map(|phase| format!(" in {phase}")).unwrap_or_default();
        let error = row.error.as_deref().unwrap_or("no report");
        format!("{}: {}{phase}: {error}", row.engine, row.outcome_text())
    };
    grouped(tried.map(|row| (what(row), row)))
}

/// Cells that were not tried, with the cell from which their end was inferred.
fn inferred(rows: &[Row]) -> Vec<String> {
    let what = |row: &Row| {
        let CellSize { batch_size, prompt_length } = row.inferred_from?;
        let from = format!("{batch_size}×{prompt_length}");
        let why = match row.phase {
            Some(phase) => format!("{phase} failed in {from}, and is the same for every cell"),
            None => format!("{from} ran out of memory, and they need at least as much"),
        };
        Some(format!("{}: {} inferred, not measured: {why}", row.engine, row.outcome_text()))
    };
    grouped(rows.iter().filter_map(|row| Some((what(row)?, row))))
}

/// What ranks spend in collectives, where that was measured.
fn collectives(rows: &[Row]) -> Vec<String> {
    let what = |row: &Row| {
        let shares = row.collectives?;
        let [prompt, tokens] = [shares.prompt, shares.tokens].map(|share| 100.0 * share);
        Some(format!(
            "{}: {prompt:.1} % of a prefill and {tokens:.1} % of the decode forwards pass in collectives",
            row.engine
        ))
    };
    grouped(rows.iter().filter_map(|row| Some((what(row)?, row))))
}

/// Cells that were faster than what the device was measured to do at most.
fn above_ceilings(rows: &[Row]) -> Vec<String> {
    let above = |share: fn(&Row) -> Option<f64>, what: &str| {
        let its = rows.iter().filter(move |row| share(row).is_some_and(|share| share > 1.0));
        its.map(|row| (format!("{}: {what}", row.engine), row)).collect::<Vec<_>>()
    };
    let decode = above(
        |row| row.efficiency.decode_bandwidth,
        "decode MBU above 100 %: weights in a cache need not come from memory, or memory was slower when its ceiling \
         was measured",
    );
    let prefill = above(
        |row| row.efficiency.prefill_flops,
        "prefill MFU above 100 %: products were slower when their ceiling was measured",
    );
    grouped(decode.into_iter().chain(prefill))
}

/// Cells whose GPU was not as it should be.
fn of_gpu(rows: &[Row]) -> Vec<String> {
    let notes =
        |row: &'_ Row| row.gpu_notes.iter().map(|note| format!("{}: {note}", row.engine)).collect::<Vec<_>>();
    grouped(rows.iter().flat_map(|row| notes(row).into_iter().map(move |note| (note, row))))
}

/// The clock that the heading's part locked the GPUs to; of other parts it stands among their differences.
fn locked_clocks(environments: &[Environment], heading_part: u32) -> Option<String> {
    let part = (heading_part as usize).checked_sub(1)?;
    let clock = environments.get(part)?.locked_gpu_clocks?;
    Some(format!("GPU clocks were locked: {clock} (lock_gpu_clocks)"))
}

/// Cells that were measured otherwise than those of the heading's part: where, and how.
fn other_parts(rows: &[Row], environments: &[Environment], heading_part: u32) -> Vec<String> {
    let mixed = rows.iter().filter(|row| row.parts.len() > 1).map(|row| {
        let parts: Vec<String> = row.parts.iter().map(ToString::to_string).collect();
        let parts = parts.join(" and ");
        (
            format!(
                "{}: no figures: its replicates are of parts {parts}, which were measured otherwise",
                row.engine
            ),
            row,
        )
    });
    let mut notes = grouped(mixed);
    for (index, environment) in environments.iter().enumerate() {
        let part = index as u32 + 1;
        let Environment { started, differs_from_first_part, .. } = environment;
        let what = match part {
            _ if part == heading_part && part == 1 => continue,
            1 => format!("part 1 of the run ({started}): the others say below how they differ from it"),
            _ => format!(
                "part {part} of the run ({started}), which was measured otherwise: {}",
                differs_from_first_part.join("; ")
            ),
        };
        let its = rows.iter().filter(|row| row.parts.contains(&part));
        notes.extend(grouped(its.map(|row| (format!("{}: {what}", row.engine), row))));
    }
    notes
}

/// One note for all cells of which the same is to be said.
fn grouped<'a>(cells: impl Iterator<Item = (String, &'a Row)>) -> Vec<String> {
    groups(cells).iter().map(|(what, rows)| of_cells(what, rows)).collect()
}

fn groups<'a>(cells: impl Iterator<Item = (String, &'a Row)>) -> Vec<(String, Vec<&'a Row>)> {
    let mut groups: Vec<(String, Vec<&Row>)> = Vec::new();
    for (what, row) in cells {
        match groups.iter_mut().find(|(other, _)| *other == what) {
            Some((_, rows)) => rows.push(row),
            None => groups.push((what, vec![row])),
        }
    }
    groups
}

fn of_cells(what: &str, rows: &[&Row]) -> String {
    let cells: Vec<String> = rows.iter().map(|row| row.cell_name()).collect();
    format!("{}: {what}", cells.join(", "))
}
