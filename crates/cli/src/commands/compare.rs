//! `compare`: a run held against another.

use anyhow::Result;

use crate::args::CompareArgs;
use crate::comparison::{conclude, read_and_compare};
use crate::exit_status::ExitStatus;

pub(crate) fn run(args: &CompareArgs) -> Result<ExitStatus> {
    let report = read_and_compare(&args.baseline, &args.candidate, &args.judge)?;
    conclude(&report, &args.judge)
}
