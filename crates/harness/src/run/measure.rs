//! The measurement of a sweep: a worker measures every cell, and every record is kept.

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use protocol::{
    CellFailure, CellSize, FailureKind, GpuSeries, MeasuredCell, Measurement, Outcome, SCHEMA, Verification,
};

use crate::run::peaks::reader;
use crate::run::time_breakdown::{TimeBreakdown, clocked};
use crate::run::turn_groups::TurnGroups;
use crate::run::variant_run::VariantRun;
use crate::run::verify::{Verifier, differs};
use crate::run::worker_slot::{SideMeasurements, WorkerSlot};
use crate::worker::requests::why;
use crate::{
    Cell, Event, Isolation, Model, SessionError, Sweep, Variant, WorkerError, classify, interleaved,
};
use results::{RunFolder, StoreError};

/// Rest of a throttled GPU before its cell is measured again, if the sweep has no `cool_down_seconds`: a heat sink under forced air loses
/// most of its heat in that time.
const PAUSE_BEFORE_RETRY: Duration = Duration::from_secs(10);

/// The end of a sweep.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RunSummary {
    /// Cells that neither were measured nor ran out of memory.
    pub failed: usize,
    /// Whether the user stopped it before all cells were measured.
    pub interrupted: bool,
    /// Whether an engine computes something else than the others.
    pub disagreement: bool,
    /// Where the time went.
    pub time: TimeBreakdown,
}

/// Why measuring stopped early.
enum Stop {
    Interrupted,
    Error(SessionError),
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Error(error.into())
    }
}

/// A cell that is measured, with its side.
#[derive(Clone, Copy)]
struct SideCell<'a> {
    /// Its place in the sweep, from 0.
    index: usize,
    side: usize,
    cell: Cell<'a>,
}

/// Measures every missing cell of the runs. Several runs have the same cells, which are measured interleaved.
///
/// # Errors
/// Where a folder can't be written, or a model changed since the run began. A failed cell is a record, not an error.
pub(crate) fn measure(
    runs: &mut [VariantRun<'_>],
    on_event: &mut dyn FnMut(Event<'_>),
) -> Result<RunSummary, SessionError> {
    let Some(&VariantRun { variant: Variant { sweep, .. }, .. }) = runs.first() else {
        return Ok(RunSummary::default());
    };
    let cells = interleaved(sweep, runs.len()).into_iter().enumerate();
    let in_share = |&SideCell { index, side, cell }: &SideCell<'_>| {
        let Cell { engine, batch_size, prompt_length, .. } = cell;
        runs[side].folder.shard().is_none_or(|share| share.has(index))
            && sweep.selection.has(engine, batch_size, prompt_length)
    };
    let cells: Vec<_> =
        cells.map(|(index, (side, cell))| SideCell { index, side, cell }).filter(in_share).collect();
    let is_missing = |SideCell { side, cell, .. }: &SideCell<'_>| {
        let VariantRun { variant, folder, .. } = &runs[*side];
        !folder.known().has(&cell.key(&variant.sweep), cell.replicate)
    };
    let missing: Vec<_> = cells.iter().copied().filter(is_missing).collect();
    let dirs: Vec<&Path> = runs.iter().map(|run| run.folder.dir()).collect();
    on_event(Event::Opened { dirs: &dirs, cells: cells.len(), done: cells.len() - missing.len() });
    if missing.is_empty() {
        return Ok(RunSummary::read(runs, false));
    }

    let mut time = TimeBreakdown::default();
    let ended = verify_before(runs, &missing, &mut time, on_event)
        .and_then(|()| measure_missing(runs, sweep, missing, &mut time, on_event))
        .and_then(|()| verify_after(runs, &mut time, on_event));
    let interrupted = match ended {
        Ok(()) => false,
        Err(Stop::Interrupted) => true,
        Err(Stop::Error(error)) => {
            // The reader of the error looks for the records next, and each side has its own.
            for run in runs.iter_mut() {
                if let Err(gone) = follow(run.folder, on_event)
                    && gone.to_string() != error.to_string()
                {
                    on_event(Event::FolderGone { what: &gone.to_string() });
                }
            }
            return Err(error);
        }
    };
    let mut followed = Ok(());
    for run in runs.iter_mut() {
        run.workers.stop_unless(|_, _| false, on_event);
        time += run.workers.time();
        followed = followed.and(follow(run.folder, on_event));
    }
    followed?;
    Ok(RunSummary { time, ..RunSummary::read(runs, interrupted) })
}

/// Follows a folder that was moved or deleted meanwhile, and reports it.
fn follow(folder: &mut RunFolder, on_event: &mut dyn FnMut(Event<'_>)) -> Result<(), StoreError> {
    if let Some(what) = folder.follow()? {
        on_event(Event::FolderGone { what: &what });
    }
    Ok(())
}

/// Verifies the reference, and engines without missing cells. The others answer once they have loaded the model.
fn verify_before(
    runs: &mut [VariantRun<'_>],
    missing: &[SideCell<'_>],
    time: &mut TimeBreakdown,
    on_event: &mut dyn FnMut(Event<'_>),
) -> Result<(), Stop> {
    for (side, run) in runs.iter_mut().enumerate() {
        for (model, verifier) in &mut run.verifiers {
            let will_load = |engine: &str| {
                let is_of = |place: &SideCell<'_>| {
                    place.side == side && place.cell.engine == engine && place.cell.model.label == *model
                };
                missing.iter().any(is_of)
            };
            clocked(&mut time.verification, || {
                verifier.ask_reference(on_event)?;
                verifier.ask_the_rest(|engine| !will_load(engine), on_event)
            })
            .map_err(|_| Stop::Interrupted)?;
        }
    }
    Ok(())
}

/// Verifies engines that never loaded the model, or whose kept answer turned out wrong after their last cell.
fn verify_after(
    runs: &mut [VariantRun<'_>],
    time: &mut TimeBreakdown,
    on_event: &mut dyn FnMut(Event<'_>),
) -> Result<(), Stop> {
    for run in runs.iter_mut() {
        run.workers.stop_unless(|_, _| false, on_event);
        for verifier in run.verifiers.values_mut() {
            clocked(&mut time.verification, || {
                verifier.ask_the_rest(|_| true, on_event)?;
                verifier.ask_fidelity(on_event)
            })
            .map_err(|_| Stop::Interrupted)?;
            if let Some(verification) = verifier.news() {
                follow(run.folder, on_event)?;
                run.folder.write_verification(&verification)?;
            }
        }
    }
    Ok(())
}

fn measure_missing<'a>(
    runs: &mut [VariantRun<'_>],
    sweep: &Sweep,
    mut missing: Vec<SideCell<'a>>,
    time: &mut TimeBreakdown,
    on_event: &mut dyn FnMut(Event<'_>),
) -> Result<(), Stop> {
    let reader = clocked(&mut time.memory, || reader(sweep));
    runs.iter_mut().for_each(|run| run.workers.read_memory_with(reader.clone()));
    let asked: Vec<_> = missing.iter().map(|place| (place.side, place.cell)).collect();
    let mut groups = TurnGroups::new(runs, &asked);
    let by_group = |groups: &TurnGroups, SideCell { side, cell, .. }: &SideCell<'a>| {
        let is_of = |model: &Model| match sweep.isolation {
            Isolation::Turn => model.label == cell.model.label,
            Isolation::Engine | Isolation::Cell => model.name == cell.model.name,
        };
        let model = sweep.models.iter().position(is_of);
        (model, groups.group_index(*side, cell))
    };
    missing.sort_by_key(|place| by_group(&groups, place));
    let mut told = HashSet::new();
    let mut next = 0;
    while let Some(&place) = missing.get(next) {
        let SideCell { index, side, cell } = place;
        stop_others(runs, &groups, place, on_event);
        let apart = groups.note(side, &cell);
        if let Some(note) = &apart
            && told.insert((side, cell.model.label.clone(), cell.engine, note.clone()))
        {
            on_event(Event::MeasuredApart { model: &cell.model.label, engine: cell.engine, note });
        }
        on_event(Event::CellStarted { cell, index, side });
        match measure_cell(runs, place, apart, on_event)? {
            CellEnd::Recorded(measurement) => {
                on_event(Event::CellEnded { cell, index, measurement: &measurement });
                next += 1;
            }
            CellEnd::WantOfRoom(error) => {
                groups.set_apart(side, &cell, &error);
                missing[next..].sort_by_key(|place| by_group(&groups, place));
            }
        }
    }
    Ok(())
}

/// Ends the workers that must not be loaded beside the cell's.
fn stop_others(
    runs: &mut [VariantRun<'_>],
    groups: &TurnGroups,
    SideCell { side, cell, .. }: SideCell<'_>,
    on_event: &mut dyn FnMut(Event<'_>),
) {
    let group = groups.group_index(side, &cell);
    for (other, run) in runs.iter_mut().enumerate() {
        let is_together = |engine: &str, model: &str| {
            model == cell.model.label && groups.of_engine(model, other, engine) == group
        };
        let keep = |engine: &str, model: &str| match run.variant.sweep.isolation {
            Isolation::Turn => is_together(engine, model),
            Isolation::Engine | Isolation::Cell => other == side,
        };
        run.workers.stop_unless(keep, on_event);
    }
}

/// The end of a cell's turn.
enum CellEnd {
    /// The cell's record is on disk.
    Recorded(Box<Measurement>),
    /// The cell failed with this error while others were loaded; it is tried again alone.
    WantOfRoom(String),
}

fn measure_cell(
    runs: &mut [VariantRun<'_>],
    SideCell { side, cell, .. }: SideCell<'_>,
    apart: Option<String>,
    on_event: &mut dyn FnMut(Event<'_>),
) -> Result<CellEnd, Stop> {
    let loaded: usize = runs.iter().map(|run| run.workers.loaded()).sum();
    let VariantRun { variant, folder, workers, models, verifiers } = &mut runs[side];
    let files = models.get_mut(&cell.model.name).expect("the files of each model");
    let mut check_model = || files.check().map_err(|why| Stop::Error(SessionError::ModelExchanged(why)));
    check_model()?;
    let sweep = &variant.sweep;
    let mut verifier = verifiers.get_mut(&cell.model.label);
    let slot = workers.slot(cell.engine);
    // Without turns a worker is alone, even while an earlier engine's worker is still there.
    let is_alone =
        sweep.isolation != Isolation::Turn || loaded == usize::from(slot.loaded_engine().is_some());
    let failed = |failure| (Outcome::Failed(failure), SideMeasurements::default());
    let (mut outcome, beside) = if let Some(from) = smaller_out_of_memory(sweep, folder, &cell) {
        failed(pruned(from))
    } else if let Some((failure, from)) = slot.known_failure(sweep, &cell) {
        failed(CellFailure { inferred_from: Some(from), ..failure })
    } else {
        let (measured, beside) = measure_unthrottled(variant, slot, verifier.as_deref_mut(), cell, on_event);
        let outcome = match measured {
            Err(WorkerError::Interrupted) => return Err(Stop::Interrupted),
            Err(WorkerError::Evidence(evidence)) => {
                let failure = classify(&evidence);
                if matches!(failure.kind, FailureKind::OutOfMemory | FailureKind::Crashed) && !is_alone {
                    slot.forget_load_failure();
                    if let Some(verifier) = verifier {
                        verifier.forget_failure(cell.engine);
                    }
                    return Ok(CellEnd::WantOfRoom(failure.error));
                }
                Outcome::Failed(failure)
            }
            Ok(mut measured) => {
                measured.notes.extend(apart);
                Outcome::Ok(Box::new(measured))
            }
        };
        (outcome, beside)
    };
    check_model()?;
    if let Outcome::Ok(measured) = &mut outcome {
        measured.notes.extend(files.note());
    }
    follow(folder, on_event)?;
    // The verification is written before the record of its engine's cell.
    if let Some(verification) = verifier.and_then(Verifier::news) {
        folder.write_verification(&verification)?;
    }
    let measurement = Measurement {
        schema: SCHEMA,
        key: cell.key(sweep),
        replicate: cell.replicate,
        part: folder.part(),
        device_memory_limit_bytes: sweep.setup.device_memory_limit,
        procedure: sweep.procedure.until.is_some().then_some(sweep.procedure),
        read_bytes_per_second: beside.read_bytes_per_second,
        gpu: beside.gpu,
        machine_load: beside.machine_load,
        outcome,
    };
    folder.append(&measurement)?;
    Ok(CellEnd::Recorded(Box::new(measurement)))
}

/// Measures a cell, and repeats it while the GPU throttled for a reason other than its power limit and tries are left. The last measured
/// try counts: a retry that fails or is interrupted changes nothing.
fn measure_unthrottled(
    variant: &Variant,
    slot: &mut WorkerSlot,
    mut verifier: Option<&mut Verifier<'_>>,
    cell: Cell<'_>,
    on_event: &mut dyn FnMut(Event<'_>),
) -> (Result<MeasuredCell, WorkerError>, SideMeasurements) {
    let sweep = &variant.sweep;
    let cool_down = Duration::from_secs_f64(sweep.cool_down_seconds);
    let between_tries = if cool_down.is_zero() { PAUSE_BEFORE_RETRY } else { cool_down };
    let (mut throttled_tries, mut pause, mut load_seconds) = (0, cool_down, None);
    let mut last_measured = None;
    loop {
        let (mut measured, mut beside) =
            slot.measure(variant, verifier.as_deref_mut(), cell, pause, on_event);
        if let (Err(error), Some(before)) = (&measured, last_measured.take()) {
            on_event(Event::RetryFailed { cell, why: &why(error) });
            return before;
        }
        if let Ok(measured) = &mut measured {
            // Only the first try loaded the model.
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

/// Reasons for throttling other than the power limit for which waiting may help: `temperature (hardware) (33 % of the time)`.
fn throttling(series: &GpuSeries) -> Option<String> {
    let reasons: Vec<String> = series
        .unusual_throttling()
        .filter(|(reason, _)| reason.may_pass())
        .map(|(reason, share)| format!("{} ({:.0} % of the time)", reason.words(), 100.0 * share))
        .collect();
    (!reasons.is_empty()).then(|| reasons.join(", "))
}

/// A cell that ran out of memory although it needs no more than this one, if the sweep prunes.
fn smaller_out_of_memory(sweep: &Sweep, folder: &RunFolder, cell: &Cell<'_>) -> Option<CellSize> {
    folder.known().smaller_out_of_memory(&cell.key(sweep), folder.part()).filter(|_| sweep.prune_oom)
}

/// The failure of a cell that is not tried.
fn pruned(from: CellSize) -> CellFailure {
    let error = format!("{from} ran out of memory, and this needs at least as much");
    CellFailure { kind: FailureKind::OutOfMemory, phase: None, error, inferred_from: Some(from) }
}

impl RunSummary {
    /// Summarizes the folders, whichever run measured their cells.
    fn read(runs: &[VariantRun<'_>], interrupted: bool) -> Self {
        let mut summary = Self { interrupted, ..Self::default() };
        for VariantRun { folder, .. } in runs {
            let is_wrong =
                |one: &Verification| one.agreements.iter().any(|agreement| differs(one, agreement));
            summary.disagreement |= folder.verifications().iter().any(is_wrong);
            summary.failed += folder.known().failed();
        }
        summary
    }
}
