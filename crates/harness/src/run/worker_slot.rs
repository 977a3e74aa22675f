//! A place for a worker, which is kept from cell to cell while nothing fails.

use std::collections::HashSet;
use std::rc::Rc;
use std::time::{Duration, Instant};

use machine::gpu::{GpuWatch, Monitor};
use machine::{LoadWatch, MemoryReader};
use protocol::{CellFailure, CellSize, FailureKind, GpuSeries, Loaded, MachineLoad, MeasuredCell, Progress};

use crate::run::idle::{Wait, wait_until_idle};
use crate::run::peaks::read_beside_cell;
use crate::run::time_breakdown::{TimeBreakdown, clocked};
use crate::run::verify::Verifier;
use crate::worker::interrupt::interrupted_within;
use crate::worker::requests::{check_claimed_time, load, measure_request, measure_with, why};
use crate::{Cell, Event, Isolation, Sweep, Variant, Worker, WorkerError, classify};

/// The note on a turn that did not have the machine to itself.
const BUSY: &str = "engines that take turns were still busy when a turn began";

/// A place for one worker at a time.
#[derive(Default)]
pub(crate) struct WorkerSlot {
    worker: Option<LoadedWorker>,
    /// The watch over the GPU that computes.
    gpu: Option<GpuWatch>,
    /// The reader that measures memory bandwidth before and after a cell.
    reader: Option<Rc<MemoryReader>>,
    /// GPU memory in use before the worker was started.
    used_before: Option<u64>,
    /// The time breakdown of its cells.
    pub(crate) time: TimeBreakdown,
    load_failure: Option<LoadFailure>,
    /// Engines that have loaded a model in this run; a later failure to load is then not final.
    loaded: HashSet<(String, String)>,
}

/// A worker that has a model, for the cells of one replicate.
struct LoadedWorker {
    engine: String,
    model: String,
    replicate: u32,
    worker: Worker,
    loaded: Loaded,
    /// The size that it measured last, for which it is warm.
    measured: Option<CellSize>,
}

/// A failure to load. Loading depends on engine and model alone, so it is not tried again for every cell after a second failure or a
/// timeout, unless it has worked in this run. After an out-of-memory failure it is tried again, except with pruning.
struct LoadFailure {
    engine: String,
    model: String,
    failure: CellFailure,
    cell: CellSize,
    tries: u32,
}

impl LoadFailure {
    fn is_of(&self, cell: &Cell<'_>) -> bool {
        self.engine == cell.engine && self.model == cell.model.label
    }
}

/// Measurements beside a cell.
#[derive(Default)]
pub(crate) struct SideMeasurements {
    /// The GPU's activity, if there is one.
    pub(crate) gpu: Option<GpuSeries>,
    /// The load of the machine.
    pub(crate) machine_load: Option<MachineLoad>,
    /// The highest read bandwidth right before and right after, if asked for.
    pub(crate) read_bytes_per_second: Option<f64>,
}

impl WorkerSlot {
    /// Creates an empty slot for workers on this GPU, if any; `reader` measures memory bandwidth before and after each cell.
    pub(crate) fn new(gpu: Option<GpuWatch>, reader: Option<Rc<MemoryReader>>) -> Self {
        Self { gpu, reader, ..Self::default() }
    }

    /// Engine and model of the worker that is loaded.
    pub(crate) fn loaded_engine(&self) -> Option<(&str, &str)> {
        self.worker.as_ref().map(|loaded| (&*loaded.engine, &*loaded.model))
    }

    /// Forgets that a model could not be loaded, since there will be more room.
    pub(crate) fn forget_load_failure(&mut self) {
        self.load_failure = None;
    }

    /// The failure of a cell whose model can't be loaded, and the cell in which that was found.
    pub(crate) fn known_failure(&self, sweep: &Sweep, cell: &Cell<'_>) -> Option<(CellFailure, CellSize)> {
        let known = self.load_failure.as_ref().filter(|known| known.is_of(cell))?;
        if self.loaded.contains(&(cell.engine.to_owned(), cell.model.label.clone())) {
            return None;
        }
        let certain = match known.failure.kind {
            FailureKind::TimedOut => true,
            FailureKind::OutOfMemory => sweep.prune_oom,
            _ => known.tries > 1,
        };
        certain.then(|| (known.failure.clone(), known.cell))
    }

    /// Measures a cell after a pause with the model loaded and the device idle. Verifies the engine first if it was not yet.
    pub(crate) fn measure(
        &mut self,
        variant: &Variant,
        mut verifier: Option<&mut Verifier<'_>>,
        cell: Cell<'_>,
        pause: Duration,
        on_event: &mut dyn FnMut(Event<'_>),
    ) -> (Result<MeasuredCell, WorkerError>, SideMeasurements) {
        let mut beside = SideMeasurements::default();
        let mut measured = self.ask(variant, verifier.as_deref_mut(), cell, pause, &mut beside, on_event);
        if let Err(WorkerError::Evidence(evidence)) = &measured
            && evidence.is_not_taken_up
        {
            // The end of the last cell does not count for this one.
            let error = format!("{} (a fresh worker measures the next cell)", classify(evidence).error);
            on_event(Event::Farewell { engine: cell.engine, error: &error });
            self.worker = None;
            beside = SideMeasurements::default();
            measured = self.ask(variant, verifier, cell, pause, &mut beside, on_event);
        }
        if measured.is_err() || variant.sweep.isolation == Isolation::Cell {
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
        variant: &Variant,
        verifier: Option<&mut Verifier<'_>>,
        cell: Cell<'_>,
        pause: Duration,
        beside: &mut SideMeasurements,
        on_event: &mut dyn FnMut(Event<'_>),
    ) -> Result<MeasuredCell, WorkerError> {
        let sweep = &variant.sweep;
        let load_seconds = self.ensure_verified(variant, verifier, cell, on_event)?;
        let current = self.worker.as_mut().expect("a worker is loaded");
        if clocked(&mut self.time.cool_down, || interrupted_within(pause)) {
            return Err(WorkerError::Interrupted);
        }
        let is_busy = match sweep.isolation {
            Isolation::Turn => match clocked(&mut self.time.cool_down, wait_until_idle) {
                Wait::Interrupted => return Err(WorkerError::Interrupted),
                end => end == Wait::Busy,
            },
            Isolation::Engine | Isolation::Cell => false,
        };

        let size = CellSize { batch_size: cell.batch_size, prompt_length: cell.prompt_length };
        let mut request = measure_request(sweep, cell.model, size);
        if sweep.isolation == Isolation::Turn && current.measured == Some(size) {
            // The worker is warm; only the caches hold another engine's data.
            request.procedure.warmup_runs = request.procedure.warmup_runs.min(1);
        }
        let reader = self.reader.as_deref();
        let mut read_memory = || clocked(&mut self.time.memory, || reader.map(read_beside_cell));
        let read_before = read_memory();
        let monitor = self.gpu.as_ref().and_then(GpuWatch::start);
        let load = LoadWatch::start();
        let asked = Instant::now();
        let answer = measure_with(&mut current.worker, &request, &mut |progress| {
            if let Some(monitor) = &monitor {
                monitor.phase(progress.phase);
            }
            on_event(Event::Progress(progress));
        });
        beside.gpu = monitor.map(Monitor::stop);
        let passed = asked.elapsed();
        // The machine's load does not affect scripted latencies.
        beside.machine_load = (!current.worker.hello.virtual_clock).then(|| load.stop());
        beside.read_bytes_per_second = [read_before, read_memory()].into_iter().flatten().reduce(f64::max);
        let world_size = sweep.setup.ranks.world_size;
        let measured = answer.and_then(|(measured, times)| {
            let tell = &mut |why: &str| on_event(Event::AskedAgain { cell, why });
            check_claimed_time(&mut current.worker, world_size, &request, (&measured, &times), tell)?;
            Ok(measured)
        });
        self.time.on_cell(passed, measured.as_ref().ok());
        let Loaded { weights_bytes, mut notes } = current.loaded.clone();
        notes.extend(is_busy.then(|| BUSY.to_owned()));
        let mut series = measured?;
        current.measured = Some(size);
        series.memory.weights_bytes = Some(weights_bytes);
        Ok(MeasuredCell { load_seconds, notes, series })
    }

    /// Loads the cell's model, and verifies the engine if it was not yet. Returns the seconds that loading took.
    fn ensure_verified(
        &mut self,
        variant: &Variant,
        verifier: Option<&mut Verifier<'_>>,
        cell: Cell<'_>,
        on_event: &mut dyn FnMut(Event<'_>),
    ) -> Result<Option<f64>, WorkerError> {
        let loaded = self.ensure_loaded(variant, cell, on_event);
        let Some(verifier) = verifier.filter(|verifier| verifier.is_open(cell.engine)) else { return loaded };
        let load_seconds = loaded.inspect_err(|error| {
            if let WorkerError::Evidence(_) = error {
                verifier.not_loaded(cell.engine, why(error), on_event);
            }
        })?;
        let worker = &mut self.worker.as_mut().expect("a worker is loaded").worker;
        let answered = clocked(&mut self.time.verification, || verifier.ask(cell.engine, worker, on_event));
        match answered {
            Ok(()) => Ok(load_seconds),
            Err(WorkerError::Interrupted) => Err(WorkerError::Interrupted),
            Err(WorkerError::Evidence(_)) => {
                // A fresh worker measures its cells all the same.
                self.stop(on_event);
                self.ensure_loaded(variant, cell, on_event)
            }
        }
    }

    /// Starts a fresh worker and loads the cell's model, unless the present worker has it. Returns the seconds that it took.
    fn ensure_loaded(
        &mut self,
        variant: &Variant,
        cell: Cell<'_>,
        on_event: &mut dyn FnMut(Event<'_>),
    ) -> Result<Option<f64>, WorkerError> {
        let fits = |loaded: &LoadedWorker| {
            loaded.engine == cell.engine
                && loaded.model == cell.model.label
                && (loaded.replicate == cell.replicate || variant.sweep.isolation == Isolation::Turn)
        };
        if self.worker.as_ref().is_some_and(fits) {
            return Ok(None);
        }
        self.stop(on_event);
        self.used_before = self.gpu.as_ref().and_then(GpuWatch::used_bytes);
        let (engine, model) = (cell.engine.to_owned(), cell.model.label.clone());
        let tell = &mut |progress: &Progress| on_event(Event::Progress(progress));
        let mut took = Duration::ZERO;
        let Variant { sweep, engines } = variant;
        let loaded = clocked(&mut took, || load(&sweep.setup, engines, cell.model, cell.engine, tell));
        self.time.loading += took;
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
        let replicate = cell.replicate;
        self.worker = Some(LoadedWorker { engine, model, replicate, worker, loaded, measured: None });
        Ok(Some(took.as_secs_f64()))
    }

    /// Ends the worker. A worker that does not shut down cleanly is reported; what it measured still counts.
    pub(crate) fn stop(&mut self, on_event: &mut dyn FnMut(Event<'_>)) {
        let Some(LoadedWorker { engine, worker, .. }) = self.worker.take() else { return };
        if let Err(evidence) = worker.shutdown() {
            on_event(Event::Farewell { engine: &engine, error: &classify(&evidence).error });
        }
    }
}
