//! The model of a check: a tiny checkpoint of seeded weights, in a temporary folder.

use std::path::PathBuf;

use llama::{LlamaConfig, Weights, write_checkpoint};
use protocol::{ModelSource, Precision};
use serde_json::json;

use crate::Model;

/// A checkpoint that is removed with this value.
pub(super) struct TinyModel {
    dir: PathBuf,
    pub(super) model: Model,
}

impl TinyModel {
    /// Writes the checkpoint.
    ///
    /// # Errors
    /// A description, where the temporary folder can't be written.
    pub(super) fn write(precision: Precision) -> Result<Self, String> {
        let config = json!({
            "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu",
            "vocab_size": 256, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2,
            "num_attention_heads": 8, "num_key_value_heads": 2, "max_position_embeddings": 256,
        });
        let config = LlamaConfig::from_json(&config, "the tiny model").map_err(|error| error.to_string())?;
        let dir = std::env::temp_dir().join(format!("llama2-bench-check-{}", std::process::id()));
        std::fs::create_dir(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
        let source = ModelSource::Checkpoint { dir: dir.clone() };
        let tiny = Self { dir, model: Model { name: "tiny".into(), source, config } };
        write_checkpoint(&Weights::seeded(tiny.model.config.clone(), 0), precision, &tiny.dir)
            .map_err(|error| error.to_string())?;
        Ok(tiny)
    }
}

impl Drop for TinyModel {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}
