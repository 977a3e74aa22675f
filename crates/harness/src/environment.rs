//! What a run's figures depend on: machine, libraries, program. Linux.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use protocol::Hello;
use serde::{Deserialize, Serialize};

/// An NVIDIA GPU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gpu {
    /// The driver's name of it.
    pub name: String,
    /// Its memory.
    pub memory_bytes: u64,
    /// The driver.
    pub driver_version: String,
}

/// This program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgramVersion {
    /// Its version.
    pub version: String,
    /// The git revision that it was built from, with `-dirty` where the tree had changes.
    pub git_revision: Option<String>,
}

/// `environment.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Environment {
    /// When the run began, UTC.
    pub started: String,
    /// This program.
    pub program: ProgramVersion,
    /// `uname -n`.
    pub host_name: String,
    /// `uname -sr`.
    pub kernel: String,
    /// The processor's model name.
    pub cpu: String,
    /// Processors that this program may run on.
    pub cores: u32,
    /// Of the frequency governor, where there is one.
    pub cpu_governor: Option<String>,
    /// RAM.
    pub memory_bytes: u64,
    /// The one-minute load average when the run began.
    pub load_average: f64,
    /// NVIDIA GPUs; empty where there are none.
    pub gpus: Vec<Gpu>,
    /// Who each engine's worker said it is.
    pub engines: BTreeMap<String, Hello>,
}

impl Environment {
    /// Looks around.
    pub fn read(program: ProgramVersion) -> Self {
        let line = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
        let load = line("/proc/loadavg");
        Self {
            started: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            program,
            host_name: line("/proc/sys/kernel/hostname"),
            kernel: format!("Linux {}", line("/proc/sys/kernel/osrelease")),
            cpu: field("/proc/cpuinfo", "model name").unwrap_or_else(|| std::env::consts::ARCH.into()),
            cores: std::thread::available_parallelism().map_or(1, |count| count.get() as u32),
            cpu_governor: fs::read_to_string("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
                .ok()
                .map(|text| text.trim().to_owned()),
            memory_bytes: memory_bytes(),
            load_average: load.split(' ').next().and_then(|first| first.parse().ok()).unwrap_or(0.0),
            gpus: gpus(),
            engines: BTreeMap::new(),
        }
    }
}

fn field(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn memory_bytes() -> u64 {
    let total = field("/proc/meminfo", "MemTotal").unwrap_or_default();
    total.trim_end_matches("kB").trim().parse::<u64>().unwrap_or(0) * 1024
}

/// Asks `nvidia-smi`, where there is one.
fn gpus() -> Vec<Gpu> {
    let query = ["--query-gpu=name,memory.total,driver_version", "--format=csv,noheader,nounits"];
    let Ok(output) = Command::new("nvidia-smi").args(query).output() else { return Vec::new() };
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines()
        .filter_map(|line| {
            let [name, mebibytes, driver] = line.split(", ").collect::<Vec<_>>().try_into().ok()?;
            let memory_bytes = mebibytes.parse::<u64>().ok()? << 20;
            Some(Gpu { name: name.into(), memory_bytes, driver_version: driver.into() })
        })
        .collect()
}
