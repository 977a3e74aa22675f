//! Reads small files that come from elsewhere.

use std::fs::{File, read_dir};
use std::io::{Error, ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::fingerprint::sha256_of_blocks;

/// No `tokenizer.json` is larger: 64 MiB. A number in JSON or TOML takes a hundred times its text in
/// memory, so that what is read whole as such has a bound of its own.
const LARGEST: u64 = 64 << 20;
/// The most bytes of a `config.json`. Those of the hub have some thousands.
pub const LARGEST_CONFIG: u64 = 1 << 20;
/// The most bytes of settings in TOML: a sweep that lists 100,000 cells one by one has some less.
pub const LARGEST_SETTINGS: u64 = 4 << 20;
/// The most bytes of what says where weights are, an index or a file's header, and of a run's JSON. Of LLaMA 3.1 405B the index
/// has 0.1 MB.
pub const LARGEST_INDEX: u64 = 8 << 20;
/// The most bytes of a file of tables: 100,000 rows of a published table, 38,000 of `table --format csv`.
pub const LARGEST_TABLES: u64 = 16 << 20;

/// Files of more bytes are not hashed whole, which takes a second: 1 GiB.
const MOST_HASHED: u64 = 1 << 30;

/// Reads a text file, but no device, pipe or folder, and nothing of more than 64 MiB.
///
/// # Errors
/// Fails where it is none of that, or no UTF-8.
pub fn read_text(path: &Path) -> Result<String, Error> {
    read_text_up_to(path, LARGEST)
}

/// Reads as [`read_text`] does, up to `largest` bytes.
///
/// # Errors
/// Reads like [`read_text`], with a bound of the caller's.
pub fn read_text_up_to(path: &Path, largest: u64) -> Result<String, Error> {
    let text = read_up_to(open_regular(path)?, largest)?;
    if is_lfs_pointer(&text) {
        return Err(Error::new(ErrorKind::InvalidData, LFS_POINTER));
    }
    String::from_utf8(text).map_err(|_| Error::new(ErrorKind::InvalidData, "not UTF-8 text"))
}

/// The error for a file that git-lfs has not fetched.
pub const LFS_POINTER: &str =
    "a pointer of git-lfs, not the file itself: run `git lfs pull` in its repository";

/// Whether a file that begins with `bytes` is what git-lfs leaves in place of one that it has not fetched.
pub fn is_lfs_pointer(bytes: &[u8]) -> bool {
    bytes.starts_with(b"version https://git-lfs.github.com/spec/")
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

/// SHA-256 of a regular file, in lower-case hex; of more than 1 GiB that of its length and 64 blocks of it, as a model's fingerprint has.
pub fn sha256_of_file(path: &Path) -> Result<String, Error> {
    let mut hasher = Sha256::new();
    let mut file = open_regular(path)?;
    if file.metadata()?.len() > MOST_HASHED {
        return sha256_of_blocks(path);
    }
    let mut block = vec![0; 1 << 20];
    loop {
        match file.read(&mut block)? {
            0 => return Ok(hex(&hasher.finalize())),
            length => hasher.update(&block[..length]),
        }
    }
}

/// [`sha256_of_file`], or of a folder SHA-256 over names and contents of all files below it, but for what Python keeps
/// of them in `__pycache__`. Errors name the path.
pub fn sha256_of_tree(path: &Path) -> Result<String, Error> {
    let hash = |file: &Path| sha256_of_file(file).map_err(|error| at(file, &error));
    if !path.is_dir() {
        return hash(path);
    }
    let mut files = Vec::new();
    add_files_below(path, &mut files).map_err(|error| at(path, &error))?;
    files.sort();
    let line = |file: &PathBuf| {
        let name = file.strip_prefix(path).unwrap_or(file);
        Ok(format!("{} {name:?}\n", hash(file)?))
    };
    let lines: String = files.iter().map(line).collect::<Result<_, Error>>()?;
    Ok(sha256_hex(lines.as_bytes()))
}

/// Links to folders count as files, which they are not: none is followed, and a loop ends.
fn add_files_below(dir: &Path, files: &mut Vec<PathBuf>) -> Result<(), Error> {
    for entry in read_dir(dir)? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true if entry.file_name() == "__pycache__" => {}
            true => add_files_below(&entry.path(), files)?,
            false => files.push(entry.path()),
        }
    }
    Ok(())
}

fn at(path: &Path, error: &Error) -> Error {
    Error::new(error.kind(), format!("{}: {error}", path.display()))
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
        std::fs::write(&path, "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12\n")
            .unwrap();
        assert_eq!(read_text(&path).unwrap_err().to_string(), LFS_POINTER);
        std::fs::write(&path, [0xff]).unwrap();
        assert_eq!(read_text(&path).unwrap_err().to_string(), "not UTF-8 text");
    }

    #[test]
    fn a_folder_hash_covers_all_its_files_and_their_names() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let hash = || sha256_of_tree(dir.path()).unwrap();
        write("a.py", "1");
        write("sub/b.py", "2");
        let first = hash();
        write("__pycache__/a.pyc", "1");
        write("sub/__pycache__/b.pyc", "2");
        assert_eq!(hash(), first);
        write("sub/b.py", "3");
        assert_ne!(hash(), first);
        write("sub/b.py", "2");
        assert_eq!(hash(), first);
        std::fs::rename(dir.path().join("a.py"), dir.path().join("c.py")).unwrap();
        assert_ne!(hash(), first);

        assert_eq!(sha256_of_tree(&dir.path().join("c.py")).unwrap(), sha256_hex(b"1"));
        std::os::unix::fs::symlink("..", dir.path().join("sub/loop")).unwrap();
        let error = sha256_of_tree(dir.path()).unwrap_err().to_string();
        assert!(error.ends_with("sub/loop: not a regular file"), "{error}");
        let error = sha256_of_tree(Path::new("none")).unwrap_err().to_string();
        assert!(error.starts_with("none: No such file or directory"), "{error}");
    }
}
