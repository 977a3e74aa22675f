//! `run`: measure a sweep.

use anyhow::{Result, ensure};
use harness::{Destination, Isolation, Variant};
use results::RunFolder;

use crate::args::RunArgs;
use crate::commands::{against, confirm, profile};
use crate::exit_status::ExitStatus;
use crate::session::{begin, keep_history, measure, resume_command};
use crate::sweep_file::{default_dir, open_earlier, read_settings};
use crate::{listing, printer};

pub(crate) fn run(args: &RunArgs) -> Result<ExitStatus> {
    let engines = args.measure.setup.engines.read()?;
    if against::is_asked_for(args) {
        return against::run(args, &engines);
    }
    ensure!(
        !args.judge.is_given() && confirm::budget(args).is_none(),
        "--threshold, --allow-drift, --allow-missing, --inconclusive, --provisional, --format, --budget and --until-clear are for a comparison: \
         --against says with what"
    );
    let (settings, destination) = match &args.resume {
        Some(dir) => open_earlier(dir, args.sweep.as_deref(), args.allow_mixed)?,
        None => {
            let (settings, name) = read_settings(args.sweep.as_deref())?;
            let name = match args.shard {
                Some(share) => format!("{name}-{}of{}", share.index(), share.count()),
                None => name,
            };
            let dir = args.out.clone().unwrap_or_else(|| default_dir(&name));
            (settings, Destination::New { dir, shard: args.shard })
        }
    };
    let variant = Variant::resolve(&args.measure.keys().over(settings), engines)?;
    ensure!(
        args.shard.is_none() || variant.sweep.isolation != Isolation::Turn,
        "--shard: engines that take turns are measured on one machine: use isolation = \"engine\" or \"cell\""
    );
    if args.list {
        printer::text(&listing::list(&variant.sweep, None))?;
        return Ok(ExitStatus::Done);
    }
    if let Some(cell) = args.profile {
        return profile::run(variant, cell);
    }
    let mut session = begin(vec![(variant, destination)], &args.measure)?;
    let again = |folders: &[RunFolder]| resume_command(folders[0].dir(), &args.measure, &[]);
    let status = measure(&mut session, args.measure.watch, &again)?;
    if status != ExitStatus::Interrupted {
        let dir = session.folders()[0].dir();
        keep_history(&args.history, dir)?;
        printer::line(&format!("the run's folder: {}", dir.display()));
    }
    Ok(status)
}
