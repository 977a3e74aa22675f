//! Reads sweeps, and finds the folders of their runs.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use harness::{Destination, Engines, QUICK_SWEEP, Sweep, SweepKeys};
use protocol::EnginesFile;
use results::RunFolder;

use crate::{folders, printer};

/// Reads a sweep's settings, and its name for the run's folder; the built-in sweep where no file is given.
pub(crate) fn read_settings(path: Option<&Path>) -> Result<(SweepKeys, String)> {
    let Some(path) = path else {
        return Ok((Sweep::settings(QUICK_SWEEP, "configs/quick.toml", Path::new(""))?, "quick".into()));
    };
    if !path.exists() {
        bail!("{}: no such sweep file{}", path.display(), instead(path));
    }
    let text =
        llama::read_text_up_to(path, llama::LARGEST_SETTINGS).with_context(|| path.display().to_string())?;
    let base = path.parent().unwrap_or(path);
    let name = path.file_stem().map_or_else(|| "sweep".into(), |stem| stem.to_string_lossy().into_owned());
    Ok((Sweep::settings(&text, &path.display().to_string(), base)?, name))
}

/// Suggests what was probably meant by a sweep that is not there.
fn instead(path: &Path) -> &'static str {
    let word = path.to_str().unwrap_or_default();
    match word {
        "quick.toml" => ": it is built in: leave it out",
        _ if Engines::built_in().get(word).is_some() => ": separate engines by commas, as in --engine a,b",
        _ => "",
    }
}

/// An earlier run that is continued.
pub(crate) struct EarlierRun {
    /// Its own settings, or those of the given file.
    pub(crate) settings: SweepKeys,
    pub(crate) destination: Destination,
    /// The engines file that it began with.
    pub(crate) engines_file: Option<EnginesFile>,
}

/// Opens an earlier run's folder to measure its missing cells, with its own sweep where no file is given.
pub(crate) fn open_earlier(dir: &Path, sweep: Option<&Path>, allow_mixed: bool) -> Result<EarlierRun> {
    folders::check_resumable(dir)?;
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
    let engines_file = folder.last_environment().engines_file.clone();
    Ok(EarlierRun { settings, destination: Destination::Earlier { folder, allow_mixed }, engines_file })
}

/// The default folder of a run.
#[expect(clippy::disallowed_methods, reason = "a folder's name")]
pub(crate) fn default_dir(name: &str) -> PathBuf {
    let now = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ");
    Path::new("runs").join(format!("{now}-{name}"))
}
