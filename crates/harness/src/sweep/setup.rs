//! How a worker is started and its model loaded: the part of a sweep that `generate` and `verify` share.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use protocol::{Device, Hello, Options, Precision};

use crate::sweep::engines::Engines;
use crate::sweep::keys::SweepKeys;
use crate::sweep::limits::{Limits, PhaseLimits};
use crate::sweep::ranks::WorkerProcesses;
use crate::sweep::setting::{Origin, Setting, SettingsError, value_of};

const WORLD_SIZE: &str = "world_size";
const DEVICE_MEMORY_LIMIT: &str = "device_memory_limit";
const ONE_RANK: &str = "one_rank";

/// How a worker is started and its model loaded.
#[derive(Debug, Clone, PartialEq)]
pub struct Setup {
    /// Where to compute.
    pub device: Device,
    /// In which precision.
    pub precision: Precision,
    /// How many processes share a model, and where.
    pub ranks: WorkerProcesses,
    /// Measure rank 0's part of these ranks alone: one process, and no sums over ranks.
    pub one_rank: bool,
    /// Threads of an engine's pool; one a core where not given.
    pub threads: Option<u32>,
    /// The most memory a worker may use, in bytes.
    pub memory_limit: Option<u64>,
    /// The most device memory that an engine may use, in bytes.
    pub device_memory_limit: Option<u64>,
    /// The most seconds that loading, or a cell, may take.
    pub timeout_seconds: f64,
    /// The most seconds of a phase of it; without a bound of its own where not given.
    pub phase_timeout_seconds: PhaseTimeouts,
    /// The engines' own options.
    pub options: BTreeMap<String, Options>,
    /// Where each option (`ENGINE.KEY`) was written, `world_size`, `one_rank` and `device_memory_limit`.
    origins: Origins,
}

/// The most seconds of each phase, where they are bounded.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct PhaseTimeouts {
    /// Loading.
    pub load: Option<f64>,
    /// The prefills.
    pub prompt: Option<f64>,
    /// The generations.
    pub decode: Option<f64>,
}

/// Where settings were written. Settings are the same wherever they were.
#[derive(Debug, Clone, Default)]
struct Origins(BTreeMap<String, Origin>);

impl PartialEq for Origins {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Setup {
    /// Checks the keys of a setup, for the engines `used`: what `engines` says of their options stands where the keys say nothing.
    ///
    /// # Errors
    /// The first setting that can't be used.
    pub fn resolve(written: &SweepKeys, engines: &Engines, used: &[String]) -> Result<Self, SettingsError> {
        let keys = written.over_defaults();
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
        let of_key = [
            (WORLD_SIZE, written.world_size.as_ref().map(|setting| &setting.origin)),
            (ONE_RANK, written.one_rank.as_ref().map(|setting| &setting.origin)),
            (DEVICE_MEMORY_LIMIT, written.device_memory_limit.as_ref().map(|setting| &setting.origin)),
        ];
        origins
            .extend(of_key.into_iter().filter_map(|(key, origin)| Some((key.to_owned(), origin?.clone()))));

        let setup = Self {
            device: value_of(&keys.device),
            precision: value_of(&keys.precision),
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

    /// Refuses keys that can't be had together.
    fn check(self) -> Result<Self, SettingsError> {
        let error = |key, what: &str| Err(self.error(key, what.into()));
        if self.one_rank && self.ranks.is_one() {
            return error(ONE_RANK, "expected a world_size above 1: rank 0's part of that many is measured");
        }
        if self.one_rank && self.ranks.hostfile.is_some() {
            return error(ONE_RANK, "one rank alone runs on this machine: leave `hostfile` out");
        }
        if self.device_memory_limit.is_some() && self.device == Device::Cpu {
            return error(DEVICE_MEMORY_LIMIT, "device cpu has no memory of its own: use memory_limit");
        }
        Ok(self)
    }

    /// Refuses a device that `engine` can't use here, by what its worker says of itself.
    pub(crate) fn check_device(&self, engine: &str, hello: &Hello) -> Result<(), SettingsError> {
        let name = self.device.to_string();
        let family = name.split(':').next().unwrap_or_default();
        let find = |name: &str| hello.devices.iter().find(|device| device.device == name);
        let why = match find(&name).or_else(|| find(family)) {
            Some(device) => device.unusable.clone(),
            None if hello.devices.is_empty() => None,
            None => Some("it has no such device".into()),
        };
        why.map_or(Ok(()), |why| {
            Err(SettingsError { origin: format!("device {name}"), what: format!("{engine}: {why}") })
        })
    }

    /// Refuses the first option that `engine` does not have, or not with that value, by what its worker says of itself.
    pub(crate) fn check_options(&self, engine: &str, hello: &Hello) -> Result<(), SettingsError> {
        for (key, value) in self.options.get(engine).into_iter().flatten() {
            let listed = |words: Vec<String>| if words.is_empty() { "none".into() } else { words.join(", ") };
            let what = match hello.options.get(key) {
                None => {
                    let known = listed(hello.options.keys().cloned().collect());
                    format!("unknown option: {engine} has {known}")
                }
                Some(values) if values.is_empty() || values.contains(value) => continue,
                Some(values) => {
                    let values = listed(values.iter().map(ToString::to_string).collect());
                    format!("expected one of {values}, found {value}")
                }
            };
            let origin = self.origins.0.get(&format!("{engine}.{key}"));
            let origin = origin.map_or_else(|| format!("options.{engine}.{key}"), ToString::to_string);
            return Err(SettingsError { origin, what });
        }
        Ok(())
    }

    /// Refuses a `world_size` above 1 where `engine` is always one process, or nothing can start several.
    pub(crate) fn check_ranks(&self, engine: &str, hello: &Hello) -> Result<(), SettingsError> {
        let error = |what| Err(SettingsError { origin: self.ranks_origin(), what });
        if self.ranks.is_one() {
            return Ok(());
        }
        if self.one_rank {
            return Ok(());
        }
        if !hello.tensor_parallel {
            return error(format!("{engine}: it has no tensor parallelism: it is one process always"));
        }
        self.ranks.find_launcher().map(drop).or_else(error)
    }

    /// Refuses `device_memory_limit` where `engine` can't bound the device memory that it uses, and `one_rank` where it can't
    /// measure one of several ranks by itself.
    pub(crate) fn check_asked(&self, engine: &str, hello: &Hello) -> Result<(), SettingsError> {
        if self.device_memory_limit.is_some() && !hello.device_memory_limit {
            return Err(self.error(DEVICE_MEMORY_LIMIT, format!("{engine}: it can't bound device memory")));
        }
        if self.one_rank && !hello.one_rank {
            let what = format!("{engine}: it can't measure one rank of several by itself");
            return Err(self.error(ONE_RANK, what));
        }
        Ok(())
    }

    /// Refuses what of a sweep can't be had with `one_rank`.
    pub(crate) fn check_collectives(&self, collectives: bool) -> Result<(), SettingsError> {
        if self.one_rank && collectives {
            return Err(self.error(
                ONE_RANK,
                "one rank alone has no collectives to time: leave `collectives` out".into(),
            ));
        }
        Ok(())
    }

    /// The processes that a worker is started as: one alone where that is all that is measured.
    pub fn processes(&self) -> WorkerProcesses {
        if self.one_rank { WorkerProcesses::ONE } else { self.ranks.clone() }
    }

    /// The ranks of which rank 0's part alone is measured; `None` where the whole model is.
    pub fn one_rank_of(&self) -> Option<u32> {
        self.one_rank.then_some(self.ranks.world_size)
    }

    /// Where `world_size` was written.
    pub(crate) fn ranks_origin(&self) -> String {
        self.origin(WORLD_SIZE)
    }

    fn origin(&self, key: &str) -> String {
        self.origins.0.get(key).map_or_else(|| key.into(), ToString::to_string)
    }

    fn error(&self, key: &str, what: String) -> SettingsError {
        SettingsError { origin: self.origin(key), what }
    }

    /// What bounds a worker.
    pub(crate) fn limits(&self) -> Limits {
        let PhaseTimeouts { load, prompt, decode } = self.phase_timeout_seconds;
        let [load, prompt, decode] =
            [load, prompt, decode].map(|seconds| seconds.map(Duration::from_secs_f64));
        Limits {
            memory_bytes: self.memory_limit,
            request: Duration::from_secs_f64(self.timeout_seconds),
            phases: PhaseLimits { load, prompt, decode },
        }
    }

    /// The options of `engine`.
    pub fn options_of(&self, engine: &str) -> Options {
        self.options.get(engine).cloned().unwrap_or_default()
    }
}

/// The hostfile's path from any working folder.
fn find_hostfile(setting: &Setting<PathBuf>) -> Result<PathBuf, SettingsError> {
    let path = setting.origin.folder().join(&setting.value);
    llama::open_regular(&path).map_err(|error| setting.error(format!("{}: {error}", path.display())))?;
    Ok(std::path::absolute(&path).unwrap_or(path))
}
