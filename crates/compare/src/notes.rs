//! Notes on a comparison.

use indexmap::IndexSet;
use protocol::CellSize;
use results::{Column, ResultRow, counted, fidelity_words};

use crate::format::first_few;
use crate::history::RunSpread;
use crate::lines::{ASSUMED_RUN_SPREAD, Design};
use crate::partners::TablePair;
use crate::sides::{have_same_generations, measured};
use crate::subject::Subject;

/// The notes, one line each. `spread` is the history that was given, and whether it has enough runs.
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
                "{name}: figures of a file have no replicates, and their procedure is unknown: means are compared, only the threshold \
                 decides, and a change is provisional unless you give --threshold"
            ));
        }
        if subject.missing > 0 {
            let missing = subject.missing;
            notes.push(format!(
                "{name} is incomplete: {} missing; continue with `llama2-bench run --resume {name}`",
                counted(missing, "record")
            ));
        }
    }
    notes.extend(other_devices(pairs));
    let differ_in_precision = baseline.differs_in_precision_from(candidate);
    let precisions = [baseline.chosen_precision, candidate.chosen_precision];
    if let ([Some(one), Some(other)], true) = (precisions, differ_in_precision) {
        notes.push(format!(
            "the precisions differ ({one} and {other}): changes are between precisions, not builds"
        ));
    }
    let sides = pairs.iter().flat_map(|(one, other)| [(baseline, *one), (candidate, *other)]);
    notes.extend(sides.filter(|_| differ_in_precision).filter_map(|(subject, table)| {
        Some(format!("{}: {}", table.title, fidelity_words(subject.fidelity(table)?)))
    }));
    match (design, spread) {
        (Design::Paired, _) => {
            notes.push(
                "interleaved: replicates are compared in pairs, so drift common to both sides cancels out"
                    .into(),
            );
            if baseline.is_of_turns() && candidate.is_of_turns() {
                notes.push(
                    "one worker per side took turns: the intervals leave out how far workers differ; \
                     `--isolation engine` starts a fresh worker for each replicate"
                        .into(),
                );
            }
        }
        (Design::Separate, Some((spread, true))) => {
            notes.push(format!(
                "two separate runs: the intervals include how much runs of this machine differ, by {} of --history",
                counted(spread.count(), "earlier run")
            ));
        }
        (Design::Separate, spread) => {
            let history = match spread {
                Some((spread, _)) => format!(
                    "--history has {} of this procedure on this machine; 5 are needed",
                    counted(spread.count(), "other run")
                ),
                None => "--history DIR measures it".into(),
            };
            let (what, remedy) = if baseline.is_same_run_as(candidate) {
                (
                    "precisions measured one after the other, for engines took turns",
                    "`--isolation engine` interleaves them",
                )
            } else {
                ("two separate runs", "`run --against` interleaves both sides")
            };
            notes.push(format!(
                "{what}: how much runs of this machine differ is not known ({history}); a standard deviation of {:.0} % is assumed, and a \
                 change that it could explain is provisional; {remedy}",
                ASSUMED_RUN_SPREAD * 100.0
            ));
        }
        (Design::Printed, _) => {}
    }
    if design == Design::Printed {
        notes.extend(other_generations(pairs));
    }
    if !differ_in_precision {
        notes.extend(other_tokens(pairs));
    }
    // A run is on both sides where its precisions are compared.
    let notes: IndexSet<String> = notes.into_iter().collect();
    notes.into_iter().collect()
}

/// The devices of tables that were measured on different ones.
fn other_devices(pairs: &[TablePair<'_>]) -> Option<String> {
    let devices = pairs.iter().filter_map(|(baseline, candidate)| {
        let [baseline, candidate] = [baseline, candidate].map(|table| table.heading.as_ref().ok());
        let (baseline, candidate) = (baseline?, candidate?);
        match (&baseline.device, &candidate.device) {
            (one, other) if one != other => Some(format!("{one} and {other}")),
            (one, _) if baseline.count != candidate.count => {
                Some(format!("{} and {} {one}", baseline.count, candidate.count))
            }
            _ => None,
        }
    });
    let devices: IndexSet<String> = devices.collect();
    let names: Vec<String> = devices.into_iter().collect();
    (!names.is_empty()).then(|| {
        format!("the devices differ ({}): changes are between devices, not builds", first_few(&names))
    })
}

/// Cells whose wall clocks are not compared because the generations have different lengths.
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
        format!(
            "wall-clock latencies are not compared where generation lengths differ ({})",
            first_few(&cells)
        )
    })
}

/// Cells whose greedy tokens differ from the baseline's.
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
    (!cells.is_empty()).then(|| {
        format!(
            "greedy tokens differ from the baseline's in {} ({}), by rounding or by mistake: `llama2-bench verify` compares the logits",
            counted(cells.len(), "cell"),
            first_few(&cells)
        )
    })
}
