//! A sweep: what to measure, and how. It is read from TOML and flags, and checked as a whole before anything is loaded.

use std::path::Path;

use llama::TensorParallel;
use protocol::{CellSize, Device, Dtype, LockedClock, Precision, Procedure};

use crate::sweep::cells::{SweepCells, once};
use crate::sweep::engines::Engines;
use crate::sweep::keys::{EngineOptions, PhaseTimeoutKeys, ProcedureKeys, SweepKeys};
use crate::sweep::layer::{Layer, TomlFile};
use crate::sweep::models::Model;
use crate::sweep::plan::{Cell, plan};
use crate::sweep::selection::Selection;
use crate::sweep::setting::{Origin, Setting, SettingsError, value_of};
use crate::sweep::setup::Setup;
use crate::sweep::values::{
    Bytes, CellOrder, Isolation, PauseSeconds, PeaksPolicy, Percentage, Precisions, Seconds, SweepRow, Whole,
};

/// `configs/quick.toml`, the sweep of `run` without an argument.
pub const QUICK_SWEEP: &str = include_str!("../../../../configs/quick.toml");

/// The fewest prefills and generations of a sweep with `until` and without `min_runs`.
const MIN_RUNS: u32 = 5;

/// What to measure, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct Sweep {
    /// Models in the order of the tables.
    pub models: Vec<Model>,
    /// Engines in the order of the rows.
    pub engines: Vec<String>,
    /// Batch sizes in the order of the rows.
    pub batch_sizes: Vec<u32>,
    /// Prompt lengths in the order of the rows.
    pub prompt_lengths: Vec<u32>,
    /// The rows one by one, unless they are the whole grid of the three above.
    pub rows: Option<Vec<SweepRow>>,
    /// Decode forwards of a generation.
    pub generation_length: u32,
    /// How workers are started and models are loaded.
    pub setup: Setup,
    /// Seed for generated weights and prompts.
    pub seed: u32,
    /// How long a worker lives.
    pub isolation: Isolation,
    /// The order in which the cells of a replicate are measured.
    pub order: CellOrder,
    /// When the device's peaks are measured.
    pub peaks: PeaksPolicy,
    /// Whether a separate generation measures the share of time that several ranks spend in collectives.
    pub collectives: bool,
    /// Skip cells that need at least as much memory as a cell that ran out of it.
    pub prune_oom: bool,
    /// How often a cell is run in one worker.
    pub procedure: Procedure,
    /// Replicates of each cell.
    pub replicates: u32,
    /// Pause before each cell, with its model loaded and the device idle.
    pub cool_down_seconds: f64,
    /// The most repetitions of a cell because the GPU throttled for a reason other than its power limit.
    pub throttle_retries: u32,
    /// The clock that the GPUs are locked to while they measure.
    pub lock_gpu_clocks: Option<Setting<LockedClock>>,
    /// The cells that are measured now; the sweep that a run keeps has the others, too.
    pub selection: Selection,
}

impl Sweep {
    /// Reads a sweep's file. `origin` names it in errors; its relative paths are relative to `folder`.
    ///
    /// # Errors
    /// Where the text is no TOML, or has an unknown key or an invalid value.
    pub fn settings(text: &str, origin: &str, folder: &Path) -> Result<SweepKeys, SettingsError> {
        let file = TomlFile::new(origin, text, folder);
        SweepKeys::read(&file, file.parse()?)
    }

    /// Reads the sweep that a run keeps. An early one without `order` has the order of the table.
    ///
    /// # Errors
    /// The same as those of [`Sweep::settings`].
    pub fn settings_of_run(text: &str, origin: &str, folder: &Path) -> Result<SweepKeys, SettingsError> {
        let mut keys = Self::settings(text, origin, folder)?;
        keys.order.get_or_insert_with(|| Setting::new(CellOrder::Table, origin));
        Ok(keys)
    }

    /// Checks everything that can be checked without loading anything.
    ///
    /// # Errors
    /// The first setting that can't be used.
    pub fn resolve(written: &SweepKeys, engines: &Engines) -> Result<Self, SettingsError> {
        written.check()?;
        let keys = written.over_defaults();
        let seed = value_of(&keys.seed).0;
        let precisions = &keys.needed("precision", &keys.precision)?.value.0;
        let models = find_models(keys.needed("models", &keys.models)?, seed.into(), precisions)?;
        let cells = SweepCells::read(&keys, engines)?;
        let generation_length = value_of(&keys.generation_length).0;
        let flag = written.generation_length.as_ref().map(|length| &length.origin);
        let lengths_origin = flag.filter(|origin| origin.is_flag()).unwrap_or(&cells.lengths_origin);
        check_context(&models, &cells.prompt_lengths, generation_length)
            .map_err(|what| lengths_origin.error(what))?;
        check_tokens(&cells.batch_sizes, &cells.prompt_lengths)
            .map_err(|what| cells.batch_origin.error(what))?;
        let replicates = value_of(&keys.procedure.replicates).0;
        let replicates_origin = written.procedure.replicates.as_ref().map(|replicates| &replicates.origin);
        check_cells(&[models.len(), cells.count()], replicates)
            .map_err(|what| replicates_origin.unwrap_or(&cells.batch_origin).error(what))?;

        let procedure = read_procedure(&keys.procedure)?;
        let counts = [&written.procedure.generations, &written.procedure.prompt_runs].into_iter().flatten();
        let counts_origin = counts.map(|count| &count.origin).next().unwrap_or(lengths_origin);
        check_figures(&procedure, generation_length).map_err(|what| counts_origin.error(what))?;

        let setup = Setup::resolve(written, engines, &cells.engines)?;
        check_world_size(&models, &setup)?;
        let collectives = value_of(&keys.collectives);
        setup.check_collectives(collectives)?;
        if let Some(clock) = &keys.lock_gpu_clocks {
            check_clock(&setup).map_err(|what| clock.error(what))?;
        }
        Ok(Self {
            models,
            engines: cells.engines,
            batch_sizes: cells.batch_sizes,
            prompt_lengths: cells.prompt_lengths,
            rows: cells.rows,
            generation_length,
            setup,
            seed,
            isolation: value_of(&keys.isolation),
            // Pruning needs the smaller cells first.
            order: if value_of(&keys.prune_oom) && written.order.is_none() {
                CellOrder::Table
            } else {
                value_of(&keys.order)
            },
            peaks: value_of(&keys.peaks),
            collectives,
            prune_oom: value_of(&keys.prune_oom),
            procedure,
            replicates,
            cool_down_seconds: value_of(&keys.cool_down_seconds).0,
            throttle_retries: value_of(&keys.throttle_retries).0,
            lock_gpu_clocks: keys.lock_gpu_clocks,
            selection: Selection::default(),
        })
    }

    /// Reduces this sweep to one cell, which it need not have had; `origin` names the flag in errors.
    ///
    /// # Errors
    /// Where a model has too few positions for the cell, or the prompt is too long for one message.
    pub fn narrow_to(&mut self, cell: CellSize, origin: &str) -> Result<(), SettingsError> {
        check_context(&self.models, &[cell.prompt_length], self.generation_length)
            .and_then(|()| check_tokens(&[cell.batch_size], &[cell.prompt_length]))
            .map_err(|what| Origin::flag(origin).error(what))?;
        (self.batch_sizes, self.prompt_lengths) = (vec![cell.batch_size], vec![cell.prompt_length]);
        self.rows = None;
        Ok(())
    }

    /// Measures these cells now, and leaves the others to later.
    ///
    /// # Errors
    /// Where the sweep has no such cell.
    pub fn select(&mut self, selection: Selection) -> Result<(), SettingsError> {
        let has = |cell: &Cell<'_>| selection.has(cell.engine, cell.batch_size, cell.prompt_length);
        if !plan(self).iter().any(has) {
            return Err(selection.error("no cell of the run has all of this".into()));
        }
        if self.isolation == Isolation::Turn
            && !self.engines.iter().all(|engine| selection.has_engine(engine))
        {
            return Err(selection.error(
                "the engines of this run take turns: one alone would be measured otherwise; leave --engine out".into(),
            ));
        }
        self.selection = selection;
        Ok(())
    }

    /// The engines of the cells that are measured now, in the order of the rows.
    pub fn selected_engines(&self) -> impl Iterator<Item = &String> {
        self.engines.iter().filter(|engine| self.selection.has_engine(engine))
    }

    /// The number formats that activations are in.
    pub fn dtypes(&self) -> Vec<Dtype> {
        once(self.models.iter().map(|model| model.precision.activations(self.setup.device)))
    }

    /// This sweep as TOML, which reads back as the same sweep from any working folder.
    pub fn to_toml(&self) -> String {
        toml::to_string(&self.to_keys()).expect("a sweep is plain TOML")
    }

    /// This sweep's settings. Newer keys are left out where they have their default, so that early runs read the same.
    fn to_keys(&self) -> SweepKeys {
        let Self { setup, procedure, .. } = self;
        let defaults = SweepKeys::default().over_defaults();
        let is_grid = self.rows.is_none();
        let seconds = |seconds: Option<f64>| seconds.map(Seconds).and_then(saved);
        SweepKeys {
            file: None,
            models: saved(once(self.models.iter().map(Model::reference))),
            engines: is_grid.then(|| self.engines.clone()).and_then(saved),
            batch_sizes: is_grid.then(|| self.batch_sizes.clone()).and_then(saved),
            prompt_lengths: is_grid.then(|| self.prompt_lengths.clone()).and_then(saved),
            rows: self.rows.clone().and_then(saved),
            generation_length: saved(Whole(self.generation_length)),
            device: saved(setup.device),
            precision: saved(Precisions(setup.precisions.clone())),
            world_size: saved(Whole(setup.ranks.world_size)),
            hostfile: setup.ranks.hostfile.clone().and_then(saved),
            one_rank: unless_default(setup.one_rank, &defaults.one_rank),
            threads: setup.threads.map(Whole).and_then(saved),
            seed: saved(Whole(self.seed)),
            memory_limit: setup.memory_limit.map(Bytes).and_then(saved),
            device_memory_limit: setup.device_memory_limit.map(Bytes).and_then(saved),
            timeout_seconds: saved(Seconds(setup.timeout_seconds)),
            isolation: saved(self.isolation),
            order: saved(self.order),
            // `run` and `again` give the same cells, and a continued run has its peaks.
            peaks: saved(self.peaks).filter(|peaks| peaks.value == PeaksPolicy::Cell),
            collectives: unless_default(self.collectives, &defaults.collectives),
            prune_oom: saved(self.prune_oom),
            cool_down_seconds: unless_default(
                PauseSeconds(self.cool_down_seconds),
                &defaults.cool_down_seconds,
            ),
            throttle_retries: unless_default(Whole(self.throttle_retries), &defaults.throttle_retries),
            lock_gpu_clocks: self.lock_gpu_clocks.clone(),
            phase_timeout_seconds: PhaseTimeoutKeys {
                file: None,
                load: seconds(setup.phase_timeout_seconds.load),
                prompt: seconds(setup.phase_timeout_seconds.prompt),
                decode: seconds(setup.phase_timeout_seconds.decode),
            },
            procedure: ProcedureKeys {
                file: None,
                warmup_runs: saved(Whole(procedure.warmup_runs)),
                prompt_runs: saved(Whole(procedure.prompt_runs)),
                generations: saved(Whole(procedure.generations)),
                until: procedure.until.map(Percentage).and_then(saved),
                // The default is left out, since it may be above prompt_runs and a written number may not.
                min_runs: Some(procedure.min_runs)
                    .filter(|runs| procedure.until.is_some() && *runs != MIN_RUNS)
                    .map(Whole)
                    .and_then(saved),
                replicates: saved(Whole(self.replicates)),
            },
            options: EngineOptions::new(&setup.options),
        }
    }
}

fn saved<T>(value: T) -> Option<Setting<T>> {
    Some(Setting::new(value, "a sweep"))
}

fn unless_default<T: PartialEq>(value: T, default: &Option<Setting<T>>) -> Option<Setting<T>> {
    saved(value).filter(|setting| default.as_ref() != Some(setting))
}

fn read_procedure(keys: &ProcedureKeys) -> Result<Procedure, SettingsError> {
    let until = keys.until.as_ref().map(|until| until.value.0);
    let prompt_runs = value_of(&keys.prompt_runs).0;
    let min_runs = match (&keys.min_runs, until) {
        (None, None) => 0,
        (None, Some(_)) => MIN_RUNS,
        (Some(min_runs), None) => {
            let until = min_runs.origin.key("until");
            return Err(min_runs.error(format!("needs {until}: without it, every run is measured")));
        }
        (Some(min_runs), Some(_)) if min_runs.value.0 > prompt_runs => {
            let prefills = min_runs.origin.key("prompt_runs");
            let what = format!("{} is more than the {prompt_runs} of {prefills}", min_runs.value.0);
            return Err(min_runs.error(what));
        }
        (Some(min_runs), Some(_)) => min_runs.value.0,
    };
    let generations = keys.generations.as_ref().map(|generations| generations.value.0);
    Ok(Procedure {
        warmup_runs: value_of(&keys.warmup_runs).0,
        prompt_runs,
        generations: generations.unwrap_or(if until.is_some() { prompt_runs } else { 1 }),
        until,
        min_runs,
    })
}

fn find_models(
    names: &Setting<Vec<String>>,
    seed: u64,
    precisions: &[Precision],
) -> Result<Vec<Model>, SettingsError> {
    let find = |name: &String| Model::find_in_each(name, seed, names.origin.folder(), precisions);
    let models: Vec<Vec<Model>> =
        names.value.iter().map(find).collect::<Result<_, _>>().map_err(|what| names.error(what))?;
    let models = models.concat();
    for (index, model) in models.iter().enumerate() {
        if models[..index].iter().any(|earlier| earlier.label == model.label) {
            return Err(names.error(format!(
                "two models are named {}: copy or move one to a folder of another name",
                model.name
            )));
        }
    }
    Ok(models)
}

fn check_context(models: &[Model], lengths: &[u32], generation: u32) -> Result<(), String> {
    let longest = lengths.iter().copied().max().unwrap_or(0);
    let positions = u64::from(longest) + u64::from(generation);
    for model in models {
        let context = model.config.max_position_embeddings as u64;
        if positions > context {
            return Err(format!(
                "prompt length {longest} and generation length {generation} need {positions} positions: \
                 {} has {}",
                model.name,
                model.config.context()
            ));
        }
    }
    Ok(())
}

/// Checks that every rank has an even share of a model.
fn check_world_size(models: &[Model], setup: &Setup) -> Result<(), SettingsError> {
    for model in models {
        TensorParallel::new(&model.config, 0, setup.ranks.world_size as usize).map_err(|error| {
            SettingsError { origin: setup.ranks_origin(), what: format!("{}: {}", model.name, error.why()) }
        })?;
    }
    Ok(())
}

/// Checks that the prompts of a batch fit into one message to the worker.
fn check_tokens(batch_sizes: &[u32], lengths: &[u32]) -> Result<(), String> {
    const MOST: u64 = 1 << 24;
    let most = |sizes: &[u32]| u64::from(sizes.iter().copied().max().unwrap_or(0));
    let tokens = most(batch_sizes) * most(lengths);
    if tokens > MOST {
        return Err(format!("batch size × prompt length: expected at most {MOST} tokens, found {tokens}"));
    }
    Ok(())
}

/// Checks that the figures of a cell fit into one record.
fn check_figures(procedure: &Procedure, generation_length: u32) -> Result<(), String> {
    const MOST: u64 = 1_000_000;
    let of_generations = u64::from(procedure.generations) * (u64::from(generation_length) + 2);
    let figures = of_generations + u64::from(procedure.prompt_runs);
    if figures > MOST {
        return Err(format!(
            "prompt runs + generations × (generation length + 2): expected at most {MOST} figures of a cell, found {figures}: \
             replicates are records of their own"
        ));
    }
    Ok(())
}

/// Checks that a plan can hold every cell of the sweep.
fn check_cells(lists: &[usize], replicates: u32) -> Result<(), String> {
    const MOST: u64 = 100_000;
    let cells = lists.iter().fold(u64::from(replicates), |cells, &len| cells.saturating_mul(len as u64));
    if cells > MOST {
        return Err(format!("a sweep has at most {MOST} cells, this one would have {cells}"));
    }
    Ok(())
}

fn check_clock(setup: &Setup) -> Result<(), &'static str> {
    if setup.device == Device::Cpu {
        return Err("device cpu has no GPU clocks: leave this out, or choose a GPU");
    }
    if setup.ranks.hostfile.is_some() {
        return Err(
            "only this machine's GPUs can be locked, and hostfile names others: use `nvidia-smi -lgc` there",
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests;
