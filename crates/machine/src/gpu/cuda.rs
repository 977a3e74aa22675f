//! NVIDIA's driver, `libcuda.so.1`: the one place that opens it, for all callers of the CUDA Driver API.

use std::ffi::{CStr, c_char, c_int};
use std::mem::ManuallyDrop;
use std::ptr::null;

use libloading::{Error, Library};

/// What a function of the driver returns (`CUresult`): 0 is success.
pub type CudaResultCode = c_int;
/// `cuGetErrorString`
pub type GetErrorString = unsafe extern "C" fn(CudaResultCode, *mut *const c_char) -> CudaResultCode;

/// The driver's library. It is never closed: the driver does not survive closing.
pub struct CudaDriver(ManuallyDrop<Library>);

impl CudaDriver {
    /// Opens the library, without initialising it.
    ///
    /// # Errors
    /// Fails with the loader's message.
    pub fn open() -> Result<Self, Error> {
        // SAFETY: the library is NVIDIA's; its initialisers may run at any time.
        unsafe { Library::new("libcuda.so.1") }.map(ManuallyDrop::new).map(Self)
    }

    /// The function of this name, for as long as the process.
    ///
    /// # Errors
    /// Fails where the driver does not have it.
    ///
    /// # Safety
    /// `F` is the type of a function pointer with the signature that the CUDA Driver API gives this function.
    pub unsafe fn function<F: Copy>(&self, name: &str) -> Result<F, Error> {
        // SAFETY: the caller's promise.
        unsafe { self.0.get::<F>(name) }.map(|function| *function)
    }
}

/// A call that the driver refused.
#[derive(Debug, thiserror::Error)]
#[error("the NVIDIA driver: {words} ({code})")]
pub struct CudaError {
    words: String,
    code: CudaResultCode,
}

/// Checks what a function of the driver returned.
///
/// # Errors
/// Turns a code into the driver's own message.
pub fn check_cuda(get_error_string: GetErrorString, code: CudaResultCode) -> Result<(), CudaError> {
    if code == 0 {
        return Ok(());
    }
    let mut text = null();
    // SAFETY: `text` outlives the call, which sets it to a static string or leaves it.
    let words = unsafe {
        get_error_string(code, &raw mut text);
        if text.is_null() { "unknown error".into() } else { CStr::from_ptr(text).to_string_lossy().into() }
    };
    Err(CudaError { words, code })
}
