//! The functions of the driver that are needed here.

use protocol::{Gpu, LockedClock, Throttle};

/// What the driver says of its GPUs, by their index in the order of the PCI bus. `None` where it does not say.
pub trait Driver: Send + Sync {
    /// GPUs.
    fn count(&self) -> u32;
    /// What it is.
    fn gpu(&self, index: u32) -> Option<Gpu>;
    /// `GPU-…`.
    fn uuid(&self, index: u32) -> Option<String>;
    /// What it does now.
    fn sample(&self, index: u32) -> Sample;
    /// The energy used since the driver was loaded.
    fn energy_joules(&self, index: u32) -> Option<f64>;
    /// Memory in use, by any process.
    fn used_bytes(&self, index: u32) -> Option<u64>;
    /// Processes that compute or draw on it.
    fn processes(&self, index: u32) -> Vec<GpuProcess>;
    /// Locks the clock of its multiprocessors, for every program, until it is reset or the driver is loaded anew.
    ///
    /// # Errors
    /// Fails where the driver refuses.
    fn lock_clocks(&self, index: u32, clock: LockedClock) -> Result<(), ClockError>;
    /// Lets the driver choose its clocks again.
    ///
    /// # Errors
    /// Fails where the driver refuses.
    fn reset_clocks(&self, index: u32) -> Result<(), ClockError>;
}

/// Why clocks were not locked or reset, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClockError {
    /// Only root may do it.
    #[error(
        "this user may not set GPU clocks: run as root, in a container with the SYS_ADMIN capability, or leave it out"
    )]
    NoPermission,
    /// The GPU can't do it.
    #[error("this GPU can't lock its clocks: NVIDIA's driver supports it from Volta on")]
    NotSupported,
    /// The GPU has no such clock.
    #[error(
        "the driver does not accept this clock: `nvidia-smi -q -d SUPPORTED_CLOCKS` lists the supported ones"
    )]
    NotAccepted,
    /// Anything else, in the driver's words.
    #[error("NVIDIA's driver: {0}")]
    Other(String),
}

/// What a GPU does at a moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sample {
    /// Power drawn.
    pub power_watts: Option<f64>,
    /// Temperature.
    pub temperature_celsius: Option<u32>,
    /// Clock of the multiprocessors.
    pub sm_clock_mhz: Option<u32>,
    /// Clock of the memory.
    pub memory_clock_mhz: Option<u32>,
    /// Why clocks are held down.
    pub throttle: Vec<Throttle>,
}

/// A process on a GPU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GpuProcess {
    /// Its id, which may be of another namespace.
    pub id: u32,
    /// Its program.
    pub name: Option<String>,
    /// Memory that it holds there.
    pub used_bytes: Option<u64>,
}

/// The GPU's processes that are not in `own`, each once.
pub fn others(driver: &dyn Driver, index: u32, own: &[u32]) -> Vec<GpuProcess> {
    let mut others: Vec<GpuProcess> = Vec::new();
    for process in driver.processes(index) {
        if !own.contains(&process.id) && others.iter().all(|other| other.id != process.id) {
            others.push(process);
        }
    }
    others
}

/// `python (process 123, 4.20 GiB), Xorg (process 9)`.
pub fn words(processes: &[GpuProcess]) -> String {
    let words = processes.iter().map(|GpuProcess { id, name, used_bytes }| {
        let held = used_bytes.map(|bytes| format!(", {:.2} GiB", bytes as f64 / f64::from(1 << 30)));
        format!("{} (process {id}{})", name.as_deref().unwrap_or("a program"), held.unwrap_or_default())
    });
    words.collect::<Vec<_>>().join(", ")
}
