//! The sweep itself: every cell measured by a worker, every record kept.

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use protocol::{
    CellFailure, CellKey, CellSize, FailureKind, GpuSeries, MeasuredCell, Measurement, Outcome, Ranks,
    SCHEMA, Verification,
};

use crate::run::ceilings::reader;
use crate::run::time_breakdown::{TimeBreakdown, clocked};
use crate::run::turn_groups::TurnGroups;
use crate::run::worker_slot::{SideMeasurements, WorkerSlot};
use crate::run::workers::Workers;
use crate::worker::requests::why;
use crate::{Cell, Event, Isolation, Setup, Sweep, Variant, WorkerError, classify, interleaved, verify};
use results::{RunFolder, StoreError};

/// How long a GPU that throttled rests before its cell is measured again, where the sweep does not say `cool_down_seconds`: a heat
/// sink under forced air loses most of what it holds in that time.
const PAUSE_BEFORE_RETRY: Duration = Duration::from_secs(10);

/// How a sweep ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RunSummary {
    /// Cells that ended otherwise than measured or out of memory.
    pub failed: usize,
    /// The user asked to stop before all cells were measured.
    pub interrupted: bool,
    /// An engine computes something else than the others.
    pub disagreement: bool,
    /// Where the time went.
    pub time: TimeBreakdown,
}

/// A variant that is measured, and where its records go.
pub(crate) struct VariantRun<'a> {
    pub(crate) variant: &'a Variant,
    pub(crate) folder: &'a mut RunFolder,
    pub(crate) workers: Workers,
}

/// Measures every cell that a run's folder lacks. Several runs are measured interleaved; they have the same cells.
///
/// # Errors
/// Where a folder can't be written. Whatever happens to a cell is a record, not an error.
pub(crate) fn measure(
    runs: &mut [VariantRun<'_>],
    check: bool,
    on_event: &mut dyn FnMut(Event<'_>),
) -> Result<RunSummary, StoreError> {
    let Some(&VariantRun { variant: Variant { sweep, .. }, .. }) = runs.first() else {
        return Ok(RunSummary::default());
    };
    let in_share = |(place, (side, _)): &(usize, (usize, Cell<'_>))| {
        runs[*side].folder.shard().is_none_or(|share| share.has(*place))
    };
    let cells: Vec<_> = interleaved(sweep, runs.len()).into_iter().enumerate().filter(in_share).collect();
    let is_missing = |(_, (side, cell)): &(usize, (usize, Cell<'_>))| {
        let VariantRun { variant, folder, .. } = &runs[*side];
        !folder.known().has(&cell_key(&variant.sweep, cell), cell.replicate)
    };
    let mut missing: Vec<_> = cells.iter().copied().filter(is_missing).collect();
    let dirs: Vec<&Path> = runs.iter().map(|run| run.folder.dir()).collect();
    on_event(Event::Opened { dirs: &dirs, cells: cells.len(), done: cells.len() - missing.len() });

    let mut time = TimeBreakdown::default();
    if check && !missing.is_empty() {
        for VariantRun { variant, folder, .. } in runs.iter_mut() {
            let mut verifications = Vec::new();
            for model in &variant.sweep.models {
                let verified = clocked(&mut time.verification, || verify(variant, model, on_event));
                let verification = match verified {
                    Ok(Some(verification)) => verification,
                    Ok(None) => continue,
                    Err(_) => return RunSummary::read(runs, true),
                };
                on_event(Event::Verified(&verification));
                verifications.push(verification);
                folder.write_verifications(&verifications)?;
            }
        }
    }

    if !missing.is_empty() {
        let reader = clocked(&mut time.memory, || reader(sweep));
        runs.iter_mut().for_each(|run| run.workers.read_memory_with(reader.clone()));
    }
    let asked: Vec<_> = missing.iter().map(|(_, cell)| *cell).collect();
    let mut groups = TurnGroups::new(runs, &asked);
    let by_group = |groups: &TurnGroups, (_, (side, cell)): &(usize, (usize, Cell<'_>))| {
        let model = sweep.models.iter().position(|model| model.name == cell.model.name);
        (model, groups.of(*side, cell))
    };
    missing.sort_by_key(|cell| by_group(&groups, cell));
    let mut told = HashSet::new();
    let mut place = 0;
    while let Some(&(index, (side, cell))) = missing.get(place) {
        let group = groups.of(side, &cell);
        for (other, run) in runs.iter_mut().enumerate() {
            let is_together = |engine: &str, model: &str| {
                model == cell.model.name && groups.of_engine(model, other, engine) == group
            };
            let keep = |engine: &str, model: &str| match sweep.isolation {
                Isolation::Turn => is_together(engine, model),
                Isolation::Engine | Isolation::Cell => other == side,
            };
            run.workers.stop_unless(keep, on_event);
        }
        let apart = groups.note(side, &cell);
        if let Some(note) = &apart
            && told.insert((side, cell.model.name.clone(), cell.engine, note.clone()))
        {
            on_event(Event::MeasuredApart { model: &cell.model.name, engine: cell.engine, note });
        }
        let loaded: usize = runs.iter().map(|run| run.workers.loaded()).sum();
        let VariantRun { variant, folder, workers } = &mut runs[side];
        let sweep = &variant.sweep;
        let slot = workers.slot(cell.engine);
        // One at a time is alone even while an earlier engine's worker is still there.
        let is_alone =
            sweep.isolation != Isolation::Turn || loaded == usize::from(slot.loaded_engine().is_some());
        on_event(Event::CellStarted { cell, index, side });
        let record = |outcome, SideMeasurements { gpu, read_bytes_per_second }| Measurement {
            schema: SCHEMA,
            key: cell_key(sweep, &cell),
            replicate: cell.replicate,
            part: folder.part(),
            device_memory_limit_bytes: sweep.setup.device_memory_limit,
            procedure: sweep.procedure.until.is_some().then_some(sweep.procedure),
            read_bytes_per_second,
            gpu,
            outcome,
        };
        let measurement = if let Some(from) = smaller_out_of_memory(sweep, folder, &cell) {
            record(Outcome::Failed(pruned(from)), SideMeasurements::default())
        } else if let Some((failure, from)) = slot.known_failure(sweep, &cell) {
            let failure = CellFailure { inferred_from: Some(from), ..failure };
            record(Outcome::Failed(failure), SideMeasurements::default())
        } else {
            let (measured, beside) = measure_unthrottled(variant, slot, cell, on_event);
            match measured {
                Err(WorkerError::Interrupted) => return RunSummary::read(runs, true),
                Err(WorkerError::Evidence(evidence)) => {
                    let failure = classify(&evidence);
                    let is_for_want_of_room =
                        matches!(failure.kind, FailureKind::OutOfMemory | FailureKind::Crashed);
                    if is_for_want_of_room && !is_alone {
                        // What it does alone counts.
                        slot.forget_load_failure();
                        groups.set_apart(side, &cell, &failure.error);
                        missing[place..].sort_by_key(|cell| by_group(&groups, cell));
                        continue;
                    }
                    record(Outcome::Failed(failure), beside)
                }
                Ok(mut measured) => {
                    measured.notes.extend(apart);
                    record(Outcome::Ok(Box::new(measured)), beside)
                }
            }
        };
        folder.append(&measurement)?;
        on_event(Event::CellEnded { cell, index, measurement: &measurement });
        place += 1;
    }
    for run in runs.iter_mut() {
        run.workers.stop_unless(|_, _| false, on_event);
        time += run.workers.time();
    }
    Ok(RunSummary { time, ..RunSummary::read(runs, false)? })
}

/// Measures a cell, and again while the GPU throttled for a reason other than its power limit and tries are left. The last try that
/// was measured counts: a retry that fails, or is interrupted, takes nothing away.
fn measure_unthrottled(
    variant: &Variant,
    slot: &mut WorkerSlot,
    cell: Cell<'_>,
    on_event: &mut dyn FnMut(Event<'_>),
) -> (Result<MeasuredCell, WorkerError>, SideMeasurements) {
    let sweep = &variant.sweep;
    let cool_down = Duration::from_secs_f64(sweep.cool_down_seconds);
    let between_tries = if cool_down.is_zero() { PAUSE_BEFORE_RETRY } else { cool_down };
    let (mut throttled_tries, mut pause, mut load_seconds) = (0, cool_down, None);
    let mut last_measured = None;
    loop {
        let (mut measured, mut beside) = slot.measure(variant, cell, pause, on_event);
        if let (Err(error), Some(before)) = (&measured, last_measured.take()) {
            on_event(Event::RetryFailed { cell, why: &why(error) });
            return before;
        }
        if let Ok(measured) = &mut measured {
            // Only the first try had to load the model.
            load_seconds = load_seconds.or(measured.load_seconds);
            measured.load_seconds = load_seconds;
        }
        if let Some(series) = &mut beside.gpu {
            series.throttled_tries = throttled_tries;
        }
        let why = beside.gpu.as_ref().and_then(throttling).filter(|_| measured.is_ok());
        let Some(why) = why.filter(|_| throttled_tries < sweep.throttle_retries) else {
            return (measured, beside);
        };
        throttled_tries += 1;
        let (attempt, attempts) = (throttled_tries + 1, sweep.throttle_retries + 1);
        on_event(Event::MeasuredAgain { cell, attempt, attempts, why: &why });
        last_measured = Some((measured, beside));
        pause = between_tries;
    }
}

/// Why the GPU throttled, other than for its power limit and where waiting may help: `temperature (hardware) (33 % of the time)`.
fn throttling(series: &GpuSeries) -> Option<String> {
    let reasons: Vec<String> = series
        .unusual_throttling()
        .filter(|(reason, _)| reason.may_pass())
        .map(|(reason, share)| format!("{} ({:.0} % of the time)", reason.words(), 100.0 * share))
        .collect();
    (!reasons.is_empty()).then(|| reasons.join(", "))
}

/// Where the sweep asks for it: a cell that ran out of memory although it needs no more than this one.
fn smaller_out_of_memory(sweep: &Sweep, folder: &RunFolder, cell: &Cell<'_>) -> Option<CellSize> {
    folder.known().smaller_out_of_memory(&cell_key(sweep, cell), folder.part()).filter(|_| sweep.prune_oom)
}

/// The end of a cell that is not tried.
fn pruned(from: CellSize) -> CellFailure {
    let error = format!("{from} ran out of memory, and this needs at least as much");
    CellFailure { kind: FailureKind::OutOfMemory, phase: None, error, inferred_from: Some(from) }
}

impl RunSummary {
    /// What the folders hold, whichever run measured it.
    fn read(runs: &[VariantRun<'_>], interrupted: bool) -> Result<Self, StoreError> {
        let mut summary = Self { interrupted, ..Self::default() };
        for VariantRun { folder, .. } in runs {
            summary.disagreement |= folder.verifications()?.iter().any(verification_differs);
            summary.failed += folder.known().failed();
        }
        Ok(summary)
    }
}

/// An engine that could not answer is told by its cells; one that answers otherwise is told here.
fn verification_differs(verification: &Verification) -> bool {
    let answered = verification.agreements.iter().filter(|agreement| agreement.error.is_none());
    answered.into_iter().any(|agreement| !verification.agrees(agreement))
}

/// The key of a cell's records.
fn cell_key(sweep: &Sweep, cell: &Cell<'_>) -> CellKey {
    let Setup { precision, device, one_rank, ref ranks, .. } = sweep.setup;
    CellKey {
        model: cell.model.name.clone(),
        precision,
        device,
        ranks: Ranks { world_size: ranks.world_size, one_rank },
        engine: cell.engine.to_owned(),
        batch_size: cell.batch_size,
        prompt_length: cell.prompt_length,
        generation_length: sweep.generation_length,
    }
}
