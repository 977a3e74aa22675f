//! Safe faces of `shim/cuda_graph.cpp`: work that is captured once and then launched as a whole.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::io::Write;
use std::os::fd::{AsRawFd, FromRawFd};
use std::ptr::{NonNull, null_mut};
use std::sync::OnceLock;

use crate::error::{Result, TorchError};
use crate::shim::check;

/// The shim, compiled: a program that was copied elsewhere has it with it.
const LIBRARY: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/cuda_graph.so"));

/// A C++ `Graph`.
type CGraph = c_void;
type Enter = unsafe extern "C" fn(c_int, *mut *mut CGraph) -> *mut c_char;
type Free = unsafe extern "C" fn(*mut CGraph);
type OfGraph = unsafe extern "C" fn(*mut CGraph) -> *mut c_char;

struct Functions {
    enter: Enter,
    begin: OfGraph,
    end: OfGraph,
    leave: OfGraph,
    replay: OfGraph,
    free: Free,
}

/// A CUDA graph.
pub(crate) struct CudaGraph {
    functions: &'static Functions,
    graph: NonNull<CGraph>,
}

impl CudaGraph {
    /// Captures `work` on GPU `device`. It is run twice before, for libraries to load what they need: the results of the
    /// captured run are what every [`replay`](Self::replay) writes anew.
    pub(crate) fn capture<T>(device: usize, mut work: impl FnMut() -> Result<T>) -> Result<(Self, T)> {
        let functions = functions()?;
        let mut graph = null_mut();
        // SAFETY: a null error means that `graph` is a new one.
        unsafe { check((functions.enter)(device as c_int, &raw mut graph))? };
        let graph = NonNull::new(graph).ok_or_else(|| TorchError::new("no graph"))?;
        let captured = Self { functions, graph };
        let mut run = || {
            drop(work()?);
            drop(work()?);
            captured.call(functions.begin)?;
            let result = work();
            // A capture is ended in any case; what broke it off is told first.
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

/// Opens the library, after libtorch's CUDA part.
fn functions() -> Result<&'static Functions> {
    static FUNCTIONS: OnceLock<Result<Functions, String>> = OnceLock::new();
    let opened = FUNCTIONS.get_or_init(|| open().map_err(|why| format!("CUDA graphs can't be used: {why}")));
    opened.as_ref().map_err(|why| TorchError::new(why))
}

fn open() -> Result<Functions, String> {
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
        Ok(Functions {
            enter: std::mem::transmute::<*mut c_void, Enter>(symbol(c"graph_enter")?),
            begin: of_graph(c"graph_begin")?,
            end: of_graph(c"graph_end")?,
            leave: of_graph(c"graph_leave")?,
            replay: of_graph(c"graph_replay")?,
            free: std::mem::transmute::<*mut c_void, Free>(symbol(c"graph_free")?),
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
                assert!(!cuda_part_is_there && why.contains("CUDA graphs can't be used"), "{why}");
                assert!(why.contains("undefined symbol") && !why.contains('\n'), "{why}");
            }
        }
    }
}
