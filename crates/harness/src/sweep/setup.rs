//! The set-up of workers and models: the part of a sweep that `generate` and `verify` share.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use protocol::{Device, Hello, Options, Precision};

use crate::sweep::engines::Engines;
use crate::sweep::keys::SweepKeys;
use crate::sweep::limits::{LimitOrigins, Limits, PhaseLimits};
use crate::sweep::ranks::WorkerProcesses;
use crate::sweep::setting::{Origin, Setting, SettingsError, value_of};
use crate::sweep::suggest::suggestion;

const PRECISION: &str = "precision";
const WORLD_SIZE: &str = "world_size";
const MEMORY_LIMIT: &str = "memory_limit";
const DEVICE_MEMORY_LIMIT: &str = "device_memory_limit";
const ONE_RANK: &str = "one_rank";
const TIMEOUT: &str = "timeout_seconds";
const PHASE_TIMEOUTS: [&str; 3] =
    ["phase_timeout_seconds.load", "phase_timeout_seconds.prompt", "phase_timeout_seconds.decode"];

/// How a worker is started and its model loaded.
#[derive(Debug, Clone, PartialEq)]
pub struct Setup {
    /// The device that computes.
    pub device: Device,
    /// The precisions that models are measured in.
    pub precisions: Vec<Precision>,
    /// The processes that share a model.
    pub ranks: WorkerProcesses,
    /// Measure only rank 0 of these ranks: one process, without sums over ranks.
    pub one_rank: bool,
    /// Threads of an engine's pool; one per core where not given.
    pub threads: Option<u32>,
    /// Memory limit of a worker in bytes.
    pub memory_limit: Option<u64>,
    /// Device memory limit of an engine in bytes.
    pub device_memory_limit: Option<u64>,
    /// Time limit of a load or a cell in seconds.
    pub timeout_seconds: f64,
    /// Time limits of its phases in seconds; none where not given.
    pub phase_timeout_seconds: PhaseTimeouts,
    /// The engines' own options.
    pub options: BTreeMap<String, Options>,
    /// Where each option (`ENGINE.KEY`) and some keys were written.
    origins: Origins,
}

/// Time limits of the phases in seconds, if set.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct PhaseTimeouts {
    /// Loading.
    pub load: Option<f64>,
    /// The prefills.
    pub prompt: Option<f64>,
    /// The generations.
    pub decode: Option<f64>,
}

/// Where settings were written. All origins are equal, since only values count.
#[derive(Debug, Clone, Default)]
struct Origins(BTreeMap<String, Origin>);

impl PartialEq for Origins {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// Why a worker can't use a device here, as its hello says.
pub(crate) fn why_unusable(device: Device, hello: &Hello) -> Option<String> {
    let name = device.to_string();
    let family = name.split(':').next().unwrap_or_default();
    let find = |name: &str| hello.devices.iter().find(|device| device.device == name);
    match find(&name).or_else(|| find(family)) {
        Some(device) => device.unusable.clone(),
        None if hello.devices.is_empty() => None,
        None => Some("it has no such device".into()),
    }
}

impl Setup {
    /// Checks the keys of a set-up for the engines `used`. Options from `engines` apply where the keys do not set them.
    ///
    /// # Errors
    /// The first setting that can't be used.
    pub fn resolve(written: &SweepKeys, engines: &Engines, used: &[String]) -> Result<Self, SettingsError> {
        let keys = written.over_defaults();
        let precisions = keys.needed("precision", &keys.precision)?.value.0.clone();
        let mut origins = BTreeMap::new();
        let mut options = BTreeMap::<String, Options>::new();
        for (engine, settings) in keys.options.0 {
            for (key, Setting { value, origin }) in settings {
                engines.find(&engine).map_err(|what| origin.error(what))?;
                origins.insert(format!("{engine}.{key}"), origin);
                options.entry(engine.clone()).or_default().insert(key, value);
            }
        }
        for command in used.iter().filter_map(|engine| engines.get(engine)) {
            for (key, value) in &command.options {
                let known = options.entry(command.engine.clone()).or_default();
                known.entry(key.clone()).or_insert_with(|| value.clone());
            }
        }
        let phases = &written.phase_timeout_seconds;
        let of_key = [
            (TIMEOUT, written.timeout_seconds.as_ref().map(|setting| &setting.origin)),
            (PHASE_TIMEOUTS[0], phases.load.as_ref().map(|setting| &setting.origin)),
            (PHASE_TIMEOUTS[1], phases.prompt.as_ref().map(|setting| &setting.origin)),
            (PHASE_TIMEOUTS[2], phases.decode.as_ref().map(|setting| &setting.origin)),
            (PRECISION, written.precision.as_ref().map(|setting| &setting.origin)),
            (WORLD_SIZE, written.world_size.as_ref().map(|setting| &setting.origin)),
            (ONE_RANK, written.one_rank.as_ref().map(|setting| &setting.origin)),
            (MEMORY_LIMIT, written.memory_limit.as_ref().map(|setting| &setting.origin)),
            (DEVICE_MEMORY_LIMIT, written.device_memory_limit.as_ref().map(|setting| &setting.origin)),
        ];
        origins
            .extend(of_key.into_iter().filter_map(|(key, origin)| Some((key.to_owned(), origin?.clone()))));

        let setup = Self {
            device: value_of(&keys.device),
            precisions,
            ranks: WorkerProcesses {
                world_size: value_of(&keys.world_size).0,
                hostfile: keys.hostfile.as_ref().map(find_hostfile).transpose()?,
            },
            one_rank: value_of(&keys.one_rank),
            threads: keys.threads.map(|threads| threads.value.0),
            memory_limit: keys.memory_limit.map(|limit| limit.value.0),
            device_memory_limit: keys.device_memory_limit.map(|limit| limit.value.0),
            timeout_seconds: value_of(&keys.timeout_seconds).0,
            phase_timeout_seconds: PhaseTimeouts {
                load: keys.phase_timeout_seconds.load.map(|seconds| seconds.value.0),
                prompt: keys.phase_timeout_seconds.prompt.map(|seconds| seconds.value.0),
                decode: keys.phase_timeout_seconds.decode.map(|seconds| seconds.value.0),
            },
            options,
            origins: Origins(origins),
        };
        setup.check()
    }

    /// Refuses keys that exclude each other.
    fn check(self) -> Result<Self, SettingsError> {
        let error = |key, what: &str| Err(self.error(key, what.into()));
        let called = |of: &str, key: &str| {
            self.origins.0.get(of).map_or_else(|| key.to_owned(), |origin| origin.key(key))
        };
        if self.one_rank && self.ranks.is_one() {
            let size = called(ONE_RANK, WORLD_SIZE);
            return error(ONE_RANK, &format!("needs a {size} above 1, of which rank 0 is measured"));
        }
        if self.one_rank && self.ranks.hostfile.is_some() {
            let file = called(ONE_RANK, "hostfile");
            return error(ONE_RANK, &format!("a single rank runs on this machine: leave {file} out"));
        }
        if self.device_memory_limit.is_some() && self.device == Device::Cpu {
            let limit = called(DEVICE_MEMORY_LIMIT, MEMORY_LIMIT);
            return error(DEVICE_MEMORY_LIMIT, &format!("device cpu has no memory of its own: use {limit}"));
        }
        Ok(self)
    }

    /// The precision, for a command that has a single one.
    ///
    /// # Errors
    /// Where there are several.
    pub fn single_precision(&self) -> Result<Precision, SettingsError> {
        match *self.precisions {
            [precision] => Ok(precision),
            _ => Err(self.error(PRECISION, "expected a single precision".into())),
        }
    }

    /// Refuses a device that `engine` can't use here, as its worker says.
    pub(crate) fn check_device(&self, engine: &str, hello: &Hello) -> Result<(), SettingsError> {
        why_unusable(self.device, hello).map_or(Ok(()), |why| {
            Err(SettingsError { origin: format!("device {}", self.device), what: format!("{engine}: {why}") })
        })
    }

    /// Refuses the first option that `engine` does not have, or not with that value, as its worker says.
    pub(crate) fn check_options(&self, engine: &str, hello: &Hello) -> Result<(), SettingsError> {
        for (key, value) in self.options.get(engine).into_iter().flatten() {
            let what = match hello.options.get(key) {
                None if hello.options.is_empty() => format!("unknown option: {engine} has none"),
                None => {
                    let known: Vec<&str> = hello.options.keys().map(String::as_str).collect();
                    format!("unknown option of {engine}: {}", suggestion(key, &known))
                }
                Some(values) if values.is_empty() || values.contains(value) => continue,
                Some(values) => {
                    let values: Vec<String> = values.iter().map(ToString::to_string).collect();
                    format!("expected one of {}, found {value}", values.join(", "))
                }
            };
            let origin = self.origins.0.get(&format!("{engine}.{key}"));
            let origin = origin.map_or_else(|| format!("options.{engine}.{key}"), ToString::to_string);
            return Err(SettingsError { origin, what });
        }
        Ok(())
    }

    /// Refuses a `world_size` above 1 if `engine` is always one process, or if there is no launcher.
    pub(crate) fn check_ranks(&self, engine: &str, hello: &Hello) -> Result<(), SettingsError> {
        let error = |what| Err(SettingsError { origin: self.ranks_origin(), what });
        if self.ranks.is_one() {
            return Ok(());
        }
        if self.one_rank {
            return Ok(());
        }
        if !hello.tensor_parallel {
            return error(format!("{engine} has no tensor parallelism: it always is one process"));
        }
        self.ranks.find_launcher().map(drop).or_else(error)
    }

    /// Refuses `device_memory_limit` if `engine` can't limit its device memory, and `one_rank` if it can't measure a single one of
    /// several ranks.
    pub(crate) fn check_asked(&self, engine: &str, hello: &Hello) -> Result<(), SettingsError> {
        if self.device_memory_limit.is_some() && !hello.device_memory_limit {
            return Err(self.error(DEVICE_MEMORY_LIMIT, format!("{engine} can't limit device memory")));
        }
        if self.one_rank && !hello.one_rank {
            let what = format!("{engine} can't measure a single one of several ranks");
            return Err(self.error(ONE_RANK, what));
        }
        Ok(())
    }

    /// Refuses `collectives` together with `one_rank`.
    pub(crate) fn check_collectives(&self, collectives: bool) -> Result<(), SettingsError> {
        if self.one_rank && collectives {
            return Err(
                self.error(ONE_RANK, "a single rank has no collectives: leave its measurement out".into())
            );
        }
        Ok(())
    }

    /// The processes of a worker: a single one if only one rank is measured.
    pub fn processes(&self) -> WorkerProcesses {
        if self.one_rank { WorkerProcesses::ONE } else { self.ranks.clone() }
    }

    /// The number of ranks of which only rank 0 is measured; `None` where the whole model is.
    pub fn one_rank_of(&self) -> Option<u32> {
        self.one_rank.then_some(self.ranks.world_size)
    }

    /// Where `world_size` was written.
    pub(crate) fn ranks_origin(&self) -> String {
        self.origin(WORLD_SIZE)
    }

    /// Where `memory_limit` was written.
    pub(crate) fn memory_limit_origin(&self) -> String {
        self.origin(MEMORY_LIMIT)
    }

    fn origin(&self, key: &str) -> String {
        self.origins.0.get(key).map_or_else(|| key.into(), ToString::to_string)
    }

    fn error(&self, key: &str, what: String) -> SettingsError {
        SettingsError { origin: self.origin(key), what }
    }

    /// The limits on a worker.
    pub(crate) fn limits(&self) -> Limits {
        let PhaseTimeouts { load, prompt, decode } = self.phase_timeout_seconds;
        let of_phase = |at: usize, seconds: Option<f64>| {
            seconds.map(|seconds| self.set_by(PHASE_TIMEOUTS[at], "=", seconds)).unwrap_or_default()
        };
        let origins = LimitOrigins {
            request: self.set_by(TIMEOUT, " ", self.timeout_seconds),
            load: of_phase(0, load),
            prompt: of_phase(1, prompt),
            decode: of_phase(2, decode),
        };
        let [load, prompt, decode] =
            [load, prompt, decode].map(|seconds| seconds.map(Duration::from_secs_f64));
        Limits {
            memory_bytes: self.memory_limit,
            request: Duration::from_secs_f64(self.timeout_seconds),
            phases: PhaseLimits { load, prompt, decode },
            origins,
        }
    }

    /// A key's value as the user writes it: after its flag, or as a line of the sweep.
    fn set_by(&self, key: &str, between: &str, value: f64) -> String {
        match self.origins.0.get(key) {
            Some(origin) if origin.is_flag() => format!("{origin}{between}{value}"),
            Some(_) => format!("{key} = {value}"),
            None => format!("{key} = {value}, the default"),
        }
    }

    /// The options of `engine`.
    pub fn options_of(&self, engine: &str) -> Options {
        self.options.get(engine).cloned().unwrap_or_default()
    }
}

/// The absolute path of the hostfile.
fn find_hostfile(setting: &Setting<PathBuf>) -> Result<PathBuf, SettingsError> {
    let path = setting.origin.folder().join(&setting.value);
    llama::open_regular(&path).map_err(|error| setting.error(format!("{}: {error}", path.display())))?;
    Ok(std::path::absolute(&path).unwrap_or(path))
}
