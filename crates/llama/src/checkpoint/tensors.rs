//! Which stored tensor is which weight: as transformers 5 loads a `LlamaForCausalLM` (checked against it).

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use protocol::{Dtype, Quantization};

use super::{CheckpointError, Shard, StoredBytes, StoredQuantized, StoredTensor};
use crate::weights::widen;
use crate::{EMBED_TOKENS, LM_HEAD, LlamaConfig, WeightSpec, weight_specs};

/// The prefix of all weights' names but the head's; `LlamaModel` saves them without it.
const PREFIX: &str = "model.";

/// A tensor of a file.
#[derive(Debug, Clone)]
struct Found {
    /// Its name there.
    name: String,
    shard: usize,
    offset: usize,
    len: usize,
    dtype: safetensors::Dtype,
    shape: Vec<usize>,
}

/// The tensors of a checkpoint's files, by the names of the weights that they are.
pub(super) struct Tensors<'a> {
    dir: &'a Path,
    shards: &'a [Shard],
    found: BTreeMap<String, Found>,
}

impl<'a> Tensors<'a> {
    /// Reads the headers of all files. `index` names the file of each tensor.
    ///
    /// # Errors
    /// Fails where a tensor or a weight is stored twice, with different values, and transformers would not take what is named.
    pub(super) fn read(
        dir: &'a Path,
        shards: &'a [Shard],
        index: &BTreeMap<String, String>,
        config: &LlamaConfig,
    ) -> Result<Self, CheckpointError> {
        let with_head = LlamaConfig { tie_word_embeddings: false, ..config.clone() };
        let known: BTreeSet<String> = weight_specs(&with_head).into_iter().map(|spec| spec.name).collect();
        let mut tensors = Self { dir, shards, found: BTreeMap::new() };
        let mut stored = BTreeMap::new();
        for (shard, file) in shards.iter().enumerate() {
            let (start, metadata) = file.header(dir)?;
            for (name, info) in metadata.tensors() {
                let (begin, end) = info.data_offsets;
                let (offset, len, dtype, shape) =
                    (start + begin, end - begin, info.dtype, info.shape.clone());
                let found = Found { name: name.clone(), shard, offset, len, dtype, shape };
                // transformers takes the last file's, whatever the index says.
                match stored.insert(name.clone(), found) {
                    Some(earlier) if index.get(&name) != Some(&file.file_name) => {
                        let expected = "the values of the same tensor,";
                        tensors.check_equal(&stored[&name], &earlier, expected)?;
                    }
                    _ => {}
                }
            }
        }
        for (name, tensor) in stored {
            let weight = weight_name(&known, &name);
            let is_own_name = weight == name;
            match tensors.found.get(&weight) {
                None => drop(tensors.found.insert(weight, tensor)),
                // transformers does not always take the weight's own name.
                Some(other) => {
                    tensors.check_equal(&tensor, other, "the values of another name of this weight,")?;
                    if is_own_name {
                        tensors.found.insert(weight, tensor);
                    }
                }
            }
        }
        Ok(tensors)
    }

    /// Checks that two tensors, each of which could be read, have the same values. `expected` says what the second is.
    fn check_equal(&self, one: &Found, other: &Found, expected: &str) -> Result<(), CheckpointError> {
        if self.are_equal(one, other) {
            return Ok(());
        }
        let file = |found: &Found| &self.shards[found.shard].file_name;
        Err(CheckpointError::Tensor {
            path: self.dir.join(file(one)),
            name: one.name.clone(),
            expected: format!("{expected} {} in {}", other.name, file(other)),
            found: "others".into(),
        })
    }

    /// Sets in `config` whether embedding and head are one. If it says so, a single stored one is both; two that differ are two.
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
        let Some(dtype) = number_format(found.dtype) else {
            let found_dtype = format!("dtype {:?} (F32, F16 and BF16 can be read)", found.dtype);
            return Err(error(path(), &found.name, found_dtype));
        };
        if found.shape != spec.shape {
            return Err(error(path(), &found.name, format!("shape {:?}", found.shape)));
        }
        let Found { shard, offset, len, .. } = found;
        Ok(StoredTensor { shard, offset, len, dtype })
    }

    /// Takes out the packed weight `spec` and its scales, as compressed-tensors names them. The shape that it stores beside them is
    /// the config's.
    pub(super) fn take_quantized(
        &mut self,
        spec: &WeightSpec,
        quantization: Quantization,
    ) -> Result<StoredQuantized, CheckpointError> {
        let (rows, inputs) = (spec.shape[0], spec.shape[1]);
        let group = quantization.group_of(inputs);
        self.found.remove(&format!("{}_shape", spec.name));
        let words = inputs * quantization.bits as usize / 32;
        let packed =
            self.take_bytes(&format!("{}_packed", spec.name), safetensors::Dtype::I32, [rows, words])?;
        let scales = [rows, inputs / group];
        let scales = self.take_bytes(&format!("{}_scale", spec.name), safetensors::Dtype::F16, scales)?;
        Ok(StoredQuantized { packed, scales })
    }

    /// Takes a tensor of this type and shape out.
    fn take_bytes(
        &mut self,
        name: &str,
        dtype: safetensors::Dtype,
        shape: [usize; 2],
    ) -> Result<StoredBytes, CheckpointError> {
        let found = self.found.remove(name);
        match found {
            Some(Found { shard, offset, len, dtype: found, shape: of, .. })
                if found == dtype && of == shape =>
            {
                Ok(StoredBytes { shard, offset, len })
            }
            found => Err(CheckpointError::Tensor {
                path: match (&found, self.shards) {
                    (Some(found), _) => self.dir.join(&self.shards[found.shard].file_name),
                    (None, [single]) => self.dir.join(&single.file_name),
                    (None, _) => self.dir.into(),
                },
                name: name.into(),
                expected: format!("an {dtype:?} tensor of shape {shape:?}"),
                found: found.map_or_else(
                    || "no such tensor".into(),
                    |found| format!("{:?} of shape {:?}", found.dtype, found.shape),
                ),
            }),
        }
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
        match number_format(found.dtype) {
            Some(format) => blocks(self.bytes(found), format).flatten().all(|value| value == 0.0),
            None => self.bytes(found).iter().all(|&byte| byte == 0),
        }
    }

    fn are_equal(&self, one: &Found, other: &Found) -> bool {
        let (one_bytes, other_bytes) = (self.bytes(one), self.bytes(other));
        if one.shape != other.shape {
            return false;
        }
        match (number_format(one.dtype), number_format(other.dtype)) {
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

fn number_format(dtype: safetensors::Dtype) -> Option<Dtype> {
    match dtype {
        safetensors::Dtype::F32 => Some(Dtype::Fp32),
        safetensors::Dtype::F16 => Some(Dtype::Fp16),
        safetensors::Dtype::BF16 => Some(Dtype::Bf16),
        _ => None,
    }
}

/// The numbers in `bytes`, widened a block at a time.
fn blocks(bytes: &[u8], format: Dtype) -> impl Iterator<Item = Vec<f32>> {
    let width = format.bytes() as usize;
    bytes.chunks(4096 * width).map(move |block| {
        let mut values = vec![0.0; block.len() / width];
        widen(block, format, &mut values);
        values
    })
}

#[cfg(test)]
mod tests {
    use half::f16;
    use safetensors::tensor::TensorView;
    use serde_json::json;

    use super::*;
    use crate::{Checkpoint, Weights, cost, write_checkpoint};

    /// Type, shape and bytes of each tensor.
    type Stored = BTreeMap<String, (safetensors::Dtype, Vec<usize>, Vec<u8>)>;

    /// Writes a model whose head is a weight of its own. Returns its tensors; its config says that the head is tied.
    fn write_tied(dir: &Path) -> Stored {
        let config = json!({
            "vocab_size": 32, "hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 1, "num_attention_heads": 2,
        });
        let mut config = LlamaConfig::from_json(&config, "config.json").unwrap();
        write_checkpoint(&Weights::seeded(config.clone(), 3), protocol::Precision::Fp16, dir).unwrap();
        config.tie_word_embeddings = true;
        std::fs::write(dir.join("config.json"), config.to_json().to_string()).unwrap();
        let bytes = std::fs::read(dir.join("model.safetensors")).unwrap();
        let stored = safetensors::SafeTensors::deserialize(&bytes).unwrap().tensors().into_iter();
        stored
            .map(|(name, view)| (name, (view.dtype(), view.shape().to_vec(), view.data().to_vec())))
            .collect()
    }

    fn save(tensors: &Stored, path: &Path) {
        let views = tensors.iter().map(|(name, (dtype, shape, bytes))| {
            (name, TensorView::new(*dtype, shape.clone(), bytes).unwrap())
        });
        std::fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
    }

    /// Opens the checkpoint; errors name its folder `DIR`.
    fn open(dir: &Path) -> Result<Checkpoint, String> {
        Checkpoint::open(dir).map_err(|error| error.to_string().replace(&dir.display().to_string(), "DIR"))
    }

    /// Opens [`write_tied`]'s model with other tensors.
    fn try_tied(change: impl Fn(&mut Stored)) -> Result<Checkpoint, String> {
        let dir = tempfile::tempdir().unwrap();
        let mut tensors = write_tied(dir.path());
        change(&mut tensors);
        save(&tensors, &dir.path().join("model.safetensors"));
        open(dir.path())
    }

    fn tied(change: impl Fn(&mut Stored)) -> Checkpoint {
        try_tied(change).unwrap()
    }

    fn f32s(bytes: &[u8]) -> Vec<u8> {
        bytes
            .chunks(2)
            .flat_map(|half| f16::from_le_bytes([half[0], half[1]]).to_f32().to_le_bytes())
            .collect()
    }

    /// A head that is the embedding is one weight in all counts; another one is two.
    #[test]
    fn a_head_is_tied_where_it_is_the_embedding_or_not_stored() {
        let head = 32 * 8;
        let all = cost::parameters(&tied(|_| ()).config);
        assert!(!tied(|_| ()).config.tie_word_embeddings);
        let is_one: [fn(&mut Stored); 4] = [
            |tensors| drop(tensors.remove(LM_HEAD)),
            |tensors| {
                let embedding = tensors.remove(EMBED_TOKENS).unwrap();
                tensors.insert(LM_HEAD.into(), embedding);
            },
            |tensors| drop(tensors.insert(LM_HEAD.into(), tensors[EMBED_TOKENS].clone())),
            |tensors| {
                let (_, shape, bytes) = tensors[EMBED_TOKENS].clone();
                tensors.insert(LM_HEAD.into(), (safetensors::Dtype::F32, shape, f32s(&bytes)));
            },
        ];
        let expected = tied(|_| ());
        let expected = expected.bytes(expected.stored(EMBED_TOKENS).unwrap());
        for change in is_one {
            let checkpoint = tied(change);
            assert!(checkpoint.config.tie_word_embeddings);
            assert_eq!(cost::parameters(&checkpoint.config), all - head);
            assert_eq!(checkpoint.stored(LM_HEAD), None);
            assert_eq!(checkpoint.bytes(checkpoint.stored(EMBED_TOKENS).unwrap()), expected);
        }
    }

    #[test]
    fn weight_names_are_found_with_and_without_prefix() {
        let known = ["model.norm.weight", "lm_head.weight"].map(String::from).into();
        for (stored, weight) in [
            ("model.norm.weight", "model.norm.weight"),
            ("norm.weight", "model.norm.weight"),
            ("model.model.norm.weight", "model.norm.weight"),
            ("model.lm_head.weight", "lm_head.weight"),
            ("module.model.norm.weight", "module.model.norm.weight"),
            ("rotary.inv_freq", "rotary.inv_freq"),
        ] {
            assert_eq!(weight_name(&known, stored), weight);
        }
    }

    /// transformers 5.23 takes `norm.weight` or `model.model.norm.weight`, or not, by the names of other tensors.
    #[test]
    fn a_weight_stored_under_two_names_has_one_value() {
        const OWN: &str = "model.norm.weight";
        let expected = tied(|_| ());
        let expected = expected.bytes(expected.stored(OWN).unwrap());
        for other in ["norm.weight", "model.model.norm.weight"] {
            let same = tied(|tensors| drop(tensors.insert(other.into(), tensors[OWN].clone())));
            assert_eq!(same.bytes(same.stored(OWN).unwrap()), expected);
            let message = try_tied(|tensors| {
                let (dtype, shape, bytes) = tensors[OWN].clone();
                tensors.insert(other.into(), (dtype, shape, vec![0; bytes.len()]));
            })
            .unwrap_err();
            // Whichever name comes later in the alphabet is the one that the file is wrong about.
            let (first, second) = if other < OWN { (other, OWN) } else { (OWN, other) };
            assert_eq!(
                message,
                format!(
                    "DIR/model.safetensors: {second}: expected the values of another name of this weight, {first} in \
                     model.safetensors, found others"
                )
            );
        }
    }

    /// transformers 5.23 takes the last file's tensor. Where the index names that file, too, it is clear.
    #[test]
    fn a_tensor_in_two_files_is_the_one_that_the_index_names() {
        const NAME: &str = "model.norm.weight";
        let dir = tempfile::tempdir().unwrap();
        let tensors = write_tied(dir.path());
        std::fs::remove_file(dir.path().join("model.safetensors")).unwrap();
        let (dtype, shape, bytes) = tensors[NAME].clone();
        let zeros: Stored = [(NAME.into(), (dtype, shape.clone(), vec![0; bytes.len()]))].into();
        let good: Stored = [(NAME.into(), (dtype, shape, bytes.clone()))].into();
        let read = |[a, b]: [&Stored; 2], named: Option<&str>| {
            let with =
                |more: &Stored| tensors.iter().chain(more).map(|(k, v)| (k.clone(), v.clone())).collect();
            save(&with(a), &dir.path().join("a.safetensors"));
            save(b, &dir.path().join("b.safetensors"));
            let mut map: BTreeMap<&str, &str> =
                tensors.keys().map(|name| (&**name, "a.safetensors")).collect();
            // An entry of its own keeps the second file in the index.
            map.insert("other", "b.safetensors");
            match named {
                Some(file) => map.insert(NAME, file),
                None => map.remove(NAME),
            };
            let index = json!({"weight_map": map}).to_string();
            std::fs::write(dir.path().join("model.safetensors.index.json"), index).unwrap();
            let opened = open(dir.path())?;
            Ok::<_, String>(opened.bytes(opened.stored(NAME).unwrap()).to_vec())
        };
        assert_eq!(read([&zeros, &good], Some("b.safetensors")), Ok(bytes.clone()));
        let message = "DIR/b.safetensors: model.norm.weight: expected the values of the same tensor, model.norm.weight in \
             a.safetensors, found others";
        for named in [Some("a.safetensors"), None] {
            assert_eq!(read([&good, &good], named), Ok(bytes.clone()));
            assert_eq!(read([&good, &zeros], named), Err(message.into()));
        }
    }
}
