//! A thread that watches a GPU from a request to its answer.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use protocol::{GpuSeries, Phase};

use crate::gpu::Driver;
use crate::gpu::recorder::Recorder;

/// Ten samples a second.
const PERIOD: Duration = Duration::from_millis(100);

/// A watch over a GPU. Dropping it ends it.
pub struct Monitor {
    /// Phases that begin; closed where it is to end.
    phases: Option<Sender<Phase>>,
    thread: Option<JoinHandle<GpuSeries>>,
}

impl Monitor {
    /// Begins to watch; `None` where no thread can be started.
    pub fn start(driver: Arc<dyn Driver>, index: u32) -> Option<Self> {
        let (phases, begun) = channel();
        let watch = move || watch(&*driver, index, &begun);
        let thread = std::thread::Builder::new().name("gpu".into()).spawn(watch).ok()?;
        Some(Self { phases: Some(phases), thread: Some(thread) })
    }

    /// A phase of the cell begins, or goes on.
    pub fn phase(&self, phase: Phase) {
        if let Some(phases) = &self.phases {
            let _ = phases.send(phase);
        }
    }

    /// What the GPU did.
    pub fn stop(mut self) -> GpuSeries {
        self.phases = None;
        self.thread.take().and_then(|thread| thread.join().ok()).unwrap_or_default()
    }
}

fn watch(driver: &dyn Driver, index: u32, phases: &Receiver<Phase>) -> GpuSeries {
    let start = Instant::now();
    let now = || start.elapsed().as_secs_f64();
    let mut recorder = Recorder::start(driver.energy_joules(index));
    let mut next = Duration::ZERO;
    loop {
        if start.elapsed() >= next {
            recorder.sample(now(), driver.sample(index));
            // Samples follow the clock; missed ones are not made up for.
            let ticks = start.elapsed().as_millis() / PERIOD.as_millis() + 1;
            next = PERIOD * u32::try_from(ticks).unwrap_or(u32::MAX);
        }
        match phases.recv_timeout(next.saturating_sub(start.elapsed())) {
            Ok(phase) => recorder.phase(phase, now(), driver.energy_joules(index)),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                return recorder.finish(now(), driver.energy_joules(index));
            }
        }
    }
}
