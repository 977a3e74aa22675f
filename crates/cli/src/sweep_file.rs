//! Where a sweep is read from, and where its run goes.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use harness::{Destination, QUICK_SWEEP, Sweep, SweepKeys};
use results::RunFolder;

use crate::printer;

/// The sweep's settings, and its name for the run's folder; the built-in sweep where no file is given.
pub(crate) fn read_settings(path: Option<&Path>) -> Result<(SweepKeys, String)> {
    let Some(path) = path else {
        return Ok((Sweep::settings(QUICK_SWEEP, "configs/quick.toml", Path::new(""))?, "quick".into()));
    };
    let text =
        llama::read_text_up_to(path, llama::LARGEST_SETTINGS).with_context(|| path.display().to_string())?;
    let base = path.parent().unwrap_or(path);
    let name = path.file_stem().map_or_else(|| "sweep".into(), |stem| stem.to_string_lossy().into_owned());
    Ok((Sweep::settings(&text, &path.display().to_string(), base)?, name))
}

/// Opens an earlier run's folder, to measure what it lacks; by its own sweep where no file is given.
pub(crate) fn open_earlier(
    dir: &Path,
    sweep: Option<&Path>,
    allow_mixed: bool,
) -> Result<(SweepKeys, Destination)> {
    let (folder, warning) = RunFolder::open(dir)?;
    if let Some(warning) = warning {
        printer::line(&format!("warning: {warning}"));
    }
    let settings = match sweep {
        Some(path) => read_settings(Some(path))?.0,
        None => {
            let (text, path) = folder.last_sweep();
            Sweep::settings_of_run(text, &path.display().to_string(), dir)?
        }
    };
    Ok((settings, Destination::Earlier { folder, allow_mixed }))
}

/// The folder of a run for which none is given.
#[expect(clippy::disallowed_methods, reason = "a folder's name")]
pub(crate) fn default_dir(name: &str) -> PathBuf {
    let now = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ");
    Path::new("runs").join(format!("{now}-{name}"))
}
