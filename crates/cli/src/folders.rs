//! Errors for paths that have no results, with what to give instead.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::commands::against::SIDES;

/// The file that every run's folder has.
const RECORDS: &str = "measurements.jsonl";
/// The file that `run --resume` continues.
const SWEEP: &str = "sweep.toml";
/// The built-in published tables.
const EDITIONS: [&str; 2] = ["llama2-a100", "llama2-a100-2024"];
/// The most runs that an error names.
const NAMED: usize = 3;

/// Refuses paths that have no results, and says what to give instead.
///
/// # Errors
/// Fails for a folder that is no run's, for a sweep, and for a missing path that is nearly the name of a built-in table.
pub(crate) fn check<P: AsRef<Path>>(paths: &[P]) -> Result<()> {
    for path in paths.iter().map(AsRef::as_ref) {
        if path.is_dir() && !is_run(path) {
            bail!("{}: not a run's folder (no {RECORDS}){}", path.display(), instead(path));
        }
        if path.is_file() && path.extension().is_some_and(|extension| extension == "toml") {
            let path = path.display();
            bail!("{path}: a sweep, not a result: `llama2-bench run {path}` measures it");
        }
        let word = path.to_str().unwrap_or_default();
        if !path.exists()
            && !EDITIONS.contains(&word)
            && let Some(name) = harness::nearest(word, &EDITIONS)
        {
            bail!("{word}: no such file or folder: did you mean {name}?");
        }
    }
    Ok(())
}

/// Refuses a folder that `run --resume` can't continue, and says what to give instead.
pub(crate) fn check_resumable(dir: &Path) -> Result<()> {
    if !dir.is_dir() {
        bail!("{}: no such folder", dir.display());
    }
    if !dir.join(SWEEP).exists() {
        bail!("{}: not a run's folder (no {SWEEP}){}", dir.display(), instead(dir));
    }
    Ok(())
}

/// Refuses a folder without the two sides that `noise` and `run --against` write.
pub(crate) fn check_sides(dir: &Path) -> Result<()> {
    if !dir.is_dir() {
        bail!("{}: no such folder", dir.display());
    }
    if let Some(side) = SIDES.iter().find(|side| !dir.join(side).is_dir()) {
        bail!("{}: not a folder of noise or run --against (no {side}/)", dir.display());
    }
    Ok(())
}

/// Refuses a run in place of a folder of `run --history`.
pub(crate) fn check_history(dir: &Path) -> Result<()> {
    if is_run(dir) {
        let dir = dir.display();
        bail!("{dir}: a run, not a folder of runs: add it with `llama2-bench history DIR --add {dir}`");
    }
    Ok(())
}

/// Refuses what is not a folder of runs.
pub(crate) fn check_runs(dir: &Path) -> Result<()> {
    std::fs::read_dir(dir).with_context(|| dir.display().to_string())?;
    if is_run(dir) {
        let dir = dir.display();
        bail!(
            "{dir}: a run, not a folder of runs: give the folder above, or write its report with `llama2-bench report {dir}`"
        );
    }
    Ok(())
}

/// Whether a folder is that of a run.
pub(crate) fn is_run(dir: &Path) -> bool {
    dir.join(RECORDS).exists()
}

/// Suggests what was probably meant by a folder that is no run's.
fn instead(dir: &Path) -> String {
    let [baseline, candidate] = SIDES.map(|side| dir.join(side));
    if is_run(&baseline) && is_run(&candidate) {
        return format!(": did you mean {} or {}?", baseline.display(), candidate.display());
    }
    let entries = dir.read_dir().into_iter().flatten().flatten().map(|entry| entry.path());
    let mut runs: Vec<PathBuf> = entries.filter(|path| is_run(path)).collect();
    runs.sort();
    let names: Vec<String> = runs.iter().take(NAMED).map(|run| run.display().to_string()).collect();
    let more = if runs.len() > NAMED { format!(" and {} more", runs.len() - NAMED) } else { String::new() };
    if !names.is_empty() {
        return format!(": did you mean {}{more}?", names.join(" or "));
    }
    if dir.join(SWEEP).exists() {
        return format!(
            ": nothing is measured yet: `llama2-bench run --resume {}` measures its sweep",
            dir.display()
        );
    }
    match dir.canonicalize().ok().and_then(|whole| Some(whole.parent()?.to_path_buf())) {
        Some(parent) if is_run(&parent) => format!(": did you mean the folder above, {}?", parent.display()),
        _ => String::new(),
    }
}
