//! Identifies weights without reading all of them.

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use protocol::ModelSource;
use sha2::{Digest, Sha256};

use crate::checkpoint::weight_files;
use crate::files::{hex, open_regular};
use crate::{CheckpointError, LARGEST_CONFIG, read_text_up_to};

/// Blocks that are read of each file, evenly spaced, the first and the last among them.
const BLOCKS: u64 = 64;
const BLOCK_BYTES: u64 = 4096;

/// SHA-256, in hex, over a checkpoint's `config.json` and over name, length and 64 blocks of 4096 bytes of each file of weights
/// and of `model.onnx`; over config and seed where weights are seeded. A checkpoint with other values has another fingerprint unless the values
/// differ between the blocks alone.
pub fn fingerprint(source: &ModelSource) -> Result<String, CheckpointError> {
    let mut hash = Sha256::new();
    match source {
        ModelSource::Seeded { config, seed } => hash.update(format!("seeded {seed} {config}")),
        ModelSource::Checkpoint { dir } => {
            let fail = |path: &Path, error: std::io::Error| CheckpointError::File {
                path: path.into(),
                why: error.to_string(),
            };
            let path = dir.join("config.json");
            hash.update(read_text_up_to(&path, LARGEST_CONFIG).map_err(|error| fail(&path, error))?);
            for name in weight_files(dir)? {
                let path = dir.join(&name);
                update(&mut hash, &path, &name).map_err(|error| fail(&path, error))?;
            }
        }
    }
    Ok(hex(&hash.finalize()))
}

/// The files that a fingerprint is of; none where weights are seeded.
///
/// # Errors
/// Fails where the folder has no weights, or an index that can't be read.
pub fn model_files(source: &ModelSource) -> Result<Vec<PathBuf>, CheckpointError> {
    match source {
        ModelSource::Seeded { .. } => Ok(Vec::new()),
        ModelSource::Checkpoint { dir } => {
            let names = ["config.json".to_owned()].into_iter().chain(weight_files(dir)?);
            Ok(names.map(|name| dir.join(name)).collect())
        }
    }
}

/// SHA-256, in hex, over length and 64 blocks of 4096 bytes of a file: fast at any size.
pub(crate) fn sha256_of_blocks(path: &Path) -> std::io::Result<String> {
    let mut hash = Sha256::new();
    update(&mut hash, path, "")?;
    Ok(hex(&hash.finalize()))
}

fn update(hash: &mut Sha256, path: &Path, name: &str) -> std::io::Result<()> {
    let file = open_regular(path)?;
    let len = file.metadata()?.len();
    hash.update(format!("\n{name} {len}\n"));
    let mut block = [0; BLOCK_BYTES as usize];
    let last = len.saturating_sub(BLOCK_BYTES);
    for index in 0..BLOCKS {
        let offset = (u128::from(last) * u128::from(index) / u128::from(BLOCKS - 1)) as u64;
        let count = file.read_at(&mut block, offset)?;
        hash.update(&block[..count]);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_seed_config_or_byte_is_another_model() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: &[u8]| std::fs::write(dir.path().join(name), bytes).unwrap();
        let checkpoint = || fingerprint(&ModelSource::Checkpoint { dir: dir.path().into() }).unwrap();
        write("config.json", b"{}");
        write("model.safetensors", &[7; 10_000]);
        let first = checkpoint();
        assert_eq!(checkpoint(), first);
        let mut bytes = [7; 10_000];
        bytes[9_999] = 8;
        write("model.safetensors", &bytes);
        assert_ne!(checkpoint(), first);
        write("model.safetensors", &[7; 10_000]);
        write("config.json", b"{ }");
        assert_ne!(checkpoint(), first);

        let seeded = |seed| fingerprint(&ModelSource::Seeded { config: "{}".into(), seed }).unwrap();
        assert_ne!(seeded(0), seeded(1));
    }
}
