//! NCCL, opened when a world on GPUs is joined: the sum of numbers in the GPUs' memory.
//!
//! Signatures and numbers are those of NCCL's `nccl.h`, 2.x: <https://docs.nvidia.com/deeplearning/nccl/user-guide/docs/api.html>.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::path::PathBuf;
use std::ptr::null_mut;

use libloading::os::unix::{Library, Symbol};
use protocol::Dtype;

use crate::cuda::CollectiveCudaDriver;
use crate::error::loader_words;
use crate::mpi::Mpi;
use crate::{AllReduce, CollectiveError, Numbers};

const FILE: &str = "libnccl.so.2";
const SUM: c_int = 0;

type NcclResultCode = c_int;
type Comm = *mut c_void;

/// `ncclUniqueId`.
#[repr(C)]
#[derive(Clone, Copy)]
struct UniqueId([u8; 128]);

struct NcclFunctions {
    get_unique_id: Symbol<unsafe extern "C" fn(*mut UniqueId) -> NcclResultCode>,
    comm_init_rank: Symbol<unsafe extern "C" fn(*mut Comm, c_int, UniqueId, c_int) -> NcclResultCode>,
    comm_abort: Symbol<unsafe extern "C" fn(Comm) -> NcclResultCode>,
    all_reduce: Symbol<
        unsafe extern "C" fn(
            *const c_void,
            *mut c_void,
            usize,
            c_int,
            c_int,
            Comm,
            *mut c_void,
        ) -> NcclResultCode,
    >,
    error_string: Symbol<unsafe extern "C" fn(NcclResultCode) -> *const c_char>,
    last_error: Symbol<unsafe extern "C" fn(Comm) -> *const c_char>,
}

/// One rank's end of NCCL's communicator.
pub(crate) struct Nccl {
    functions: NcclFunctions,
    comm: Comm,
}

// SAFETY: NCCL lets any thread use a communicator, one at a time; a forward has one thread, and the trait's callers are
// forwards.
unsafe impl Send for Nccl {}
// SAFETY: as above.
unsafe impl Sync for Nccl {}

impl Nccl {
    /// Joins all ranks of `mpi`, each with its own GPU, `gpu` for this one. All call this together.
    pub(crate) fn join(mpi: &Mpi, driver: &CollectiveCudaDriver, gpu: u32) -> Result<Self, CollectiveError> {
        let functions = NcclFunctions::open()?;
        driver.make_current(gpu)?;
        let mut id = UniqueId([0; 128]);
        if mpi.place.rank == 0 {
            // SAFETY: `id` is valid for the duration of the call.
            let code = unsafe { (functions.get_unique_id)(&raw mut id) };
            functions.check("ncclGetUniqueId", null_mut(), code)?;
        }
        mpi.broadcast(&mut id.0)?;
        let mut comm = null_mut();
        let [size, rank] = [mpi.place.size, mpi.place.rank].map(|number| number as c_int);
        // SAFETY: `comm` is valid for the duration of the call; `id` is rank 0's.
        let code = unsafe { (functions.comm_init_rank)(&raw mut comm, size, id, rank) };
        functions.check("ncclCommInitRank", null_mut(), code)?;
        Ok(Self { functions, comm })
    }
}

impl Drop for Nccl {
    fn drop(&mut self) {
        // Not `ncclCommDestroy`, which waits for ranks that may be gone.
        // SAFETY: the communicator is this one's, and nothing uses it after this.
        unsafe { (self.functions.comm_abort)(self.comm) };
    }
}

impl AllReduce for Nccl {
    unsafe fn all_reduce(&self, numbers: Numbers) -> Result<(), CollectiveError> {
        let Numbers { terms, sums, len, dtype, stream } = numbers;
        let kind = data_type(dtype);
        // SAFETY: the caller's promise for the numbers and their stream; equal pointers mean in place.
        let code = unsafe { (self.functions.all_reduce)(terms, sums, len, kind, SUM, self.comm, stream) };
        self.functions.check("ncclAllReduce", self.comm, code)
    }
}

impl NcclFunctions {
    fn open() -> Result<Self, CollectiveError> {
        let library = open(&candidates())?;
        let error = |error: libloading::Error| {
            let why = loader_words(&error);
            CollectiveError::new(format_args!("{FILE}: {why}: NCCL 2.13 or later is needed"))
        };
        // SAFETY: the symbols have the signatures of `nccl.h`; the library is never closed.
        unsafe {
            Ok(Self {
                get_unique_id: library.get(b"ncclGetUniqueId").map_err(error)?,
                comm_init_rank: library.get(b"ncclCommInitRank").map_err(error)?,
                comm_abort: library.get(b"ncclCommAbort").map_err(error)?,
                all_reduce: library.get(b"ncclAllReduce").map_err(error)?,
                error_string: library.get(b"ncclGetErrorString").map_err(error)?,
                last_error: library.get(b"ncclGetLastError").map_err(error)?,
            })
        }
    }

    fn check(&self, what: &str, comm: Comm, code: NcclResultCode) -> Result<(), CollectiveError> {
        if code == 0 {
            return Ok(());
        }
        // SAFETY: both return strings of NCCL's, or null; the last error of no communicator is the thread's.
        let texts = unsafe { [(self.error_string)(code), (self.last_error)(comm)] };
        let owned = |text: *const c_char| {
            if text.is_null() {
                return String::new();
            }
            // SAFETY: a string of NCCL's, which stays until this thread's next call.
            unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
        };
        let [text, detail] = texts.map(owned);
        let detail = detail.split_whitespace().collect::<Vec<_>>().join(" ");
        let colon = if detail.is_empty() { "" } else { ": " };
        Err(CollectiveError::new(format_args!("{what}: NCCL: {text} ({code}){colon}{detail}")))
    }
}

/// `ncclDataType_t`.
fn data_type(dtype: Dtype) -> c_int {
    match dtype {
        Dtype::Fp16 => 6,
        Dtype::Fp32 => 7,
        Dtype::Bf16 => 9,
    }
}

/// Where the library may be: in the runtimes' folder; then wherever the loader looks.
fn candidates() -> Vec<PathBuf> {
    let inside = machine::runtime_dir().map(|runtime| runtime.join("nvidia/nccl/lib").join(FILE));
    inside.filter(|path| path.is_file()).into_iter().chain([FILE.into()]).collect()
}

fn open(paths: &[PathBuf]) -> Result<std::mem::ManuallyDrop<Library>, CollectiveError> {
    let mut first_error = None;
    for path in paths {
        // SAFETY: NCCL's initialisers may run at any time.
        match unsafe { Library::new(path) } {
            Ok(library) => return Ok(std::mem::ManuallyDrop::new(library)),
            Err(error) => {
                first_error.get_or_insert(loader_words(&error));
            }
        }
    }
    let why = first_error.unwrap_or_else(|| "nowhere to look".into());
    Err(CollectiveError::new(format_args!(
        "world_size above 1 on GPUs needs NCCL, which can't be loaded ({why}): run {}",
        machine::set_up_cuda_command()
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_that_is_not_there_or_is_none_is_named_with_what_to_do() {
        let dir = std::env::temp_dir().join(format!("nccl-test-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let broken = dir.join(FILE);
        std::fs::write(&broken, "not a library").unwrap();
        let error = |paths: &[PathBuf]| open(paths).map(|_| ()).unwrap_err().to_string();
        let absent = error(&[dir.join("absent.so")]);
        assert!(
            absent.starts_with("world_size above 1 on GPUs needs NCCL, which can't be loaded ("),
            "{absent}"
        );
        assert!(absent.contains("absent.so: cannot open shared object file"), "{absent}");
        assert!(absent.ends_with("run `make setup` on a machine with an NVIDIA driver"), "{absent}");
        // The first candidate's error: the loader's own search says less.
        let wrong = error(&[broken, dir.join("absent.so")]);
        assert!(wrong.contains("libnccl.so.2: file too short"), "{wrong}");
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn constants_match_nccl() {
        assert_eq!([Dtype::Fp16, Dtype::Fp32, Dtype::Bf16].map(data_type), [6, 7, 9]);
        assert_eq!(size_of::<UniqueId>(), 128);
    }
}
