//! The little of CUDA's driver API that collectives need.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr::null;

use libloading::os::unix::{Library, Symbol};

use crate::CollectiveError;
use crate::error::loader_words;

type Code = c_int;

/// NVIDIA's driver, opened.
pub(crate) struct Driver {
    stream_synchronize: Symbol<unsafe extern "C" fn(*mut c_void) -> Code>,
    error_string: Symbol<unsafe extern "C" fn(Code, *mut *const c_char) -> Code>,
    device_get: Symbol<unsafe extern "C" fn(*mut c_int, c_int) -> Code>,
    primary_context: Symbol<unsafe extern "C" fn(*mut *mut c_void, c_int) -> Code>,
    set_context: Symbol<unsafe extern "C" fn(*mut c_void) -> Code>,
}

impl Driver {
    /// Opens the driver and initialises it.
    pub(crate) fn open() -> Result<Self, CollectiveError> {
        let error = |error: libloading::Error| {
            CollectiveError::new(format_args!("no NVIDIA driver: {}", loader_words(&error)))
        };
        // SAFETY: the symbols have the signatures of the CUDA driver API; the library is never closed, for the driver does not
        // survive that.
        unsafe {
            let library = std::mem::ManuallyDrop::new(Library::new("libcuda.so.1").map_err(error)?);
            let driver = Self {
                stream_synchronize: library.get(b"cuStreamSynchronize").map_err(error)?,
                error_string: library.get(b"cuGetErrorString").map_err(error)?,
                device_get: library.get(b"cuDeviceGet").map_err(error)?,
                primary_context: library.get(b"cuDevicePrimaryCtxRetain").map_err(error)?,
                set_context: library.get(b"cuCtxSetCurrent").map_err(error)?,
            };
            let initialise: Symbol<unsafe extern "C" fn(u32) -> Code> =
                library.get(b"cuInit").map_err(error)?;
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

    fn check(&self, what: &str, code: Code) -> Result<(), CollectiveError> {
        if code == 0 {
            return Ok(());
        }
        let mut text = null();
        // SAFETY: `text` is set to a static string, or stays null.
        let text = unsafe {
            (self.error_string)(code, &raw mut text);
            if text.is_null() { "unknown error".into() } else { CStr::from_ptr(text).to_string_lossy() }
        };
        Err(CollectiveError::new(format_args!("{what}: the NVIDIA driver: {text} ({code})")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_driver_that_is_said() {
        // Where there is one, it opens.
        if let Err(error) = Driver::open() {
            let error = error.to_string();
            assert!(
                error.starts_with("no NVIDIA driver: ") || error.contains("the NVIDIA driver: "),
                "{error}"
            );
        }
    }
}
