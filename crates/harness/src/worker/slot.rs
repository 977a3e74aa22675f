//! The worker of the moment, kept from cell to cell while all is well; and workers for a single request.

use std::collections::HashSet;
use std::rc::Rc;
use std::time::{Duration, Instant};

use machine::Reader;
use machine::gpu::{GpuWatch, Monitor};
use protocol::{
    CellSize, Device, GenerateRequest, Generated, GpuSeries, Hello, LoadRequest, Loaded, MeasureRequest,
    Measured, Outcome, Phase, Progress, Reply, Request,
};

use crate::sweep::{Ceilings, Isolation};
use crate::worker::interrupt::interrupted_within;
use crate::worker::process::PLAIN_REPLY;
use crate::worker::time_breakdown::{Spent, clocked};
use crate::worker::validate::check_series;
use crate::{
    Cell, CellFailure, Engines, Event, Limits, Model, Ranks, Setup, Sweep, Worker, WorkerError, classify,
};

/// Beside a cell memory is read for this long.
const BESIDE_A_CELL: Duration = Duration::from_millis(320);

/// JSON's longest number and a comma, with room to spare.
const NUMBER_BYTES: usize = 40;

/// What reads memory beside the cells, where the sweep asks for that: it keeps its memory until the last of them.
pub(crate) fn reader(sweep: &Sweep) -> Option<Rc<Reader>> {
    let is_asked = sweep.ceilings == Ceilings::Cell && sweep.setup.device == Device::Cpu;
    // Where there is no memory for it, the run's ceiling stands.
    is_asked.then(|| Reader::new(sweep.setup.threads).ok().map(Rc::new)).flatten()
}

#[derive(Default)]
pub(crate) struct WorkerSlot {
    current: Option<LoadedWorker>,
    /// Over the GPU that computes.
    gpu: Option<GpuWatch>,
    /// What reads memory before and after a cell.
    reader: Option<Rc<Reader>>,
    /// Memory in use there before the worker was started.
    used_before: Option<u64>,
    /// Where the time of its cells went.
    pub(crate) spent: Spent,
    load_failure: Option<LoadFailure>,
    /// Engines that have loaded a model in this run: where it fails later, it is not for good.
    loaded: HashSet<(String, String)>,
}

struct LoadedWorker {
    engine: String,
    model: String,
    replicate: u32,
    worker: Worker,
    loaded: Loaded,
}

/// Loading depends on engine and model alone: after a second failure, or one that took all its time, it is not tried
/// again for every cell, unless it has worked in this run. What ran out of memory is tried again, but where pruning is asked for.
struct LoadFailure {
    engine: String,
    model: String,
    failure: CellFailure,
    cell: CellSize,
    tries: u32,
}

impl LoadFailure {
    fn is_of(&self, cell: &Cell<'_>) -> bool {
        self.engine == cell.engine && self.model == cell.model.name
    }
}

/// A cell's series, and how its worker came to have the model.
pub(crate) struct MeasuredCell {
    pub(crate) measured: Measured,
    pub(crate) load_seconds: Option<f64>,
    pub(crate) loaded: Loaded,
}

/// What went on beside a cell.
#[derive(Default)]
pub(crate) struct SideMeasurements {
    /// What the GPU did, if there is one.
    pub(crate) gpu: Option<GpuSeries>,
    /// How fast memory could be read right before and right after, the most, where that was asked for.
    pub(crate) read_bytes_per_second: Option<f64>,
}

impl WorkerSlot {
    /// An empty slot, for workers on this GPU if any, beside which memory is read if there is a reader.
    pub(crate) fn new(gpu: Option<GpuWatch>, reader: Option<Rc<Reader>>) -> Self {
        Self { gpu, reader, ..Self::default() }
    }

    /// How the cell would end because its model can't be loaded, and in which cell that was found.
    pub(crate) fn known_failure(&self, sweep: &Sweep, cell: &Cell<'_>) -> Option<(CellFailure, CellSize)> {
        let known = self.load_failure.as_ref().filter(|known| known.is_of(cell))?;
        if self.loaded.contains(&(cell.engine.to_owned(), cell.model.name.clone())) {
            return None;
        }
        let certain = match known.failure.outcome {
            Outcome::TimedOut => true,
            Outcome::OutOfMemory => sweep.prune_oom,
            _ => known.tries > 1,
        };
        certain.then(|| (known.failure.clone(), known.cell))
    }

    /// Measures a cell, after a pause with the model loaded and the device idle.
    pub(crate) fn measure(
        &mut self,
        sweep: &Sweep,
        engines: &Engines,
        cell: Cell<'_>,
        pause: Duration,
        on_event: &mut dyn FnMut(Event<'_>),
    ) -> (Result<MeasuredCell, WorkerError>, SideMeasurements) {
        let mut beside = SideMeasurements::default();
        let measured = self.ask(sweep, engines, cell, pause, &mut beside, on_event);
        if measured.is_err() || sweep.isolation == Isolation::Cell {
            self.stop(on_event);
            let left =
                self.gpu.as_ref().zip(self.used_before).and_then(|(gpu, before)| gpu.left_bytes(before));
            if left.is_some() {
                beside.gpu.get_or_insert_with(GpuSeries::default).left_bytes = left;
            }
        }
        if let Some(series) = &mut beside.gpu {
            series.used_before_bytes = self.used_before;
        }
        (measured, beside)
    }

    fn ask(
        &mut self,
        sweep: &Sweep,
        engines: &Engines,
        cell: Cell<'_>,
        pause: Duration,
        beside: &mut SideMeasurements,
        on_event: &mut dyn FnMut(Event<'_>),
    ) -> Result<MeasuredCell, WorkerError> {
        let load_seconds = self.ensure_loaded(sweep, engines, cell, on_event)?;
        let current = self.current.as_mut().expect("a worker is loaded");
        if clocked(&mut self.spent.cool_down, || interrupted_within(pause)) {
            return Err(WorkerError::Interrupted);
        }

        let size = CellSize { batch_size: cell.batch_size, prompt_length: cell.prompt_length };
        let request = Request::Measure(measure_request(sweep, cell.model, size));
        let series = u64::from(sweep.procedure.generations) * (u64::from(sweep.generation_length) + 2);
        let figures = series + u64::from(sweep.procedure.prompt_runs);
        let longest = PLAIN_REPLY.saturating_add((figures as usize).saturating_mul(NUMBER_BYTES));
        let reader = self.reader.as_deref();
        let mut read_memory = || {
            clocked(&mut self.spent.memory, || reader.map(|reader| reader.bytes_per_second(BESIDE_A_CELL)))
        };
        let read_before = read_memory();
        let monitor = self.gpu.as_ref().and_then(GpuWatch::start);
        let asked = Instant::now();
        let answer = current.worker.ask(&request, longest, &mut |progress| {
            if let Some(monitor) = &monitor {
                monitor.phase(progress.phase);
            }
            on_event(Event::Progress(progress));
        });
        beside.gpu = monitor.map(Monitor::stop);
        let passed = asked.elapsed();
        beside.read_bytes_per_second = [read_before, read_memory()].into_iter().flatten().reduce(f64::max);
        let measured = answer.and_then(|reply| {
            let passed = (!current.worker.hello.virtual_clock).then_some(passed);
            match reply {
                Reply::Measured(measured) => check_series(sweep, measured, passed),
                _ => Err("expected measured".to_owned()),
            }
            .map_err(|what| current.worker.protocol_error(Phase::Decode, what))
        });
        self.spent.on_cell(passed, measured.as_ref().ok());
        Ok(MeasuredCell { measured: measured?, load_seconds, loaded: current.loaded.clone() })
    }

    /// Starts a fresh worker that has the cell's model, unless the current one will do; the seconds that it took.
    fn ensure_loaded(
        &mut self,
        sweep: &Sweep,
        engines: &Engines,
        cell: Cell<'_>,
        on_event: &mut dyn FnMut(Event<'_>),
    ) -> Result<Option<f64>, WorkerError> {
        let fits = |current: &LoadedWorker| {
            current.engine == cell.engine
                && current.model == cell.model.name
                && current.replicate == cell.replicate
        };
        if self.current.as_ref().is_some_and(fits) {
            return Ok(None);
        }
        self.stop(on_event);
        self.used_before = self.gpu.as_ref().and_then(GpuWatch::used_bytes);
        let (engine, model) = (cell.engine.to_owned(), cell.model.name.clone());
        let tell = &mut |progress: &Progress| on_event(Event::Progress(progress));
        let mut took = Duration::ZERO;
        let loaded = clocked(&mut took, || load(&sweep.setup, engines, cell.model, cell.engine, tell));
        self.spent.loading += took;
        let (worker, loaded) = loaded.inspect_err(|error| {
            let WorkerError::Evidence(evidence) = error else { return };
            let before = self.load_failure.take().filter(|known| known.is_of(&cell));
            self.load_failure = Some(LoadFailure {
                engine: engine.clone(),
                model: model.clone(),
                failure: classify(evidence),
                cell: CellSize { batch_size: cell.batch_size, prompt_length: cell.prompt_length },
                tries: 1 + before.map_or(0, |known| known.tries),
            });
        })?;
        self.load_failure = None;
        self.loaded.insert((engine.clone(), model.clone()));
        self.current = Some(LoadedWorker { engine, model, replicate: cell.replicate, worker, loaded });
        Ok(Some(took.as_secs_f64()))
    }

    /// Ends the worker; what was not in order then is told, and changes nothing of what it measured.
    pub(crate) fn stop(&mut self, on_event: &mut dyn FnMut(Event<'_>)) {
        let Some(LoadedWorker { engine, worker, .. }) = self.current.take() else { return };
        if let Err(evidence) = worker.shutdown() {
            on_event(Event::Farewell { engine: &engine, error: &classify(&evidence).error });
        }
    }
}

/// Starts the worker of `engine` only to hear who it is.
pub fn greet(engines: &Engines, engine: &str, limits: Limits) -> Result<Hello, WorkerError> {
    greet_ranks(engines, engine, limits, &Ranks::ONE)
}

/// Starts the ranks of `engine`'s worker only to hear who they are.
pub(crate) fn greet_ranks(
    engines: &Engines,
    engine: &str,
    limits: Limits,
    ranks: &Ranks,
) -> Result<Hello, WorkerError> {
    let command = engines.get(engine).expect("a known engine");
    let worker = Worker::spawn_ranks(command, Limits { memory_bytes: None, ..limits }, ranks)?;
    let mut hello = worker.hello.clone();
    hello.ranks.iter_mut().for_each(|place| place.process = None);
    // How it ends matters when it has measured something.
    let _ = worker.shutdown();
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
    let numbers = if logits { model.config.vocab_size } else { 1 };
    let rows = prompt_ids.len().saturating_mul(max_new_tokens as usize);
    let longest = PLAIN_REPLY.saturating_add(rows.saturating_mul(numbers).saturating_mul(NUMBER_BYTES));
    let request =
        Request::Generate(GenerateRequest { prompt_ids: prompt_ids.to_vec(), max_new_tokens, logits });
    match worker.ask(&request, longest, &mut |_| ())? {
        Reply::Generated(generated) => {
            let _ = worker.shutdown();
            Ok(generated)
        }
        _ => Err(worker.protocol_error(Phase::Decode, "expected generated".into())),
    }
}

/// Starts the worker of `engine`, loads the sweep's model and runs one forward of each kind of `cell` for a profiler; what kept a
/// profiler from seeing them.
pub fn profile(
    sweep: &Sweep,
    engines: &Engines,
    model: &Model,
    engine: &str,
    cell: CellSize,
) -> Result<Vec<String>, WorkerError> {
    let (mut worker, _) = load(&sweep.setup, engines, model, engine, &mut |_| ())?;
    let request = Request::Profile(measure_request(sweep, model, cell));
    match worker.ask(&request, PLAIN_REPLY, &mut |_| ())? {
        Reply::Profiled(profiled) => {
            let _ = worker.shutdown();
            Ok(profiled.notes)
        }
        _ => Err(worker.protocol_error(Phase::Decode, "expected profiled".into())),
    }
}

fn measure_request(sweep: &Sweep, model: &Model, cell: CellSize) -> MeasureRequest {
    let vocab_size = model.config.vocab_size as u32;
    MeasureRequest {
        prompt_ids: llama::prompt::seeded_prompt(cell.batch_size, cell.prompt_length, vocab_size, sweep.seed),
        generation_length: sweep.generation_length,
        procedure: sweep.procedure,
        collectives: sweep.collectives,
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
    let mut worker = Worker::spawn_ranks(command, setup.limits(), &setup.processes())?;
    // A worker that does not know these would take no notice of them.
    setup
        .check_asked(engine, &worker.hello)
        .map_err(|error| worker.protocol_error(Phase::Load, error.to_string()))?;
    let request = Request::Load(LoadRequest {
        model: model.source.clone(),
        device: setup.device,
        precision: setup.precision,
        threads: setup.threads,
        memory_limit_bytes: setup.memory_limit,
        device_memory_limit_bytes: setup.device_memory_limit,
        one_rank_of: setup.one_rank_of(),
        options: setup.options_of(engine),
    });
    match worker.ask(&request, PLAIN_REPLY, progress)? {
        Reply::Loaded(loaded) => Ok((worker, loaded)),
        _ => Err(worker.protocol_error(Phase::Load, "expected loaded".into())),
    }
}
