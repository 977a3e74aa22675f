//! Files that the user names for what is written.

use std::path::Path;

/// Writes the file that the user named: whole, or not at all. Where a link leads, and not the link, is replaced; what is no file of a disk
/// (`/dev/stdout`, a pipe) is written to as it is.
pub(crate) fn write_output(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let is_stream =
        ["/dev/stdout", "/dev/stderr", "/dev/fd", "/proc"].iter().any(|place| path.starts_with(place));
    if is_stream || path.metadata().is_ok_and(|before| !before.is_file()) {
        return std::fs::write(path, content);
    }
    llama::write_whole(&path.canonicalize().unwrap_or_else(|_| path.into()), content)
}
