//! `audit`: do the figures of tables hold together?

use anyhow::{Context, Result};
use audit::Hardware;

use crate::args::AuditArgs;
use crate::{Ending, printer, source};

pub(crate) fn run(args: &AuditArgs) -> Result<Ending> {
    let hardware = match &args.hardware {
        None => Hardware::built_in(),
        Some(path) => {
            let origin = path.display().to_string();
            Hardware::parse(&llama::read_text(path).context(origin.clone())?, &origin)?
        }
    };
    let mut tables = Vec::new();
    for path in &args.files {
        tables.extend(source::read_audited(path)?);
    }
    let report = audit::audit(&tables, &hardware);
    printer::result(&if args.json { report.to_json() } else { report.to_string() })?;
    Ok(if report.is_impossible() { Ending::Finding } else { Ending::Done })
}
