//! A run with its audit, which is also noted under its tables.

use std::path::Path;

use anyhow::Result;
use page::AuditedRun;
use results::Run;

/// Reads the run in `dir` and audits it.
///
/// # Errors
/// Where a file of it can't be read, or is not what it should be.
pub(crate) fn read(dir: &Path) -> Result<AuditedRun> {
    Ok(AuditedRun::new(Run::read(dir)?))
}
