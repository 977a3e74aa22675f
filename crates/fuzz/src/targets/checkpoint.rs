//! Checkpoints: config, safetensors headers, files and index.

use std::path::Path;

use llama::{Checkpoint, Weights, fingerprint, weight_specs, write_checkpoint};
use proptest::prelude::*;
use protocol::{Dtype, ModelSource, Precision};
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use crate::{CaseResult, FuzzTarget, Sections, folder};

/// The target.
pub const TARGET: FuzzTarget = FuzzTarget { name: "checkpoint", samples, words: WORDS, run };

const WORDS: &str = r#""F32" "F16" "BF16" "U8" "F64" "F4" "dtype" "shape" "data_offsets" "__metadata__"
    "model.norm.weight" "model.norm.bias" "norm.weight" "lm_head.weight" "model.embed_tokens.weight" "tie_word_embeddings" true [0,0] [4,0] [0,18446744073709551615] [4611686018427387904,4] "weight_map"
    "model.safetensors" "../model.safetensors" "/etc/hostname" "a\u0000b" "." "one" "config.json""#;

/// A safetensors file.
struct SampleShard {
    header: Vec<u8>,
    data_length: usize,
}

impl SampleShard {
    fn bytes(&self) -> Vec<u8> {
        [&(self.header.len() as u64).to_le_bytes(), &self.header[..], &vec![0; self.data_length]].concat()
    }
}

/// The names that a shard has in an input. NAME is a whole file; in its place, `NAME header` is JSON, `NAME length` what the
/// file says of the header's length where that is not true, and `NAME data` the number of bytes that follow.
const SHARDS: [&str; 3] = ["model.safetensors", "one", "other"];
const CONFIG: &str = "config.json";
const INDEX: &str = "model.safetensors.index.json";

/// A tiny model with 8-bit weights.
fn quantized() -> Vec<u8> {
    let config = json!({
        "vocab_size": 6, "hidden_size": 4, "intermediate_size": 4, "num_hidden_layers": 1, "num_attention_heads": 2,
    });
    let weights = Weights::open(&ModelSource::Seeded { config, seed: 0 }).unwrap();
    let weights = weights.in_precision(Precision::Int8Channel).unwrap();
    let dir = TempDir::new().unwrap();
    write_checkpoint(&weights, Precision::Int8Channel, dir.path()).unwrap();
    let read = |name| std::fs::read(dir.path().join(name)).unwrap();
    Sections::write(&[(CONFIG, &read(CONFIG)), ("model.safetensors", &read("model.safetensors"))])
}

/// A tiny model as `synth` writes it, the same one in two files with an index, and one with quantized weights.
fn samples() -> Vec<Vec<u8>> {
    let config = json!({
        "vocab_size": 6, "hidden_size": 4, "intermediate_size": 3, "num_hidden_layers": 1,
        "num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 8,
    });
    let weights = Weights::open(&ModelSource::Seeded { config: config.clone(), seed: 0 }).unwrap();
    let dir = TempDir::new().unwrap();
    write_checkpoint(&weights, Precision::Fp16, dir.path()).unwrap();
    let file = std::fs::read(dir.path().join("model.safetensors")).unwrap();
    let length = u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
    let (header, data) = file[8..].split_at(length);
    let tensors: Map<String, Value> = serde_json::from_slice(header).unwrap();

    let whole = SampleShard { header: header.to_vec(), data_length: data.len() };
    let (one, other) = halves(&tensors);
    let map: Map<String, Value> = [("one", &one), ("other", &other)]
        .into_iter()
        .flat_map(|(name, shard)| {
            let tensors: Map<String, Value> = serde_json::from_slice(&shard.header).unwrap();
            tensors.into_iter().map(move |(tensor, _)| (tensor, name.into()))
        })
        .collect();
    let config = config.to_string();
    let index = json!({"metadata": {"total_size": data.len()}, "weight_map": map}).to_string();
    let [number, first, second] = [&whole, &one, &other].map(|shard| shard.data_length.to_string());
    let config = (CONFIG, config.as_bytes());
    let length = whole.header.len().to_string();
    let described = |header| {
        [config, ("model.safetensors header", header), ("model.safetensors data", number.as_bytes())]
    };
    vec![
        Sections::write(&described(&whole.header)),
        Sections::write(
            &[&described(&whole.header)[..], &[("model.safetensors length", length.as_bytes())]].concat(),
        ),
        Sections::write(&described(&endless_header())),
        Sections::write(&[config, ("model.safetensors", &whole.bytes())]),
        Sections::write(&[
            config,
            (INDEX, index.as_bytes()),
            ("one header", &one.header),
            ("one data", first.as_bytes()),
            ("other header", &other.header),
            ("other data", second.as_bytes()),
        ]),
        quantized(),
    ]
}

/// Writes what an input has into the folder `dir`.
fn write(dir: &Path, input: &[u8]) {
    let sections = Sections::parse(input);
    for name in [CONFIG, INDEX] {
        if let Some(content) = sections.get(name) {
            std::fs::write(dir.join(name), content).unwrap();
        }
    }
    for name in SHARDS {
        let part = |part: &str| sections.get(&format!("{name} {part}"));
        let number = |content: Option<&[u8]>| str::from_utf8(content?).ok()?.trim().parse::<u64>().ok();
        let bytes = match (sections.get(name), part("header")) {
            (Some(whole), _) => whole.to_vec(),
            (None, Some(header)) => {
                let length = number(part("length")).unwrap_or(header.len() as u64);
                let data = number(part("data")).unwrap_or(0).min(1 << 16);
                let data: Vec<u8> = (0..data).map(|number| (number % 251) as u8).collect();
                [&length.to_le_bytes(), header, &data].concat()
            }
            (None, None) => continue,
        };
        std::fs::write(dir.join(name), bytes).unwrap();
    }
}

/// The tensors in two files, each with offsets of its own.
fn halves(tensors: &Map<String, Value>) -> (SampleShard, SampleShard) {
    let mut shards = [(Map::new(), 0), (Map::new(), 0)];
    let tensors = tensors.iter().filter(|(name, _)| *name != "__metadata__");
    for (number, (name, tensor)) in tensors.enumerate() {
        let (header, length) = &mut shards[number % 2];
        let [begin, end] = [0, 1].map(|side| tensor["data_offsets"][side].as_u64().unwrap() as usize);
        let mut tensor = tensor.clone();
        tensor["data_offsets"] = json!([*length, *length + end - begin]);
        *length += end - begin;
        header.insert(name.clone(), tensor);
    }
    let [one, other] = shards.map(|(header, data_length)| SampleShard {
        header: Value::Object(header).to_string().into_bytes(),
        data_length,
    });
    (one, other)
}

/// A header whose tensors' sizes are right one by one and add up to almost 2⁶⁴.
fn endless_header() -> Vec<u8> {
    let most = (1u64 << 61) - 1;
    let sizes = [most; 8].into_iter().chain([7]).enumerate();
    let tensors: Map<String, Value> = sizes
        .map(|(number, size)| {
            let begin = number as u64 * most;
            let tensor = json!({"dtype": "U8", "shape": [size], "data_offsets": [begin, begin + size]});
            (format!("t{number}"), tensor)
        })
        .collect();
    Value::Object(tensors).to_string().into_bytes()
}

/// An open checkpoint has every weight of its config, each whole and inside its file.
fn holds(checkpoint: Checkpoint) -> CaseResult {
    let is_quantized = checkpoint.config.quantization.is_some();
    for spec in weight_specs(&checkpoint.config) {
        if is_quantized && spec.is_projection() {
            continue;
        }
        let stored = checkpoint.stored(&spec.name).unwrap();
        let end = stored.offset.checked_add(stored.len);
        let file = checkpoint.shards[stored.shard].bytes().len();
        prop_assert!(stored.offset >= 8 && end.is_some_and(|end| end <= file), "{:?} of {}", stored, file);
        prop_assert_eq!(stored.len as u64, spec.len() as u64 * stored.dtype.bytes());
        prop_assert_eq!(checkpoint.bytes(stored).len(), stored.len);
    }
    for shard in &checkpoint.shards {
        let name = Path::new(&shard.file_name);
        prop_assert_eq!(name.file_name(), Some(name.as_os_str()));
    }
    let weights = Weights::of_checkpoint(checkpoint);
    for spec in weights.specs() {
        for dtype in [Dtype::Fp32, Dtype::Bf16] {
            let weight = weights.get(&spec, dtype);
            prop_assert_eq!(weight.bytes().len() as u64, spec.len() as u64 * dtype.bytes());
        }
    }
    Ok(())
}

fn run(input: &[u8]) -> CaseResult {
    let dir = folder();
    write(dir.path(), input);
    let _ = fingerprint(&ModelSource::Checkpoint { dir: dir.path().into() });
    Checkpoint::open(dir.path()).map_or(Ok(()), holds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_samples_are_checkpoints() {
        let samples = samples();
        for number in [0, 1, 3, 4, 5] {
            let dir = folder();
            write(dir.path(), &samples[number]);
            holds(Checkpoint::open(dir.path()).unwrap()).unwrap();
        }
    }
}
