//! LLaMA models, independent of the engine that runs them.
//!
//! [`LlamaConfig`] is HF's `config.json`; [`weight_specs`] names the weights and their shapes; [`Weights`]
//! gives each weight's values in the number format asked for, quantized or not, from a [`Checkpoint`] or made from a seed, all of them or one rank's
//! part ([`TensorParallel`]);
//! [`cost`] counts parameters, bytes and floating-point operations exactly, from the config.

mod checkpoint;
mod config;
pub mod cost;
mod files;
mod fingerprint;
mod json;
mod named;
mod names;
pub mod prompt;
mod quantize;
mod rope;
mod seeded;
mod shard;
mod synth;
mod weights;
mod write;

pub use checkpoint::{
    Checkpoint, CheckpointError, ONNX_FILE, Shard, StoredBytes, StoredTensor, TOKENIZER_FILES,
};
pub use config::{ConfigError, LlamaConfig};
pub use files::{
    LARGEST_CONFIG, LARGEST_INDEX, LARGEST_SETTINGS, LARGEST_TABLES, LFS_POINTER, is_lfs_pointer,
    open_regular, read_text, read_text_up_to, sha256_hex, sha256_of_file, sha256_of_tree,
};
pub use fingerprint::{fingerprint, model_files};
pub use json::{from_python_json, to_python_json};
pub use named::NAMED_MODELS;
pub use names::{EMBED_TOKENS, FINAL_NORM, LM_HEAD};
pub use names::{LayerNames, WeightKind, WeightSpec, weight_specs};
pub use quantize::{QuantizedValues, check_groups};
pub use rope::RopeScaling;
pub use shard::{TensorParallel, WeightPart, WorldSizeError};
pub use synth::{SynthError, write_checkpoint};
pub use weights::{PackedCodes, QuantizedWeight, Values, Weight, WeightData, Weights};
pub use write::{NewFile, write_whole};
