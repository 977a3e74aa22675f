//! The folder that runs are kept in for `history`: a small file each.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use compare::Subject;
use compare::history::Entry;
use results::Source;

use crate::files::write_whole;

/// Keeps the run in `run` as a file of `history`, and says which. The same run again is the same file.
pub(crate) fn add(history: &Path, run: &Path, revision: Option<&str>) -> Result<PathBuf> {
    let entry = Entry::of(&Subject::new(&Source::read(run)?)?, revision)?;
    std::fs::create_dir_all(history).with_context(|| history.display().to_string())?;
    let file = history.join(entry.file_name());
    write_whole(&file, entry.to_json().as_bytes()).with_context(|| file.display().to_string())?;
    Ok(file)
}

/// Reads the runs that are kept in `dir`.
pub(crate) fn read(dir: &Path) -> Result<Vec<Entry>> {
    let files = std::fs::read_dir(dir).with_context(|| dir.display().to_string())?;
    let mut entries = Vec::new();
    for file in files {
        let path = file.with_context(|| dir.display().to_string())?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            let text = llama::read_text(&path).with_context(|| path.display().to_string())?;
            entries.push(Entry::parse(&text).with_context(|| path.display().to_string())?);
        }
    }
    Ok(entries)
}
