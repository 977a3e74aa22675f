//! The table's functions, over rsmpi. Errors of MPI end all ranks, as MPI does by itself.

use std::cell::RefCell;
use std::ffi::{c_char, c_int, c_void};
use std::slice::{from_raw_parts, from_raw_parts_mut};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use collective::abi::{LATE, MpiFunctions, VERSION, WorldPosition};
use mpi::Threading;
use mpi::collective::SystemOperation;
use mpi::environment::Universe;
use mpi::request::{Request, StaticScope};
use mpi::topology::SimpleCommunicator;
use mpi::traits::{Communicator, CommunicatorCollectives, Root};

/// The sleep between two checks of a thread that waits for long.
const NAP: Duration = Duration::from_micros(200);
/// Numbers summed at once: their second buffer fits into a cache, and MPI counts in `int`.
const CHUNK: usize = 1 << 18;

static TABLE: MpiFunctions = MpiFunctions {
    version: VERSION,
    start,
    describe,
    all_reduce_f32,
    barrier,
    broadcast,
    all_gather,
    finish,
    abort,
};

static UNIVERSE: Mutex<Option<Alive>> = Mutex::new(None);
static RANKS: OnceLock<MpiCommunicators> = OnceLock::new();

/// MPI, until it is dropped.
struct Alive(#[expect(dead_code, reason = "held for its end")] Universe);

/// Two communicators of all ranks: messages between forwards must not mix with the sums of a rank that is still in one.
struct MpiCommunicators {
    sums: SimpleCommunicator,
    control: SimpleCommunicator,
}

// SAFETY: MPI is started for calls of any thread, one at a time, and the table's callers promise that.
unsafe impl Send for Alive {}
// SAFETY: as above.
unsafe impl Send for MpiCommunicators {}
// SAFETY: as above.
unsafe impl Sync for MpiCommunicators {}

/// The library's one symbol.
#[unsafe(no_mangle)]
extern "C" fn llama2_bench_mpi() -> *const MpiFunctions {
    &raw const TABLE
}

fn ranks() -> &'static MpiCommunicators {
    RANKS.get().expect("MPI is started")
}

unsafe extern "C" fn start(place: *mut WorldPosition) -> c_int {
    let Some((universe, threading)) = mpi::initialize_with_threading(Threading::Serialized) else { return 1 };
    if threading < Threading::Serialized {
        return 2;
    }
    let world = universe.world();
    let local = world.split_shared(world.rank());
    let count = |number: c_int| usize::try_from(number).unwrap_or(0);
    // SAFETY: the caller's promise.
    unsafe {
        *place = WorldPosition {
            rank: count(world.rank()),
            size: count(world.size()),
            local_rank: count(local.rank()),
            local_size: count(local.size()),
        };
    }
    let _ = RANKS.set(MpiCommunicators { sums: world.duplicate(), control: world.duplicate() });
    *UNIVERSE.lock().unwrap_or_else(PoisonError::into_inner) = Some(Alive(universe));
    0
}

unsafe extern "C" fn describe(text: *mut c_char, len: usize) {
    let version = mpi::environment::library_version().unwrap_or_default();
    // SAFETY: the caller's promise.
    let text = unsafe { from_raw_parts_mut(text.cast::<u8>(), len) };
    let version = version.trim_end_matches('\0').as_bytes();
    let kept = version.len().min(len.saturating_sub(1));
    text[..kept].copy_from_slice(&version[..kept]);
    text[kept..].fill(0);
}

unsafe extern "C" fn all_reduce_f32(numbers: *mut f32, len: usize) -> c_int {
    thread_local! {
        static TERMS: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
    }
    // SAFETY: the caller's promise.
    let numbers = unsafe { from_raw_parts_mut(numbers, len) };
    TERMS.with_borrow_mut(|terms| {
        for sums in numbers.chunks_mut(CHUNK) {
            terms.clear();
            terms.extend_from_slice(sums);
            ranks().sums.all_reduce_into(&terms[..], sums, SystemOperation::sum());
        }
    });
    0
}

unsafe extern "C" fn barrier() -> c_int {
    ranks().sums.barrier();
    0
}

unsafe extern "C" fn broadcast(bytes: *mut c_void, len: usize) -> c_int {
    // SAFETY: the caller's promise; the request is waited for here.
    let bytes: &'static mut [u8] = unsafe { from_raw_parts_mut(bytes.cast(), len) };
    let root = ranks().control.process_at_rank(0);
    let done = wait(root.immediate_broadcast_into(StaticScope, bytes), None);
    c_int::from(!done)
}

unsafe extern "C" fn all_gather(mine: *const c_void, all: *mut c_void, len: usize, seconds: f64) -> c_int {
    let limit = (seconds >= 0.0).then(|| Duration::from_secs_f64(seconds));
    let size = usize::try_from(ranks().control.size()).unwrap_or(0);
    // SAFETY: the caller's promise: both stay until the request is done, or for ever.
    let (mine, all): (&'static [u8], &'static mut [u8]) =
        unsafe { (from_raw_parts(mine.cast(), len), from_raw_parts_mut(all.cast(), len * size)) };
    let request = ranks().control.immediate_all_gather_into(StaticScope, mine, all);
    if wait(request, limit) { 0 } else { LATE }
}

/// Waits for `request` without spinning; whether it was done within `limit`. What was not is left to itself.
fn wait<D: ?Sized>(mut request: Request<'static, D, StaticScope>, limit: Option<Duration>) -> bool {
    let start = Instant::now();
    loop {
        match request.test() {
            Ok(_) => return true,
            Err(again) => request = again,
        }
        if limit.is_some_and(|limit| start.elapsed() > limit) {
            std::mem::forget(request);
            return false;
        }
        std::thread::sleep(NAP);
    }
}

unsafe extern "C" fn finish() {
    // The communicators are freed by the end of MPI.
    drop(UNIVERSE.lock().unwrap_or_else(PoisonError::into_inner).take());
}

unsafe extern "C" fn abort(code: c_int) {
    ranks().control.abort(code);
}
