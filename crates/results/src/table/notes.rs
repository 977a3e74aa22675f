//! What stands under a table: findings that its columns can't show.

use protocol::{CellSize, Environment, Measurement, Outcome, Procedure, Verification};
use stats::MeanInterval;

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
    notes.extend(stopped_early(records));
    notes.extend(not_known_well_enough(records));
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
    let measured =
        records.iter().filter(|record| record.outcome == Outcome::Ok && record.procedure.is_none());
    let (least, most) = least_and_most(measured.map(|record| record.prompt_seconds.len()))?;
    let many = range((least, most));
    let forwards = if most == 1 { "forward" } else { "forwards" };
    (most != PUBLISHED_PROMPT_RUNS || least != most).then(|| {
        format!(
            "prompt latencies are of {many} {forwards} a launch (the documents': {PUBLISHED_PROMPT_RUNS})"
        )
    })
}

fn least_and_most(counts: impl Iterator<Item = usize> + Clone) -> Option<(usize, usize)> {
    Some((counts.clone().min()?, counts.max()?))
}

fn range((least, most): (usize, usize)) -> String {
    if least == most { least.to_string() } else { format!("{least} to {most}") }
}

/// `5 to 37 of at most 100 prefills`.
fn counted(counts: (usize, usize), most: u32, what: &str) -> String {
    if most == 1 { format!("1 {what}") } else { format!("{} of at most {most} {what}s", range(counts)) }
}

/// Cells whose procedure says when a mean is known well enough, each with the share that it asks for.
fn with_until<'a>(
    records: &'a [&Measurement],
) -> impl Iterator<Item = (&'a Measurement, Procedure, f64)> + Clone {
    let with_until = |record: &&'a Measurement| {
        let procedure = record.procedure.filter(|_| record.outcome == Outcome::Ok)?;
        Some((*record, procedure, procedure.until?))
    };
    records.iter().filter_map(with_until)
}

/// How many prefills and generations there are, one line for each procedure that leaves that open.
fn stopped_early(records: &[&Measurement]) -> Vec<String> {
    let mut procedures: Vec<(Procedure, f64)> = Vec::new();
    for (_, procedure, share) in with_until(records) {
        if !procedures.contains(&(procedure, share)) {
            procedures.push((procedure, share));
        }
    }
    let line = |(procedure, share): (Procedure, f64)| {
        let records =
            with_until(records).filter(|(_, other, _)| *other == procedure).map(|(record, ..)| record);
        let prefills = least_and_most(records.clone().map(|record| record.prompt_seconds.len()))?;
        let generations = least_and_most(records.map(|record| record.generations.len()))?;
        Some(format!(
            "each replicate stops once its mean is known to {} (95 % interval): {}, {} (published: {PUBLISHED_PROMPT_RUNS} prefills, 1 generation)",
            plus_minus(share),
            counted(prefills, procedure.prompt_runs, "prefill"),
            counted(generations, procedure.generations, "generation"),
        ))
    };
    procedures.into_iter().filter_map(line).collect()
}

/// Cells that had the most prefills or generations, and whose means are known less well than was asked for; a line for each
/// engine. Nothing is said of a single generation, which has no interval.
fn not_known_well_enough(records: &[&Measurement]) -> Vec<String> {
    type Series = fn(&Measurement) -> Vec<f64>;
    let series: [(&str, Series); 3] = [
        ("prefill latency", |record| record.prompt_seconds.clone()),
        ("wall clock", |record| record.generations.iter().map(|one| one.wall_seconds).collect()),
        ("decode latency", |record| {
            record.generations.iter().filter_map(|one| stats::mean(&one.token_seconds)).collect()
        }),
    ];
    let mut lines: Vec<(String, Vec<(String, f64)>)> = Vec::new();
    for (what, series) in series {
        for (record, _, share) in with_until(records) {
            let interval = MeanInterval::new(&series(record)).map(|interval| interval.relative());
            let Some(known) = interval.filter(|known| *known > share) else { continue };
            let line = format!("{}: {what} did not reach {}", record.engine, plus_minus(share));
            let cell = format!("{}×{}", record.batch_size, record.prompt_length);
            let cells = match lines.iter_mut().find(|(other, _)| *other == line) {
                Some((_, cells)) => cells,
                None => {
                    lines.push((line, Vec::new()));
                    &mut lines.last_mut().expect("just pushed").1
                }
            };
            match cells.iter_mut().find(|(other, _)| *other == cell) {
                Some((_, worst)) => *worst = worst.max(known),
                None => cells.push((cell, known)),
            }
        }
    }
    let words = |(line, cells): (String, Vec<(String, f64)>)| {
        let cells: Vec<String> =
            cells.iter().map(|(cell, known)| format!("{cell} ({})", plus_minus(*known))).collect();
        format!("{line}: {}", cells.join(", "))
    };
    lines.into_iter().map(words).collect()
}

/// `±0.5 %`: two digits.
fn plus_minus(share: f64) -> String {
    let percent = 100.0 * share;
    let decimals = (1 - percent.log10().floor() as i32).clamp(0, 6) as usize;
    let text = format!("{percent:.decimals$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("±{text} %")
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
