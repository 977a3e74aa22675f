//! Which stored tensor is which weight: as transformers 5 loads a `LlamaForCausalLM`, which was asked.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use protocol::Precision;
use safetensors::Dtype;

use super::{CheckpointError, Shard, StoredTensor};
use crate::weights::widen;
use crate::{EMBED_TOKENS, LM_HEAD, LlamaConfig, WeightSpec, weight_specs};

/// What the weights' names begin with, but for the head's; `LlamaModel` saves them without it.
const PREFIX: &str = "model.";

/// A tensor of a file.
#[derive(Debug, Clone)]
struct Found {
    /// Its name there.
    name: String,
    shard: usize,
    offset: usize,
    len: usize,
    dtype: Dtype,
    shape: Vec<usize>,
}

/// The tensors of a checkpoint's files, by the names of the weights that they are.
pub(super) struct Tensors<'a> {
    dir: &'a Path,
    shards: &'a [Shard],
    found: BTreeMap<String, Found>,
}

impl<'a> Tensors<'a> {
    /// Reads the headers of all files.
    pub(super) fn read(
        dir: &'a Path,
        shards: &'a [Shard],
        config: &LlamaConfig,
    ) -> Result<Self, CheckpointError> {
        let with_head = LlamaConfig { tie_word_embeddings: false, ..config.clone() };
        let known: BTreeSet<String> = weight_specs(&with_head).into_iter().map(|spec| spec.name).collect();
        let mut stored = BTreeMap::new();
        for (shard, file) in shards.iter().enumerate() {
            let (start, metadata) = file.header(dir)?;
            for (name, info) in metadata.tensors() {
                let (begin, end) = info.data_offsets;
                let (offset, len, dtype, shape) =
                    (start + begin, end - begin, info.dtype, info.shape.clone());
                let found = Found { name: name.clone(), shard, offset, len, dtype, shape };
                if stored.insert(name.clone(), found).is_some() {
                    let why = format!("{name}: stored in two files");
                    return Err(CheckpointError::File { path: dir.join(&file.file_name), why });
                }
            }
        }
        // A weight that is stored under its own name is taken from there.
        let mut found = BTreeMap::new();
        for (name, tensor) in stored {
            let weight = weight_name(&known, &name);
            if weight == name {
                found.insert(name, tensor);
            } else {
                found.entry(weight).or_insert(tensor);
            }
        }
        Ok(Self { dir, shards, found })
    }

    /// Has `config` say whether embedding and head are one. Where it says so, one of them stored is both; two that differ are two.
    pub(super) fn resolve_tie(&mut self, config: &mut LlamaConfig) {
        if !config.tie_word_embeddings {
            return;
        }
        let Some(head) = self.found.get(LM_HEAD) else { return };
        match self.found.get(EMBED_TOKENS) {
            Some(embedding) if !self.are_equal(embedding, head) => config.tie_word_embeddings = false,
            Some(_) => drop(self.found.remove(LM_HEAD)),
            None => {
                let head = head.clone();
                self.found.remove(LM_HEAD);
                self.found.insert(EMBED_TOKENS.into(), head);
            }
        }
    }

    /// Takes the weight `spec` out.
    pub(super) fn take(&mut self, spec: &WeightSpec) -> Result<StoredTensor, CheckpointError> {
        let error = |path, name: &str, found: String| CheckpointError::Tensor {
            path,
            name: name.into(),
            expected: format!("a float tensor of shape {:?}", spec.shape),
            found,
        };
        let Some(found) = self.found.remove(&spec.name) else {
            let path = match self.shards {
                [single] => self.dir.join(&single.file_name),
                _ => self.dir.into(),
            };
            return Err(error(path, &spec.name, self.in_place_of(&spec.name)));
        };
        let path = || self.dir.join(&self.shards[found.shard].file_name);
        let Some(precision) = precision(found.dtype) else {
            let dtype = format!("dtype {:?} (F32, F16 and BF16 can be read)", found.dtype);
            return Err(error(path(), &found.name, dtype));
        };
        if found.shape != spec.shape {
            return Err(error(path(), &found.name, format!("shape {:?}", found.shape)));
        }
        let Found { shard, offset, len, .. } = found;
        Ok(StoredTensor { shard, offset, len, precision })
    }

    /// Checks that of the tensors that no weight was taken from, none is a bias of a layer that the model has: nothing would
    /// add it. Biases of zeros change nothing.
    pub(super) fn check_biases(&self, specs: &[WeightSpec]) -> Result<(), CheckpointError> {
        let known: BTreeSet<String> = specs.iter().map(|spec| spec.name.clone()).collect();
        let is_used = |name: &str| {
            let layer = name.strip_suffix(".bias");
            layer.is_some_and(|layer| known.contains(&weight_name(&known, &format!("{layer}.weight"))))
        };
        match self.found.values().find(|found| is_used(&found.name) && !self.is_zero(found)) {
            None => Ok(()),
            Some(bias) => Err(CheckpointError::Tensor {
                path: self.dir.join(&self.shards[bias.shard].file_name),
                name: bias.name.clone(),
                expected: "no bias, or one of zeros (none is added)".into(),
                found: "other values".into(),
            }),
        }
    }

    fn bytes(&self, found: &Found) -> &[u8] {
        &self.shards[found.shard].bytes()[found.offset..found.offset + found.len]
    }

    fn is_zero(&self, found: &Found) -> bool {
        match precision(found.dtype) {
            Some(precision) => blocks(self.bytes(found), precision).flatten().all(|value| value == 0.0),
            None => self.bytes(found).iter().all(|&byte| byte == 0),
        }
    }

    fn are_equal(&self, one: &Found, other: &Found) -> bool {
        let (one_bytes, other_bytes) = (self.bytes(one), self.bytes(other));
        if one.shape != other.shape {
            return false;
        }
        match (precision(one.dtype), precision(other.dtype)) {
            (Some(of_one), Some(of_other)) if of_one != of_other => {
                blocks(one_bytes, of_one).eq(blocks(other_bytes, of_other))
            }
            _ => one_bytes == other_bytes,
        }
    }

    /// What is stored in place of the weight `name`, in words.
    fn in_place_of(&self, name: &str) -> String {
        let module = format!(".{}.", name.trim_start_matches(PREFIX).trim_end_matches(".weight"));
        let mut names = self.found.values().map(|found| &found.name);
        match names.find(|found| format!(".{found}").contains(&module)) {
            Some(other) if other.ends_with(name) => format!("no such tensor, but {other}: rename the tensors"),
            Some(other) => format!("no such tensor, but {other}"),
            None if name == LM_HEAD => {
                "no such tensor (config.json does not say tie_word_embeddings, that the embedding is the head)".into()
            }
            None => "no such tensor".into(),
        }
    }
}

/// The weight that a stored tensor of this name is: with or without [`PREFIX`], where one of the two is `known`.
fn weight_name(known: &BTreeSet<String>, name: &str) -> String {
    let without = name.strip_prefix(PREFIX);
    let with = format!("{PREFIX}{name}");
    match without {
        _ if known.contains(name) => name.into(),
        Some(without) if known.contains(without) => without.into(),
        _ if known.contains(&with) => with,
        _ => name.into(),
    }
}

fn precision(dtype: Dtype) -> Option<Precision> {
    match dtype {
        Dtype::F32 => Some(Precision::Fp32),
        Dtype::F16 => Some(Precision::Fp16),
        Dtype::BF16 => Some(Precision::Bf16),
        _ => None,
    }
}

/// The numbers in `bytes`, widened a block at a time.
fn blocks(bytes: &[u8], precision: Precision) -> impl Iterator<Item = Vec<f32>> {
    let width = precision.bytes() as usize;
    bytes.chunks(4096 * width).map(move |block| {
        let mut values = vec![0.0; block.len() / width];
        widen(block, precision, &mut values);
        values
    })
}
