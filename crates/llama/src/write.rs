//! Writes files: each appears whole under its name, or not at all.

use std::fs::{File, Permissions};
use std::io::{Error, ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use tempfile::{Builder, NamedTempFile};

/// A file that gets its name when it is complete. Until then it lies in the same folder, under an unpredictable random name; dropped,
/// it is removed.
#[derive(Debug)]
pub struct NewFile {
    file: NamedTempFile,
    path: PathBuf,
}

impl NewFile {
    /// Begins the file that will be `path`.
    ///
    /// # Errors
    /// Fails where its folder does not take a new file.
    pub fn beside(path: &Path) -> Result<Self, Error> {
        // The mode of any new file, before the umask.
        let mode = Permissions::from_mode(0o666);
        let file = Builder::new()
            .prefix(".llama2-bench.")
            .suffix(".partial")
            .permissions(mode)
            .tempfile_in(folder(path))
            .map_err(|error| match error.kind() {
                // Its random name would say nothing.
                ErrorKind::NotFound => Error::new(ErrorKind::NotFound, "its folder does not exist"),
                kind => Error::from(kind),
            })?;
        Ok(Self { file, path: path.into() })
    }

    /// Where it is until it is kept.
    pub fn partial_path(&self) -> &Path {
        self.file.path()
    }

    /// Gives it its name, on the disk. A file that it replaces gives its mode and owner on; a link is replaced, not followed.
    ///
    /// # Errors
    /// Fails where it can't be: what was at its path stays as it was.
    pub fn keep(self) -> Result<(), Error> {
        if let Ok(before) = self.path.symlink_metadata()
            && before.is_file()
        {
            // Keeps the owner where this process may: a file of root's is of no use to the former owner.
            let _ = fchown(self.file.as_file(), Some(before.uid()), Some(before.gid()));
            self.file.as_file().set_permissions(before.permissions())?;
        }
        self.file.as_file().sync_all()?;
        self.file.persist(&self.path)?;
        // The name is on disk once its folder is synced; not every file system can do that.
        if let Ok(folder) = File::open(folder(&self.path)) {
            let _ = folder.sync_all();
        }
        Ok(())
    }
}

/// Writes a file: whole and on the disk, or not at all. A file that it replaces gives its permissions on; a link is replaced, not followed.
///
/// # Errors
/// Fails where it can't be written: what was at `path` stays as it was.
pub fn write_whole(path: &Path, content: &[u8]) -> Result<(), Error> {
    let mut new = NewFile::beside(path)?;
    new.file.write_all(content)?;
    new.keep()
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_planted_link_is_replaced_and_what_it_leads_to_stays() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("victim"), "secret").unwrap();
        fs::set_permissions(at("victim"), Permissions::from_mode(0o600)).unwrap();
        for name in ["page.html", "page.html.partial", ".page.html.partial"] {
            symlink("victim", at(name)).unwrap();
        }
        write_whole(&at("page.html"), b"page").unwrap();
        assert_eq!(fs::read_to_string(at("victim")).unwrap(), "secret");
        assert_eq!(fs::read_to_string(at("page.html")).unwrap(), "page");
        assert!(at("page.html").symlink_metadata().unwrap().is_file());
        assert!(at("page.html.partial").is_symlink() && at(".page.html.partial").is_symlink());
        // Nothing else is left.
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 4);
    }

    #[test]
    fn a_replaced_file_keeps_its_mode_and_a_new_one_gets_the_default() {
        let dir = tempfile::tempdir().unwrap();
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        let (old, new, other) = (dir.path().join("old"), dir.path().join("new"), dir.path().join("other"));
        fs::write(&old, "1").unwrap();
        fs::set_permissions(&old, Permissions::from_mode(0o640)).unwrap();
        write_whole(&old, b"2").unwrap();
        assert_eq!((mode(&old), fs::read_to_string(&old).unwrap().as_str()), (0o640, "2"));
        write_whole(&new, b"3").unwrap();
        fs::write(&other, "4").unwrap();
        assert_eq!(mode(&new), mode(&other));
    }

    #[test]
    fn a_failed_write_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("taken");
        fs::create_dir_all(path.join("full")).unwrap();
        assert!(write_whole(&path, b"1").is_err());
        assert!(write_whole(&dir.path().join("none/file"), b"1").is_err());
        let new = NewFile::beside(&dir.path().join("dropped")).unwrap();
        assert!(new.partial_path().exists());
        drop(new);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
