//! NVIDIA's driver: its facts about a GPU, and a watch over the GPU while a cell is measured.
//!
//! [`Driver`] is all that is needed of NVIDIA's management library; [`Nvml`] is the library itself. [`nvml_index`] finds the
//! GPU that a sweep calls `cuda:N`, [`Monitor`] watches it, [`memory_left`] tells whether a worker gave its memory back.
//! A missing driver, or a figure that it does not report, is no error of a run: the figures are absent.

mod cuda;
mod driver;
mod gpus;
mod memory;
mod monitor;
mod nvml;
mod recorder;
mod visible;

/// Has CUDA count GPUs as NVML does, in the order of the PCI bus.
pub const DEVICE_ORDER: (&str, &str) = ("CUDA_DEVICE_ORDER", "PCI_BUS_ID");

/// Which GPUs CUDA shows.
pub const VISIBLE_DEVICES: &str = "CUDA_VISIBLE_DEVICES";

pub use cuda::{CudaDriver, CudaError, CudaResultCode, GetErrorString, check_cuda};
pub use driver::{ClockError, Driver, GpuProcess, Sample, others, words};
pub use gpus::{GpuWatch, Gpus};
pub use memory::memory_left;
pub use monitor::Monitor;
pub use nvml::{Absent, Nvml};
pub use visible::{NotVisible, nvml_index};
