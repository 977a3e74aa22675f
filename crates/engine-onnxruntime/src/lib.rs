//! LLaMA on ONNX Runtime: the engine `onnxruntime`, and the export of its graph.
//!
//! `graph` builds the model as ONNX (`onnx` is the file format); `fused` says which products are one. `initializers` gives it
//! the weights' bytes, and `session` has ONNX Runtime (`library`) optimise it for a device. `model` puts that together;
//! `interface` says what a session is fed, whether its graph was built here or read from a file. A `cell` drives it: `kv_cache`
//! holds the keys and values, `select` chooses the tokens.

mod all_reduce;
mod cache_layout;
mod cell;
mod cuda;
mod engine;
mod export;
mod fused;
mod graph;
mod graph_inputs;
mod initializers;
mod interface;
mod kv_cache;
mod library;
mod memory;
mod model;
mod onnx;
mod options;
mod peaks;
mod quantized;
mod rotary;
mod select;
mod session;

pub use engine::OnnxRuntime;
pub use export::Export;
