//! `audit`: do the figures of tables hold together?

use anyhow::{Context, Result};
use results::hardware::Hardware;
use results::{ResultTable, Source};

use crate::args::AuditArgs;
use crate::exit_status::ExitStatus;
use crate::{printer, sources};

pub(crate) fn run(args: &AuditArgs) -> Result<ExitStatus> {
    let hardware = match &args.hardware {
        None => Hardware::built_in(),
        Some(path) => {
            let origin = path.display().to_string();
            Hardware::parse(
                &llama::read_text_up_to(path, llama::LARGEST_SETTINGS).context(origin.clone())?,
                &origin,
            )?
        }
    };
    let sources = sources::read_with_headings(&args.files, &args.read)?;
    let tables: Vec<ResultTable<'_>> = sources.iter().flat_map(Source::tables).collect();
    let report = audit::audit(&tables, &hardware);
    printer::result(&match (args.json, args.details) {
        (true, _) => report.to_json(),
        (false, true) => report.details(),
        (false, false) => report.to_string(),
    })?;
    Ok(if report.is_impossible() { ExitStatus::Finding } else { ExitStatus::Done })
}
