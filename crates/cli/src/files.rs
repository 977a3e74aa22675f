//! Files that are written whole, or not at all.

use std::path::Path;

/// Writes a file whole, or not at all; a file that is replaced gives its permissions on. What is no file of a disk
/// (`/dev/stdout`) is written to as it is.
pub(crate) fn write_whole(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let before = path.metadata().ok();
    if before.as_ref().is_some_and(|before| !before.is_file()) {
        return std::fs::write(path, content);
    }
    // Where a link leads, and not the link, is replaced.
    let path = &path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".partial");
    let partial = path.with_file_name(name);
    let permissions = before.map(|before| before.permissions());
    let written = std::fs::write(&partial, content)
        .and_then(|()| permissions.map_or(Ok(()), |its| std::fs::set_permissions(&partial, its)))
        .and_then(|()| std::fs::rename(&partial, path));
    written.inspect_err(|_| {
        let _ = std::fs::remove_file(&partial);
    })
}
