//! The machine that measures: its processor, memory and GPUs, its native runtimes, and what the kernel killed on it. Linux.

mod available_memory;
mod environment;
pub mod gpu;
mod load;
mod memory_bandwidth;
mod oom_kills;
mod processor;
mod runtime;

pub use available_memory::available_memory;
pub use environment::{cpu_model, machine_id, memory_bytes, read_environment, utc_now};
pub use load::{BusyProcess, LoadWatch, OthersUse, watch_others};
pub use memory_bandwidth::MemoryReader;
pub use oom_kills::OomKills;
pub use runtime::{
    NativeLibrary, RUNTIME_VARIABLE, checkout_runtime, native_libraries, onnxruntime, runtime_dir,
    set_up_command, set_up_cuda_command,
};
