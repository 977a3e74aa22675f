//! One safetensors file, memory-mapped; its header is checked before anything else is believed
//! (format: <https://huggingface.co/docs/safetensors>).

use std::path::Path;

use memmap2::{Mmap, UncheckedAdvice};
use safetensors::tensor::Metadata;

use super::CheckpointError;
use crate::files::{LFS_POINTER, is_lfs_pointer};
use crate::{LARGEST_INDEX, open_regular};

/// One safetensors file.
#[derive(Debug)]
pub struct Shard {
    /// Its name inside the checkpoint's folder.
    pub file_name: String,
    map: Mmap,
}

impl Shard {
    /// Maps the file `file_name` of `dir`.
    pub(super) fn open(dir: &Path, file_name: String) -> Result<Self, CheckpointError> {
        let path = dir.join(&file_name);
        let fail = |why: String| CheckpointError::File { path: path.clone(), why };
        let file = open_regular(&path).map_err(|error| fail(error.to_string()))?;
        // SAFETY: the map is read-only; a file that another process truncates meanwhile ends this worker with
        // SIGBUS, which the harness reports as a crash.
        let map = unsafe { Mmap::map(&file) }.map_err(|error| fail(error.to_string()))?;
        if is_lfs_pointer(&map) { Err(fail(LFS_POINTER.into())) } else { Ok(Self { file_name, map }) }
    }

    /// Where the tensors' bytes begin, and what the header says of them.
    pub(super) fn header(&self, dir: &Path) -> Result<(usize, Metadata), CheckpointError> {
        read_header(&self.map).map_err(|why| CheckpointError::File {
            path: dir.join(&self.file_name),
            why: format!("not a whole safetensors file: {why}"),
        })
    }

    /// The whole file.
    pub fn bytes(&self) -> &[u8] {
        &self.map
    }

    /// Lets go of the map's pages that are in memory: those that are read again come back from the file.
    pub(super) fn release_pages(&self) {
        // SAFETY: nothing is ever written to the map: what is read after this is what was read before. Where the advice
        // can't be followed, the pages stay.
        let _ = unsafe { self.map.unchecked_advise(UncheckedAdvice::DontNeed) };
    }
}

/// Where the tensors' bytes begin, and what the header says of them. `SafeTensors::read_metadata` does the same, but adds
/// sizes that a header can make overflow.
fn read_header(file: &[u8]) -> Result<(usize, Metadata), String> {
    let Some((length, rest)) = file.split_first_chunk() else {
        return Err(format!("it has {} bytes", file.len()));
    };
    let length = u64::from_le_bytes(*length);
    // The format's own bound is 100 MB, of which one header takes more than a gigabyte of memory.
    if length > LARGEST_INDEX {
        return Err(format!("a header of {length} bytes (at most {LARGEST_INDEX})"));
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
        let endless = format!("a header of {} bytes (at most 8388608)", u64::MAX);
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
