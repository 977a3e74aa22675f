//! What NVIDIA's driver says of a GPU: facts of it, and what it did while a cell was measured.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Phase;

/// An NVIDIA GPU. `None` where the driver does not say.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Gpu {
    /// The driver's name of it.
    pub name: String,
    /// Its memory.
    pub memory_bytes: u64,
    /// The driver.
    pub driver_version: String,
    /// The newest CUDA that the driver runs, such as `13.0`.
    #[serde(default)]
    pub cuda_version: Option<String>,
    /// Of its kernels' architecture, such as `9.0`.
    #[serde(default)]
    pub compute_capability: Option<String>,
    /// The power that it may draw.
    #[serde(default)]
    pub power_limit_watts: Option<f64>,
    /// The fastest clock of its multiprocessors.
    #[serde(default)]
    pub max_sm_clock_mhz: Option<u32>,
    /// The fastest clock of its memory.
    #[serde(default)]
    pub max_memory_clock_mhz: Option<u32>,
    /// Whether its memory corrects errors.
    #[serde(default)]
    pub ecc: Option<bool>,
    /// Whether it is cut into instances (MIG).
    #[serde(default)]
    pub mig: Option<bool>,
    /// Generation of its PCIe link, as it is now.
    #[serde(default)]
    pub pcie_generation: Option<u32>,
    /// Lanes of that link.
    #[serde(default)]
    pub pcie_width: Option<u32>,
}

/// Why a GPU's clocks are lower than they could be: NVML's reasons, but for those that are somebody's setting or idleness.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
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

/// What the GPU did from the request of a cell to its answer. Columns have a figure a sample, or none where the GPU does not
/// say.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GpuSeries {
    /// How long that was.
    pub seconds: f64,
    /// The energy of that time, by the GPU's own counter.
    pub energy_joules: Option<f64>,
    /// Where phases began.
    pub phases: Vec<GpuPhase>,
    /// When each sample was taken, from the request on.
    pub sample_seconds: Vec<f64>,
    /// Power drawn.
    pub power_watts: Vec<f64>,
    /// Temperature.
    pub temperature_celsius: Vec<u32>,
    /// Clock of the multiprocessors.
    pub sm_clock_mhz: Vec<u32>,
    /// Clock of the memory.
    pub memory_clock_mhz: Vec<u32>,
    /// How many samples were taken while clocks were held down, by reason.
    pub throttled_samples: BTreeMap<Throttle, u32>,
    /// Memory in use on the GPU before the cell's worker was started.
    pub used_before_bytes: Option<u64>,
    /// Memory in use after the worker ended, where it did and that is more than there was before.
    pub left_bytes: Option<u64>,
}

/// Where a phase of a cell began.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GpuPhase {
    /// Which.
    pub phase: Phase,
    /// When, from the request on.
    pub seconds: f64,
    /// Energy up to there, from the request on.
    pub energy_joules: Option<f64>,
}
