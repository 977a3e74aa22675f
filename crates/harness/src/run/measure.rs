//! The sweep itself: every cell measured by a worker, every record kept.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use protocol::{CellSize, GpuSeries, Hello, Measurement, Memory, Outcome, SCHEMA, Verification};

use crate::worker::slot::{MeasuredCell, SideMeasurements, WorkerSlot, greet, greet_ranks, reader};
use crate::worker::time_breakdown::{Spent, clocked};
use crate::{
    Cell, CellFailure, Engines, Event, SettingsError, Sweep, WorkerError, classify, interleaved, verify,
};
use machine::gpu::GpuWatch;
use results::{CellKey, RunFolder, StoreError};

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
    pub spent: Spent,
}

/// Hears every engine of `sweep` out: who it is, and whether it has the device and the options that it is given.
///
/// # Errors
/// Where an engine can't be started, can't use the device or does not have an option: found before anything is loaded
/// or written.
pub fn greet_all(sweep: &Sweep, engines: &Engines) -> Result<BTreeMap<String, Hello>, SettingsError> {
    greet_each(sweep, engines).into_iter().map(|(engine, hello)| Ok((engine, hello?))).collect()
}

/// Like [`greet_all`], with an answer for each engine, in the sweep's order.
pub fn greet_each(sweep: &Sweep, engines: &Engines) -> Vec<(String, Result<Hello, SettingsError>)> {
    let hello = |engine: &String| {
        let error = |error: WorkerError| {
            let what = match error {
                WorkerError::Evidence(evidence) => classify(&evidence).error,
                WorkerError::Interrupted => "interrupted".into(),
            };
            SettingsError { origin: format!("engine {engine}"), what }
        };
        let setup = &sweep.setup;
        // One process first: what is no several would be as many workers.
        let hello = greet(engines, engine, setup.limits()).map_err(error)?;
        setup.check_device(engine, &hello)?;
        setup.check_options(engine, &hello)?;
        setup.check_ranks(engine, &hello)?;
        setup.check_asked(engine, &hello)?;
        let processes = setup.processes();
        if processes.is_one() {
            return Ok(hello);
        }
        greet_ranks(engines, engine, setup.limits(), &processes).map_err(error)
    };
    sweep.engines.iter().map(|engine| (engine.clone(), hello(engine))).collect()
}

/// What measures a sweep, and where its records go.
pub struct Contender<'a> {
    /// The sweep.
    pub sweep: &'a Sweep,
    /// Its engines.
    pub engines: &'a Engines,
    /// The run's folder.
    pub folder: &'a mut RunFolder,
    /// Over the GPU that computes, where there is one.
    pub gpu: Option<GpuWatch>,
}

/// Measures every cell that a contender's folder lacks. Several contenders are measured interleaved; they have the same
/// cells.
///
/// # Errors
/// Where a folder can't be written. Whatever happens to a cell is a record, not an error.
pub fn run(
    contenders: &mut [Contender<'_>],
    check: bool,
    on_event: &mut dyn FnMut(Event<'_>),
) -> Result<RunSummary, StoreError> {
    let Some(&Contender { sweep, .. }) = contenders.first() else { return Ok(RunSummary::default()) };
    let in_share = |(place, (side, _)): &(usize, (usize, Cell<'_>))| {
        contenders[*side].folder.shard().is_none_or(|share| share.has(*place))
    };
    let cells: Vec<_> =
        interleaved(sweep, contenders.len()).into_iter().enumerate().filter(in_share).collect();
    let is_missing = |(_, (side, cell)): &(usize, (usize, Cell<'_>))| {
        let Contender { sweep, folder, .. } = &contenders[*side];
        !folder.known().has(&CellKey::of(&empty_record(sweep, *cell)))
    };
    let missing: Vec<_> = cells.iter().copied().filter(is_missing).collect();
    let dirs: Vec<&Path> = contenders.iter().map(|one| one.folder.dir()).collect();
    on_event(Event::Opened { dirs: &dirs, cells: cells.len(), done: cells.len() - missing.len() });

    let mut spent = Spent::default();
    if check && !missing.is_empty() {
        for Contender { sweep, engines, folder, .. } in contenders.iter_mut() {
            let mut verifications = Vec::new();
            for model in &sweep.models {
                let verified = clocked(&mut spent.verification, || verify(sweep, engines, model, on_event));
                let verification = match verified {
                    Ok(Some(verification)) => verification,
                    Ok(None) => continue,
                    Err(_) => return RunSummary::of(contenders, true),
                };
                on_event(Event::Verified(&verification));
                verifications.push(verification);
                folder.write_verifications(&verifications)?;
            }
        }
    }

    let reader = if missing.is_empty() { None } else { clocked(&mut spent.memory, || reader(sweep)) };
    let mut slots: Vec<WorkerSlot> =
        contenders.iter().map(|one| WorkerSlot::new(one.gpu.clone(), reader.clone())).collect();
    for (index, (side, cell)) in missing {
        for (_, other) in slots.iter_mut().enumerate().filter(|(other, _)| *other != side) {
            other.stop(on_event);
        }
        let (Contender { sweep, engines, folder, .. }, slot) = (&mut contenders[side], &mut slots[side]);
        on_event(Event::CellStarted { cell, index, side });
        let empty = Measurement { part: folder.part(), ..empty_record(sweep, cell) };
        let measurement = if let Some(from) = smaller_out_of_memory(sweep, folder, &cell) {
            pruned(empty, from)
        } else if let Some((failure, from)) = slot.known_failure(sweep, &cell) {
            fill(Measurement { inferred_from: Some(from), ..empty }, Err(failure))
        } else {
            let (measured, SideMeasurements { gpu, read_bytes_per_second }) =
                measure_unthrottled(sweep, engines, slot, cell, on_event);
            let empty = Measurement { gpu, read_bytes_per_second, ..empty };
            match measured {
                Err(WorkerError::Interrupted) => return RunSummary::of(contenders, true),
                Err(WorkerError::Evidence(evidence)) => fill(empty, Err(classify(&evidence))),
                Ok(measured) => fill(empty, Ok(measured)),
            }
        };
        folder.append(&measurement)?;
        on_event(Event::CellEnded { cell, index, measurement: &measurement });
    }
    for slot in &mut slots {
        slot.stop(on_event);
        spent += slot.spent;
    }
    Ok(RunSummary { spent, ..RunSummary::of(contenders, false)? })
}

/// Measures a cell, and again while the GPU throttled for a reason other than its power limit and tries are left. The last try that
/// was measured counts: a retry that fails, or is interrupted, takes nothing away.
fn measure_unthrottled(
    sweep: &Sweep,
    engines: &Engines,
    slot: &mut WorkerSlot,
    cell: Cell<'_>,
    on_event: &mut dyn FnMut(Event<'_>),
) -> (Result<MeasuredCell, WorkerError>, SideMeasurements) {
    let cool_down = Duration::from_secs_f64(sweep.cool_down_seconds);
    let between_tries = if cool_down.is_zero() { PAUSE_BEFORE_RETRY } else { cool_down };
    let (mut throttled_tries, mut pause, mut load_seconds) = (0, cool_down, None);
    let mut last_measured = None;
    loop {
        let (mut measured, mut beside) = slot.measure(sweep, engines, cell, pause, on_event);
        if let (Err(error), Some(before)) = (&measured, last_measured.take()) {
            let why = match error {
                WorkerError::Evidence(evidence) => classify(evidence).error,
                WorkerError::Interrupted => "interrupted".into(),
            };
            on_event(Event::RetryFailed { cell, why: &why });
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
    let key = CellKey::of(&empty_record(sweep, *cell));
    folder.known().smaller_out_of_memory(&key, folder.part()).filter(|_| sweep.prune_oom)
}

/// The record of a cell that is not tried.
fn pruned(record: Measurement, from: CellSize) -> Measurement {
    let CellSize { batch_size, prompt_length } = from;
    let error = format!("{batch_size}×{prompt_length} ran out of memory, and this needs at least as much");
    Measurement { outcome: Outcome::OutOfMemory, error: Some(error), inferred_from: Some(from), ..record }
}

impl RunSummary {
    /// What the folders hold, whichever run measured it.
    fn of(contenders: &[Contender<'_>], interrupted: bool) -> Result<Self, StoreError> {
        let mut summary = Self { interrupted, ..Self::default() };
        for Contender { folder, .. } in contenders {
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

/// The record of a cell of which nothing is known.
fn empty_record(sweep: &Sweep, cell: Cell<'_>) -> Measurement {
    Measurement {
        schema: SCHEMA,
        engine: cell.engine.to_owned(),
        model: cell.model.name.clone(),
        precision: sweep.setup.precision,
        device: sweep.setup.device,
        world_size: sweep.setup.ranks.world_size,
        one_rank: sweep.setup.one_rank,
        device_memory_limit_bytes: sweep.setup.device_memory_limit,
        batch_size: cell.batch_size,
        prompt_length: cell.prompt_length,
        generation_length: sweep.generation_length,
        replicate: cell.replicate,
        outcome: Outcome::Skipped,
        phase: None,
        error: None,
        inferred_from: None,
        part: 1,
        load_seconds: None,
        notes: Vec::new(),
        procedure: sweep.procedure.until.is_some().then_some(sweep.procedure),
        prompt_seconds: Vec::new(),
        generations: Vec::new(),
        memory: Memory::default(),
        device_seconds: None,
        ranks: Vec::new(),
        collectives: None,
        tokens_sha256: None,
        read_bytes_per_second: None,
        gpu: None,
    }
}

fn fill(record: Measurement, result: Result<MeasuredCell, CellFailure>) -> Measurement {
    match result {
        Ok(MeasuredCell { measured, load_seconds, loaded }) => Measurement {
            outcome: Outcome::Ok,
            load_seconds,
            notes: loaded.notes,
            prompt_seconds: measured.prompt_seconds,
            generations: measured.generations,
            memory: Memory { weights_bytes: Some(loaded.weights_bytes), ..measured.memory },
            device_seconds: measured.device_seconds,
            ranks: measured.ranks,
            collectives: measured.collectives,
            tokens_sha256: Some(measured.tokens_sha256),
            ..record
        },
        Err(CellFailure { outcome, phase, error }) => {
            Measurement { outcome, phase: Some(phase), error: Some(error), ..record }
        }
    }
}
