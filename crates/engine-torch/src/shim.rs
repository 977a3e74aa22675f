//! Safe wrappers of `shim/torch_shim.cpp`: the parts of libtorch beside tensors and their operators.

use std::ffi::{CString, c_char, c_int, c_void};
use std::ptr::{NonNull, null_mut};

use crate::error::{CText, Result, TorchError, check};
use crate::tensor::{CTensor, Tensor, make, pointers};

/// A C++ `torch::jit::Module`.
type CModule = c_void;
/// A C++ `c10::Event`.
type CEvent = c_void;

/// First number, how many, `at::ScalarType`, GPU or -1; null or an error for `free`.
pub(crate) type AllReduceFn = unsafe extern "C" fn(*mut c_void, usize, c_int, c_int) -> *mut c_char;

unsafe extern "C" {
    fn shim_tensor_over(
        bytes: *const u8,
        len: i64,
        owner: *mut c_void,
        release: unsafe extern "C" fn(*mut c_void),
        tensor: &mut Option<Tensor>,
    ) -> Option<CText>;
    fn shim_version(text: &mut Option<CText>) -> Option<CText>;
    fn shim_config(text: &mut Option<CText>) -> Option<CText>;

    fn shim_script_new(class_name: *const c_char, module: *mut *mut CModule) -> Option<CText>;
    fn shim_script_free(module: *mut CModule);
    fn shim_script_set_int(module: *mut CModule, name: *const c_char, value: i64) -> Option<CText>;
    fn shim_script_set_float(module: *mut CModule, name: *const c_char, value: f64) -> Option<CText>;
    fn shim_script_set_bool(module: *mut CModule, name: *const c_char, value: bool) -> Option<CText>;
    fn shim_script_set_tensor(module: *mut CModule, name: *const c_char, value: &CTensor) -> Option<CText>;
    fn shim_script_set_tensors(
        module: *mut CModule,
        name: *const c_char,
        values: *const *const CTensor,
        count: usize,
    ) -> Option<CText>;
    fn shim_script_define(module: *mut CModule, source: *const c_char) -> Option<CText>;
    fn shim_script_freeze(module: *mut CModule) -> Option<CText>;
    fn shim_script_forward(
        module: *mut CModule,
        input_ids: &CTensor,
        past_length: i64,
        keys: *const *mut CTensor,
        values: *const *mut CTensor,
        layers: usize,
        logits: &mut Option<Tensor>,
    ) -> Option<CText>;

    fn shim_set_all_reduce(all_reduce: AllReduceFn);
    fn shim_current_stream(device: c_int, stream: *mut *mut c_void) -> Option<CText>;

    fn shim_set_cudnn_attention(allowed: bool) -> Option<CText>;
    fn shim_causal_attention(
        query: &CTensor,
        key: &CTensor,
        value: &CTensor,
        scale: f64,
        output: &mut Option<Tensor>,
    ) -> Option<CText>;

    fn shim_device_count() -> c_int;
    fn shim_device_synchronize(device: c_int) -> Option<CText>;
    fn shim_device_empty_cache(device: c_int) -> Option<CText>;
    fn shim_device_peak_bytes(device: c_int, bytes: *mut i64) -> Option<CText>;

    fn shim_event_new(event: *mut *mut CEvent) -> Option<CText>;
    fn shim_event_free(event: *mut CEvent);
    fn shim_event_record(event: *mut CEvent, device: c_int) -> Option<CText>;
    fn shim_event_seconds(from: *const CEvent, to: *const CEvent, seconds: *mut f64) -> Option<CText>;
}

pub(crate) fn c_string(text: &str) -> Result<CString> {
    CString::new(text).map_err(|_| TorchError::new("a text with a zero byte"))
}

/// A tensor of uint8 over `bytes`, without a copy. It keeps `owner` for as long as a tensor over them lives.
///
/// # Safety
/// `bytes` must be valid, and stay in place, as long as `owner` lives, wherever that is moved to; and nobody may write
/// through the tensor.
pub(crate) unsafe fn tensor_over<O: Send + 'static>(bytes: *const [u8], owner: O) -> Result<Tensor> {
    unsafe extern "C" fn release<O>(owner: *mut c_void) {
        // SAFETY: `owner` is the box of the only call of this function.
        drop(unsafe { Box::from_raw(owner.cast::<O>()) });
    }
    let (start, len) = (bytes.cast(), bytes.len() as i64);
    let owner = Box::into_raw(Box::new(owner)).cast();
    // SAFETY: the caller's promise for `bytes`; `release` is called once.
    make(|tensor| unsafe { shim_tensor_over(start, len, owner, release::<O>, tensor) })
}

/// libtorch's version. libtorch does not look for its CUDA part for that.
pub(crate) fn version() -> Result<String> {
    text(shim_version)
}

/// libtorch's account of itself.
pub(crate) fn config() -> Result<String> {
    text(shim_config)
}

fn text(ask: unsafe extern "C" fn(&mut Option<CText>) -> Option<CText>) -> Result<String> {
    let mut text = None;
    // SAFETY: the place of the text is valid for the duration of the call.
    check(unsafe { ask(&mut text) })?;
    Ok(text.map(|text| text.to_string()).unwrap_or_default())
}

/// A TorchScript module.
pub(crate) struct ScriptModule(NonNull<CModule>);

impl ScriptModule {
    pub(crate) fn new(class_name: &str) -> Result<Self> {
        let class_name = c_string(class_name)?;
        let mut module = null_mut();
        // SAFETY: the name is a C string for the duration of the call.
        unsafe { check(shim_script_new(class_name.as_ptr(), &raw mut module))? };
        NonNull::new(module).map(Self).ok_or_else(|| TorchError::new("no module"))
    }

    pub(crate) fn set_int(&mut self, name: &str, value: i64) -> Result<()> {
        let name = c_string(name)?;
        // SAFETY: the module is alive, the name a C string for the duration of the call.
        unsafe { check(shim_script_set_int(self.0.as_ptr(), name.as_ptr(), value)) }
    }

    pub(crate) fn set_float(&mut self, name: &str, value: f64) -> Result<()> {
        let name = c_string(name)?;
        // SAFETY: as in `set_int`.
        unsafe { check(shim_script_set_float(self.0.as_ptr(), name.as_ptr(), value)) }
    }

    pub(crate) fn set_bool(&mut self, name: &str, value: bool) -> Result<()> {
        let name = c_string(name)?;
        // SAFETY: as in `set_int`.
        unsafe { check(shim_script_set_bool(self.0.as_ptr(), name.as_ptr(), value)) }
    }

    pub(crate) fn set_tensor(&mut self, name: &str, value: &Tensor) -> Result<()> {
        let name = c_string(name)?;
        // SAFETY: as in `set_int`; the tensor is alive, and the module takes a reference of its own.
        unsafe { check(shim_script_set_tensor(self.0.as_ptr(), name.as_ptr(), value)) }
    }

    pub(crate) fn set_tensors(&mut self, name: &str, values: &[Tensor]) -> Result<()> {
        let name = c_string(name)?;
        let pointers = pointers(values);
        // SAFETY: as in `set_tensor`, for each of them.
        unsafe {
            let (pointers, count) = (pointers.as_ptr(), pointers.len());
            check(shim_script_set_tensors(self.0.as_ptr(), name.as_ptr(), pointers, count))
        }
    }

    /// Compiles the functions in `source` as methods.
    pub(crate) fn define(&mut self, source: &str) -> Result<()> {
        let source = c_string(source)?;
        // SAFETY: as in `set_int`.
        unsafe { check(shim_script_define(self.0.as_ptr(), source.as_ptr())) }
    }

    /// Makes constants of all attributes and inlines all methods into `forward`.
    pub(crate) fn freeze(&mut self) -> Result<()> {
        // SAFETY: the module is alive.
        unsafe { check(shim_script_freeze(self.0.as_ptr())) }
    }

    /// Calls `forward(input_ids, past_length, keys, values)`, which may replace items of the two lists.
    pub(crate) fn forward(
        &self,
        input_ids: &Tensor,
        past_length: i64,
        keys: &mut [Tensor],
        values: &mut [Tensor],
    ) -> Result<Tensor> {
        assert_eq!(keys.len(), values.len());
        let pointers = |tensors: &mut [Tensor]| -> Vec<*mut CTensor> {
            tensors.iter_mut().map(Tensor::as_mut_ptr).collect()
        };
        let (keys, values) = (pointers(keys), pointers(values));
        // SAFETY: all tensors are alive and borrowed for the duration of the call, the lists of one length.
        make(|logits| unsafe {
            let (keys, values, layers) = (keys.as_ptr(), values.as_ptr(), keys.len());
            shim_script_forward(self.0.as_ptr(), input_ids, past_length, keys, values, layers, logits)
        })
    }
}

impl Drop for ScriptModule {
    fn drop(&mut self) {
        // SAFETY: the module is alive and owned here alone.
        unsafe { shim_script_free(self.0.as_ptr()) }
    }
}

/// Makes `all_reduce` what the operator `llama2_bench::all_reduce_` calls.
pub(crate) fn set_all_reduce(all_reduce: AllReduceFn) {
    // SAFETY: a function lives as long as the process.
    unsafe { shim_set_all_reduce(all_reduce) }
}

/// The stream (`cudaStream_t`) that libtorch's operators on accelerator `device` now go to.
pub(crate) fn current_stream(device: usize) -> Result<*mut c_void> {
    let mut stream = null_mut();
    // SAFETY: a device that does not exist is an error; `stream` is valid for the duration of the call.
    unsafe { check(shim_current_stream(device as c_int, &raw mut stream))? };
    Ok(stream)
}

/// Lets `scaled_dot_product_attention` choose cuDNN's kernels, or not.
pub(crate) fn set_cudnn_attention(allowed: bool) -> Result<()> {
    // SAFETY: no pointers.
    unsafe { check(shim_set_cudnn_attention(allowed)) }
}

/// Attention of several queries, the last of which attends to all keys, the one before it to all but the last key, and so on:
/// on a GPU flash attention, which takes half precisions alone. `key` and `value` may have fewer heads.
pub(crate) fn causal_attention(query: &Tensor, key: &Tensor, value: &Tensor, scale: f64) -> Result<Tensor> {
    // SAFETY: the tensors are alive.
    make(|output| unsafe { shim_causal_attention(query, key, value, scale, output) })
}

/// How many accelerators libtorch sees; `libtorch_cuda.so` must be loaded before the first call.
pub(crate) fn device_count() -> usize {
    // SAFETY: no arguments, no exceptions (`deviceCount` promises that).
    usize::try_from(unsafe { shim_device_count() }).unwrap_or(0)
}

/// Waits until accelerator `device` is idle.
pub(crate) fn device_synchronize(device: usize) -> Result<()> {
    // SAFETY: a device that does not exist is an error.
    unsafe { check(shim_device_synchronize(device as c_int)) }
}

/// Frees the memory that the allocator of accelerator `device` holds unused, and resets its peak.
pub(crate) fn device_empty_cache(device: usize) -> Result<()> {
    // SAFETY: as above.
    unsafe { check(shim_device_empty_cache(device as c_int)) }
}

/// The most that the allocator of accelerator `device` held since [`device_empty_cache`], used or not.
pub(crate) fn device_peak_bytes(device: usize) -> Result<u64> {
    let mut bytes = 0;
    // SAFETY: as above; `bytes` is valid for the duration of the call.
    unsafe { check(shim_device_peak_bytes(device as c_int, &raw mut bytes))? };
    Ok(bytes as u64)
}

/// A mark in an accelerator's queue of work, with the time at which it was reached.
pub(crate) struct AcceleratorEvent(NonNull<CEvent>);

impl AcceleratorEvent {
    pub(crate) fn new() -> Result<Self> {
        let mut event = null_mut();
        // SAFETY: a null error means that `event` is a new one.
        unsafe { check(shim_event_new(&raw mut event))? };
        NonNull::new(event).map(Self).ok_or_else(|| TorchError::new("no event"))
    }

    /// Puts the mark behind all work of `device` so far.
    pub(crate) fn record(&mut self, device: usize) -> Result<()> {
        // SAFETY: the event is alive and borrowed for the duration of the call.
        unsafe { check(shim_event_record(self.0.as_ptr(), device as c_int)) }
    }

    /// Seconds from this mark to a later one; both must have been reached.
    pub(crate) fn seconds_to(&self, later: &Self) -> Result<f64> {
        let mut seconds = 0.0;
        // SAFETY: both are alive; `seconds` is valid for the duration of the call.
        unsafe { check(shim_event_seconds(self.0.as_ptr(), later.0.as_ptr(), &raw mut seconds))? };
        Ok(seconds)
    }
}

impl Drop for AcceleratorEvent {
    fn drop(&mut self) {
        // SAFETY: the event is alive and owned here alone.
        unsafe { shim_event_free(self.0.as_ptr()) }
    }
}
