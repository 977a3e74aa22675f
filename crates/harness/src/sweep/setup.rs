//! How a worker is started and its model loaded: the part of a sweep that `generate` and `verify` share.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use protocol::{Device, Hello, Options, Precision};
use serde::Serialize;

use crate::sweep::settings::Setting;
use crate::worker::launch::find_launcher;
use crate::{Engines, Limits, PhaseLimits, Ranks, Settings, SettingsError, parse_bytes};

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
    pub ranks: Ranks,
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
    option_origins: Origins,
}

/// The most seconds of each phase, where they are bounded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
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
struct Origins(BTreeMap<String, String>);

impl PartialEq for Origins {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Setup {
    /// Takes its keys from the settings, for the engines `used`: what `engines` says of their options stands where the settings
    /// say nothing.
    pub fn take(settings: &mut Settings, engines: &Engines, used: &[String]) -> Result<Self, SettingsError> {
        let (mut options, mut option_origins) = read_options(settings.take_below("options"), engines)?;
        for command in used.iter().filter_map(|engine| engines.get(engine)) {
            for (key, value) in &command.options {
                let known = options.entry(command.engine.clone()).or_default();
                known.entry(key.clone()).or_insert_with(|| value.clone());
            }
        }
        let ranks = read_ranks(settings, &mut option_origins)?;
        let one_rank = read_one_rank(settings, &ranks, &mut option_origins)?;
        let device = settings.take("device").map_or(Ok(Device::Cpu), |device| parse_word(&device))?;
        let device_memory_limit = read_device_memory_limit(settings, device, &mut option_origins)?;
        let mut take = |key: &str| settings.take(key);
        let mut seconds = |key: &str| take(key).map(|seconds| seconds.seconds()).transpose();
        let phase_timeout_seconds = PhaseTimeouts {
            load: seconds("phase_timeout_seconds.load")?,
            prompt: seconds("phase_timeout_seconds.prompt")?,
            decode: seconds("phase_timeout_seconds.decode")?,
        };
        let timeout_seconds = seconds("timeout_seconds")?.unwrap_or(3600.0);
        Ok(Self {
            device,
            precision: take("precision").map_or(Ok(Precision::Fp32), |precision| parse_word(&precision))?,
            ranks,
            one_rank,
            threads: take("threads").map(|threads| threads.whole(1)).transpose()?,
            memory_limit: take("memory_limit").map(|limit| read_bytes(&limit)).transpose()?,
            device_memory_limit,
            timeout_seconds,
            phase_timeout_seconds,
            options,
            option_origins,
        })
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
            let origin = self.option_origins.0.get(&format!("{engine}.{key}"));
            let origin = origin.cloned().unwrap_or_else(|| format!("options.{engine}.{key}"));
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
        find_launcher(&self.ranks).or_else(error)
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
    pub fn processes(&self) -> Ranks {
        if self.one_rank { Ranks::ONE } else { self.ranks.clone() }
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
        self.option_origins.0.get(key).cloned().unwrap_or_else(|| key.into())
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

fn read_ranks(settings: &mut Settings, origins: &mut Origins) -> Result<Ranks, SettingsError> {
    let world_size = settings.take(WORLD_SIZE);
    if let Some(setting) = &world_size {
        origins.0.insert(WORLD_SIZE.into(), setting.origin.clone());
    }
    let world_size = world_size.map_or(Ok(1), |size| size.whole(1))?;
    let Some(setting) = settings.take("hostfile") else { return Ok(Ranks { world_size, hostfile: None }) };
    let path = setting.base.join(setting.word()?);
    llama::open_regular(&path).map_err(|error| setting.error(format!("{}: {error}", path.display())))?;
    let path = std::path::absolute(&path).unwrap_or(path);
    Ok(Ranks { world_size, hostfile: Some(path) })
}

fn read_one_rank(
    settings: &mut Settings,
    ranks: &Ranks,
    origins: &mut Origins,
) -> Result<bool, SettingsError> {
    let Some(setting) = settings.take(ONE_RANK) else { return Ok(false) };
    if !setting.flag()? {
        return Ok(false);
    }
    if ranks.is_one() {
        return Err(setting.error("expected a world_size above 1: rank 0's part of that many is measured"));
    }
    if ranks.hostfile.is_some() {
        return Err(setting.error("one rank alone runs on this machine: leave `hostfile` out"));
    }
    origins.0.insert(ONE_RANK.into(), setting.origin);
    Ok(true)
}

fn read_device_memory_limit(
    settings: &mut Settings,
    device: Device,
    origins: &mut Origins,
) -> Result<Option<u64>, SettingsError> {
    let Some(setting) = settings.take(DEVICE_MEMORY_LIMIT) else { return Ok(None) };
    let limit = read_bytes(&setting)?;
    if device == Device::Cpu {
        return Err(setting.error("device cpu has no memory of its own: use memory_limit"));
    }
    origins.0.insert(DEVICE_MEMORY_LIMIT.into(), setting.origin);
    Ok(Some(limit))
}

fn parse_word<T: FromStr<Err: fmt::Display>>(setting: &Setting) -> Result<T, SettingsError> {
    setting.word()?.parse().map_err(|error| setting.error(error))
}

fn read_bytes(setting: &Setting) -> Result<u64, SettingsError> {
    match setting.value.as_integer() {
        Some(bytes) => parse_bytes(&bytes.to_string()),
        None => parse_bytes(setting.word()?),
    }
    .map_err(|what| setting.error(what))
}

fn read_options(
    settings: Vec<(String, Setting)>,
    engines: &Engines,
) -> Result<(BTreeMap<String, Options>, Origins), SettingsError> {
    let (mut options, mut origins) = (BTreeMap::<String, Options>::new(), BTreeMap::new());
    for (name, setting) in settings {
        let Some((engine, key)) = name.rsplit_once('.') else {
            return Err(setting.error("expected a table of an engine's options"));
        };
        engines.find(engine).map_err(|what| setting.error(what))?;
        options.entry(engine.into()).or_default().insert(key.into(), setting.option()?);
        origins.insert(name, setting.origin);
    }
    Ok((options, Origins(origins)))
}
