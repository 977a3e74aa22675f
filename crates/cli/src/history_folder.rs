//! The folder of runs for `history`, with a small file for each run.

use std::path::{Path, PathBuf};

use anyhow::{Context, Error, Result};
use compare::Subject;
use compare::history::Entry;
use indexmap::IndexMap;
use results::Source;

use crate::{folders, printer};

/// Keeps the run in `run` as a file of `history`, and returns its path. What was kept of the same run before is replaced.
pub(crate) fn add(history: &Path, run: &Path, revision: Option<&str>) -> Result<PathBuf> {
    folders::check_history(history)?;
    folders::check(&[run])?;
    let entry = Entry::from_subject(&Subject::new(&Source::read(run)?)?, revision)?;
    std::fs::create_dir_all(history).with_context(|| history.display().to_string())?;
    let text = entry.to_json();
    // Runs may begin in the same second: a part of the hash tells their files apart, and a number keeps their order.
    let hash = llama::sha256_hex(text.as_bytes());
    let ending = format!("-{}.json", &hash[..12]);
    let mut paths = paths(history)?;
    if let Some(path) = paths.iter().find(|path| path.to_string_lossy().ends_with(&ending)) {
        return Ok(path.clone());
    }
    let is_replaced =
        |path: &PathBuf| entry.run.is_some() && parse(path).is_ok_and(|one| one.run == entry.run);
    let replaced: Vec<PathBuf> = paths.extract_if(.., |path| is_replaced(path)).collect();
    let second = entry.file_stem(0);
    let second = second.split_once('Z').map_or(&*second, |(second, _)| second);
    let is_of_second =
        |path: &&PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(second));
    let place = paths.iter().filter(is_of_second).count();
    let file = history.join(entry.file_stem(place) + &ending);
    llama::write_whole(&file, text.as_bytes()).with_context(|| file.display().to_string())?;
    for path in replaced.iter().filter(|path| **path != file) {
        std::fs::remove_file(path).with_context(|| path.display().to_string())?;
    }
    Ok(file)
}

/// Makes sure that runs can be kept in `history`, before one is measured.
pub(crate) fn prepare(history: &Path) -> Result<()> {
    folders::check_history(history)?;
    let probe = history.join(".probe");
    let tried = std::fs::create_dir_all(history)
        .and_then(|()| std::fs::File::create(&probe))
        .and_then(|_| std::fs::remove_file(&probe));
    tried.with_context(|| format!("--history: {}", history.display()))
}

/// Reads the runs in `dir` in the order of their names, each once. Skips other files with a warning, since a machine that lost power may
/// have left an empty one.
pub(crate) fn read(dir: &Path) -> Result<Vec<Entry>> {
    folders::check_history(dir)?;
    let HistoryFiles { entries, skipped } = read_files(dir)?;
    for (path, error) in skipped {
        printer::line(&format!("warning: {}: skipped: {error:#}", path.display()));
    }
    Ok(entries)
}

/// What a folder of `run --history` holds.
pub(crate) struct HistoryFiles {
    /// Each run once.
    pub(crate) entries: Vec<Entry>,
    /// Files that are no entries, each with the reason.
    pub(crate) skipped: Vec<(PathBuf, Error)>,
}

/// Reads `dir` like [`read`], without a warning.
pub(crate) fn read_files(dir: &Path) -> Result<HistoryFiles> {
    let mut entries: IndexMap<String, Entry> = IndexMap::new();
    let mut skipped = Vec::new();
    for path in paths(dir)? {
        match parse(&path) {
            // Earlier versions kept a run that was resumed once more, and named the file of a run differently.
            Ok(entry) => {
                entries.insert(entry.run.clone().unwrap_or_else(|| entry.to_json()), entry);
            }
            Err(error) => skipped.push((path, error)),
        }
    }
    Ok(HistoryFiles { entries: entries.into_values().collect(), skipped })
}

fn parse(path: &Path) -> Result<Entry> {
    Ok(Entry::parse(&llama::read_text(path)?)?)
}

/// The files of a history in the order of their names.
fn paths(dir: &Path) -> Result<Vec<PathBuf>> {
    let files = std::fs::read_dir(dir).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let mut paths: Vec<PathBuf> = files
        .with_context(|| dir.display().to_string())?
        .into_iter()
        .map(|file| file.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    paths.sort();
    Ok(paths)
}
