//! `history`: how a machine's runs went over revisions.

use anyhow::Result;
use compare::history::History;

use crate::args::HistoryArgs;
use crate::exit_status::ExitStatus;
use crate::{history_folder, printer};

pub(crate) fn run(args: &HistoryArgs) -> Result<ExitStatus> {
    for run in &args.add {
        let file = history_folder::add(&args.dir, run, args.revision.as_deref())?;
        printer::line(&format!("kept in {}", file.display()));
    }
    let history = History::of(history_folder::read(&args.dir)?, args.threshold);
    printer::result(&if args.json { history.to_json() } else { history.to_text(args.cells) })?;
    Ok(ExitStatus::Done)
}
