//! `history`: shows how a machine's runs changed over revisions.

use anyhow::Result;
use compare::history::History;
use results::csv_of_json;

use crate::args::HistoryArgs;
use crate::exit_status::ExitStatus;
use crate::rendered::Rendered;
use crate::{history_folder, printer};

/// The columns of its csv.
const COLUMNS: &str = "\
    schema group heading machine metric engine batch_size prompt_length started revision value";

pub(crate) fn run(args: &HistoryArgs) -> Result<ExitStatus> {
    for run in &args.add {
        let file = history_folder::add(&args.dir, run, args.revision.as_deref())?;
        printer::line(&format!("kept in {}", file.display()));
    }
    let history = History::from_entries(&history_folder::read(&args.dir)?, args.threshold);
    let json = history.to_json();
    Rendered {
        markdown: history.to_markdown(args.cells),
        terminal: history.to_terminal(args.cells, printer::screen_width()),
        csv: csv_of_json(&json, &[&["series", "runs"]], COLUMNS)?,
        json,
    }
    .print(&args.result)?;
    Ok(ExitStatus::Done)
}
