//! `noise`: measures this machine against itself.

use anyhow::Result;
use compare::{Noise, Subject};
use harness::Variant;
use results::{Source, csv_of_json};

use crate::args::{NoiseArgs, ResultFormat};
use crate::commands::against::{SIDES, sides_of_new};
use crate::commands::run::list;
use crate::exit_status::ExitStatus;
use crate::folders;
use crate::printer::screen_width;
use crate::rendered::Rendered;
use crate::session::{begin, measure};
use crate::sweep_file::{default_dir, read_settings};

/// The columns of its csv.
const COLUMNS: &str = "\
    schema replicates intervals_without_1 intervals metric lines threshold_held threshold \
    replicates_needed.replicates";

pub(crate) fn run(args: &NoiseArgs) -> Result<ExitStatus> {
    let (sides, status) = match &args.from {
        Some(dir) => {
            folders::check_sides(dir)?;
            (SIDES.map(|side| dir.join(side)), ExitStatus::Done)
        }
        None => {
            let (settings, name) = read_settings(args.sweep.as_deref())?;
            let dir = args.out.clone().unwrap_or_else(|| default_dir(&format!("{name}-noise")));
            let engines = args.measure.setup.engines.read()?;
            let variants = sides_of_new(&dir, &settings, &args.measure, "noise")?
                .map(|(settings, to)| Ok((Variant::resolve(&settings, engines.clone())?, to)));
            let variants = variants.into_iter().collect::<Result<Vec<_>>>()?;
            if args.list {
                let format = args.format.given().unwrap_or(ResultFormat::Terminal);
                list(&variants[0].0, None, format, None)?;
                return Ok(ExitStatus::Done);
            }
            let mut session = begin(variants, &args.measure)?;
            let again = format!("llama2-bench noise --from {}", dir.display());
            let status = measure(&mut session, args.measure.watch, None, &|_| again.clone())?;
            ([0, 1].map(|side| session.folders()[side].dir().to_path_buf()), status)
        }
    };
    if status == ExitStatus::Interrupted {
        return Ok(status);
    }
    let [baseline, candidate] = sides.map(|side| Source::read(&side));
    let (baseline, candidate) = (baseline?, candidate?);
    let noise = Noise::new(&Subject::new(&baseline)?, &Subject::new(&candidate)?)?;
    let json = noise.to_json();
    Rendered {
        markdown: noise.to_markdown(),
        terminal: noise.to_terminal(screen_width()),
        csv: csv_of_json(&json, &[&["metrics", "replicates_needed"]], COLUMNS)?,
        json,
    }
    .print_as(args.format.given().unwrap_or(ResultFormat::Terminal), None)?;
    Ok(status)
}
