//! LLaMA on libtorch: `pytorch-eager` calls its operators one by one (`model.rs`), `pytorch-compile` has them compiled
//! as TorchScript (`script.py`). Both compute what HF's `LlamaForCausalLM` does, and share weights, cache and driver.

mod ceilings;
mod engine;
mod error;
mod kv_cache;
mod model;
mod options;
mod runtime;
mod script;
mod shim;
mod weights;

pub use engine::{Torch, TorchEngine};
