//! The folder of runs for `history`, with a small file for each run.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Error, Result};
use compare::Subject;
use compare::history::Entry;
use results::Source;

use crate::printer;

/// Keeps the run in `run` as a file of `history`, and returns its path. The same run again is the same file.
pub(crate) fn add(history: &Path, run: &Path, revision: Option<&str>) -> Result<PathBuf> {
    let entry = Entry::of(&Subject::new(&Source::read(run)?)?, revision)?;
    std::fs::create_dir_all(history).with_context(|| history.display().to_string())?;
    let text = entry.to_json();
    // Runs may begin in the same second: a part of the hash tells their files apart, and a number keeps their order.
    let hash = llama::sha256_hex(text.as_bytes());
    let ending = format!("-{}.json", &hash[..12]);
    let names = std::fs::read_dir(history).with_context(|| history.display().to_string())?.flatten();
    let names: Vec<String> = names.map(|file| file.file_name().to_string_lossy().into_owned()).collect();
    if let Some(name) = names.iter().find(|name| name.ends_with(&ending)) {
        return Ok(history.join(name));
    }
    let second = entry.file_stem(0);
    let second = second.split_once('Z').map_or(&*second, |(second, _)| second);
    let place = names.iter().filter(|name| name.starts_with(second)).count();
    let file = history.join(entry.file_stem(place) + &ending);
    llama::write_whole(&file, text.as_bytes()).with_context(|| file.display().to_string())?;
    Ok(file)
}

/// Reads the runs in `dir` in the order of their names. Skips other files with a warning, since a machine that lost power may have left an
/// empty one.
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
            // Earlier versions named the file of a run differently, so it may be there twice.
            Ok(entry) if !known.insert(entry.to_json()) => {}
            Ok(entry) => entries.push(entry),
            Err(error) => printer::line(&format!("warning: {}: skipped: {error:#}", path.display())),
        }
    }
    Ok(entries)
}
