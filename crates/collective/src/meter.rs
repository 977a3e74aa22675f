//! How long collectives take: measured in a generation of its own, since on a GPU the host must wait for each.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::cuda::CollectiveCudaDriver;
use crate::{AllReduce, CollectiveError, Numbers, watch};

/// This process's meter; it is off until it is started.
pub static METER: Meter = Meter { on: AtomicBool::new(false), nanoseconds: AtomicU64::new(0) };

/// Time in collectives.
pub struct Meter {
    on: AtomicBool,
    nanoseconds: AtomicU64,
}

impl Meter {
    /// Starts at zero.
    pub fn start(&self) {
        self.nanoseconds.store(0, Ordering::Relaxed);
        self.on.store(true, Ordering::Relaxed);
    }

    /// The time in collectives since it was started, and goes on.
    pub fn elapsed(&self) -> Duration {
        Duration::from_nanos(self.nanoseconds.load(Ordering::Relaxed))
    }

    /// Turns it off.
    pub fn stop(&self) {
        self.on.store(false, Ordering::Relaxed);
    }
}

/// An all-reduce that tells the watch and, where that is on, the meter.
pub(crate) struct Metered {
    pub(crate) inner: Arc<dyn AllReduce>,
    /// The driver that waits for a GPU's stream; `None` on a CPU.
    pub(crate) driver: Option<CollectiveCudaDriver>,
}

impl AllReduce for Metered {
    unsafe fn all_reduce(&self, numbers: Numbers) -> Result<(), CollectiveError> {
        let _waiting = watch::wait();
        let is_on = METER.on.load(Ordering::Relaxed);
        let synchronize = || match &self.driver {
            Some(driver) if is_on => driver.synchronize(numbers.stream),
            _ => Ok(()),
        };
        synchronize()?;
        let start = is_on.then(Instant::now);
        // SAFETY: the caller's promise.
        unsafe { self.inner.all_reduce(numbers) }?;
        synchronize()?;
        if let Some(start) = start {
            METER.nanoseconds.fetch_add(start.elapsed().as_nanos() as u64, Ordering::Relaxed);
        }
        Ok(())
    }
}
