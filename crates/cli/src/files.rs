//! Files that the user names for what is written.

use std::fs::File;
use std::io::{ErrorKind, Result, Write};
use std::path::Path;

/// Writes the file that the user named: whole, or not at all. Where a link leads, and not the link, is replaced; what is no file of a disk
/// (`/dev/stdout`, a pipe) is written to as it is, and so is a file in a folder that takes no other (a mount of that file alone).
pub(crate) fn write_output(path: &Path, content: &[u8]) -> Result<()> {
    let before = path.metadata().ok();
    let is_stream =
        ["/dev/stdout", "/dev/stderr", "/dev/fd", "/proc"].iter().any(|place| path.starts_with(place));
    if is_stream || before.as_ref().is_some_and(|before| !before.is_file()) {
        // A shell may have sent it to a file that has something already.
        return File::options().append(true).open(path)?.write_all(content);
    }
    match llama::write_whole(&path.canonicalize().unwrap_or_else(|_| path.into()), content) {
        Err(error)
            if before.is_some()
                && matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::ResourceBusy) =>
        {
            std::fs::write(path, content)
        }
        written => written,
    }
}
