//! `ratios`: an engine against the others of the same run.

use anyhow::Result;
use compare::{Ratios, Subject};

use crate::args::RatiosArgs;
use crate::exit_status::ExitStatus;
use crate::{printer, sources};

pub(crate) fn run(args: &RatiosArgs) -> Result<ExitStatus> {
    let sources = sources::read(&[&args.run], &args.read)?;
    let ratios = Ratios::of(&Subject::new(&sources[0])?, &args.engine, &args.others)?;
    printer::result(&if args.json { ratios.to_json() } else { ratios.to_markdown() })?;
    Ok(ExitStatus::Done)
}
