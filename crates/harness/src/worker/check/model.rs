//! The model of a check: a tiny checkpoint of seeded weights, in a temporary folder.

use llama::{LlamaConfig, Weights, write_checkpoint};
use protocol::{ModelSource, Precision};
use serde_json::json;
use tempfile::TempDir;

use crate::Model;

/// A checkpoint that is removed with this value.
pub(super) struct TinyModel {
    _dir: TempDir,
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
        let dir = tempfile::Builder::new().prefix("llama2-bench-check-").tempdir();
        let dir = dir.map_err(|error| format!("the temporary folder: {error}"))?;
        let weights = Weights::seeded(config.clone(), 0).in_precision(precision);
        write_checkpoint(&weights.map_err(|error| error.to_string())?, precision, dir.path())
            .map_err(|error| error.to_string())?;
        let source = ModelSource::Checkpoint { dir: dir.path().to_path_buf() };
        Ok(Self {
            _dir: dir,
            model: Model { name: "tiny".into(), label: "tiny".into(), source, config, precision },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_model_has_a_folder_of_its_own() {
        let models = [(); 2].map(|()| TinyModel::write(Precision::Fp32).unwrap());
        assert_ne!(models[0].model.source, models[1].model.source);
    }
}
