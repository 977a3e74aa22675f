//! Notes under a table: what its columns can't show.

use indexmap::{IndexMap, IndexSet};
use protocol::{CellSize, Environment, Fidelity, Measured, Measurement, Procedure, TableKey, Verification};
use stats::MeanInterval;

use super::gpu_notes;
use super::load_notes::busy_machine;
use super::note::{Note, NoteKind};
use super::row::Row;
use crate::{counted, format_short, format_size};

/// The published generations.
const PUBLISHED_GENERATION: u32 = 256;
/// Timed prefills of a published cell.
const PUBLISHED_PROMPT_RUNS: usize = 100;

/// All notes of a table with these rows.
pub(super) fn notes<'a>(
    key: &TableKey,
    rows: &[Row],
    verifications: impl Iterator<Item = &'a Verification>,
    environments: &[Environment],
    heading_part: u32,
) -> Vec<Note> {
    let records: Vec<&Measurement> = rows.iter().flat_map(|row| &row.replicates).collect();
    let mut notes = Vec::new();
    let mut add =
        |kind, texts: Vec<String>| notes.extend(texts.into_iter().map(|text| Note::new(kind, text)));
    add(NoteKind::Scripted, scripted(rows).into_iter().collect());
    add(NoteKind::OneRank, one_rank(key).into_iter().collect());
    add(NoteKind::DeviceMemoryLimit, device_memory_limit(&records));
    add(NoteKind::GenerationLength, shorter_generations(key).into_iter().collect());
    add(NoteKind::PromptRuns, other_prompt_runs(&records).into_iter().collect());
    add(NoteKind::StoppedEarly, stopped_early(&records));
    add(NoteKind::NotConverged, not_known_well_enough(&records));
    let verifications: Vec<&Verification> = verifications.collect();
    add(NoteKind::Disagreement, verifications.iter().copied().flat_map(disagreements).collect());
    add(NoteKind::Fidelity, fidelity(key, &verifications).into_iter().collect());
    add(NoteKind::DifferentTokens, different_tokens(rows));
    add(NoteKind::Failure, failures(rows));
    add(NoteKind::Inferred, inferred(rows));
    add(NoteKind::Collectives, collectives(rows));
    add(NoteKind::AbovePeak, above_peaks(rows));
    for (kind, texts) in gpu(rows) {
        add(kind, texts);
    }
    add(NoteKind::KeptPeaks, kept_peaks(environments, heading_part).into_iter().collect());
    add(NoteKind::BusyMachine, busy_machine(rows, environments, heading_part));
    add(NoteKind::LockedClocks, locked_clocks(environments, heading_part).into_iter().collect());
    add(NoteKind::MixedReplicates, mixed_replicates(rows));
    add(NoteKind::Provenance, other_parts(rows, environments, heading_part));
    add(NoteKind::Engine, engines(rows));
    notes
}

/// Says when the peaks were measured, where an earlier run did it.
fn kept_peaks(environments: &[Environment], heading_part: u32) -> Option<String> {
    let part = (heading_part as usize).checked_sub(1).and_then(|part| environments.get(part))?;
    let measured_at = part.peaks.as_ref()?.measured_at.as_deref()?;
    Some(format!("peaks measured by an earlier run on this machine ({measured_at})"))
}

/// Names the engines whose latencies are scripted.
fn scripted(rows: &[Row]) -> Option<String> {
    let engines: IndexSet<&str> =
        rows.iter().filter(|row| row.is_scripted).map(|row| row.key.engine.as_str()).collect();
    (!engines.is_empty()).then(|| scripted_words(engines))
}

/// `latencies of mock are scripted, not measured`.
pub fn scripted_words<'a>(engines: impl IntoIterator<Item = &'a str>) -> String {
    let engines: Vec<&str> = engines.into_iter().collect();
    format!("latencies of {} are scripted, not measured", engines.join(", "))
}

/// Says that only one of several ranks was measured.
fn one_rank(key: &TableKey) -> Option<String> {
    let ranks = key.ranks.one_rank_of()?;
    Some(format!(
        "only rank 0 of {ranks} was measured, without all-reduces; its logits and tokens are partial, and verified only \
         against engines that compute the same rank"
    ))
}

/// The limits of device memory: one, or one for each part of the run.
fn device_memory_limit(records: &[&Measurement]) -> Vec<String> {
    let mut limits: IndexMap<Option<u64>, u32> = IndexMap::new();
    for record in records {
        limits.entry(record.device_memory_limit_bytes).or_insert(record.part);
    }
    let is_one = limits.len() == 1;
    let note = |(limit, part): (&Option<u64>, &u32)| {
        let limited = format!("device memory limited to {}", format_size((*limit)?));
        Some(if is_one { limited } else { format!("part {part} of the run: {limited}") })
    };
    limits.iter().filter_map(note).collect()
}

fn shorter_generations(key: &TableKey) -> Option<String> {
    let length = key.generation_length;
    (length != PUBLISHED_GENERATION).then(|| {
        let tokens = counted(length as usize, "token");
        format!(
            "{tokens} generated (published: {PUBLISHED_GENERATION}): wall-clock figures are not comparable"
        )
    })
}

/// How many forwards a replicate's mean prompt latency comes from, where that is not the published number.
fn other_prompt_runs(records: &[&Measurement]) -> Option<String> {
    let series =
        records.iter().filter(|record| record.procedure.is_none()).filter_map(|record| record.series());
    let (least, most) = least_and_most(series.map(|series| series.prompt_seconds.len()))?;
    let many = range((least, most));
    let forwards = if most == 1 { "forward" } else { "forwards" };
    let per = if records.iter().any(|record| record.replicate > 0) { " per replicate" } else { "" };
    (most != PUBLISHED_PROMPT_RUNS || least != most).then(|| {
        format!(
            "prompt latency: mean of {many} timed {forwards}{per} (published procedure: {PUBLISHED_PROMPT_RUNS})"
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
fn counted_of_most(counts: (usize, usize), most: u32, what: &str) -> String {
    if most == 1 { format!("1 {what}") } else { format!("{} of at most {most} {what}s", range(counts)) }
}

/// A measured cell whose procedure stops once a mean is known well enough.
struct WithUntil<'a> {
    record: &'a Measurement,
    series: &'a Measured,
    procedure: Procedure,
    /// Half the interval of a mean that is known well enough, as a share of it.
    share: f64,
}

fn with_until<'a>(records: &[&'a Measurement]) -> Vec<WithUntil<'a>> {
    let with_until = |record: &&'a Measurement| {
        let procedure = record.procedure?;
        Some(WithUntil { record, series: record.series()?, procedure, share: procedure.until? })
    };
    records.iter().filter_map(with_until).collect()
}

/// How many prefills and generations were timed: one line for each procedure that stops by itself.
fn stopped_early(records: &[&Measurement]) -> Vec<String> {
    let cells = with_until(records);
    let mut procedures: Vec<(Procedure, f64)> = Vec::new();
    for WithUntil { procedure, share, .. } in &cells {
        if !procedures.contains(&(*procedure, *share)) {
            procedures.push((*procedure, *share));
        }
    }
    let line = |(procedure, share): (Procedure, f64)| {
        let series = cells.iter().filter(|cell| cell.procedure == procedure).map(|cell| cell.series);
        let prefills = least_and_most(series.clone().map(|series| series.prompt_seconds.len()))?;
        let generations = least_and_most(series.map(|series| series.generations.len()))?;
        Some(format!(
            "each replicate stops once the 95 % confidence interval of its mean is within {}: {}, {} (published procedure: \
             {PUBLISHED_PROMPT_RUNS} prefills, 1 generation)",
            plus_minus(share),
            counted_of_most(prefills, procedure.prompt_runs, "prefill"),
            counted_of_most(generations, procedure.generations, "generation"),
        ))
    };
    procedures.into_iter().filter_map(line).collect()
}

/// Cells whose means did not reach the confidence interval that was asked for, within the most prefills or generations: a line for each
/// engine. A single generation has no interval, and no line.
fn not_known_well_enough(records: &[&Measurement]) -> Vec<String> {
    type Latencies = fn(&Measured) -> Vec<f64>;
    let latencies: [(&str, Latencies); 3] = [
        ("prefill latency", |series| series.prompt_seconds.clone()),
        ("wall clock", |series| series.generations.iter().map(|one| one.wall_seconds).collect()),
        ("decode latency", |series| {
            series.generations.iter().filter_map(|one| stats::mean(&one.token_seconds)).collect()
        }),
    ];
    let mut lines: IndexMap<String, IndexMap<CellSize, f64>> = IndexMap::new();
    for (what, latencies) in latencies {
        for WithUntil { record, series, share, .. } in with_until(records) {
            let interval = MeanInterval::new(&latencies(series)).map(|interval| interval.relative());
            let Some(known) = interval.filter(|known| *known > share) else { continue };
            let line = format!("{}: {what} did not reach {}", record.key.engine, plus_minus(share));
            let worst = lines.entry(line).or_default().entry(record.key.size()).or_default();
            *worst = worst.max(known);
        }
    }
    let words = |(line, cells): (String, IndexMap<CellSize, f64>)| {
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

/// What the engines' workers said of how they built the model: a line for each engine. It names cells only where they differ.
fn engines(rows: &[Row]) -> Vec<String> {
    let said = rows.iter().filter(|row| !row.engine_notes().is_empty());
    let groups =
        groups(said.map(|row| (format!("{}: {}", row.key.engine, row.engine_notes().join("; ")), row)));
    let line = |(what, cells): (String, Vec<&Row>)| {
        let first = cells[0];
        let mut measured =
            rows.iter().filter(|row| row.key.engine == first.key.engine && row.failure().is_none());
        if measured.all(|row| row.engine_notes() == first.engine_notes()) {
            what
        } else {
            of_cells(&what, &cells)
        }
    };
    groups.into_iter().map(line).collect()
}

/// How far the quantized weights are from the unquantized ones, by the last comparison.
fn fidelity(key: &TableKey, verifications: &[&Verification]) -> Option<String> {
    let fidelity = verifications.iter().rev().find_map(|one| one.fidelity.as_ref())?;
    Some(format!("weights in {}: {}", key.precision, fidelity_words(fidelity)))
}

/// `KL divergence of next tokens from fp32: mean 0.0123 nats, largest 0.041; most probable token the same after 15 of 16 prompts (computed by
/// reference)`.
pub fn fidelity_words(fidelity: &Fidelity) -> String {
    let Fidelity { compared_with, computed_by, prompts, mean_kl, largest_kl, same_top_token } = fidelity;
    format!(
        "KL divergence of next tokens from {compared_with}: mean {} nats, largest {}; most probable token the same after \
         {same_top_token} of {prompts} prompts (computed by {computed_by})",
        format_short(*mean_kl),
        format_short(*largest_kl)
    )
}

/// Engines whose logits or tokens do not match those of the engine that they were compared with.
fn disagreements(verification: &Verification) -> Vec<String> {
    let against = verification.against.as_deref().unwrap_or("nothing");
    let differing =
        verification.agreements.iter().filter(|one| one.error.is_none() && !verification.agrees(one));
    differing
        .map(|one| {
            let (engine, error, tolerance) = (&one.engine, one.largest_error, verification.tolerance_of(one));
            if error <= tolerance {
                return format!("{engine} chooses different tokens than {against}, from the same logits");
            }
            format!("{engine} does not match {against}: largest logit difference {error:.2e}, tolerance {tolerance:.2e}")
        })
        .collect()
}

/// Cells whose greedy tokens differ between engines. In half precision that can be every cell.
fn different_tokens(rows: &[Row]) -> Vec<String> {
    let mut cells: IndexMap<CellSize, Vec<&Row>> = IndexMap::new();
    for row in rows.iter().filter(|row| row.tokens_sha256().is_some()) {
        cells.entry(row.key.size()).or_default().push(row);
    }
    let differing = cells.into_values().filter_map(|cell| {
        let mut groups: IndexMap<Option<&str>, Vec<&str>> = IndexMap::new();
        for row in &cell {
            groups.entry(row.tokens_sha256()).or_default().push(&row.key.engine);
        }
        let engines: Vec<String> = groups.into_values().map(|engines| engines.join(", ")).collect();
        let text = format!("greedy tokens differ: {}", engines.join(" ≠ "));
        (engines.len() > 1).then_some((text, cell[0]))
    });
    grouped(differing)
}

/// Cells that failed, with the reason; one note for equal reasons of one engine.
fn failures(rows: &[Row]) -> Vec<String> {
    let what = |row: &Row| {
        let failure = row.failure().filter(|failure| failure.inferred_from.is_none())?;
        let phase = failure.phase.map(|phase| format!(" in {phase}")).unwrap_or_default();
        Some(format!("{}: {}{phase}: {}", row.key.engine, row.outcome_text(), failure.error))
    };
    grouped(rows.iter().filter_map(|row| Some((what(row)?, row))))
}

/// Cells that were not tried because another cell failed.
fn inferred(rows: &[Row]) -> Vec<String> {
    let what = |row: &Row| {
        let failure = row.failure()?;
        let from = failure.inferred_from?;
        let why = match failure.phase {
            Some(phase) => format!("{phase} failed in {from} and is the same for every cell"),
            None => format!("{from} ran out of memory, and these cells need at least as much"),
        };
        Some(format!("{}: {} inferred, not measured: {why}", row.key.engine, row.outcome_text()))
    };
    grouped(rows.iter().filter_map(|row| Some((what(row)?, row))))
}

/// The share of time in collectives, where it was measured.
fn collectives(rows: &[Row]) -> Vec<String> {
    let what = |row: &Row| {
        let shares = row.collectives()?;
        let [prompt, tokens] = [shares.prompt, shares.tokens].map(|share| 100.0 * share);
        Some(format!(
            "{}: collectives take {prompt:.1} % of prefill time and {tokens:.1} % of decode time",
            row.key.engine
        ))
    };
    grouped(rows.iter().filter_map(|row| Some((what(row)?, row))))
}

/// Cells that are faster than the measured peaks of the device.
fn above_peaks(rows: &[Row]) -> Vec<String> {
    let above = |share: fn(&Row) -> Option<f64>, what: &str| {
        let faster = rows.iter().filter(move |row| share(row).is_some_and(|share| share > 1.0));
        faster.map(|row| (format!("{}: {what}", row.key.engine), row)).collect::<Vec<_>>()
    };
    let decode = above(
        |row| row.efficiency.decode_bandwidth,
        "decode above 100 % of peak bandwidth: the weights fit in a cache, or the peak was measured on a busy machine",
    );
    let prefill = above(
        |row| row.efficiency.prefill_flops,
        "prefill above 100 % of peak FLOP/s: the peak was measured on a busy machine",
    );
    grouped(decode.into_iter().chain(prefill))
}

/// Cells whose GPU throttled, or did not free its memory.
fn gpu(rows: &[Row]) -> Vec<(NoteKind, Vec<String>)> {
    let mut kinds: IndexMap<(NoteKind, String), Vec<&Row>> = IndexMap::new();
    for row in rows {
        for (kind, text) in gpu_notes::notes(&row.replicates) {
            kinds.entry((kind, format!("{}: {text}", row.key.engine))).or_default().push(row);
        }
    }
    kinds.into_iter().map(|((kind, what), rows)| (kind, vec![of_cells(&what, &rows)])).collect()
}

/// The GPU clock that the first part of the run locked. Other parts list theirs among their differences.
fn locked_clocks(environments: &[Environment], heading_part: u32) -> Option<String> {
    let part = (heading_part as usize).checked_sub(1)?;
    let clock = environments.get(part)?.locked_gpu_clocks?;
    Some(format!("GPU clocks locked: {clock} (lock_gpu_clocks)"))
}

/// Cells without figures because their replicates were measured differently.
fn mixed_replicates(rows: &[Row]) -> Vec<String> {
    let what = |row: &Row| {
        let parts: Vec<String> = row.parts().iter().map(ToString::to_string).collect();
        let parts = (parts.len() > 1).then(|| parts.join(" and "))?;
        let engine = &row.key.engine;
        Some(format!(
            "{engine}: no figures: its replicates come from parts {parts} of the run, measured under different conditions"
        ))
    };
    grouped(rows.iter().filter_map(|row| Some((what(row)?, row))))
}

/// Cells of other parts of the run, and how these parts differ.
fn other_parts(rows: &[Row], environments: &[Environment], heading_part: u32) -> Vec<String> {
    let mut notes = Vec::new();
    for (index, environment) in environments.iter().enumerate() {
        let part = index as u32 + 1;
        let Environment { started, differs_from_first_part, .. } = environment;
        let what = match part {
            _ if part == heading_part && part == 1 => continue,
            1 => format!("part 1 of the run ({started}): the notes on the other parts list the differences"),
            _ => format!(
                "part {part} of the run ({started}), measured under different conditions: {}",
                differs_from_first_part.join("; ")
            ),
        };
        let of_part = rows.iter().filter(|row| row.parts().contains(&part));
        notes.extend(grouped(of_part.map(|row| (format!("{}: {what}", row.key.engine), row))));
    }
    notes
}

/// One note for all cells with the same text.
fn grouped<'a>(cells: impl Iterator<Item = (String, &'a Row)>) -> Vec<String> {
    groups(cells).iter().map(|(what, rows)| of_cells(what, rows)).collect()
}

fn groups<'a>(cells: impl Iterator<Item = (String, &'a Row)>) -> IndexMap<String, Vec<&'a Row>> {
    let mut groups: IndexMap<String, Vec<&Row>> = IndexMap::new();
    for (what, row) in cells {
        groups.entry(what).or_default().push(row);
    }
    groups
}

fn of_cells(what: &str, rows: &[&Row]) -> String {
    let cells: Vec<String> = rows.iter().map(|row| row.key.size().to_string()).collect();
    format!("{}: {what}", cells.join(", "))
}
