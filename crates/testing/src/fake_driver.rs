//! A driver of one scripted GPU, for tests.

use std::sync::{Mutex, PoisonError};

use protocol::{Gpu, LockedClock};

use machine::gpu::{ClockError, Driver, GpuProcess, Sample};

/// One GPU with scripted answers.
#[derive(Debug, Default)]
pub struct FakeDriver {
    script: Mutex<FakeDriverState>,
}

#[derive(Debug, Default)]
struct FakeDriverState {
    gpu: Gpu,
    samples: Vec<Sample>,
    energy: Vec<f64>,
    used: Vec<u64>,
    processes: Vec<GpuProcess>,
    clocks: Vec<(u32, Option<LockedClock>)>,
    clock_error: Option<(u32, ClockError)>,
}

impl FakeDriver {
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
    pub fn set_processes(&self, processes: Vec<GpuProcess>) {
        self.change(|script| script.processes = processes);
    }

    /// The GPU whose clocks can't be set, and why.
    pub fn refuse_clocks(&self, index: u32, why: ClockError) {
        self.change(|script| script.clock_error = Some((index, why)));
    }

    /// The clocks that were set, and on which GPU; `None` where they were reset.
    pub fn clocks_set(&self) -> Vec<(u32, Option<LockedClock>)> {
        self.change(|script| script.clocks.clone())
    }

    fn set_clocks(&self, index: u32, clock: Option<LockedClock>) -> Result<(), ClockError> {
        self.change(|script| {
            if let Some((_, why)) = script.clock_error.as_ref().filter(|(refusing, _)| *refusing == index) {
                return Err(why.clone());
            }
            script.clocks.push((index, clock));
            Ok(())
        })
    }

    fn change<T>(&self, change: impl FnOnce(&mut FakeDriverState) -> T) -> T {
        change(&mut self.script.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The next of a script.
fn next<T: Clone>(values: &mut Vec<T>) -> Option<T> {
    if values.len() > 1 { Some(values.remove(0)) } else { values.first().cloned() }
}

impl Driver for FakeDriver {
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

    fn processes(&self, _: u32) -> Vec<GpuProcess> {
        self.change(|script| script.processes.clone())
    }

    fn lock_clocks(&self, index: u32, clock: LockedClock) -> Result<(), ClockError> {
        self.set_clocks(index, Some(clock))
    }

    fn reset_clocks(&self, index: u32) -> Result<(), ClockError> {
        self.set_clocks(index, None)
    }
}
