//! A driver of one scripted GPU, for tests.

use std::sync::{Mutex, PoisonError};

use protocol::Gpu;

use crate::{Driver, Process, Sample};

/// One GPU that says what it is told to say.
#[derive(Debug, Default)]
pub struct Fake {
    script: Mutex<Script>,
}

#[derive(Debug, Default)]
struct Script {
    gpu: Gpu,
    samples: Vec<Sample>,
    energy: Vec<f64>,
    used: Vec<u64>,
    processes: Vec<Process>,
}

impl Fake {
    /// What it is.
    pub fn set_gpu(&self, gpu: Gpu) {
        self.change(|script| script.gpu = gpu);
    }

    /// Its next samples; the last stays.
    pub fn set_samples(&self, samples: Vec<Sample>) {
        self.change(|script| script.samples = samples);
    }

    /// The next counts of its energy; the last stays.
    pub fn set_energy(&self, joules: Vec<f64>) {
        self.change(|script| script.energy = joules);
    }

    /// The memory in use that it says next; the last stays.
    pub fn set_used(&self, bytes: Vec<u64>) {
        self.change(|script| script.used = bytes);
    }

    /// What runs on it.
    pub fn set_processes(&self, processes: Vec<Process>) {
        self.change(|script| script.processes = processes);
    }

    fn change<T>(&self, change: impl FnOnce(&mut Script) -> T) -> T {
        change(&mut self.script.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The next of a script.
fn next<T: Clone>(values: &mut Vec<T>) -> Option<T> {
    if values.len() > 1 { Some(values.remove(0)) } else { values.first().cloned() }
}

impl Driver for Fake {
    fn count(&self) -> u32 {
        1
    }

    fn gpu(&self, _: u32) -> Option<Gpu> {
        Some(self.change(|script| script.gpu.clone()))
    }

    fn uuid(&self, _: u32) -> Option<String> {
        Some("GPU-fake".into())
    }

    fn sample(&self, _: u32) -> Sample {
        self.change(|script| next(&mut script.samples)).unwrap_or_default()
    }

    fn energy_joules(&self, _: u32) -> Option<f64> {
        self.change(|script| next(&mut script.energy))
    }

    fn used_bytes(&self, _: u32) -> Option<u64> {
        self.change(|script| next(&mut script.used))
    }

    fn processes(&self, _: u32) -> Vec<Process> {
        self.change(|script| script.processes.clone())
    }
}
