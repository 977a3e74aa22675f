//! A run with what its audit says, also under its tables.

use std::path::Path;

use anyhow::Result;
use page::AuditedRun;
use results::hardware::Hardware;
use results::{Note, NoteKind, NoteSeverity, Run};

/// Reads the run in `dir` and audits it.
///
/// # Errors
/// Where a file of it can't be read, or is not what it should be.
pub(crate) fn read(dir: &Path) -> Result<AuditedRun> {
    let mut run = Run::read(dir)?;
    let audit = audit::audit(&run.result_tables(), &Hardware::built_in());
    for (index, table) in run.tables.iter_mut().enumerate() {
        table.add_notes(audit.groups_of_table(index).iter().map(note));
    }
    Ok(AuditedRun { run, audit })
}

fn note(group: &audit::FindingGroup<'_>) -> Note {
    let severity = match group.severity {
        audit::Severity::Impossible => NoteSeverity::Wrong,
        audit::Severity::Remarkable => NoteSeverity::Caveat,
    };
    Note { kind: NoteKind::Audit, severity, text: format!("audit: {}", group.words()) }
}
