//! The folder that runs are kept in for `history`: a small file each.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Error, Result};
use compare::Subject;
use compare::history::Entry;
use results::Source;

use crate::printer;

/// Keeps the run in `run` as a file of `history`, and says which. The same run again is the same file.
pub(crate) fn add(history: &Path, run: &Path, revision: Option<&str>) -> Result<PathBuf> {
    let entry = Entry::of(&Subject::new(&Source::read(run)?)?, revision)?;
    std::fs::create_dir_all(history).with_context(|| history.display().to_string())?;
    let text = entry.to_json();
    // Runs may begin in the same second: a part of the hash keeps their files apart.
    let hash = llama::sha256_hex(text.as_bytes());
    let file = history.join(format!("{}-{}.json", entry.file_stem(), &hash[..12]));
    llama::write_whole(&file, text.as_bytes()).with_context(|| file.display().to_string())?;
    Ok(file)
}

/// Reads the runs that are kept in `dir`, in the order of their names. Files that hold none are left out, with a warning: a machine that
/// lost power may have left an empty one.
pub(crate) fn read(dir: &Path) -> Result<Vec<Entry>> {
    let files = std::fs::read_dir(dir).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let mut paths: Vec<PathBuf> = files
        .with_context(|| dir.display().to_string())?
        .into_iter()
        .map(|file| file.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    paths.sort();
    let mut known = HashSet::new();
    let mut entries = Vec::new();
    for path in paths {
        let entry = llama::read_text(&path).map_err(Error::from).and_then(|text| Ok(Entry::parse(&text)?));
        match entry {
            // A run that was added twice, by versions that named its file differently.
            Ok(entry) if !known.insert(entry.to_json()) => {}
            Ok(entry) => entries.push(entry),
            Err(error) => printer::line(&format!("warning: {}: left out: {error:#}", path.display())),
        }
    }
    Ok(entries)
}
