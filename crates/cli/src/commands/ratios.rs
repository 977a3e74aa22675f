//! `ratios`: an engine against the others of the same run.

use anyhow::Result;
use compare::Ratios;

use crate::args::RatiosArgs;
use crate::{Ending, printer, source};

pub(crate) fn run(args: &RatiosArgs) -> Result<Ending> {
    let ratios = Ratios::of(&source::read_subject(&args.run)?, &args.engine, &args.others)?;
    printer::result(&if args.json { ratios.to_json() } else { ratios.to_markdown() })?;
    Ok(Ending::Done)
}
