//! NVIDIA's management library.

use nvml_wrapper::Device;
use nvml_wrapper::bitmasks::device::ThrottleReasons;
use nvml_wrapper::enum_wrappers::device::{Clock, ClockLimitId, TemperatureSensor};
use nvml_wrapper::enums::device::{GpuLockedClocksSetting, UsedGpuMemory};
use nvml_wrapper::error::NvmlError;
use protocol::{Gpu, LockedClock, Throttle};

use crate::gpu::{ClockError, Driver, GpuProcess, Sample};

/// Why the library can't be used, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Absent {
    /// There is no driver.
    #[error(
        "no NVIDIA driver: libnvidia-ml.so.1 can't be loaded; in a container, start it with its GPUs (docker: --gpus all)"
    )]
    NoDriver,
    /// The library is installed, but the kernel module is not loaded.
    #[error("NVIDIA's driver is installed but not loaded: run `modprobe nvidia`, or restart the machine")]
    NotLoaded,
    /// The library and the kernel module have different versions.
    #[error("NVIDIA's driver was replaced while it was loaded: restart the machine")]
    Mismatch,
    /// The user has no access to it.
    #[error("this user has no access to NVIDIA's driver: check the permissions of /dev/nvidia*")]
    NoPermission,
    /// Anything else, in the driver's words.
    #[error("NVIDIA's driver: {0}")]
    Other(String),
}

impl From<NvmlError> for Absent {
    fn from(error: NvmlError) -> Self {
        match error {
            NvmlError::LibloadingError(_) | NvmlError::LibraryNotFound => Self::NoDriver,
            NvmlError::DriverNotLoaded => Self::NotLoaded,
            NvmlError::LibRmVersionMismatch => Self::Mismatch,
            NvmlError::NoPermission => Self::NoPermission,
            other => Self::Other(other.to_string().replace('\n', " ")),
        }
    }
}

/// The library, loaded.
pub struct Nvml(nvml_wrapper::Nvml);

impl Nvml {
    /// Loads it.
    ///
    /// # Errors
    /// Fails where there is none, or it does not work: why, and what to do.
    pub fn load() -> Result<Self, Absent> {
        Ok(Self(nvml_wrapper::Nvml::init()?))
    }

    fn device(&self, index: u32) -> Option<Device<'_>> {
        self.0.device_by_index(index).ok()
    }
}

impl Driver for Nvml {
    fn count(&self) -> u32 {
        self.0.device_count().unwrap_or(0)
    }

    fn gpu(&self, index: u32) -> Option<Gpu> {
        let device = self.device(index)?;
        let cuda = self.0.sys_cuda_driver_version().ok();
        Some(Gpu {
            name: device.name().ok()?,
            memory_bytes: device.memory_info().ok()?.total,
            driver_version: self.0.sys_driver_version().unwrap_or_default(),
            cuda_version: cuda.map(|version| format!("{}.{}", version / 1000, version % 1000 / 10)),
            compute_capability: device
                .cuda_compute_capability()
                .ok()
                .map(|capability| format!("{}.{}", capability.major, capability.minor)),
            power_limit_watts: device.enforced_power_limit().ok().map(watts),
            max_sm_clock_mhz: device.max_clock_info(Clock::SM).ok(),
            max_memory_clock_mhz: device.max_clock_info(Clock::Memory).ok(),
            ecc: device.is_ecc_enabled().ok().map(|ecc| ecc.currently_enabled),
            mig: device.mig_mode().ok().map(|mig| mig.current != 0),
            pcie_generation: device.current_pcie_link_gen().ok(),
            pcie_width: device.current_pcie_link_width().ok(),
        })
    }

    fn uuid(&self, index: u32) -> Option<String> {
        self.device(index)?.uuid().ok()
    }

    fn sample(&self, index: u32) -> Sample {
        let Some(device) = self.device(index) else { return Sample::default() };
        let reasons = device.current_throttle_reasons().unwrap_or(ThrottleReasons::empty());
        Sample {
            power_watts: device.power_usage().ok().map(watts),
            temperature_celsius: device.temperature(TemperatureSensor::Gpu).ok(),
            sm_clock_mhz: device.clock_info(Clock::SM).ok(),
            memory_clock_mhz: device.clock_info(Clock::Memory).ok(),
            throttle: THROTTLES
                .iter()
                .filter(|(bit, _)| reasons.contains(*bit))
                .map(|(_, reason)| *reason)
                .collect(),
        }
    }

    fn energy_joules(&self, index: u32) -> Option<f64> {
        // In millijoules.
        Some(self.device(index)?.total_energy_consumption().ok()? as f64 / 1e3)
    }

    fn used_bytes(&self, index: u32) -> Option<u64> {
        Some(self.device(index)?.memory_info().ok()?.used)
    }

    fn processes(&self, index: u32) -> Vec<GpuProcess> {
        let Some(device) = self.device(index) else { return Vec::new() };
        let computing = device.running_compute_processes().unwrap_or_default();
        let drawing = device.running_graphics_processes().unwrap_or_default();
        let process = |info: nvml_wrapper::struct_wrappers::device::ProcessInfo| GpuProcess {
            id: info.pid,
            name: self.0.sys_process_name(info.pid, 256).ok().map(|path| file_name(&path).to_owned()),
            used_bytes: match info.used_gpu_memory {
                UsedGpuMemory::Used(bytes) => Some(bytes),
                UsedGpuMemory::Unavailable => None,
            },
        };
        computing.into_iter().chain(drawing).map(process).collect()
    }

    fn lock_clocks(&self, index: u32, clock: LockedClock) -> Result<(), ClockError> {
        Ok(self.0.device_by_index(index)?.set_gpu_locked_clocks(clock_range(clock))?)
    }

    fn reset_clocks(&self, index: u32) -> Result<(), ClockError> {
        Ok(self.0.device_by_index(index)?.reset_gpu_locked_clocks()?)
    }
}

/// The least and the greatest clock, which are the same. NVML's name for the base clock is the limit by thermal design power: the
/// clock that this power suffices for under any load.
fn clock_range(clock: LockedClock) -> GpuLockedClocksSetting {
    match clock {
        LockedClock::Base => GpuLockedClocksSetting::Symbolic {
            lower_bound: ClockLimitId::Tdp,
            upper_bound: ClockLimitId::Tdp,
        },
        LockedClock::Mhz(mhz) => GpuLockedClocksSetting::Numeric { min_clock_mhz: mhz, max_clock_mhz: mhz },
    }
}

impl From<NvmlError> for ClockError {
    fn from(error: NvmlError) -> Self {
        match error {
            NvmlError::NoPermission => Self::NoPermission,
            NvmlError::NotSupported | NvmlError::FailedToLoadSymbol(_) => Self::NotSupported,
            NvmlError::InvalidArg => Self::NotAccepted,
            other => Self::Other(other.to_string().replace('\n', " ")),
        }
    }
}

/// NVML's reasons, without idleness and a user's settings.
const THROTTLES: [(ThrottleReasons, Throttle); 6] = [
    (ThrottleReasons::SW_POWER_CAP, Throttle::SwPowerCap),
    (ThrottleReasons::SW_THERMAL_SLOWDOWN, Throttle::SwThermalSlowdown),
    (ThrottleReasons::HW_SLOWDOWN, Throttle::HwSlowdown),
    (ThrottleReasons::HW_THERMAL_SLOWDOWN, Throttle::HwThermalSlowdown),
    (ThrottleReasons::HW_POWER_BRAKE_SLOWDOWN, Throttle::HwPowerBrakeSlowdown),
    (ThrottleReasons::SYNC_BOOST, Throttle::SyncBoost),
];

/// NVML's unit is the milliwatt.
fn watts(milliwatts: u32) -> f64 {
    f64::from(milliwatts) / 1e3
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failure_says_what_to_do_on_one_line() {
        let errors = [
            NvmlError::LibraryNotFound,
            NvmlError::DriverNotLoaded,
            NvmlError::LibRmVersionMismatch,
            NvmlError::NoPermission,
            NvmlError::GpuLost,
        ];
        let words: Vec<String> = errors.into_iter().map(|error| Absent::from(error).to_string()).collect();
        assert!(words.iter().all(|words| words.len() > 40 && !words.contains('\n')), "{words:?}");
        assert!(words[1].contains("modprobe nvidia") && words[2].contains("restart the machine"));
    }

    #[test]
    fn a_clock_is_a_range_of_one() {
        let range = |clock| clock_range(clock).into_min_and_max_clocks();
        // nvml.h: NVML_CLOCK_LIMIT_ID_TDP
        assert_eq!(range(LockedClock::Base), (0xffff_ff01, 0xffff_ff01));
        assert_eq!(range(LockedClock::Mhz(1410)), (1410, 1410));
        assert_eq!(ClockError::from(NvmlError::NoPermission), ClockError::NoPermission);
        assert_eq!(ClockError::from(NvmlError::InvalidArg), ClockError::NotAccepted);
    }

    #[test]
    fn a_machine_without_a_driver_is_told_so_and_one_with_a_driver_answers() {
        match Nvml::load() {
            Ok(nvml) => assert!((0..nvml.count()).all(|index| nvml.gpu(index).is_some())),
            Err(why) => assert!(why.to_string().contains("NVIDIA"), "{why}"),
        }
    }
}
