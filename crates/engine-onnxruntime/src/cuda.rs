//! The stream of an NVIDIA GPU that sessions compute in, and the time that work in it took.
//!
//! Wraps only the driver's calls (CUDA Driver API reference) that ONNX Runtime does not offer. A stream of ours is what
//! makes its work visible: in one of its own no event could be placed.

use std::cell::Cell;
use std::ffi::{c_int, c_uint, c_void};
use std::ptr::null_mut;
use std::sync::OnceLock;

use anyhow::{Context as _, Result, anyhow};
use machine::gpu::{CudaDriver, CudaResultCode, GetErrorString, check_cuda};

type Handle = *mut c_void;
/// An address in host or device memory: the driver tells one from the other.
type Address = u64;

/// The functions of the driver that are called here.
struct OnnxCudaDriver {
    init: unsafe extern "C" fn(c_uint) -> CudaResultCode,
    device_get: unsafe extern "C" fn(*mut c_int, c_int) -> CudaResultCode,
    primary_context_retain: unsafe extern "C" fn(*mut Handle, c_int) -> CudaResultCode,
    context_set_current: unsafe extern "C" fn(Handle) -> CudaResultCode,
    context_synchronize: unsafe extern "C" fn() -> CudaResultCode,
    stream_create: unsafe extern "C" fn(*mut Handle, c_uint) -> CudaResultCode,
    stream_synchronize: unsafe extern "C" fn(Handle) -> CudaResultCode,
    copy: unsafe extern "C" fn(Address, Address, usize, Handle) -> CudaResultCode,
    event_create: unsafe extern "C" fn(*mut Handle, c_uint) -> CudaResultCode,
    event_record: unsafe extern "C" fn(Handle, Handle) -> CudaResultCode,
    event_elapsed_time: unsafe extern "C" fn(*mut f32, Handle, Handle) -> CudaResultCode,
    get_error_string: GetErrorString,
}

impl OnnxCudaDriver {
    fn load() -> Result<Self> {
        let driver = CudaDriver::open().context("no NVIDIA driver")?;
        // SAFETY: the functions have these signatures in the driver's interface.
        unsafe {
            Ok(Self {
                init: driver.function("cuInit")?,
                device_get: driver.function("cuDeviceGet")?,
                primary_context_retain: driver.function("cuDevicePrimaryCtxRetain")?,
                context_set_current: driver.function("cuCtxSetCurrent")?,
                context_synchronize: driver.function("cuCtxSynchronize")?,
                stream_create: driver.function("cuStreamCreate")?,
                stream_synchronize: driver.function("cuStreamSynchronize")?,
                copy: driver.function("cuMemcpyAsync")?,
                event_create: driver.function("cuEventCreate")?,
                event_record: driver.function("cuEventRecord")?,
                event_elapsed_time: driver.function("cuEventElapsedTime")?,
                get_error_string: driver.function("cuGetErrorString")?,
            })
        }
    }

    /// An error with the driver's message.
    fn check(&self, code: CudaResultCode) -> Result<()> {
        Ok(check_cuda(self.get_error_string, code)?)
    }

    /// What a call writes to the place that it is given.
    fn made<T>(&self, empty: T, call: impl FnOnce(*mut T) -> CudaResultCode) -> Result<T> {
        let mut made = empty;
        self.check(call(&raw mut made))?;
        Ok(made)
    }
}

fn driver() -> Result<&'static OnnxCudaDriver> {
    static DRIVER: OnceLock<Result<OnnxCudaDriver, String>> = OnceLock::new();
    let loaded = DRIVER.get_or_init(|| OnnxCudaDriver::load().map_err(|why| format!("{why:#}")));
    loaded.as_ref().map_err(|why| anyhow!(why.clone()))
}

/// A queue of a GPU's work, with two marks in it. It stays for as long as the process: sessions may go on using it.
pub(crate) struct Stream {
    driver: &'static OnnxCudaDriver,
    stream: Handle,
    /// The last two marks.
    marks: Cell<[Handle; 2]>,
}

impl Stream {
    /// A stream of GPU `index`, in the context that CUDA's runtime uses.
    pub(crate) fn new(index: u32) -> Result<Self> {
        Self::with_driver(driver()?, index)
    }

    fn with_driver(driver: &'static OnnxCudaDriver, index: u32) -> Result<Self> {
        const NON_BLOCKING: c_uint = 1;
        const WITH_TIME: c_uint = 0;
        // SAFETY: what is written to outlives each call; the context stays, for it is never released.
        unsafe {
            driver.check((driver.init)(0))?;
            let device = driver.made(0, |device| (driver.device_get)(device, index as c_int))?;
            let context =
                driver.made(null_mut(), |context| (driver.primary_context_retain)(context, device))?;
            driver.check((driver.context_set_current)(context))?;
            let stream = driver.made(null_mut(), |stream| (driver.stream_create)(stream, NON_BLOCKING))?;
            let event = || driver.made(null_mut(), |event| (driver.event_create)(event, WITH_TIME));
            Ok(Self { driver, stream, marks: Cell::new([event()?, event()?]) })
        }
    }

    /// What ONNX Runtime takes it by.
    pub(crate) fn pointer(&self) -> *mut () {
        self.stream.cast()
    }

    /// Waits for all work in the stream.
    pub(crate) fn synchronize(&self) -> Result<()> {
        // SAFETY: the stream stays for as long as the process.
        unsafe { self.driver.check((self.driver.stream_synchronize)(self.stream)) }
    }

    /// Waits for all work on the GPU, in any stream.
    pub(crate) fn synchronize_device(&self) -> Result<()> {
        // SAFETY: the context is current, and stays.
        unsafe { self.driver.check((self.driver.context_synchronize)()) }
    }

    /// Queues a copy of `bytes` bytes in the stream.
    ///
    /// # Safety
    /// `bytes` bytes must be readable at `from` and writable at `to`, wherever they are, until the stream has copied them.
    pub(crate) unsafe fn copy(&self, to: *mut c_void, from: *const c_void, bytes: usize) -> Result<()> {
        // SAFETY: the caller's promise.
        unsafe { self.driver.check((self.driver.copy)(to as Address, from as Address, bytes, self.stream)) }
    }

    /// Puts a mark behind all work in the stream so far.
    pub(crate) fn mark(&self) -> Result<()> {
        let [from, to] = self.marks.get();
        self.marks.set([to, from]);
        // SAFETY: event and stream stay for as long as the process.
        unsafe { self.driver.check((self.driver.event_record)(from, self.stream)) }
    }

    /// Seconds between the last two marks; both must have been reached.
    pub(crate) fn seconds(&self) -> Result<f64> {
        let [from, to] = self.marks.get();
        // SAFETY: as above; what is written to outlives the call.
        let call = |milliseconds| unsafe { (self.driver.event_elapsed_time)(milliseconds, from, to) };
        Ok(f64::from(self.driver.made(0.0, call)?) / 1e3)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A driver with one GPU, on which an event has the time at which it was recorded: 1 ms, 3 ms, 6 ms, 10 ms, …
    #[expect(clippy::undocumented_unsafe_blocks, reason = "every pointer is the one that this file passes")]
    mod fake {
        use std::ffi::c_char;
        use std::sync::atomic::{AtomicUsize, Ordering};

        use super::*;

        static EVENTS: [AtomicUsize; 8] = [const { AtomicUsize::new(0) }; 8];
        static MADE: AtomicUsize = AtomicUsize::new(0);
        static RECORDED: AtomicUsize = AtomicUsize::new(0);

        unsafe extern "C" fn init(_: c_uint) -> CudaResultCode {
            0
        }
        unsafe extern "C" fn device_get(device: *mut c_int, index: c_int) -> CudaResultCode {
            unsafe { *device = index };
            if index == 0 { 0 } else { 101 }
        }
        unsafe extern "C" fn primary_context_retain(context: *mut Handle, _: c_int) -> CudaResultCode {
            unsafe { *context = std::ptr::dangling_mut::<u8>().cast() };
            0
        }
        unsafe extern "C" fn context_set_current(context: Handle) -> CudaResultCode {
            if context.is_null() { 201 } else { 0 }
        }
        unsafe extern "C" fn context_synchronize() -> CudaResultCode {
            0
        }
        unsafe extern "C" fn stream_create(stream: *mut Handle, _: c_uint) -> CudaResultCode {
            unsafe { *stream = std::ptr::dangling_mut::<u8>().cast() };
            0
        }
        unsafe extern "C" fn stream_synchronize(_: Handle) -> CudaResultCode {
            0
        }
        unsafe extern "C" fn copy(to: Address, from: Address, bytes: usize, _: Handle) -> CudaResultCode {
            unsafe { std::ptr::copy_nonoverlapping(from as *const u8, to as *mut u8, bytes) };
            0
        }
        unsafe extern "C" fn event_create(event: *mut Handle, _: c_uint) -> CudaResultCode {
            let index = MADE.fetch_add(1, Ordering::Relaxed);
            unsafe { *event = std::ptr::from_ref(&EVENTS[index]).cast_mut().cast() };
            0
        }
        unsafe extern "C" fn event_record(event: Handle, _: Handle) -> CudaResultCode {
            let turn = RECORDED.fetch_add(1, Ordering::Relaxed) + 1;
            let event = unsafe { &*event.cast::<AtomicUsize>() };
            event.store(turn * (turn + 1) / 2, Ordering::Relaxed);
            0
        }
        unsafe extern "C" fn event_elapsed_time(
            milliseconds: *mut f32,
            from: Handle,
            to: Handle,
        ) -> CudaResultCode {
            let at = |event: Handle| unsafe { (*event.cast::<AtomicUsize>()).load(Ordering::Relaxed) } as f32;
            unsafe { *milliseconds = at(to) - at(from) };
            0
        }
        unsafe extern "C" fn get_error_string(_: c_int, text: *mut *const c_char) -> CudaResultCode {
            unsafe { *text = c"invalid device ordinal".as_ptr() };
            0
        }

        pub(super) static DRIVER: OnnxCudaDriver = OnnxCudaDriver {
            init,
            device_get,
            primary_context_retain,
            context_set_current,
            context_synchronize,
            stream_create,
            stream_synchronize,
            copy,
            event_create,
            event_record,
            event_elapsed_time,
            get_error_string,
        };
    }

    #[test]
    fn a_stream_tells_the_time_between_its_last_two_marks() {
        let stream = Stream::with_driver(&fake::DRIVER, 0).unwrap();
        stream.mark().unwrap();
        stream.mark().unwrap();
        assert_eq!(stream.seconds().unwrap(), 2e-3);
        stream.mark().unwrap();
        stream.mark().unwrap();
        assert_eq!(stream.seconds().unwrap(), 4e-3);

        let error = Stream::with_driver(&fake::DRIVER, 1).err().unwrap().to_string();
        assert_eq!(error, "the NVIDIA driver: invalid device ordinal (101)");
    }

    #[test]
    fn a_stream_copies() {
        let stream = Stream::with_driver(&fake::DRIVER, 0).unwrap();
        let (from, mut to) = ([3i32, 5], [0i32; 2]);
        // SAFETY: both are as long as is said, and the fake copies at once.
        unsafe { stream.copy((&raw mut to).cast(), (&raw const from).cast(), 8).unwrap() };
        stream.synchronize().unwrap();
        assert_eq!(to, from);
    }
}
