//! A run with its audit, which is also noted under its tables.

use std::path::Path;

use anyhow::Result;
use page::AuditedRun;
use results::Run;

use crate::sources::note;

/// Reads the run in `dir` and audits it.
///
/// # Errors
/// Where a file of it can't be read, or is not what it should be.
pub(crate) fn read(dir: &Path) -> Result<AuditedRun> {
    let run = Run::read(dir)?;
    if run.tables.is_empty() {
        let dir = dir.display();
        note(format!("{dir}: no records yet: continue with `llama2-bench run --resume {dir}`"));
    }
    Ok(AuditedRun::new(run))
}
