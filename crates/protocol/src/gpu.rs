//! What NVIDIA's driver says of a GPU: facts of it, and what it did while a cell was measured.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Phase;

/// An NVIDIA GPU. `None` where the driver does not say.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Gpu {
    /// The driver's name for the GPU.
    pub name: String,
    /// Its memory, in bytes.
    #[serde(deserialize_with = "crate::bounds::bytes")]
    #[cfg_attr(test, schemars(with = "crate::schema::Bytes"))]
    pub memory_bytes: u64,
    /// The driver's version.
    pub driver_version: String,
    /// The newest CUDA that the driver runs, such as `13.0`.
    #[serde(default)]
    pub cuda_version: Option<String>,
    /// Compute capability, such as `9.0`.
    #[serde(default)]
    pub compute_capability: Option<String>,
    /// Power limit, in watts.
    #[serde(default, deserialize_with = "crate::bounds::watts")]
    #[cfg_attr(test, schemars(with = "Option<crate::schema::Watts>"))]
    pub power_limit_watts: Option<f64>,
    /// Highest clock of its multiprocessors, in MHz.
    #[serde(default)]
    pub max_sm_clock_mhz: Option<u32>,
    /// Highest clock of its memory, in MHz.
    #[serde(default)]
    pub max_memory_clock_mhz: Option<u32>,
    /// True where its memory corrects errors (ECC).
    #[serde(default)]
    pub ecc: Option<bool>,
    /// True where it is split into instances (MIG).
    #[serde(default)]
    pub mig: Option<bool>,
    /// Current generation of its PCIe link.
    #[serde(default)]
    pub pcie_generation: Option<u32>,
    /// Current lanes of that link.
    #[serde(default)]
    pub pcie_width: Option<u32>,
}

/// Why a GPU's clocks are lower than they could be: NVML's reasons, but for those that are somebody's setting or idleness.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Throttle {
    /// The power limit: the usual one under load.
    SwPowerCap,
    /// The driver's temperature limit.
    SwThermalSlowdown,
    /// Temperature, power or the supply, by the hardware; one of the two below mostly stands beside it.
    HwSlowdown,
    /// The hardware's temperature limit.
    HwThermalSlowdown,
    /// The supply asked for less.
    HwPowerBrakeSlowdown,
    /// Clocks are kept equal with another GPU's.
    SyncBoost,
}

/// A clock that the multiprocessors of a GPU are locked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum LockedClock {
    /// The base clock: the one that the GPU holds within its power limit under any load.
    Base,
    /// A clock in MHz.
    #[serde(untagged)]
    Mhz(u32),
}

impl fmt::Display for LockedClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Base => f.write_str("base"),
            Self::Mhz(mhz) => write!(f, "{mhz} MHz"),
        }
    }
}

impl FromStr for LockedClock {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "base" {
            return Ok(Self::Base);
        }
        let mhz = text.parse().ok().filter(|mhz| (1..100_000).contains(mhz));
        mhz.map(Self::Mhz).ok_or_else(|| format!("expected base or a clock in MHz, found \"{text}\""))
    }
}

/// What the GPU did from the request of a cell to its answer. A list has one figure a sample, or is empty where the GPU does not
/// report it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct GpuSeries {
    /// Seconds from the request to the answer.
    #[serde(deserialize_with = "crate::bounds::seconds")]
    #[cfg_attr(test, schemars(with = "crate::schema::Seconds"))]
    pub seconds: f64,
    /// Energy used in that time, in joules, by the GPU's counter.
    #[serde(default, deserialize_with = "crate::bounds::joules")]
    #[cfg_attr(test, schemars(with = "Option<crate::schema::Joules>"))]
    pub energy_joules: Option<f64>,
    /// The beginnings of the phases.
    pub phases: Vec<GpuPhase>,
    /// Time of each sample, in seconds from the request.
    #[serde(deserialize_with = "crate::bounds::seconds")]
    #[cfg_attr(test, schemars(with = "Vec<crate::schema::Seconds>"))]
    pub sample_seconds: Vec<f64>,
    /// Power in watts, one figure a sample.
    #[serde(deserialize_with = "crate::bounds::watts")]
    #[cfg_attr(test, schemars(with = "Vec<crate::schema::Watts>"))]
    pub power_watts: Vec<f64>,
    /// Temperature in °C, one figure a sample.
    pub temperature_celsius: Vec<u32>,
    /// Clock of the multiprocessors in MHz, one figure a sample.
    pub sm_clock_mhz: Vec<u32>,
    /// Clock of the memory in MHz, one figure a sample.
    pub memory_clock_mhz: Vec<u32>,
    /// Samples taken while the GPU was throttled, by reason.
    #[cfg_attr(test, schemars(with = "crate::schema::Map<Throttle, u32>"))]
    pub throttled_samples: BTreeMap<Throttle, u32>,
    /// Bytes in use on the GPU before the cell's worker was started.
    #[serde(default, deserialize_with = "crate::bounds::bytes")]
    #[cfg_attr(test, schemars(with = "Option<crate::schema::Bytes>"))]
    pub used_before_bytes: Option<u64>,
    /// Bytes in use after the worker ended, where that is more than before.
    #[serde(default, deserialize_with = "crate::bounds::bytes")]
    #[cfg_attr(test, schemars(with = "Option<crate::schema::Bytes>"))]
    pub left_bytes: Option<u64>,
    /// Earlier tries that were discarded because the GPU throttled for a reason other than its power limit.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub throttled_tries: u32,
}

/// The beginning of a phase of a cell.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct GpuPhase {
    /// Which.
    pub phase: Phase,
    /// Seconds from the request.
    #[serde(deserialize_with = "crate::bounds::seconds")]
    #[cfg_attr(test, schemars(with = "crate::schema::Seconds"))]
    pub seconds: f64,
    /// Energy from the request to there, in joules.
    #[serde(default, deserialize_with = "crate::bounds::joules")]
    #[cfg_attr(test, schemars(with = "Option<crate::schema::Joules>"))]
    pub energy_joules: Option<f64>,
}

impl GpuSeries {
    /// Mean power from where `phase` began to where the next one did, by the energy counter; without one, by the samples. `None` where
    /// the phase is too short to tell.
    pub fn power_watts_in(&self, phase: Phase) -> Option<f64> {
        /// Ten steps of the counter, which moves about ten times a second.
        const LONG_FOR_COUNTER: f64 = 1.0;
        /// A sample of power is a mean of about the second before it (measured on an H100: 124 W rise to 392 W over 1.6 s of constant
        /// work).
        const SAMPLE_LAG: f64 = 1.0;
        let (start, end) = self.span(phase)?;
        let seconds = end.seconds - start.seconds;
        if let (Some(before), Some(after)) = (start.energy_joules, end.energy_joules) {
            return (seconds >= LONG_FOR_COUNTER).then(|| (after - before) / seconds);
        }
        let settled = start.seconds + SAMPLE_LAG..=end.seconds;
        let samples =
            self.sample_seconds.iter().zip(&self.power_watts).filter(|(at, _)| settled.contains(at));
        let samples: Vec<f64> = samples.map(|(_, watts)| *watts).collect();
        (!samples.is_empty()).then(|| samples.iter().sum::<f64>() / samples.len() as f64)
    }

    /// How long a phase took. Seconds.
    pub fn seconds_in(&self, phase: Phase) -> Option<f64> {
        self.span(phase).map(|(start, end)| end.seconds - start.seconds)
    }

    /// The lowest clock of the multiprocessors in a phase.
    pub fn lowest_sm_clock_mhz_in(&self, phase: Phase) -> Option<u32> {
        self.samples_in(phase, &self.sm_clock_mhz).min()
    }

    /// The highest temperature.
    pub fn hottest_celsius(&self) -> Option<u32> {
        self.temperature_celsius.iter().copied().max()
    }

    /// The shares of the samples in which clocks were held down, by reason.
    pub fn throttled(&self) -> impl Iterator<Item = (Throttle, f64)> {
        let samples = self.sample_seconds.len().max(1) as f64;
        self.throttled_samples
            .iter()
            .map(move |(reason, count)| (*reason, (f64::from(*count) / samples).min(1.0)))
    }

    /// Reasons other than the power limit for which the GPU throttled, with their shares of the samples.
    pub fn unusual_throttling(&self) -> impl Iterator<Item = (Throttle, f64)> {
        self.throttled().filter(|(reason, _)| !reason.is_usual())
    }

    /// Where a phase begins, and where the next one does or the series ends.
    fn span(&self, phase: Phase) -> Option<(GpuPhase, GpuPhase)> {
        let place = self.phases.iter().position(|one| one.phase == phase)?;
        let end = GpuPhase { phase, seconds: self.seconds, energy_joules: self.energy_joules };
        Some((self.phases[place], self.phases.get(place + 1).copied().unwrap_or(end)))
    }

    fn samples_in<T: Copy>(&self, phase: Phase, column: &[T]) -> impl Iterator<Item = T> {
        let span = self.span(phase).map(|(start, end)| start.seconds..=end.seconds);
        let samples = self.sample_seconds.iter().zip(column);
        samples
            .filter(move |(at, _)| span.as_ref().is_some_and(|span| span.contains(*at)))
            .map(|(_, figure)| *figure)
    }
}

fn is_zero(count: &u32) -> bool {
    *count == 0
}

impl Throttle {
    /// The reason in words.
    pub fn words(self) -> &'static str {
        match self {
            Self::SwPowerCap => "power limit",
            Self::SwThermalSlowdown => "temperature (driver)",
            Self::HwSlowdown => "slowdown by the hardware",
            Self::HwThermalSlowdown => "temperature (hardware)",
            Self::HwPowerBrakeSlowdown => "power brake",
            Self::SyncBoost => "another GPU's clocks",
        }
    }

    /// Whether it may be over after a while. Clocks that are kept equal with another GPU's are a setting.
    pub fn may_pass(self) -> bool {
        self != Self::SyncBoost
    }

    /// Whether a GPU in order is held down so under load: figures are its own then, and another's of the same kind.
    pub fn is_usual(self) -> bool {
        self == Self::SwPowerCap
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series() -> GpuSeries {
        let phase = |phase, seconds, energy| GpuPhase { phase, seconds, energy_joules: Some(energy) };
        GpuSeries {
            seconds: 6.0,
            energy_joules: Some(2000.0),
            phases: vec![phase(Phase::Prompt, 0.5, 100.0), phase(Phase::Decode, 2.0, 400.0)],
            sample_seconds: vec![0.0, 1.0, 3.0, 5.0],
            power_watts: vec![90.0, 200.0, 350.0, 450.0],
            temperature_celsius: vec![40, 50, 60, 58],
            sm_clock_mhz: vec![1980, 1700, 1500, 1600],
            throttled_samples: BTreeMap::from([(Throttle::SwPowerCap, 3)]),
            ..GpuSeries::default()
        }
    }

    #[test]
    fn power_and_clocks_of_a_phase() {
        let series = series();
        assert_eq!(series.power_watts_in(Phase::Decode), Some(400.0), "1600 J in 4 s");
        assert_eq!(series.power_watts_in(Phase::Prompt), Some(200.0), "300 J in 1.5 s");
        let mut short = series.clone();
        short.phases[0].seconds = 1.1;
        assert_eq!(short.power_watts_in(Phase::Prompt), None, "too short for the counter");
        assert_eq!(series.seconds_in(Phase::Prompt), Some(1.5));
        assert_eq!(series.lowest_sm_clock_mhz_in(Phase::Decode), Some(1500));
        assert_eq!(series.lowest_sm_clock_mhz_in(Phase::Prompt), Some(1700));
        assert_eq!((series.lowest_sm_clock_mhz_in(Phase::Load), series.hottest_celsius()), (None, Some(60)));
        assert_eq!(series.throttled().collect::<Vec<_>>(), [(Throttle::SwPowerCap, 0.75)]);
        assert_eq!(series.unusual_throttling().count(), 0);
    }

    #[test]
    fn a_reason_other_than_the_power_limit_is_unusual() {
        let throttled_samples = BTreeMap::from([(Throttle::SwPowerCap, 3), (Throttle::HwThermalSlowdown, 1)]);
        let series = GpuSeries { throttled_samples, ..series() };
        assert_eq!(series.unusual_throttling().collect::<Vec<_>>(), [(Throttle::HwThermalSlowdown, 0.25)]);
        assert!(Throttle::HwThermalSlowdown.may_pass() && !Throttle::SyncBoost.may_pass());
    }

    #[test]
    fn a_locked_clock_is_a_word_or_a_number() {
        for (text, json, words) in [("base", "\"base\"", "base"), ("1410", "1410", "1410 MHz")] {
            let clock: LockedClock = text.parse().unwrap();
            assert_eq!(serde_json::to_string(&clock).unwrap(), json);
            assert_eq!(serde_json::from_str::<LockedClock>(json).unwrap(), clock);
            assert_eq!(clock.to_string(), words);
        }
        for text in ["", "max", "0", "-1", "1410 MHz", "99999999999"] {
            let error = text.parse::<LockedClock>().unwrap_err();
            assert_eq!(error, format!("expected base or a clock in MHz, found \"{text}\""));
        }
    }

    #[test]
    fn without_a_counter_samples_tell_and_without_samples_nothing_does() {
        let mut series = series();
        series.phases[1].energy_joules = None;
        assert_eq!(series.power_watts_in(Phase::Decode), Some(400.0), "of 350 and 450");
        series.sample_seconds[2] = 2.5;
        assert_eq!(
            series.power_watts_in(Phase::Decode),
            Some(450.0),
            "the first second is of what was before"
        );
        series.power_watts.clear();
        assert_eq!(series.power_watts_in(Phase::Decode), None);
    }
}
