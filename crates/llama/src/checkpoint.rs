//! A folder in HF's format: `config.json`, and safetensors in one file or in shards with an index.
//!
//! The files are memory-mapped; their headers are checked before anything else is believed
//! (format: <https://huggingface.co/docs/safetensors>).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use memmap2::{Mmap, UncheckedAdvice};
use protocol::Precision;
use safetensors::Dtype;
use safetensors::tensor::Metadata;

use crate::{ConfigError, LlamaConfig, WorldSizeError, open_regular, read_text, weight_specs};

const SINGLE_FILE: &str = "model.safetensors";
const INDEX_FILE: &str = "model.safetensors.index.json";
/// The format's own bound, in bytes.
const LARGEST_HEADER: u64 = 100_000_000;

/// A checkpoint that can't be run.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// Its config can't be run.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// It can't be shared by so many ranks.
    #[error(transparent)]
    WorldSize(#[from] WorldSizeError),
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

/// One safetensors file.
#[derive(Debug)]
pub struct Shard {
    /// Its name inside the checkpoint's folder.
    pub file_name: String,
    map: Mmap,
}

impl Shard {
    /// The whole file.
    pub fn bytes(&self) -> &[u8] {
        &self.map
    }

    /// Lets go of the map's pages that are in memory: those that are read again come back from the file.
    fn release_pages(&self) {
        // SAFETY: nothing is ever written to the map: what is read after this is what was read before. Where the advice
        // can't be followed, the pages stay.
        let _ = unsafe { self.map.unchecked_advise(UncheckedAdvice::DontNeed) };
    }
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
    pub precision: Precision,
}

/// An opened checkpoint: every weight of its config is there, with the right shape.
#[derive(Debug)]
pub struct Checkpoint {
    /// The folder.
    pub dir: PathBuf,
    /// Its `config.json`.
    pub config: LlamaConfig,
    /// Its safetensors files.
    pub shards: Vec<Shard>,
    tensors: BTreeMap<String, StoredTensor>,
}

impl Checkpoint {
    /// Opens the checkpoint in `dir` and checks every weight's presence, shape, dtype and extent.
    pub fn open(dir: &Path) -> Result<Self, CheckpointError> {
        let config = LlamaConfig::read(&dir.join("config.json"))?;
        let mut found = BTreeMap::new();
        let mut shards = Vec::new();
        for file_name in shard_names(dir)? {
            let shard = open_shard(dir, file_name)?;
            collect_tensors(dir, &shard, shards.len(), &mut found)?;
            shards.push(shard);
        }

        let listing = if shards.len() == 1 { SINGLE_FILE } else { INDEX_FILE };
        let mut tensors = BTreeMap::new();
        for spec in weight_specs(&config) {
            let error = |path, found: String| CheckpointError::Tensor {
                path,
                name: spec.name.clone(),
                expected: format!("a float tensor of shape {:?}", spec.shape),
                found,
            };
            let Some((stored, dtype, shape)) = found.remove(&spec.name) else {
                return Err(error(dir.join(listing), "no such tensor".into()));
            };
            let path = || dir.join(&shards[stored.0].file_name);
            let precision = match dtype {
                Dtype::F32 => Precision::Fp32,
                Dtype::F16 => Precision::Fp16,
                Dtype::BF16 => Precision::Bf16,
                other => {
                    return Err(error(path(), format!("dtype {other:?} (F32, F16 and BF16 can be read)")));
                }
            };
            if shape != spec.shape {
                return Err(error(path(), format!("shape {shape:?}")));
            }
            let (shard, offset, len) = stored;
            tensors.insert(spec.name, StoredTensor { shard, offset, len, precision });
        }
        if let Some((name, (stored, ..))) = found.iter().find(|(name, _)| name.ends_with(".bias")) {
            return Err(CheckpointError::Tensor {
                path: dir.join(&shards[stored.0].file_name),
                name: name.clone(),
                expected: "no bias (LLaMA has none, and none would be added)".into(),
                found: "one".into(),
            });
        }
        Ok(Self { dir: dir.into(), config, shards, tensors })
    }

    /// Where the weight `name` lies; `None` for a name that the config does not have.
    pub fn stored(&self, name: &str) -> Option<&StoredTensor> {
        self.tensors.get(name)
    }

    /// Lets go of what is in memory of the files: what is read again comes back from them.
    pub(crate) fn release_pages(&self) {
        self.shards.iter().for_each(Shard::release_pages);
    }

    /// The bytes of a stored tensor.
    pub fn bytes(&self, stored: &StoredTensor) -> &[u8] {
        &self.shards[stored.shard].map[stored.offset..stored.offset + stored.len]
    }
}

/// The shards' file names: from the index where there is one, else the single file.
pub(crate) fn shard_names(dir: &Path) -> Result<Vec<String>, CheckpointError> {
    let path = dir.join(INDEX_FILE);
    if dir.join(SINGLE_FILE).exists() || !path.exists() {
        return Ok(vec![SINGLE_FILE.into()]);
    }
    let fail = |why: String| CheckpointError::File { path: path.clone(), why };
    let text = read_text(&path).map_err(|error| fail(error.to_string()))?;
    let index: serde_json::Value = serde_json::from_str(&text).map_err(|error| fail(error.to_string()))?;
    let map = index.get("weight_map").and_then(|map| map.as_object());
    let map =
        map.ok_or_else(|| fail("weight_map: expected an object of tensor names to file names".into()))?;
    let mut names = Vec::new();
    for (tensor, file) in map {
        let file = file.as_str().unwrap_or_default();
        if file.is_empty() || file.starts_with('.') || file.contains(['/', '\\', '\0']) {
            return Err(fail(format!(
                "weight_map: {tensor}: expected the name of a file in this folder, found {file:?}"
            )));
        }
        names.push(file.to_owned());
    }
    names.sort();
    names.dedup();
    if names.is_empty() { Err(fail("weight_map: empty".into())) } else { Ok(names) }
}

fn open_shard(dir: &Path, file_name: String) -> Result<Shard, CheckpointError> {
    let path = dir.join(&file_name);
    let fail = |error: std::io::Error| CheckpointError::File { path: path.clone(), why: error.to_string() };
    let file = open_regular(&path).map_err(fail)?;
    // SAFETY: the map is read-only; a file that another process truncates meanwhile ends this worker with
    // SIGBUS, which the harness reports as a crash.
    let map = unsafe { Mmap::map(&file) }.map_err(fail)?;
    Ok(Shard { file_name, map })
}

type Found = ((usize, usize, usize), Dtype, Vec<usize>);

fn collect_tensors(
    dir: &Path,
    shard: &Shard,
    index: usize,
    found: &mut BTreeMap<String, Found>,
) -> Result<(), CheckpointError> {
    let fail = |why: String| CheckpointError::File { path: dir.join(&shard.file_name), why };
    let (start, metadata) =
        read_header(&shard.map).map_err(|why| fail(format!("not a whole safetensors file: {why}")))?;
    for (name, info) in metadata.tensors() {
        let (begin, end) = info.data_offsets;
        let place = (index, start + begin, end - begin);
        if found.insert(name.clone(), (place, info.dtype, info.shape.clone())).is_some() {
            return Err(fail(format!("{name}: stored in two files")));
        }
    }
    Ok(())
}

/// Where the tensors' bytes begin, and what the header says of them. `SafeTensors::read_metadata` does the same, but adds
/// sizes that a header can make overflow.
fn read_header(file: &[u8]) -> Result<(usize, Metadata), String> {
    let Some((length, rest)) = file.split_first_chunk() else {
        return Err(format!("it has {} bytes", file.len()));
    };
    let length = u64::from_le_bytes(*length);
    if length > LARGEST_HEADER {
        return Err(format!("a header of {length} bytes (at most {LARGEST_HEADER})"));
    }
    let header = rest.get(..length as usize);
    let header = header.ok_or_else(|| format!("a header of {length} bytes, it has {}", rest.len()))?;
    let metadata: Metadata = serde_json::from_slice(header).map_err(|error| error.to_string())?;
    let (described, found) = (metadata.data_len(), rest.len() - header.len());
    if described != found {
        return Err(format!("its header describes {described} bytes of tensors, it has {found}"));
    }
    Ok((size_of::<u64>() + header.len(), metadata))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why(header: &str, data: &[u8]) -> String {
        let file = [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat();
        read_header(&file).map(|_| ()).unwrap_err()
    }

    #[test]
    fn sizes_that_do_not_fit_the_file_or_any_number_are_refused() {
        assert_eq!(read_header(&[0; 7]).map(|_| ()), Err("it has 7 bytes".into()));
        let empty_with_length = |length: u64| read_header(&length.to_le_bytes()).map(|_| ());
        assert_eq!(empty_with_length(1), Err("a header of 1 bytes, it has 0".into()));
        let endless = format!("a header of {} bytes (at most 100000000)", u64::MAX);
        assert_eq!(empty_with_length(u64::MAX), Err(endless));
        assert_eq!(why("{}", &[0]), "its header describes 0 bytes of tensors, it has 1");
        // Tensors whose sizes are right one by one, and together 2⁶⁴ - 1.
        let most = (1u64 << 61) - 1;
        let tensor = |begin: u64, size: u64| {
            let end = begin + size;
            format!(r#"{{"dtype":"U8","shape":[{size}],"data_offsets":[{begin},{end}]}}"#)
        };
        let tensors = (0..8).map(|n| tensor(n * most, most)).chain([tensor(8 * most, 7)]);
        let entries: Vec<String> =
            tensors.enumerate().map(|(n, tensor)| format!("\"t{n}\":{tensor}")).collect();
        assert_eq!(
            why(&format!("{{{}}}", entries.join(",")), &[0]),
            format!("its header describes {} bytes of tensors, it has 1", u64::MAX)
        );
    }
}
