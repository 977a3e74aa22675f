//! A folder in HF's format: `config.json`, and safetensors in one file or in shards with an index.

mod folder;
mod safetensors_file;
mod tensors;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use protocol::{Dtype, Precision};

use crate::{ConfigError, LlamaConfig, WorldSizeError, weight_specs};
use folder::{config_file, has_weights, shard_files};
use tensors::Tensors;

pub(crate) use folder::weight_files;
pub use folder::{ONNX_FILE, TOKENIZER_FILES};
pub use safetensors_file::Shard;

/// A checkpoint that is not supported.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// Its config is not supported.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// It can't be split among that many ranks.
    #[error(transparent)]
    WorldSize(#[from] WorldSizeError),
    /// Its weights can't be had in the precision asked for.
    #[error("precision {precision}: {why}")]
    Precision {
        /// The precision.
        precision: Precision,
        /// Why.
        why: String,
    },
    /// A file can't be read or is not what it should be.
    #[error("{path}: {why}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A tensor is absent or not as the config says.
    #[error("{path}: {name}: expected {expected}, found {found}")]
    Tensor {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// What the config needs.
        expected: String,
        /// What the file has.
        found: String,
    },
}

/// Where a tensor lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredTensor {
    /// Index into [`Checkpoint::shards`].
    pub shard: usize,
    /// Offset of its first byte in that file.
    pub offset: usize,
    /// Bytes.
    pub len: usize,
    /// How its numbers are stored.
    pub dtype: Dtype,
}

/// An opened checkpoint: every weight of its config is there, with the right shape.
#[derive(Debug)]
pub struct Checkpoint {
    /// The folder.
    pub dir: PathBuf,
    /// Its `config.json`; `tie_word_embeddings` says what the weights are.
    pub config: LlamaConfig,
    /// Its safetensors files.
    pub shards: Vec<Shard>,
    tensors: BTreeMap<String, StoredTensor>,
    quantized: BTreeMap<String, StoredQuantized>,
}

/// Where a quantized weight lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredQuantized {
    pub(crate) packed: StoredBytes,
    pub(crate) scales: StoredBytes,
}

/// Where bytes lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredBytes {
    /// Index into [`Checkpoint::shards`].
    pub shard: usize,
    /// Offset of the first one in that file.
    pub offset: usize,
    /// How many there are.
    pub len: usize,
}

impl Checkpoint {
    /// Opens the checkpoint in `dir` and checks every weight's presence, shape, dtype and extent. Tensors that the model has no
    /// use for are not read.
    pub fn open(dir: &Path) -> Result<Self, CheckpointError> {
        let mut config = LlamaConfig::read(&config_file(dir)?)?;
        let (names, index) = shard_files(dir)?;
        let shards: Vec<Shard> =
            names.into_iter().map(|name| Shard::open(dir, name)).collect::<Result<_, _>>()?;
        let mut found = Tensors::read(dir, &shards, &index, &config)?;
        found.resolve_tie(&mut config);
        let specs = weight_specs(&config);
        if let Some(precision) = config.quantization {
            let why = config.check_precision(precision);
            why.map_err(|why| CheckpointError::Precision { precision, why })?;
        }
        let (mut tensors, mut quantized) = (BTreeMap::new(), BTreeMap::new());
        let quantization = config.quantization.and_then(Precision::quantization);
        for spec in &specs {
            match quantization.filter(|_| spec.is_projection()) {
                Some(quantization) => {
                    quantized.insert(spec.name.clone(), found.take_quantized(spec, quantization)?);
                }
                None => drop(tensors.insert(spec.name.clone(), found.take(spec)?)),
            }
        }
        found.check_biases(&specs)?;
        Ok(Self { dir: dir.into(), config, shards, tensors, quantized })
    }

    /// Reads the config of the model in `dir`: as its weights have it, or, of a folder with [`ONNX_FILE`] and no weights, as it
    /// stands in `config.json`.
    pub fn read_config(dir: &Path) -> Result<LlamaConfig, CheckpointError> {
        if has_weights(dir) || !dir.join(ONNX_FILE).is_file() {
            return Ok(Self::open(dir)?.config);
        }
        Ok(LlamaConfig::read(&config_file(dir)?)?)
    }

    /// Where the weight `name` lies; `None` for a name that the config does not have.
    pub fn stored(&self, name: &str) -> Option<&StoredTensor> {
        self.tensors.get(name)
    }

    /// Where the quantized weight `name` lies; `None` where it is not quantized.
    pub(crate) fn stored_quantized(&self, name: &str) -> Option<&StoredQuantized> {
        self.quantized.get(name)
    }

    /// The bytes that lie there.
    pub(crate) fn bytes_at(&self, stored: StoredBytes) -> &[u8] {
        &self.shards[stored.shard].bytes()[stored.offset..stored.offset + stored.len]
    }

    /// Releases the memory of the mapped files: what is read again comes back from disk.
    pub(crate) fn release_pages(&self) {
        self.shards.iter().for_each(Shard::release_pages);
    }

    /// The bytes of a stored tensor.
    pub fn bytes(&self, stored: &StoredTensor) -> &[u8] {
        &self.shards[stored.shard].bytes()[stored.offset..stored.offset + stored.len]
    }
}
