//! The few functions of CUDA's driver API that collectives need.

use std::ffi::{c_int, c_void};

use machine::gpu::{CudaDriver, CudaResultCode, GetErrorString, check_cuda};

use crate::CollectiveError;
use crate::error::loader_words;

/// NVIDIA's driver, opened.
pub(crate) struct CollectiveCudaDriver {
    stream_synchronize: unsafe extern "C" fn(*mut c_void) -> CudaResultCode,
    error_string: GetErrorString,
    device_get: unsafe extern "C" fn(*mut c_int, c_int) -> CudaResultCode,
    primary_context: unsafe extern "C" fn(*mut *mut c_void, c_int) -> CudaResultCode,
    set_context: unsafe extern "C" fn(*mut c_void) -> CudaResultCode,
}

impl CollectiveCudaDriver {
    /// Opens the driver and initialises it.
    pub(crate) fn open() -> Result<Self, CollectiveError> {
        let error = |error: libloading::Error| {
            CollectiveError::new(format_args!("no NVIDIA driver: {}", loader_words(&error)))
        };
        let library = CudaDriver::open().map_err(error)?;
        // SAFETY: the functions have these signatures in the CUDA driver API.
        unsafe {
            let driver = Self {
                stream_synchronize: library.function("cuStreamSynchronize").map_err(error)?,
                error_string: library.function("cuGetErrorString").map_err(error)?,
                device_get: library.function("cuDeviceGet").map_err(error)?,
                primary_context: library.function("cuDevicePrimaryCtxRetain").map_err(error)?,
                set_context: library.function("cuCtxSetCurrent").map_err(error)?,
            };
            let initialise: unsafe extern "C" fn(u32) -> CudaResultCode =
                library.function("cuInit").map_err(error)?;
            driver.check("cuInit", initialise(0))?;
            Ok(driver)
        }
    }

    /// Makes GPU `index` this thread's: its primary context, which CUDA's runtime, and with it every library here, uses.
    pub(crate) fn make_current(&self, index: u32) -> Result<(), CollectiveError> {
        let (mut device, mut context) = (0, std::ptr::null_mut());
        let index = c_int::try_from(index).map_err(CollectiveError::new)?;
        // SAFETY: both variables are valid for the duration of the calls. The context is kept until the process ends.
        unsafe {
            self.check("cuDeviceGet", (self.device_get)(&raw mut device, index))?;
            self.check("cuDevicePrimaryCtxRetain", (self.primary_context)(&raw mut context, device))?;
            self.check("cuCtxSetCurrent", (self.set_context)(context))
        }
    }

    /// Waits until all that was queued in `stream` is done.
    pub(crate) fn synchronize(&self, stream: *mut c_void) -> Result<(), CollectiveError> {
        // SAFETY: the stream is the engine's, which lives while it computes.
        self.check("cuStreamSynchronize", unsafe { (self.stream_synchronize)(stream) })
    }

    fn check(&self, what: &str, code: CudaResultCode) -> Result<(), CollectiveError> {
        check_cuda(self.error_string, code).map_err(|why| CollectiveError::new(format_args!("{what}: {why}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_driver_that_is_said() {
        // Where there is one, it opens.
        if let Err(error) = CollectiveCudaDriver::open() {
            let error = error.to_string();
            assert!(
                error.starts_with("no NVIDIA driver: ") || error.contains("the NVIDIA driver: "),
                "{error}"
            );
        }
    }
}
