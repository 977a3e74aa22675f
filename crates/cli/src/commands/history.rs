//! `history`: how a machine's runs went over revisions.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use compare::history::{Entry, History};

use crate::args::HistoryArgs;
use crate::{Ending, printer, source};

pub(crate) fn run(args: &HistoryArgs) -> Result<Ending> {
    for run in &args.add {
        let file = add(&args.dir, run, args.revision.as_deref())?;
        printer::line(&format!("kept in {}", file.display()));
    }
    let history = History::of(read(&args.dir)?, args.threshold);
    printer::result(&if args.json { history.to_json() } else { history.to_text(args.cells) })?;
    Ok(Ending::Done)
}

/// Keeps the run in `run` as a file of `history`, and says which. The same run again is the same file.
pub(crate) fn add(history: &Path, run: &Path, revision: Option<&str>) -> Result<PathBuf> {
    let entry = Entry::of(&source::read_subject(run)?, revision)?;
    std::fs::create_dir_all(history).with_context(|| history.display().to_string())?;
    let file = history.join(entry.file_name());
    let partial = file.with_extension("partial");
    let written = std::fs::write(&partial, entry.to_json()).and_then(|()| std::fs::rename(&partial, &file));
    written.with_context(|| file.display().to_string())?;
    Ok(file)
}

fn read(dir: &Path) -> Result<Vec<Entry>> {
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
