//! The GPUs, their facts, and a watch over the one that computes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::gpu::{Absent, DEVICE_ORDER, Driver, Monitor, Nvml, VISIBLE_DEVICES, memory_left, nvml_index};
use protocol::{Device, Gpu};

/// A driver frees the memory of a process a moment after that has ended.
const FREED_WITHIN: Duration = Duration::from_secs(5);

/// NVIDIA's GPUs in the order in which workers see them.
#[derive(Clone)]
pub struct Gpus {
    driver: Arc<dyn Driver>,
    /// The driver's index of each `cuda:N`.
    visible: Vec<u32>,
}

impl Gpus {
    /// Asks NVIDIA's driver.
    ///
    /// # Errors
    /// Fails where there is none, or it does not work.
    pub fn find() -> Result<Self, Absent> {
        let driver = Arc::new(Nvml::load()?);
        let variable = |name| std::env::var(name).ok();
        // Workers get this order, unless the user gives them another: then only a single GPU is known.
        let is_by_bus = variable(DEVICE_ORDER.0).is_none_or(|order| order == DEVICE_ORDER.1);
        let known = is_by_bus || driver.count() == 1;
        let gpus = Self::new(driver, variable(VISIBLE_DEVICES).as_deref());
        Ok(if known { gpus } else { Self { visible: Vec::new(), ..gpus } })
    }

    /// The GPUs of `driver` that `visible` (`CUDA_VISIBLE_DEVICES`) shows.
    pub fn new(driver: Arc<dyn Driver>, visible: Option<&str>) -> Self {
        let uuids: Vec<String> =
            (0..driver.count()).map(|index| driver.uuid(index).unwrap_or_default()).collect();
        let visible = (0..driver.count()).map_while(|cuda| nvml_index(cuda, visible, &uuids).ok()).collect();
        Self { driver, visible }
    }

    /// What they are, in CUDA's order.
    pub fn facts(&self) -> Vec<Gpu> {
        self.visible.iter().map(|&index| self.driver.gpu(index).unwrap_or_default()).collect()
    }

    /// The driver's indices of the GPUs that the ranks of a sweep on `device` have on this machine; `None` where one is not known.
    pub fn indices(&self, device: Device, world_size: u32) -> Option<Vec<u32>> {
        let Device::Cuda(first) = device else { return None };
        let (first, count) = (first as usize, world_size as usize);
        Some(self.visible.get(first..first.checked_add(count)?)?.to_vec())
    }

    /// A watch over a sweep's device; `None` where it is no GPU, or not known which.
    pub fn watch(&self, device: Device) -> Option<GpuWatch> {
        let Device::Cuda(cuda) = device else { return None };
        let index = *self.visible.get(cuda as usize)?;
        Some(GpuWatch { driver: Arc::clone(&self.driver), index })
    }
}

/// A watch over one GPU.
#[derive(Clone)]
pub struct GpuWatch {
    driver: Arc<dyn Driver>,
    index: u32,
}

impl GpuWatch {
    /// Its memory.
    pub fn memory_bytes(&self) -> Option<u64> {
        Some(self.driver.gpu(self.index)?.memory_bytes)
    }

    /// The power that it draws now, in watts, and the clock of its multiprocessors, in MHz.
    pub fn power_and_clock(&self) -> (Option<f64>, Option<u32>) {
        let sample = self.driver.sample(self.index);
        (sample.power_watts, sample.sm_clock_mhz)
    }

    /// A description of other programs' processes on it; `None` where there are none.
    pub fn other_processes(&self) -> Option<String> {
        let others = crate::gpu::others(&*self.driver, self.index, &[std::process::id()]);
        (!others.is_empty()).then(|| crate::gpu::words(&others))
    }

    /// Memory in use on it.
    pub fn used_bytes(&self) -> Option<u64> {
        self.driver.used_bytes(self.index)
    }

    /// Begins to watch it.
    pub fn start(&self) -> Option<Monitor> {
        Monitor::start(Arc::clone(&self.driver), self.index)
    }

    /// Memory that an ended worker left behind, beyond what was in use before it was started.
    pub fn left_bytes(&self, before: u64) -> Option<u64> {
        let start = Instant::now();
        memory_left(&*self.driver, self.index, before, || {
            std::thread::sleep(Duration::from_millis(20));
            start.elapsed() < FREED_WITHIN
        })
    }
}
