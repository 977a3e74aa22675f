//! What a reader of a comparison must know beside its verdicts.

use protocol::CellSize;
use results::{Column, ResultRow};

use crate::format::first_few;
use crate::history::RunSpread;
use crate::lines::{ASSUMED_RUN_SPREAD, Design};
use crate::partners::TablePair;
use crate::sides::{have_same_generations, measured};
use crate::subject::Subject;

/// One line each. `spread` is the history that was given, and whether it says how far runs differ.
pub(crate) fn notes(
    baseline: &Subject<'_>,
    candidate: &Subject<'_>,
    pairs: &[TablePair<'_>],
    design: Design,
    spread: Option<(&RunSpread, bool)>,
) -> Vec<String> {
    let mut notes = Vec::new();
    for subject in [baseline, candidate] {
        let name = subject.name;
        notes.extend(subject.scripted().map(|words| format!("{name}: {words}")));
        if subject.run.is_none() {
            notes.push(format!(
                "{name}: a file's figures have no replicates, and their procedure is not known: means are compared with means, and the \
                 threshold alone decides; a change is provisional unless --threshold is given"
            ));
        }
        if subject.missing > 0 {
            let missing = subject.missing;
            notes.push(format!(
                "{name}: lacks {missing} of its records: `llama2-bench run --resume` measures them"
            ));
        }
    }
    match (design, spread) {
        (Design::Paired, _) => {
            notes.push("measured interleaved: replicates are compared in pairs, and drift common to both sides cancels out".into());
            if baseline.is_of_turns() && candidate.is_of_turns() {
                notes.push(
                    "turns of one worker a side: what differs from worker to worker is in the ratios, not in their intervals: \
                     `--isolation engine` starts a fresh worker for each replicate"
                        .into(),
                );
            }
        }
        (Design::Separate, Some((spread, true))) => {
            notes.push(format!(
                "two separate runs: how far runs of this machine differ without a change is known from {} earlier ones, and is in the intervals",
                spread.count()
            ));
        }
        (Design::Separate, spread) => {
            let history = match spread {
                Some((spread, _)) => format!("--history has {} like these, and takes five", spread.count()),
                None => "--history can say it".into(),
            };
            notes.push(format!(
                "two separate runs: how far runs differ without a change is not known ({history}); a change that {:.0} % between runs could \
                 explain is provisional. `run --against` measures both sides together",
                ASSUMED_RUN_SPREAD * 100.0
            ));
        }
        (Design::Printed, _) => {}
    }
    if design == Design::Printed {
        notes.extend(other_generations(pairs));
    }
    notes.extend(other_tokens(pairs));
    notes
}

/// The cells whose wall clocks are of generations of other lengths than the baseline's, and so not compared.
fn other_generations(pairs: &[TablePair<'_>]) -> Option<String> {
    let differs = |(baseline, candidate): &TablePair<'_>| {
        let others = candidate.cells();
        let differs = |((engine, size), row): ((&str, CellSize), &ResultRow<'_>)| {
            let other = others.get(&(engine, size))?;
            let has_wall = |row: &ResultRow<'_>| {
                !row.replicates.is_empty() || row.seconds(Column::WallLatency).is_some()
            };
            let is_other = has_wall(row) && has_wall(other) && !have_same_generations(row, other);
            let lengths = [row, other].map(|row| row.generation_length.tokens);
            is_other.then(|| format!("{engine} {size}: {} and {} tokens", lengths[0], lengths[1]))
        };
        baseline.cells().into_iter().filter_map(differs).collect::<Vec<String>>()
    };
    let cells: Vec<String> = pairs.iter().flat_map(differs).collect();
    (!cells.is_empty()).then(|| {
        format!("wall clocks of generations of different lengths are not compared ({})", first_few(&cells))
    })
}

/// The cells whose greedy tokens are not the baseline's.
fn other_tokens(pairs: &[TablePair<'_>]) -> Option<String> {
    let hash =
        |row: &ResultRow<'_>| measured(row).first()?.series().map(|series| series.tokens_sha256.clone());
    let differs = |(baseline, candidate): &TablePair<'_>| {
        let others = candidate.cells();
        let differs = |((engine, size), row): ((&str, CellSize), &ResultRow<'_>)| {
            let hashes = [hash(row)?, hash(others.get(&(engine, size))?)?];
            let is_known = hashes.iter().all(|hash| !hash.is_empty());
            (is_known && hashes[0] != hashes[1]).then(|| format!("{engine} {size}"))
        };
        baseline.cells().into_iter().filter_map(differs).collect::<Vec<String>>()
    };
    let cells: Vec<String> = pairs.iter().flat_map(differs).collect();
    let count = cells.len();
    (count > 0).then(|| {
        format!(
            "other tokens than the baseline's in {count} {} ({}): rounding, or another computation: `llama2-bench verify` says how far the \
             logits are",
            if count == 1 { "cell" } else { "cells" },
            first_few(&cells)
        )
    })
}
