//! Safe wrappers of `shim/cuda_graph.cpp`: work that is captured once and then launched as a whole; and what else libtorch's CUDA part
//! alone knows of a GPU.

use std::ffi::{CStr, c_int, c_void};
use std::io::Write;
use std::os::fd::{AsRawFd, FromRawFd};
use std::ptr::{NonNull, null, null_mut};
use std::sync::OnceLock;

use crate::device_memory::BoundedAllocators;
use crate::error::{CText, Result, TorchError, check};

/// The compiled shim, inside the program: a copy of the program elsewhere has it, too.
const LIBRARY: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/cuda_graph.so"));

/// A C++ `Graph` of `cuda_graph.cpp`.
type CCudaGraph = c_void;
type Enter = unsafe extern "C" fn(c_int, *mut *mut CCudaGraph) -> Option<CText>;
type Capability = unsafe extern "C" fn(c_int, *mut c_int, *mut c_int) -> Option<CText>;
type TotalBytes = unsafe extern "C" fn(c_int, *mut usize) -> Option<CText>;
type SetFraction = unsafe extern "C" fn(c_int, f64) -> Option<CText>;
type Free = unsafe extern "C" fn(*mut CCudaGraph);
type Begin = unsafe extern "C" fn(*mut CCudaGraph, *const CCudaGraph) -> Option<CText>;
type OfGraph = unsafe extern "C" fn(*mut CCudaGraph) -> Option<CText>;

struct CudaGraphFunctions {
    enter: Enter,
    begin: Begin,
    end: OfGraph,
    leave: OfGraph,
    replay: OfGraph,
    free: Free,
    capability: Capability,
    total_bytes: TotalBytes,
    set_memory_fraction: SetFraction,
}

/// A CUDA graph.
pub(crate) struct CudaGraph {
    functions: &'static CudaGraphFunctions,
    graph: NonNull<CCudaGraph>,
}

impl CudaGraph {
    /// Captures `work` on GPU `device`. It is run once before, the first graph's twice, for libraries to load what they need: the
    /// results of the captured run are what every [`replay`](Self::replay) writes anew.
    ///
    /// The graph takes memory from that of `shared`, which was captured earlier: of the two one runs at a time, and what the
    /// earlier one computed may be read until the other runs.
    pub(crate) fn capture<T>(
        device: usize,
        shared: Option<&Self>,
        mut work: impl FnMut() -> Result<T>,
    ) -> Result<(Self, T)> {
        let functions = functions()?;
        let mut graph = null_mut();
        // SAFETY: a null error means that `graph` is a new one.
        unsafe { check((functions.enter)(device as c_int, &raw mut graph))? };
        let graph = NonNull::new(graph).ok_or_else(|| TorchError::new("no graph"))?;
        let captured = Self { functions, graph };
        let mut run = || {
            for _ in 0..if shared.is_some() { 1 } else { 2 } {
                drop(work()?);
            }
            let shared = shared.map_or(null(), |shared| shared.graph.as_ptr().cast_const());
            // SAFETY: both graphs are alive.
            unsafe { check((functions.begin)(captured.graph.as_ptr(), shared))? };
            let result = work();
            // A capture is ended in any case; the error that broke it off is reported first.
            let end = captured.call(functions.end);
            let result = result?;
            end.map(|()| result)
        };
        let result = run();
        let left = captured.call(functions.leave);
        let result = result?;
        left?;
        Ok((captured, result))
    }

    /// Launches the captured work.
    pub(crate) fn replay(&self) -> Result<()> {
        self.call(self.functions.replay)
    }

    fn call(&self, function: OfGraph) -> Result<()> {
        // SAFETY: the graph is alive; the function is one of the shim's.
        unsafe { check(function(self.graph.as_ptr())) }
    }
}

impl Drop for CudaGraph {
    fn drop(&mut self) {
        // SAFETY: the graph is alive and owned here alone.
        unsafe { (self.functions.free)(self.graph.as_ptr()) }
    }
}

/// The compute capability of GPU `device`: (9, 0) is sm_90.
pub(crate) fn compute_capability(device: usize) -> Result<(i32, i32)> {
    let (mut major, mut minor) = (0, 0);
    // SAFETY: both numbers are valid for the duration of the call.
    unsafe { check((functions()?.capability)(device as c_int, &raw mut major, &raw mut minor))? };
    Ok((major, minor))
}

/// The caching allocators of the GPUs.
pub(crate) struct GpuAllocators;

impl BoundedAllocators for GpuAllocators {
    fn total_bytes(&self, gpu: usize) -> Result<u64> {
        let mut bytes = 0;
        // SAFETY: the number is valid for the duration of the call.
        unsafe { check((functions()?.total_bytes)(gpu as c_int, &raw mut bytes))? };
        Ok(bytes as u64)
    }

    fn set_fraction(&mut self, gpu: usize, fraction: f64) -> Result<()> {
        // SAFETY: no pointers.
        unsafe { check((functions()?.set_memory_fraction)(gpu as c_int, fraction)) }
    }
}

/// Opens the library, after libtorch's CUDA part.
fn functions() -> Result<&'static CudaGraphFunctions> {
    static FUNCTIONS: OnceLock<Result<CudaGraphFunctions, String>> = OnceLock::new();
    let opened =
        FUNCTIONS.get_or_init(|| open().map_err(|why| format!("libtorch's CUDA part can't be used: {why}")));
    opened.as_ref().map_err(|why| TorchError::new(why))
}

fn open() -> Result<CudaGraphFunctions, String> {
    // SAFETY: a plain call; the name is a C string.
    let file = unsafe { libc::memfd_create(c"cuda_graph.so".as_ptr(), libc::MFD_CLOEXEC) };
    if file < 0 {
        return Err(std::io::Error::last_os_error().to_string());
    }
    // SAFETY: the descriptor is new, and owned here alone.
    let mut file = unsafe { std::fs::File::from_raw_fd(file) };
    file.write_all(LIBRARY).map_err(|error| error.to_string())?;
    let path = format!("/proc/self/fd/{}\0", file.as_raw_fd());
    // SAFETY: the library has no initialisers but the C++ library's; the path ends with a zero byte. It stays open.
    let library = unsafe { libc::dlopen(path.as_ptr().cast(), libc::RTLD_NOW) };
    let symbol = |name: &CStr| -> Result<*mut c_void, String> {
        // SAFETY: the library is open where this is called; the text of `dlerror` is this thread's until its next call.
        unsafe {
            let symbol = if library.is_null() { null_mut() } else { libc::dlsym(library, name.as_ptr()) };
            if symbol.is_null() { Err(dl_error()) } else { Ok(symbol) }
        }
    };
    if library.is_null() {
        return Err(dl_error());
    }
    // SAFETY: the functions have these signatures in shim/cuda_graph.cpp.
    unsafe {
        let of_graph = |name| symbol(name).map(|symbol| std::mem::transmute::<*mut c_void, OfGraph>(symbol));
        Ok(CudaGraphFunctions {
            enter: std::mem::transmute::<*mut c_void, Enter>(symbol(c"graph_enter")?),
            begin: std::mem::transmute::<*mut c_void, Begin>(symbol(c"graph_begin")?),
            end: of_graph(c"graph_end")?,
            leave: of_graph(c"graph_leave")?,
            replay: of_graph(c"graph_replay")?,
            free: std::mem::transmute::<*mut c_void, Free>(symbol(c"graph_free")?),
            capability: std::mem::transmute::<*mut c_void, Capability>(symbol(c"device_capability")?),
            total_bytes: std::mem::transmute::<*mut c_void, TotalBytes>(symbol(c"device_total_bytes")?),
            set_memory_fraction: std::mem::transmute::<*mut c_void, SetFraction>(symbol(
                c"device_set_memory_fraction",
            )?),
        })
    }
}

fn dl_error() -> String {
    // SAFETY: the text is this thread's until its next call.
    unsafe {
        let why = libc::dlerror();
        if why.is_null() { "dlopen failed".into() } else { CStr::from_ptr(why).to_string_lossy().into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime;

    /// Its symbols are those of libtorch's CUDA part: without that the library opens nowhere, and says which is missing.
    #[test]
    fn the_library_opens_where_the_cuda_part_is() {
        let cuda_part_is_there = runtime::cuda().is_ok();
        match functions() {
            Ok(_) => assert!(cuda_part_is_there),
            Err(why) => {
                let why = why.to_string();
                assert!(!cuda_part_is_there && why.contains("libtorch's CUDA part can't be used"), "{why}");
                assert!(why.contains("undefined symbol") && !why.contains('\n'), "{why}");
            }
        }
    }
}
