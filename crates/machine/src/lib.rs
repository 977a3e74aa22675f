//! The machine that measures: its processor, memory and GPUs, and what the kernel killed on it. Linux.

mod available_memory;
mod environment;
pub mod gpu;
mod memory_bandwidth;
mod oom_kills;

pub use available_memory::available_memory;
pub use environment::{memory_bytes, read_environment};
pub use memory_bandwidth::Reader;
pub use oom_kills::OomKills;
