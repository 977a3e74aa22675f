//! LLaMA on libtorch: `pytorch-eager` calls its operators one by one (`model.rs`), `pytorch-compile` has them compiled
//! as TorchScript (`script.py`), `pytorch-cudagraph` replays a captured decode forward (`decode_graph.rs`), `pytorch-aoti` runs
//! what torch's compiler made of the model in Python (`aoti/`). All compute what HF's `LlamaForCausalLM` does, and share weights,
//! cache and driver.

mod aoti;
mod cuda_graph;
mod decode_graph;
mod device_memory;
mod engine;
mod error;
mod kv_cache;
mod linear;
mod model;
mod onednn;
mod options;
mod peaks;
mod quantized;
mod ranks;
mod runtime;
mod script;
mod shim;
mod tensor;
mod weights;

pub use engine::{Torch, TorchEngine};
pub use runtime::check_version;
