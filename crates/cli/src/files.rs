//! Output files that the user names.

use std::fs::File;
use std::io::{ErrorKind, Result, Write};
use std::path::Path;

/// Writes the file that the user named: whole, or not at all. Follows a link and replaces its target. Appends to what is no file of a
/// disk (`/dev/stdout`, a pipe). Overwrites a file in place if its folder takes no other file (a mount of that file alone).
pub(crate) fn write_output(path: &Path, content: &[u8]) -> Result<()> {
    let before = path.metadata().ok();
    let is_stream =
        ["/dev/stdout", "/dev/stderr", "/dev/fd", "/proc"].iter().any(|place| path.starts_with(place));
    if is_stream || before.as_ref().is_some_and(|before| !before.is_file()) {
        // A shell may have redirected it to a file that already has content.
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
