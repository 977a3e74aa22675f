//! `audit`: checks tables against arithmetic and physics.

use anyhow::{Context, Result};
use results::hardware::Hardware;
use results::{ResultTable, Source, csv_of_json};

use crate::args::AuditArgs;
use crate::exit_status::ExitStatus;
use crate::folders;
use crate::format::emphasize;
use crate::rendered::{Rendered, markdown_list};
use crate::sources;

/// The columns of its csv.
const COLUMNS: &str = "\
    severity rule file line table engine batch_size prompt_length column figure limit times message";

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
    folders::check(&args.files)?;
    let sources = sources::read_with_headings(&args.files, &args.read)?;
    let tables: Vec<ResultTable<'_>> = sources.iter().flat_map(Source::tables).collect();
    let report = audit::audit(&tables, &hardware);
    let text = if args.details { report.details() } else { report.to_string() };
    let json = report.to_json();
    Rendered {
        terminal: emphasize(&text, &[], &[": impossible:"]),
        markdown: markdown_list(&text),
        csv: csv_of_json(&json, &[&["findings"]], COLUMNS)?,
        json,
    }
    .print(&args.result)?;
    Ok(if report.is_impossible() { ExitStatus::Finding } else { ExitStatus::Done })
}
