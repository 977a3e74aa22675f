//! Reading small files that come from elsewhere.

use std::fs::File;
use std::io::{Error, ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use sha2::{Digest, Sha256};

/// No config, index, sweep or environment is larger: 64 MiB.
const LARGEST: u64 = 64 << 20;

/// Reads a text file, but no device, pipe or folder, and nothing of more than 64 MiB.
pub fn read_text(path: &Path) -> Result<String, Error> {
    let text = read_up_to(open_regular(path)?, LARGEST)?;
    String::from_utf8(text).map_err(|_| Error::new(ErrorKind::InvalidData, "not UTF-8 text"))
}

/// Opens a regular file for reading; never waits for a writer of a pipe.
pub fn open_regular(path: &Path) -> Result<File, Error> {
    let file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(Error::new(ErrorKind::InvalidInput, "not a regular file"))
    }
}

/// A file may grow, or lie about its size: it is read up to the bound, and refused beyond.
fn read_up_to(file: File, largest: u64) -> Result<Vec<u8>, Error> {
    let mut text = Vec::new();
    file.take(largest + 1).read_to_end(&mut text)?;
    if text.len() as u64 > largest {
        return Err(Error::new(ErrorKind::FileTooLarge, format!("more than {largest} bytes")));
    }
    Ok(text)
}

/// SHA-256 of a regular file of any length, in lower-case hex.
pub fn sha256_of_file(path: &Path) -> Result<String, Error> {
    let mut hasher = Sha256::new();
    let mut file = open_regular(path)?;
    let mut block = vec![0; 1 << 20];
    loop {
        match file.read(&mut block)? {
            0 => return Ok(hex(&hasher.finalize())),
            length => hasher.update(&block[..length]),
        }
    }
}

/// SHA-256 in lower-case hex.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_folders_and_endless_files_are_refused() {
        let what = |path: &str| read_text(Path::new(path)).unwrap_err().to_string();
        assert_eq!(what("/dev/zero"), "not a regular file");
        assert_eq!(what("/"), "not a regular file");
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("text");
        std::fs::write(&path, "12345").unwrap();
        assert_eq!(read_up_to(File::open(&path).unwrap(), 5).unwrap(), b"12345");
        assert_eq!(read_up_to(File::open(&path).unwrap(), 4).unwrap_err().to_string(), "more than 4 bytes");
        std::fs::write(&path, [0xff]).unwrap();
        assert_eq!(read_text(&path).unwrap_err().to_string(), "not UTF-8 text");
    }
}
