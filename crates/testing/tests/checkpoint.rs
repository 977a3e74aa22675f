//! Checkpoints: config, safetensors headers, files and index.

use std::path::Path;

use llama::{Checkpoint, Weights, fingerprint, weight_specs, write_checkpoint};
use proptest::prelude::*;
use proptest::sample::Index;
use protocol::{ModelSource, Precision};
use serde_json::{Map, Value, json};
use tempfile::TempDir;
use testing::fuzz::{BoundedAllocator, CaseResult, Corpus, Input, check};

#[global_allocator]
static ALLOCATOR: BoundedAllocator = BoundedAllocator;

const WORDS: &str = r#""F32" "F16" "BF16" "U8" "F64" "F4" "dtype" "shape" "data_offsets" "__metadata__"
    "model.norm.weight" "model.norm.bias" "norm.weight" "lm_head.weight" "model.embed_tokens.weight" "tie_word_embeddings" true [0,0] [4,0] [0,18446744073709551615] [4611686018427387904,4] "weight_map"
    "model.safetensors" "../model.safetensors" "/etc/hostname" "a\u0000b" "." "one" "config.json""#;

/// A safetensors file.
#[derive(Debug, Clone)]
struct Shard {
    name: &'static str,
    header: Vec<u8>,
    data: Vec<u8>,
}

impl Shard {
    fn bytes(&self, header_length: u64) -> Vec<u8> {
        [&header_length.to_le_bytes(), &self.header[..], &self.data].concat()
    }
}

/// What a checkpoint's folder has.
#[derive(Debug, Clone)]
struct Files {
    config: Vec<u8>,
    shards: Vec<Shard>,
    index: Option<Vec<u8>>,
}

/// One file of it that is not what it was.
#[derive(Debug, Clone)]
enum Damage {
    Config(Input),
    Index(Input),
    /// The header is another; its length is told as it is, or as this.
    Header(Index, Input, Option<u64>),
    /// The data are cut, or go on.
    Length(Index, Index),
    /// The whole file is another.
    File(Index, Input),
}

impl Files {
    /// A tiny model as `synth` writes it, and the same one in two files with an index.
    fn samples() -> [Self; 2] {
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

        let whole = Shard { name: "model.safetensors", header: header.to_vec(), data: data.to_vec() };
        let (one, other) = halves(&tensors, data);
        let map: Map<String, Value> = [("one", &one), ("other", &other)]
            .into_iter()
            .flat_map(|(name, shard)| {
                let tensors: Map<String, Value> = serde_json::from_slice(&shard.header).unwrap();
                tensors.into_iter().map(move |(tensor, _)| (tensor, name.into()))
            })
            .collect();
        let config = config.to_string().into_bytes();
        let index =
            json!({"metadata": {"total_size": data.len()}, "weight_map": map}).to_string().into_bytes();
        [
            Self { config: config.clone(), shards: vec![whole], index: None },
            Self { config, shards: vec![one, other], index: Some(index) },
        ]
    }

    fn write(&self, dir: &Path, damage: &Damage) {
        let write = |name: &str, bytes: &[u8]| std::fs::write(dir.join(name), bytes).unwrap();
        for shard in &self.shards {
            write(shard.name, &shard.bytes(shard.header.len() as u64));
        }
        write("config.json", &self.config);
        if let Some(index) = &self.index {
            write("model.safetensors.index.json", index);
        }
        match damage {
            Damage::Config(input) => write("config.json", &input.0),
            Damage::Index(input) => write("model.safetensors.index.json", &input.0),
            Damage::Header(shard, input, length) => {
                let shard = Shard { header: input.0.clone(), ..shard.get(&self.shards).clone() };
                write(shard.name, &shard.bytes(length.unwrap_or(input.0.len() as u64)));
            }
            Damage::Length(shard, length) => {
                let shard = shard.get(&self.shards);
                let mut bytes = shard.bytes(shard.header.len() as u64);
                bytes.resize(length.index(bytes.len() + 20), 0);
                write(shard.name, &bytes);
            }
            Damage::File(shard, input) => write(shard.get(&self.shards).name, &input.0),
        }
    }
}

/// The tensors in two files, each with offsets of its own.
fn halves(tensors: &Map<String, Value>, data: &[u8]) -> (Shard, Shard) {
    let mut shards = [("one", Map::new(), Vec::new()), ("other", Map::new(), Vec::new())];
    let tensors = tensors.iter().filter(|(name, _)| *name != "__metadata__");
    for (number, (name, tensor)) in tensors.enumerate() {
        let (_, header, bytes) = &mut shards[number % 2];
        let [begin, end] = [0, 1].map(|side| tensor["data_offsets"][side].as_u64().unwrap() as usize);
        let mut tensor = tensor.clone();
        tensor["data_offsets"] = json!([bytes.len(), bytes.len() + end - begin]);
        bytes.extend_from_slice(&data[begin..end]);
        header.insert(name.clone(), tensor);
    }
    let [one, other] = shards.map(|(name, header, data)| Shard {
        name,
        header: Value::Object(header).to_string().into_bytes(),
        data,
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
    for spec in weight_specs(&checkpoint.config) {
        let stored = checkpoint.stored(&spec.name).unwrap();
        let end = stored.offset.checked_add(stored.len);
        let file = checkpoint.shards[stored.shard].bytes().len();
        prop_assert!(stored.offset >= 8 && end.is_some_and(|end| end <= file), "{:?} of {}", stored, file);
        prop_assert_eq!(stored.len as u64, spec.len() as u64 * stored.precision.bytes());
        prop_assert_eq!(checkpoint.bytes(stored).len(), stored.len);
    }
    for shard in &checkpoint.shards {
        let name = Path::new(&shard.file_name);
        prop_assert_eq!(name.file_name(), Some(name.as_os_str()));
    }
    let weights = Weights::of_checkpoint(checkpoint);
    for spec in weights.specs() {
        for precision in [Precision::Fp32, Precision::Bf16] {
            let weight = weights.get(&spec, precision);
            prop_assert_eq!(weight.bytes().len() as u64, spec.len() as u64 * precision.bytes());
        }
    }
    Ok(())
}

fn damages(files: &Files) -> impl Strategy<Value = Damage> + use<> {
    let inputs = |samples: Vec<Vec<u8>>| Corpus::new(samples, WORDS).inputs();
    let headers: Vec<Vec<u8>> = files.shards.iter().map(|shard| shard.header.clone()).collect();
    let whole = files.shards.iter().map(|shard| shard.bytes(shard.header.len() as u64)).collect();
    let length = prop_oneof![
        12 => Just(None),
        1 => any::<u64>().prop_map(Some),
        1 => (0u64..3000).prop_map(Some),
        1 => prop::sample::select(vec![u64::MAX, u64::MAX - 8, 1 << 63, 100_000_000]).prop_map(Some),
    ];
    let shard = any::<Index>;
    prop_oneof![
        2 => inputs(vec![files.config.clone()]).prop_map(Damage::Config),
        2 => inputs(files.index.iter().cloned().chain(["{}".into()]).collect()).prop_map(Damage::Index),
        6 => (shard(), inputs(headers.iter().cloned().chain([endless_header()]).collect()), length)
            .prop_map(|(shard, header, length)| Damage::Header(shard, header, length)),
        1 => (shard(), any::<Index>()).prop_map(|(shard, length)| Damage::Length(shard, length)),
        1 => (shard(), inputs(whole)).prop_map(|(shard, file)| Damage::File(shard, file)),
    ]
}

/// A folder in memory, where the machine has a place for that.
fn folder() -> TempDir {
    TempDir::new_in("/dev/shm").or_else(|_| TempDir::new()).unwrap()
}

#[test]
fn the_samples_are_checkpoints() {
    for files in Files::samples() {
        let dir = folder();
        files.write(dir.path(), &Damage::Config(Input(files.config.clone())));
        holds(Checkpoint::open(dir.path()).unwrap()).unwrap();
    }
}

fn any_damage_to(files: &Files) {
    let dir = folder();
    check(700, damages(files), |damage| {
        files.write(dir.path(), &damage);
        let _ = fingerprint(&ModelSource::Checkpoint { dir: dir.path().into() });
        Checkpoint::open(dir.path()).map_or(Ok(()), holds)
    });
}

#[test]
fn any_damage_to_one_file() {
    any_damage_to(&Files::samples()[0]);
}

#[test]
fn any_damage_to_files_with_an_index() {
    any_damage_to(&Files::samples()[1]);
}
