//! `compare`: compares two runs or tables.

use anyhow::Result;

use crate::args::CompareArgs;
use crate::comparison::{conclude, read_and_compare};
use crate::exit_status::ExitStatus;

pub(crate) fn run(args: &CompareArgs) -> Result<ExitStatus> {
    let sides = [&*args.baseline, &*args.candidate];
    let report =
        read_and_compare(sides, args.precision, &args.read, &args.judge, args.history.as_deref(), 1.0)?;
    conclude(&report, &args.judge)
}
