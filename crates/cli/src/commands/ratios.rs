//! `ratios`: an engine against the others of the same run.

use anyhow::Result;
use compare::{Ratios, Subject};
use results::Source;

use crate::args::RatiosArgs;
use crate::exit_status::ExitStatus;
use crate::printer;

pub(crate) fn run(args: &RatiosArgs) -> Result<ExitStatus> {
    let source = Source::read(&args.run)?;
    let ratios = Ratios::of(&Subject::new(&source)?, &args.engine, &args.others)?;
    printer::result(&if args.json { ratios.to_json() } else { ratios.to_markdown() })?;
    Ok(ExitStatus::Done)
}
