//! Writes a checkpoint of seeded weights in HF's format, so that any other program can load the same model.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;

use protocol::Precision;
use safetensors::{Dtype, View};

use crate::{LlamaConfig, NewFile, WeightSpec, Weights, write_whole};

/// A checkpoint that can't be written.
#[derive(Debug, thiserror::Error)]
pub enum SynthError {
    /// A file can't be written.
    #[error("{path}: {error}")]
    Write {
        /// The file.
        path: std::path::PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// The safetensors writer refused.
    #[error("{path}: {why}")]
    Format {
        /// The file.
        path: std::path::PathBuf,
        /// Its words.
        why: String,
    },
}

/// A weight that is made when its turn to be written comes.
struct Lazy<'a> {
    weights: &'a Weights,
    spec: WeightSpec,
    precision: Precision,
}

impl View for Lazy<'_> {
    fn dtype(&self) -> Dtype {
        match self.precision {
            Precision::Fp32 => Dtype::F32,
            Precision::Fp16 => Dtype::F16,
            Precision::Bf16 => Dtype::BF16,
        }
    }

    fn shape(&self) -> &[usize] {
        &self.spec.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Owned(self.weights.get(&self.spec, self.precision).bytes().to_vec())
    }

    fn data_len(&self) -> usize {
        self.spec.len() * self.precision.bytes() as usize
    }
}

/// Writes `config.json` and `model.safetensors` into `dir`, which is created. One weight is in memory at a
/// time; each file appears whole, under its name, or not at all.
pub fn write_checkpoint(weights: &Weights, precision: Precision, dir: &Path) -> Result<(), SynthError> {
    let write = |path: &Path, error| SynthError::Write { path: path.into(), error };
    std::fs::create_dir_all(dir).map_err(|error| write(dir, error))?;

    let path = dir.join("model.safetensors");
    let file = NewFile::beside(&path).map_err(|error| write(&path, error))?;
    let views =
        weights.specs().into_iter().map(|spec| (spec.name.clone(), Lazy { weights, spec, precision }));
    // transformers refuses a file without this entry.
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    safetensors::serialize_to_file(views, Some(metadata), file.partial_path())
        .map_err(|error| SynthError::Format { path: path.clone(), why: error.to_string() })?;
    write_config(weights.config(), precision, &dir.join("config.json"))?;
    file.keep().map_err(|error| write(&path, error))
}

fn write_config(config: &LlamaConfig, precision: Precision, path: &Path) -> Result<(), SynthError> {
    let mut json = config.to_json();
    json["torch_dtype"] = match precision {
        Precision::Fp32 => "float32",
        Precision::Fp16 => "float16",
        Precision::Bf16 => "bfloat16",
    }
    .into();
    let text = format!("{json:#}\n");
    write_whole(path, text.as_bytes()).map_err(|error| SynthError::Write { path: path.into(), error })
}

#[cfg(test)]
mod tests {
    use protocol::ModelSource;
    use serde_json::json;

    use super::*;

    fn seeded() -> Weights {
        let config = json!({
            "vocab_size": 32, "hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 2,
            "num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 64,
        });
        Weights::open(&ModelSource::Seeded { config, seed: 3 }).unwrap()
    }

    #[test]
    fn a_written_checkpoint_reads_back_as_the_seeded_weights() {
        let dir = tempfile::tempdir().unwrap();
        for precision in [Precision::Fp32, Precision::Fp16, Precision::Bf16] {
            write_checkpoint(&seeded(), precision, dir.path()).unwrap();
            let stored = Weights::checkpoint(dir.path()).unwrap();
            assert_eq!(stored.config(), seeded().config());
            for spec in stored.specs() {
                assert_eq!(stored.get(&spec, precision).bytes(), seeded().get(&spec, precision).bytes());
            }
        }
    }

    #[test]
    fn damage_is_named() {
        let dir = tempfile::tempdir().unwrap();
        write_checkpoint(&seeded(), Precision::Fp32, dir.path()).unwrap();
        let path = dir.path().join("model.safetensors");
        let whole = std::fs::read(&path).unwrap();
        let message = || Weights::checkpoint(dir.path()).unwrap_err().to_string();

        std::fs::write(&path, &whole[..whole.len() - 4]).unwrap();
        assert!(message().contains("model.safetensors: not a whole safetensors file"), "{}", message());
        std::fs::write(&path, &whole[..4]).unwrap();
        assert!(message().contains("not a whole safetensors file"), "{}", message());
        let mut hostile = whole.clone();
        hostile[..8].copy_from_slice(&u64::MAX.to_le_bytes());
        std::fs::write(&path, hostile).unwrap();
        assert!(message().contains("not a whole safetensors file"), "{}", message());

        std::fs::write(&path, &whole).unwrap();
        let mut config = seeded().config().to_json();
        config["intermediate_size"] = json!(16);
        std::fs::write(dir.path().join("config.json"), config.to_string()).unwrap();
        assert!(
            message().ends_with(
                "model.safetensors: model.layers.0.mlp.gate_proj.weight: \
                 expected a float tensor of shape [16, 8], found shape [12, 8]"
            ),
            "{}",
            message()
        );
        config["intermediate_size"] = json!(12);
        config["num_hidden_layers"] = json!(3);
        std::fs::write(dir.path().join("config.json"), config.to_string()).unwrap();
        assert!(
            message().contains("model.layers.2.input_layernorm.weight")
                && message().ends_with("found no such tensor")
        );
    }

    #[test]
    fn an_index_cannot_lead_out_of_the_folder() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("config.json"), seeded().config().to_json().to_string()).unwrap();
        let index = json!({"weight_map": {"model.norm.weight": "../../etc/passwd"}});
        std::fs::write(dir.path().join("model.safetensors.index.json"), index.to_string()).unwrap();
        let message = Weights::checkpoint(dir.path()).unwrap_err().to_string();
        assert!(message.contains("expected the name of a file in this folder"), "{message}");
    }
}
