//! What `libllama2_bench_mpi.so` offers: a table of C functions. Both sides are built from this file.

use std::ffi::{c_char, c_int, c_void};

/// The name of the library's one symbol, a [`GetTable`].
pub const SYMBOL: &[u8] = b"llama2_bench_mpi";
/// The version of [`MpiFunctions`].
pub const VERSION: u32 = 1;

/// The type of the symbol.
pub type GetTable = unsafe extern "C" fn() -> *const MpiFunctions;

/// A rank's place among the others.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WorldPosition {
    /// Which rank, from 0.
    pub rank: usize,
    /// How many there are.
    pub size: usize,
    /// Its number among the ranks on this machine, from 0.
    pub local_rank: usize,
    /// How many are on this machine.
    pub local_size: usize,
}

/// The functions. All but `abort` are called by one thread at a time.
#[repr(C)]
pub struct MpiFunctions {
    /// [`VERSION`].
    pub version: u32,
    /// Starts MPI; 0, or an error of MPI.
    pub start: unsafe extern "C" fn(place: *mut WorldPosition) -> c_int,
    /// Writes MPI's account of itself, ended by a 0, into `len` bytes.
    pub describe: unsafe extern "C" fn(text: *mut c_char, len: usize),
    /// Sums `len` numbers over all ranks, in place.
    pub all_reduce_f32: unsafe extern "C" fn(numbers: *mut f32, len: usize) -> c_int,
    /// Waits for all ranks, spinning.
    pub barrier: unsafe extern "C" fn() -> c_int,
    /// Gives every rank rank 0's bytes; waits without spinning.
    pub broadcast: unsafe extern "C" fn(bytes: *mut c_void, len: usize) -> c_int,
    /// Gives every rank all ranks' `len` bytes. Returns [`LATE`] where not all ranks came within the given seconds; a negative
    /// number waits for ever. After `LATE` only `abort` may be called.
    pub all_gather:
        unsafe extern "C" fn(mine: *const c_void, all: *mut c_void, len: usize, seconds: f64) -> c_int,
    /// Shuts MPI down cleanly.
    pub finish: unsafe extern "C" fn(),
    /// Ends every rank.
    pub abort: unsafe extern "C" fn(code: c_int),
}

/// Not all ranks came in time.
pub const LATE: c_int = -1;
