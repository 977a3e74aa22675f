//! The sweep itself: every cell measured by a worker, every record kept.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use protocol::{
    GenerateRequest, Generated, Hello, LoadRequest, Loaded, MeasureRequest, Measured, Measurement, Memory,
    Outcome, Phase, Progress, Reply, Request, SCHEMA, Verification,
};

use crate::sweep::Isolation;
use crate::{
    Cell, CellFailure, Engines, Event, Limits, Model, RunFolder, SettingsError, Setup, StoreError, Sweep,
    Worker, WorkerError, classify, plan, verify,
};

/// How a sweep ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RunSummary {
    /// Cells that ended otherwise than measured or out of memory.
    pub failed: usize,
    /// The user asked to stop before all cells were measured.
    pub interrupted: bool,
    /// An engine computes something else than the others.
    pub disagreement: bool,
}

/// Hears every engine of `sweep` out: who it is, and whether it has the device and the options that it is given.
///
/// # Errors
/// Where an engine can't be started, can't use the device or does not have an option: found before anything is loaded
/// or written.
pub fn greet_all(sweep: &Sweep, engines: &Engines) -> Result<BTreeMap<String, Hello>, SettingsError> {
    let mut hellos = BTreeMap::new();
    for engine in &sweep.engines {
        let hello = greet(engines, engine).map_err(|error| {
            let what = match error {
                WorkerError::Evidence(evidence) => classify(&evidence).error,
                WorkerError::Interrupted => "interrupted".into(),
            };
            SettingsError { origin: format!("engine {engine}"), what }
        })?;
        sweep.setup.check_device(engine, &hello)?;
        sweep.setup.check_options(engine, &hello)?;
        hellos.insert(engine.clone(), hello);
    }
    Ok(hellos)
}

/// Measures every cell of `sweep` that `folder` lacks.
///
/// # Errors
/// Where the folder can't be written. Whatever happens to a cell is a record, not an error.
pub fn run(
    sweep: &Sweep,
    engines: &Engines,
    folder: &mut RunFolder,
    check: bool,
    on_event: &mut dyn FnMut(Event<'_>),
) -> Result<RunSummary, StoreError> {
    let cells = plan(sweep);
    let missing: Vec<(usize, Cell<'_>)> =
        cells.iter().copied().enumerate().filter(|(_, cell)| !folder.has(cell)).collect();
    on_event(Event::Opened { dir: folder.dir(), cells: cells.len(), done: cells.len() - missing.len() });

    if check && !missing.is_empty() {
        let mut verifications = Vec::new();
        for model in &sweep.models {
            let verification = match verify(sweep, engines, model, on_event) {
                Ok(Some(verification)) => verification,
                Ok(None) => continue,
                Err(_) => return RunSummary::of(folder, true),
            };
            on_event(Event::Verified(&verification));
            verifications.push(verification);
            folder.write_verifications(&verifications)?;
        }
    }

    let mut seat = Seat::default();
    for (index, cell) in missing {
        on_event(Event::CellStarted { cell, index });
        let answer = seat.measure(sweep, engines, cell, &mut |progress| on_event(Event::Progress(progress)));
        let result = match answer {
            Err(WorkerError::Interrupted) => return RunSummary::of(folder, true),
            Err(WorkerError::Evidence(evidence)) => Err(classify(&evidence)),
            Ok(measured) => Ok(measured),
        };
        let measurement = folder.append(record(sweep, cell, result))?;
        on_event(Event::CellEnded { cell, index, measurement });
    }
    RunSummary::of(folder, false)
}

impl RunSummary {
    /// What the folder holds, whichever run measured it.
    fn of(folder: &RunFolder, interrupted: bool) -> Result<Self, StoreError> {
        let measured = |record: &&Measurement| matches!(record.outcome, Outcome::Ok | Outcome::OutOfMemory);
        let failed = folder.records().iter().filter(|record| !measured(record)).count();
        let disagreement = folder.verifications()?.iter().any(verification_differs);
        Ok(Self { failed, interrupted, disagreement })
    }
}

/// An engine that could not answer is told by its cells; one that answers otherwise is told here.
fn verification_differs(verification: &Verification) -> bool {
    let answered = verification.agreements.iter().filter(|agreement| agreement.error.is_none());
    answered.into_iter().any(|agreement| !verification.agrees(agreement))
}

/// The worker of the moment, kept from cell to cell while all is well.
#[derive(Default)]
struct Seat {
    seated: Option<Seated>,
    /// Loading depends on engine and model alone: once it failed, it is not tried again for every cell.
    load_failure: Option<(String, String, crate::Evidence)>,
}

struct Seated {
    engine: String,
    model: String,
    replicate: u32,
    worker: Worker,
    weights_bytes: u64,
}

/// A cell's series, and how its worker came to have the model.
struct MeasuredCell {
    measured: Measured,
    load_seconds: Option<f64>,
    weights_bytes: u64,
}

impl Seat {
    fn measure(
        &mut self,
        sweep: &Sweep,
        engines: &Engines,
        cell: Cell<'_>,
        progress: &mut dyn FnMut(&Progress),
    ) -> Result<MeasuredCell, WorkerError> {
        let fits = |seated: &Seated| {
            seated.engine == cell.engine
                && seated.model == cell.model.name
                && seated.replicate == cell.replicate
        };
        let load_seconds = if self.seated.as_ref().is_some_and(fits) {
            None
        } else {
            Some(self.sit(sweep, engines, cell, progress)?)
        };
        let seated = self.seated.as_mut().expect("a worker is seated");

        let vocab_size = cell.model.config.vocab_size as u32;
        let request = Request::Measure(MeasureRequest {
            prompt_ids: llama::prompt::seeded_prompt(
                cell.batch_size,
                cell.prompt_length,
                vocab_size,
                sweep.seed,
            ),
            generation_length: sweep.generation_length,
            procedure: sweep.procedure,
        });
        let measured = seated.worker.ask(&request, progress).and_then(|reply| {
            match reply {
                Reply::Measured(measured) => check_series(sweep, measured),
                _ => Err("expected measured".to_owned()),
            }
            .map_err(|what| seated.worker.protocol_error(Phase::Decode, what))
        });
        let weights_bytes = seated.weights_bytes;
        if measured.is_err() || sweep.isolation == Isolation::Cell {
            self.leave();
        }
        Ok(MeasuredCell { measured: measured?, load_seconds, weights_bytes })
    }

    /// Seats a fresh worker that has the cell's model; the seconds that it took.
    fn sit(
        &mut self,
        sweep: &Sweep,
        engines: &Engines,
        cell: Cell<'_>,
        progress: &mut dyn FnMut(&Progress),
    ) -> Result<f64, WorkerError> {
        self.leave();
        if let Some((engine, model, evidence)) = &self.load_failure
            && engine == cell.engine
            && *model == cell.model.name
        {
            return Err(WorkerError::Evidence(evidence.clone()));
        }
        let start = Instant::now();
        let (engine, model) = (cell.engine.to_owned(), cell.model.name.clone());
        let (worker, loaded) =
            load(&sweep.setup, engines, cell.model, cell.engine, progress).inspect_err(|error| {
                if let WorkerError::Evidence(evidence) = error {
                    self.load_failure = Some((engine.clone(), model.clone(), evidence.clone()));
                }
            })?;
        let (replicate, weights_bytes) = (cell.replicate, loaded.weights_bytes);
        self.seated = Some(Seated { engine, model, replicate, worker, weights_bytes });
        Ok(start.elapsed().as_secs_f64())
    }

    fn leave(&mut self) {
        if let Some(seated) = self.seated.take() {
            seated.worker.shutdown();
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.leave();
    }
}

/// A worker's figures are believed only where they can be a measurement of what was asked.
fn check_series(sweep: &Sweep, measured: Measured) -> Result<Measured, String> {
    let plausible = |seconds: &f64| seconds.is_finite() && *seconds > 0.0;
    let counts = measured.prompt_seconds.len() == sweep.procedure.prompt_runs as usize
        && measured.generations.len() == sweep.procedure.generations as usize
        && measured.generations.iter().all(|one| one.token_seconds.len() == sweep.generation_length as usize);
    if !counts {
        return Err("another number of figures than was asked for".into());
    }
    let generations = measured.generations.iter();
    let all =
        generations.flat_map(|one| one.token_seconds.iter().chain([&one.prompt_seconds, &one.wall_seconds]));
    if !measured.prompt_seconds.iter().chain(all).all(plausible) {
        return Err("a latency that is not a number above 0".into());
    }
    Ok(measured)
}

fn record(sweep: &Sweep, cell: Cell<'_>, result: Result<MeasuredCell, CellFailure>) -> Measurement {
    let mut record = Measurement {
        schema: SCHEMA,
        engine: cell.engine.to_owned(),
        model: cell.model.name.clone(),
        precision: sweep.setup.precision,
        device: sweep.setup.device,
        world_size: sweep.world_size,
        batch_size: cell.batch_size,
        prompt_length: cell.prompt_length,
        generation_length: sweep.generation_length,
        replicate: cell.replicate,
        outcome: Outcome::Ok,
        phase: None,
        error: None,
        load_seconds: None,
        prompt_seconds: Vec::new(),
        generations: Vec::new(),
        memory: Memory::default(),
        tokens_sha256: None,
    };
    match result {
        Ok(MeasuredCell { measured, load_seconds, weights_bytes }) => {
            record.load_seconds = load_seconds;
            record.prompt_seconds = measured.prompt_seconds;
            record.generations = measured.generations;
            record.memory = Memory { weights_bytes: Some(weights_bytes), ..measured.memory };
            record.tokens_sha256 = Some(measured.tokens_sha256);
        }
        Err(failure) => {
            record.outcome = failure.outcome;
            record.phase = Some(failure.phase);
            record.error = Some(failure.error);
        }
    }
    record
}

/// Starts the worker of `engine` only to hear who it is.
pub fn greet(engines: &Engines, engine: &str) -> Result<Hello, WorkerError> {
    let command = engines.get(engine).expect("a known engine");
    let limits = Limits { memory_bytes: None, request: Duration::from_secs(60) };
    let mut worker = Worker::spawn(command, limits)?;
    let hello = std::mem::take(&mut worker.hello);
    worker.shutdown();
    Ok(hello)
}

/// Starts the worker of `engine`, loads `model` and generates greedily.
pub fn generate(
    setup: &Setup,
    engines: &Engines,
    model: &Model,
    engine: &str,
    prompt_ids: &[Vec<u32>],
    max_new_tokens: u32,
    logits: bool,
) -> Result<Generated, WorkerError> {
    let (mut worker, _) = load(setup, engines, model, engine, &mut |_| ())?;
    let request =
        Request::Generate(GenerateRequest { prompt_ids: prompt_ids.to_vec(), max_new_tokens, logits });
    match worker.ask(&request, &mut |_| ())? {
        Reply::Generated(generated) => {
            worker.shutdown();
            Ok(generated)
        }
        _ => Err(worker.protocol_error(Phase::Decode, "expected generated".into())),
    }
}

fn load(
    setup: &Setup,
    engines: &Engines,
    model: &Model,
    engine: &str,
    progress: &mut dyn FnMut(&Progress),
) -> Result<(Worker, Loaded), WorkerError> {
    let command = engines.get(engine).expect("a known engine");
    let request = Duration::from_secs_f64(setup.timeout_seconds);
    let mut worker = Worker::spawn(command, Limits { memory_bytes: setup.memory_limit, request })?;
    let request = Request::Load(LoadRequest {
        model: model.source.clone(),
        device: setup.device,
        precision: setup.precision,
        threads: setup.threads,
        memory_limit_bytes: setup.memory_limit,
        options: setup.options_of(engine),
    });
    match worker.ask(&request, progress)? {
        Reply::Loaded(loaded) => Ok((worker, loaded)),
        _ => Err(worker.protocol_error(Phase::Load, "expected loaded".into())),
    }
}
