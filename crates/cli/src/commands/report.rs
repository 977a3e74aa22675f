//! `report`: put a table where people read it.

use std::path::Path;

use anyhow::{Context, Result, anyhow};
use report::published::splice;

use crate::args::ReportArgs;
use crate::commands::table;
use crate::{Ending, printer};

pub(crate) fn run(args: &ReportArgs) -> Result<Ending> {
    let path = &args.splice;
    let name = path.display();
    let text = llama::read_text(path).with_context(|| name.to_string())?;
    let table = table::markdown(&args.runs)?;
    let spliced = splice(&text, &table).map_err(|error| anyhow!("{name}: {error}"))?;
    if spliced == text {
        printer::line(&format!("{name}: nothing to change"));
        return Ok(Ending::Done);
    }
    replace(path, &spliced).with_context(|| name.to_string())?;
    printer::line(&format!("{name}: table replaced"));
    Ok(Ending::Done)
}

/// Writes the file whole, or not at all; its permissions stay.
fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    let path = path.canonicalize()?;
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".partial");
    let partial = path.with_file_name(name);
    let written = std::fs::write(&partial, text)
        .and_then(|()| std::fs::set_permissions(&partial, path.metadata()?.permissions()))
        .and_then(|()| std::fs::rename(&partial, &path));
    written.inspect_err(|_| {
        let _ = std::fs::remove_file(&partial);
    })
}
