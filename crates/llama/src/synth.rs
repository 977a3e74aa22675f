//! Writes a checkpoint of seeded weights in HF's format, so that any other program can load the same model.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;

use protocol::{Dtype, Precision};
use safetensors::View;

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

/// A tensor of the file. Its bytes are made when its turn to be written comes.
struct Lazy<'a> {
    weights: &'a Weights,
    spec: WeightSpec,
    part: Part,
    shape: Vec<usize>,
}

/// What of a weight a tensor holds.
#[derive(Clone, Copy)]
enum Part {
    Numbers(Dtype),
    /// The codes of a quantized one, in 32-bit words.
    Packed,
    Scales,
    /// `[out, in]`, which the words do not say.
    Shape,
}

impl Lazy<'_> {
    fn bytes(&self) -> Vec<u8> {
        match self.part {
            Part::Numbers(dtype) => self.weights.get(&self.spec, dtype).bytes().to_vec(),
            Part::Packed => self.weights.quantized(&self.spec).packed.bytes().to_vec(),
            Part::Scales => self
                .weights
                .quantized(&self.spec)
                .scales
                .iter()
                .flat_map(|scale| scale.to_le_bytes())
                .collect(),
            Part::Shape => self.spec.shape.iter().flat_map(|&size| (size as i64).to_le_bytes()).collect(),
        }
    }
}

impl View for Lazy<'_> {
    fn dtype(&self) -> safetensors::Dtype {
        match self.part {
            Part::Numbers(Dtype::Fp32) => safetensors::Dtype::F32,
            Part::Numbers(Dtype::Fp16) | Part::Scales => safetensors::Dtype::F16,
            Part::Numbers(Dtype::Bf16) => safetensors::Dtype::BF16,
            Part::Packed => safetensors::Dtype::I32,
            Part::Shape => safetensors::Dtype::I64,
        }
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Owned(self.bytes())
    }

    fn data_len(&self) -> usize {
        self.shape.iter().product::<usize>() * self.dtype().bitsize() / 8
    }
}

/// The tensors of the weight `spec`, with their names.
fn tensors<'a>(weights: &'a Weights, spec: &WeightSpec, dtype: Dtype) -> Vec<(String, Lazy<'a>)> {
    let lazy =
        |name: String, part, shape: Vec<usize>| (name, Lazy { weights, spec: spec.clone(), part, shape });
    let Some(quantization) = weights.quantization().filter(|_| spec.is_projection()) else {
        return vec![lazy(spec.name.clone(), Part::Numbers(dtype), spec.shape.clone())];
    };
    let (rows, inputs) = (spec.shape[0], spec.shape[1]);
    let words = inputs * quantization.bits as usize / 32;
    vec![
        lazy(format!("{}_packed", spec.name), Part::Packed, vec![rows, words]),
        lazy(
            format!("{}_scale", spec.name),
            Part::Scales,
            vec![rows, inputs / quantization.group_of(inputs)],
        ),
        lazy(format!("{}_shape", spec.name), Part::Shape, vec![2]),
    ]
}

/// Writes `config.json` and `model.safetensors` into `dir`, which is created: the weights in `precision`, quantized below 16 bits
/// as compressed-tensors stores them. One weight is in memory at a time; each file appears whole, under its name, or not at all.
///
/// # Errors
/// Where a file can't be written.
///
/// # Panics
/// Where the weights are not [`Weights::in_precision`] of `precision`, if that or theirs is below 16 bits.
pub fn write_checkpoint(weights: &Weights, precision: Precision, dir: &Path) -> Result<(), SynthError> {
    assert_eq!(weights.quantization(), precision.quantization(), "weights in {precision}");
    let write = |path: &Path, error| SynthError::Write { path: path.into(), error };
    std::fs::create_dir_all(dir).map_err(|error| write(dir, error))?;

    let path = dir.join("model.safetensors");
    let file = NewFile::beside(&path).map_err(|error| write(&path, error))?;
    let views = weights.specs().into_iter().flat_map(|spec| tensors(weights, &spec, precision.unquantized()));
    // transformers refuses a file without this entry.
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    safetensors::serialize_to_file(views, Some(metadata), file.partial_path())
        .map_err(|error| SynthError::Format { path: path.clone(), why: error.to_string() })?;
    write_config(weights.config(), precision, &dir.join("config.json"))?;
    file.keep().map_err(|error| write(&path, error))
}

fn write_config(config: &LlamaConfig, precision: Precision, path: &Path) -> Result<(), SynthError> {
    let quantization = Some(precision).filter(|precision| precision.quantization().is_some());
    let mut json = LlamaConfig { quantization, ..config.clone() }.to_json();
    json["torch_dtype"] = match precision.unquantized() {
        Dtype::Fp32 => "float32",
        Dtype::Fp16 => "float16",
        Dtype::Bf16 => "bfloat16",
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
                let dtype = precision.unquantized();
                assert_eq!(stored.get(&spec, dtype).bytes(), seeded().get(&spec, dtype).bytes());
            }
        }
    }

    /// A config whose projections have whole groups.
    fn quantizable() -> Weights {
        let config = json!({
            "vocab_size": 32, "hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 2,
            "num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 64,
        });
        Weights::open(&ModelSource::Seeded { config, seed: 3 }).unwrap()
    }

    #[test]
    fn quantized_weights_read_back_as_they_are_made_and_are_no_larger_than_counted() {
        for precision in Precision::ALL.into_iter().filter(|precision| precision.quantization().is_some()) {
            let dir = tempfile::tempdir().unwrap();
            let made = quantizable().in_precision(precision).unwrap();
            write_checkpoint(&made, precision, dir.path()).unwrap();
            let stored = Weights::checkpoint(dir.path()).unwrap().in_precision(precision).unwrap();
            assert_eq!(stored.config().quantization, Some(precision));
            let mut bytes = 0;
            for spec in stored.specs() {
                if spec.is_projection() {
                    let (stored, made) = (stored.quantized(&spec), made.quantized(&spec));
                    assert!(matches!(stored.packed, crate::PackedCodes::Stored { .. }));
                    assert_eq!(stored.packed.bytes(), made.packed.bytes(), "{}", spec.name);
                    assert_eq!(stored.scales, made.scales, "{}", spec.name);
                    bytes += stored.packed.bytes().len() + 2 * stored.scales.len();
                } else {
                    assert!(stored.is_stored(&spec, Dtype::Fp16));
                    bytes += 2 * spec.len();
                }
                for dtype in [Dtype::Fp32, Dtype::Fp16] {
                    assert_eq!(stored.get(&spec, dtype).bytes(), made.get(&spec, dtype).bytes());
                }
            }
            assert_eq!(bytes as u64, crate::cost::weights_bytes(stored.config(), precision));
            let other = if precision == Precision::Int4 { Precision::Int8 } else { Precision::Int4 };
            for other in [other, Precision::Fp16] {
                let error =
                    Weights::checkpoint(dir.path()).unwrap().in_precision(other).unwrap_err().to_string();
                let expected = format!(
                    "precision {other}: the weights are stored in {precision}: use precision {precision}"
                );
                assert_eq!(error, expected);
            }
        }
    }

    #[test]
    fn a_packed_tensor_of_another_shape_or_type_is_named() {
        let dir = tempfile::tempdir().unwrap();
        write_checkpoint(&quantizable().in_precision(Precision::Int4).unwrap(), Precision::Int4, dir.path())
            .unwrap();
        let path = dir.path().join("config.json");
        let config = std::fs::read_to_string(&path).unwrap();
        let message = |change: &dyn Fn(&mut serde_json::Value)| {
            let mut config = serde_json::from_str(&config).unwrap();
            change(&mut config);
            std::fs::write(&path, config.to_string()).unwrap();
            Weights::checkpoint(dir.path()).unwrap_err().to_string()
        };
        let eight = message(&|config| {
            config["quantization_config"]["config_groups"]["group_0"]["weights"]["num_bits"] = 8.into();
        });
        assert!(
            eight.ends_with(
                "model.safetensors: model.layers.0.self_attn.q_proj.weight_packed: expected an I32 tensor of shape \
                 [128, 32], found I32 of shape [128, 16]"
            ),
            "{eight}"
        );
        let none = message(&|config| config["quantization_config"] = serde_json::Value::Null);
        assert!(
            none.ends_with("found no such tensor, but model.layers.0.self_attn.q_proj.weight_packed"),
            "{none}"
        );
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
