//! A sweep: what to measure, and how. Read from TOML and flags, checked whole before anything is loaded.

use std::collections::BTreeMap;
use std::path::Path;

use llama::TensorParallel;
use protocol::{CellSize, Device, LockedClock, Options, Precision, Procedure};
use serde::Serialize;

use crate::sweep::cells::{Cells, SweepRow};
use crate::sweep::settings::Setting;
use crate::sweep::setup::PhaseTimeouts;
use crate::{ClockSetting, Engines, Model, Settings, SettingsError, Setup};

/// `configs/quick.toml`, the sweep of `run` without an argument.
pub const QUICK_SWEEP: &str = include_str!("../../../../configs/quick.toml");

const SECTIONS: [&str; 4] = ["procedure", "phase_timeout_seconds", "options", "options."];
const KEYS: [&str; 33] = [
    "models",
    "engines",
    "batch_sizes",
    "prompt_lengths",
    "rows",
    "generation_length",
    "device",
    "precision",
    "world_size",
    "hostfile",
    "collectives",
    "threads",
    "seed",
    "memory_limit",
    "timeout_seconds",
    "phase_timeout_seconds.load",
    "phase_timeout_seconds.prompt",
    "phase_timeout_seconds.decode",
    "isolation",
    "ceilings",
    "prune_oom",
    "procedure.warmup_runs",
    "procedure.prompt_runs",
    "procedure.generations",
    "procedure.until",
    "procedure.min_runs",
    "procedure.replicates",
    "device_memory_limit",
    "one_rank",
    "options.",
    "cool_down_seconds",
    "throttle_retries",
    "lock_gpu_clocks",
];

/// Tries of a cell that may be repeated because the GPU throttled: a GPU that still throttles in the third is not cooled well enough
/// for waiting to help.
const THROTTLE_RETRIES: u32 = 2;
/// The fewest prefills and generations where the sweep says `until`, and no `min_runs`.
const MIN_RUNS: u32 = 5;
/// The largest `until`: above it, a number is more likely a percentage without its sign.
const MOST_UNTIL: f64 = 0.1;

/// How long a worker lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Isolation {
    /// One worker for all cells of an engine; a fresh one after any cell that did not end well.
    Engine,
    /// A fresh worker for every cell.
    Cell,
}

/// When it is measured what the device can do at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Ceilings {
    /// Once, before the first cell.
    Run,
    /// And on a CPU, how fast it reads memory, right before and right after every cell.
    Cell,
}

impl Ceilings {
    fn are_of_run(&self) -> bool {
        *self == Self::Run
    }
}

/// What to measure, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct Sweep {
    /// The models, in the order of the tables.
    pub models: Vec<Model>,
    /// The engines, in the order of the rows.
    pub engines: Vec<String>,
    /// Batch sizes, in the order of the rows.
    pub batch_sizes: Vec<u32>,
    /// Prompt lengths, in the order of the rows.
    pub prompt_lengths: Vec<u32>,
    /// The rows one by one, where they are not the whole grid of the three above.
    pub rows: Option<Vec<SweepRow>>,
    /// Decode forwards of a generation.
    pub generation_length: u32,
    /// How its workers are started and its models loaded.
    pub setup: Setup,
    /// Of seeded weights and prompts.
    pub seed: u64,
    /// How long a worker lives.
    pub isolation: Isolation,
    /// When it is measured what the device can do at most.
    pub ceilings: Ceilings,
    /// Of several ranks: also measure, in a generation of its own, which share of the time passes in collectives.
    pub collectives: bool,
    /// Once a cell is out of memory, do not try those that need at least as much.
    pub prune_oom: bool,
    /// How often a cell is run in one worker.
    pub procedure: Procedure,
    /// In how many fresh workers a cell is measured.
    pub replicates: u32,
    /// How long to wait before each cell, its model loaded and the device idle.
    pub cool_down_seconds: f64,
    /// How often at most a cell is measured again because the GPU throttled for another reason than its power limit.
    pub throttle_retries: u32,
    /// The clock that the GPUs are locked to meanwhile.
    pub lock_gpu_clocks: Option<ClockSetting>,
}

impl Sweep {
    /// Reads the settings of a sweep's file; flags may be set over them before [`Sweep::resolve`].
    pub fn settings(text: &str, origin: &str, base: &Path) -> Result<Settings, SettingsError> {
        Settings::parse(text, origin, base, &SECTIONS)
    }

    /// Checks everything that can be checked without loading anything.
    pub fn resolve(mut settings: Settings, engines: &Engines) -> Result<Self, SettingsError> {
        settings.refuse_unknown(&KEYS)?;
        let seed = settings.take("seed").map_or(Ok(0), |seed| seed.whole(0))?.into();
        let models = find_models(&settings.need("models")?, seed)?;
        let cells = Cells::take(&mut settings, engines)?;
        let generation_setting = settings.take("generation_length");
        let generation_length = generation_setting.as_ref().map_or(Ok(256), |length| length.whole(1))?;
        let culprit = generation_setting.filter(Setting::is_flag).unwrap_or(cells.lengths_setting.clone());
        check_context(&models, &cells.prompt_lengths, generation_length, &culprit)?;
        check_tokens(&cells.batch_sizes, &cells.prompt_lengths, &cells.batch_setting)?;
        let mut take = |key: &str| settings.take(key);

        let isolation =
            take("isolation").map_or(Ok(Isolation::Engine), |isolation| read_isolation(&isolation))?;
        let ceilings = take("ceilings").map_or(Ok(Ceilings::Run), |ceilings| read_ceilings(&ceilings))?;
        let collectives = take("collectives").map_or(Ok(false), |flag| flag.flag())?;
        let prune_oom = take("prune_oom").map_or(Ok(false), |flag| flag.flag())?;
        let cool_down_seconds = take("cool_down_seconds").map_or(Ok(0.0), |pause| pause.pause_seconds())?;
        let throttle_retries =
            take("throttle_retries").map_or(Ok(THROTTLE_RETRIES), |retries| retries.whole(0))?;

        let replicates_setting = settings.take("procedure.replicates");
        let replicates = replicates_setting.as_ref().map_or(Ok(1), |replicates| replicates.whole(1))?;
        let lists = [models.len(), cells.count()];
        check_cells(&lists, replicates, replicates_setting.as_ref().unwrap_or(&cells.batch_setting))?;

        let procedure = take_procedure(&mut settings)?;
        let setup = Setup::take(&mut settings, engines, &cells.engines)?;
        check_world_size(&models, &setup)?;
        setup.check_collectives(collectives)?;
        let lock_gpu_clocks = settings
            .take("lock_gpu_clocks")
            .map(|clock| ClockSetting::read(&clock, setup.device, &setup.ranks))
            .transpose()?;
        Ok(Self {
            models,
            engines: cells.engines,
            batch_sizes: cells.batch_sizes,
            prompt_lengths: cells.prompt_lengths,
            rows: cells.rows,
            generation_length,
            setup,
            seed,
            isolation,
            ceilings,
            collectives,
            prune_oom,
            procedure,
            replicates,
            cool_down_seconds,
            throttle_retries,
            lock_gpu_clocks,
        })
    }

    /// Leaves one cell of this sweep, whether or not it has it; `origin` is where it was asked for.
    ///
    /// # Errors
    /// Where a model has too few positions for the cell, or the prompt is too long for one message.
    pub fn narrow_to(&mut self, cell: CellSize, origin: &str) -> Result<(), SettingsError> {
        let setting = Setting::of_flag(origin, i64::from(cell.prompt_length));
        check_context(&self.models, &[cell.prompt_length], self.generation_length, &setting)?;
        check_tokens(&[cell.batch_size], &[cell.prompt_length], &setting)?;
        (self.batch_sizes, self.prompt_lengths) = (vec![cell.batch_size], vec![cell.prompt_length]);
        self.rows = None;
        Ok(())
    }

    /// This sweep as TOML: reads back as the same sweep, from any working folder.
    pub fn to_toml(&self) -> String {
        #[derive(Serialize)]
        struct File<'a> {
            models: Vec<String>,
            engines: Option<&'a [String]>,
            batch_sizes: Option<&'a [u32]>,
            prompt_lengths: Option<&'a [u32]>,
            rows: Option<&'a [SweepRow]>,
            generation_length: u32,
            device: Device,
            precision: Precision,
            world_size: u32,
            hostfile: Option<&'a Path>,
            #[serde(skip_serializing_if = "std::ops::Not::not")]
            one_rank: bool,
            threads: Option<u32>,
            seed: u64,
            memory_limit: Option<u64>,
            device_memory_limit: Option<u64>,
            timeout_seconds: f64,
            isolation: Isolation,
            #[serde(skip_serializing_if = "Ceilings::are_of_run")]
            ceilings: Ceilings,
            #[serde(skip_serializing_if = "std::ops::Not::not")]
            collectives: bool,
            prune_oom: bool,
            #[serde(skip_serializing_if = "is_no_pause")]
            cool_down_seconds: f64,
            #[serde(skip_serializing_if = "is_default_retries")]
            throttle_retries: u32,
            lock_gpu_clocks: Option<LockedClock>,
            phase_timeout_seconds: PhaseTimeouts,
            procedure: ProcedureFile,
            options: &'a BTreeMap<String, Options>,
        }
        #[derive(Serialize)]
        struct ProcedureFile {
            #[serde(flatten)]
            procedure: Procedure,
            replicates: u32,
        }
        let is_grid = self.rows.is_none();
        let file = File {
            models: self.models.iter().map(Model::reference).collect(),
            engines: is_grid.then_some(&self.engines),
            batch_sizes: is_grid.then_some(&self.batch_sizes),
            prompt_lengths: is_grid.then_some(&self.prompt_lengths),
            rows: self.rows.as_deref(),
            generation_length: self.generation_length,
            device: self.setup.device,
            precision: self.setup.precision,
            world_size: self.setup.ranks.world_size,
            hostfile: self.setup.ranks.hostfile.as_deref(),
            one_rank: self.setup.one_rank,
            threads: self.setup.threads,
            seed: self.seed,
            memory_limit: self.setup.memory_limit,
            device_memory_limit: self.setup.device_memory_limit,
            timeout_seconds: self.setup.timeout_seconds,
            isolation: self.isolation,
            ceilings: self.ceilings,
            collectives: self.collectives,
            prune_oom: self.prune_oom,
            cool_down_seconds: self.cool_down_seconds,
            throttle_retries: self.throttle_retries,
            lock_gpu_clocks: self.lock_gpu_clocks.as_ref().map(|setting| setting.clock),
            phase_timeout_seconds: self.setup.phase_timeout_seconds,
            procedure: ProcedureFile {
                // The default is left out: unlike a number that was written, it may be above prompt_runs.
                procedure: Procedure {
                    min_runs: if self.procedure.min_runs == MIN_RUNS { 0 } else { self.procedure.min_runs },
                    ..self.procedure
                },
                replicates: self.replicates,
            },
            options: &self.setup.options,
        };
        toml::to_string(&file).expect("a sweep is plain TOML")
    }
}

fn is_no_pause(seconds: &f64) -> bool {
    *seconds == 0.0
}

fn is_default_retries(retries: &u32) -> bool {
    *retries == THROTTLE_RETRIES
}

fn take_procedure(settings: &mut Settings) -> Result<Procedure, SettingsError> {
    let until = settings.take("procedure.until").map(|until| until.share(MOST_UNTIL)).transpose()?;
    let min_runs = settings.take("procedure.min_runs");
    if let (Some(min_runs), None) = (&min_runs, until) {
        return Err(
            min_runs.error("only with until (such as until = \"0.5%\"): without it, every run is measured")
        );
    }
    let mut whole = |key: &str, least: u32, default: u32| {
        settings.take(&format!("procedure.{key}")).map_or(Ok(default), |setting| setting.whole(least))
    };
    let warmup_runs = whole("warmup_runs", 0, 5)?;
    let prompt_runs = whole("prompt_runs", 1, 100)?;
    let generations = whole("generations", 1, if until.is_some() { prompt_runs } else { 1 })?;
    let min_runs = match min_runs {
        None => until.map_or(0, |_| MIN_RUNS),
        Some(setting) => {
            let least = setting.whole(2)?;
            if least > prompt_runs {
                return Err(setting.error(format!("{least} is more than the {prompt_runs} of prompt_runs")));
            }
            least
        }
    };
    Ok(Procedure { warmup_runs, prompt_runs, generations, until, min_runs })
}

fn find_models(setting: &Setting, seed: u64) -> Result<Vec<Model>, SettingsError> {
    let find = |word: &String| Model::find(word, seed, &setting.base).map_err(|what| setting.error(what));
    let models = setting.words()?.iter().map(find).collect::<Result<Vec<_>, _>>()?;
    for (index, model) in models.iter().enumerate() {
        if models[..index].iter().any(|earlier| earlier.name == model.name) {
            return Err(setting.error(format!("two models are named {}: rename one's folder", model.name)));
        }
    }
    Ok(models)
}

fn check_context(
    models: &[Model],
    lengths: &[u32],
    generation: u32,
    setting: &Setting,
) -> Result<(), SettingsError> {
    let longest = lengths.iter().copied().max().unwrap_or(0);
    let positions = u64::from(longest) + u64::from(generation);
    for model in models {
        let context = model.config.max_position_embeddings as u64;
        if positions > context {
            return Err(setting.error(format!(
                "prompt_length {longest} and generation_length {generation} need {positions} positions: \
                 {} has {context} (max_position_embeddings)",
                model.name
            )));
        }
    }
    Ok(())
}

/// Every rank has its even share of a model.
fn check_world_size(models: &[Model], setup: &Setup) -> Result<(), SettingsError> {
    for model in models {
        TensorParallel::new(&model.config, 0, setup.ranks.world_size as usize).map_err(|error| {
            SettingsError { origin: setup.ranks_origin(), what: format!("{}: {}", model.name, error.why()) }
        })?;
    }
    Ok(())
}

/// The ids of a batch's prompts are sent to the worker in one message.
fn check_tokens(batch_sizes: &[u32], lengths: &[u32], setting: &Setting) -> Result<(), SettingsError> {
    const MOST: u64 = 1 << 24;
    let most = |sizes: &[u32]| u64::from(sizes.iter().copied().max().unwrap_or(0));
    let tokens = most(batch_sizes) * most(lengths);
    if tokens > MOST {
        return Err(setting
            .error(format!("batch_size × prompt_length: expected at most {MOST} tokens, found {tokens}")));
    }
    Ok(())
}

/// A plan holds every cell of the sweep.
fn check_cells(lists: &[usize], replicates: u32, setting: &Setting) -> Result<(), SettingsError> {
    const MOST: u64 = 100_000;
    let cells = lists.iter().fold(u64::from(replicates), |cells, &len| cells.saturating_mul(len as u64));
    if cells > MOST {
        return Err(setting.error(format!("a sweep has at most {MOST} cells, this one would have {cells}")));
    }
    Ok(())
}

fn read_isolation(setting: &Setting) -> Result<Isolation, SettingsError> {
    match setting.word()? {
        "engine" => Ok(Isolation::Engine),
        "cell" => Ok(Isolation::Cell),
        other => Err(setting.error(format!("expected \"engine\" or \"cell\", found \"{other}\""))),
    }
}

fn read_ceilings(setting: &Setting) -> Result<Ceilings, SettingsError> {
    match setting.word()? {
        "run" => Ok(Ceilings::Run),
        "cell" => Ok(Ceilings::Cell),
        other => Err(setting.error(format!("expected \"run\" or \"cell\", found \"{other}\""))),
    }
}

#[cfg(test)]
mod tests;
