//! MPI, by way of `libllama2_bench_mpi.so`; and the sum of numbers in host memory.

use std::ffi::{CStr, c_int};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
use protocol::Dtype;

use crate::abi::{GetTable, LATE, MpiFunctions, SYMBOL, VERSION, WorldPosition};
use crate::error::loader_words;
use crate::{AllReduce, CollectiveError, MPI_LIBRARY_VARIABLE, Numbers, watch};

/// The library's file.
const FILE: &str = "libllama2_bench_mpi.so";

/// Started MPI. There is one in a process.
pub(crate) struct Mpi {
    table: &'static MpiFunctions,
    pub(crate) place: WorldPosition,
}

impl Mpi {
    /// Opens the library and starts MPI.
    pub(crate) fn start() -> Result<Self, CollectiveError> {
        let path = find()?;
        let table = open(&path).map_err(|why| {
            CollectiveError::new(format_args!("{}: {}", path.display(), loader_words(&why)))
        })?;
        if table.version != VERSION {
            let (path, found) = (path.display(), table.version);
            return Err(CollectiveError::new(format_args!(
                "{path}: of another build (version {found}, expected {VERSION}): run `make build`"
            )));
        }
        let mut place = WorldPosition::default();
        // SAFETY: the table's promise; `place` is valid for the duration of the call.
        check("starting MPI", unsafe { (table.start)(&raw mut place) })?;
        Ok(Self { table, place })
    }

    /// MPI's own words on what it is.
    pub(crate) fn describe(&self) -> String {
        let mut text = [0u8; 8192];
        // SAFETY: the text is valid for its length, and the function ends it within.
        unsafe {
            (self.table.describe)(text.as_mut_ptr().cast(), text.len());
            CStr::from_ptr(text.as_ptr().cast()).to_string_lossy().into_owned()
        }
    }

    pub(crate) fn barrier(&self) -> Result<(), CollectiveError> {
        let _waiting = watch::wait();
        // SAFETY: MPI is started.
        check("waiting for all ranks", unsafe { (self.table.barrier)() })
    }

    /// Gives every rank rank 0's bytes; all ranks pass the same length.
    pub(crate) fn broadcast(&self, bytes: &mut [u8]) -> Result<(), CollectiveError> {
        let _waiting = watch::wait();
        // SAFETY: MPI is started; the bytes are valid and borrowed for the duration of the call.
        check("a broadcast", unsafe { (self.table.broadcast)(bytes.as_mut_ptr().cast(), bytes.len()) })
    }

    /// All ranks' bytes, one rank after the other; `None` where not all came within `limit`.
    pub(crate) fn all_gather(
        &self,
        mine: &[u8],
        limit: Option<Duration>,
    ) -> Result<Option<Vec<u8>>, CollectiveError> {
        let _waiting = watch::wait();
        let seconds = limit.map_or(-1.0, |limit| limit.as_secs_f64());
        // MPI goes on writing where this gives up: then the memory is never freed.
        let mine: &'static [u8] = Box::leak(mine.into());
        let mut all = vec![0u8; mine.len() * self.place.size];
        // SAFETY: MPI is started; both lengths are what the function expects, and both live until it has ended, or for ever.
        let code = unsafe {
            (self.table.all_gather)(mine.as_ptr().cast(), all.as_mut_ptr().cast(), mine.len(), seconds)
        };
        if code == LATE {
            std::mem::forget(all);
            return Ok(None);
        }
        check("a gathering", code).map(|()| Some(all))
    }

    pub(crate) fn abort(&self) {
        // SAFETY: any thread may, at any time.
        unsafe { (self.table.abort)(1) };
    }

    pub(crate) fn finish(&self) {
        // SAFETY: MPI is started, and nothing of it is used after this.
        unsafe { (self.table.finish)() };
    }

    fn all_reduce(&self, numbers: &mut [f32]) -> Result<(), CollectiveError> {
        // SAFETY: MPI is started; the numbers are borrowed for the duration of the call.
        check("an all-reduce", unsafe { (self.table.all_reduce_f32)(numbers.as_mut_ptr(), numbers.len()) })
    }
}

/// The sum of numbers in host memory. FP16 and BF16, which MPI does not know, are summed in FP32 and rounded once.
pub(crate) struct HostAllReduce {
    mpi: Arc<Mpi>,
    widened: Mutex<Vec<f32>>,
}

impl HostAllReduce {
    pub(crate) fn new(mpi: Arc<Mpi>) -> Self {
        Self { mpi, widened: Mutex::default() }
    }
}

impl AllReduce for HostAllReduce {
    unsafe fn all_reduce(&self, numbers: Numbers) -> Result<(), CollectiveError> {
        let Numbers { terms, sums, len, dtype, .. } = numbers;
        if !std::ptr::eq(terms, sums) {
            // SAFETY: the caller promises this length for both, and that they do not overlap.
            unsafe {
                std::ptr::copy_nonoverlapping(
                    terms.cast::<u8>(),
                    sums.cast::<u8>(),
                    numbers.bytes() as usize,
                );
            };
        }
        let start = sums;
        let mut widened = self.widened.lock().unwrap_or_else(PoisonError::into_inner);
        widened.resize(if dtype == Dtype::Fp32 { 0 } else { len }, 0.0);
        // SAFETY: the caller promises that many numbers of this kind, and exclusive use of them.
        unsafe {
            match dtype {
                Dtype::Fp32 => self.mpi.all_reduce(std::slice::from_raw_parts_mut(start.cast(), len)),
                Dtype::Fp16 => {
                    let numbers: &mut [f16] = std::slice::from_raw_parts_mut(start.cast(), len);
                    numbers.convert_to_f32_slice(&mut widened);
                    self.mpi.all_reduce(&mut widened)?;
                    numbers.convert_from_f32_slice(&widened);
                    Ok(())
                }
                Dtype::Bf16 => {
                    let numbers: &mut [bf16] = std::slice::from_raw_parts_mut(start.cast(), len);
                    numbers.convert_to_f32_slice(&mut widened);
                    self.mpi.all_reduce(&mut widened)?;
                    numbers.convert_from_f32_slice(&widened);
                    Ok(())
                }
            }
        }
    }
}

fn check(what: &str, code: c_int) -> Result<(), CollectiveError> {
    if code == 0 {
        Ok(())
    } else {
        Err(CollectiveError::new(format_args!("{what}: MPI reports error {code}")))
    }
}

/// The library beside this program, or where a test's program lies, in the folder above.
fn find() -> Result<PathBuf, CollectiveError> {
    if let Some(path) = std::env::var_os(MPI_LIBRARY_VARIABLE) {
        return Ok(path.into());
    }
    let program = std::env::current_exe().unwrap_or_default();
    let found =
        program.ancestors().skip(1).take(2).map(|folder| folder.join(FILE)).find(|path| path.is_file());
    found.ok_or_else(|| {
        CollectiveError::new(format_args!(
            "no {FILE} beside {}: `make build` in a clone makes it where mpicc is installed (Debian: apt-get install \
             libopenmpi-dev libclang-dev)",
            program.display()
        ))
    })
}

/// Opens the library for good. Global, for Open MPI opens components that look for its symbols.
fn open(path: &Path) -> Result<&'static MpiFunctions, libloading::Error> {
    // SAFETY: the library's initialisers are MPI's, which may run at any time; the symbol is what `abi` says, the table it
    // returns is static, and the library is never closed.
    unsafe {
        let library = Library::open(Some(path), RTLD_NOW | RTLD_GLOBAL)?;
        let get_table = *library.get::<GetTable>(SYMBOL)?;
        std::mem::forget(library);
        Ok(&*get_table())
    }
}
