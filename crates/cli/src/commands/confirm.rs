//! `run --against --budget`: measures cells again that regressed or are inconclusive.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Result;
use compare::{FEWEST_REPLICATES, Report};
use harness::{Destination, Engines, Setting, SweepKeys, SweepRow, Whole};
use protocol::CellSize;
use results::Run;

use crate::args::{ReadArgs, RunArgs};
use crate::commands::against::{self, SIDES, variants};
use crate::exit_status::ExitStatus;
use crate::session::{begin, measure};
use crate::sweep_file::open_earlier;
use crate::words::count;
use crate::{comparison, printer};

/// The most rounds. The level of a further one would be below a thousandth of the first.
const MOST_ROUNDS: usize = 9;

/// The most replicates of a round, as a multiple of those of the first measurement.
const MOST_TIMES: usize = 4;

/// The time for measuring again; `None` where that was not asked for.
pub(crate) fn budget(args: &RunArgs) -> Option<Duration> {
    if args.until_clear { Some(Duration::MAX) } else { args.budget }
}

/// Compares the two sides of a round, from 0. If rounds can follow, each uses half of the level that is left. The chance of any false alarm
/// is then the same as in a single round, whenever measuring stops.
pub(crate) fn compare_round(
    args: &RunArgs,
    baseline: &Path,
    candidate: &Path,
    round: usize,
) -> Result<Report> {
    let share = if budget(args).is_some() { 0.5_f64.powi(round as i32 + 1) } else { 1.0 };
    comparison::read_and_compare([baseline, candidate], None, &ReadArgs::default(), &args.judge, None, share)
}

/// Measures the open cells of `report` again, round by round, until none is open or the budget is spent. Returns the report, and whether the
/// user interrupted. Verdicts of a round come from its own measurement alone, and replace earlier ones if they are conclusive. `settings` are
/// those of each side. Existing rounds of an interrupted session are continued.
pub(crate) fn rounds(
    args: &RunArgs,
    engines: &Engines,
    dir: &Path,
    settings: &[SweepKeys; 2],
    budget: Duration,
    mut report: Report,
) -> Result<(Report, bool)> {
    let start = Instant::now();
    let again = against::again(args, dir);
    let before =
        settings[1].procedure.replicates.as_ref().map_or(FEWEST_REPLICATES, |count| count.value.0 as usize);
    let before = before.max(FEWEST_REPLICATES);
    // A row of a sweep is measured with each of its models.
    let of_one = seconds_of_a_pair(&SIDES.map(|side| dir.join(side)))? * report.tables.len() as f64;
    for round in 1..=MOST_ROUNDS {
        let folder = dir.join(format!("round-{round}"));
        let sides = if folder.exists() {
            let open = |side: &str| -> Result<_> {
                let earlier = open_earlier(&folder.join(side), None, args.allow_mixed)?;
                Ok((earlier.settings, earlier.destination))
            };
            [open(SIDES[0])?, open(SIDES[1])?]
        } else {
            let open = report.open_cells();
            let left = budget.saturating_sub(start.elapsed()).as_secs_f64();
            let (cells, replicates) =
                plan(&open, (left / of_one) as usize, report.replicates_needed(), before);
            if open.is_empty() {
                return Ok((report, false));
            }
            if cells.is_empty() {
                report.notes.push(format!(
                    "{} still open, and {left:.0} s of the budget left: {before} replicates of a cell take about {:.0} s on both sides",
                    count(open.len(), "cell"),
                    of_one * before as f64
                ));
                return Ok((report, false));
            }
            let (some, all) = (cells.len(), open.len());
            printer::line(&format!(
                "round {round}: {some} of {all} open cells, {replicates} replicates per side"
            ));
            let side = |at: usize| {
                let to = Destination::New { dir: folder.join(SIDES[at]), shard: None };
                (only(settings[at].clone(), cells, replicates), to)
            };
            [side(0), side(1)]
        };
        let mut session = begin(variants(args, sides, engines)?, &args.measure)?;
        if measure(&mut session, args.measure.watch, None, &|_| again.clone())? == ExitStatus::Interrupted {
            return Ok((report, true));
        }
        let [baseline, candidate] = [0, 1].map(|side| session.folders()[side].dir());
        report = report.measured_again(compare_round(args, baseline, candidate, round)?, round);
    }
    if !report.open_cells().is_empty() {
        report.notes.push(format!("cells are still open after {MOST_ROUNDS} rounds, the maximum"));
    }
    Ok((report, false))
}

/// Estimated seconds of a replicate on both sides: 1.5 times its timed forwards, for warm-ups and loading.
fn seconds_of_a_pair(sides: &[PathBuf; 2]) -> Result<f64> {
    let mut both = 0.0;
    for side in sides {
        let run = Run::read(side)?;
        let records = run.tables.iter().flat_map(|table| &table.rows).flat_map(|row| &row.replicates);
        let timed = records.filter_map(|record| {
            let series = record.series()?;
            let generations = series.generations.iter().map(|one| one.wall_seconds);
            Some(series.prompt_seconds.iter().copied().chain(generations).sum::<f64>())
        });
        let timed: Vec<f64> = timed.collect();
        both += 1.5 * timed.iter().sum::<f64>() / timed.len().max(1) as f64;
    }
    Ok(both.max(1e-3))
}

/// The cells of a round among the open ones, and its replicates, if there is time for `affordable` replicates of a cell. There are no fewer
/// than `before`, since fewer would be less conclusive.
fn plan(
    open: &[(String, CellSize)],
    affordable: usize,
    needed: Option<usize>,
    before: usize,
) -> (&[(String, CellSize)], usize) {
    let cells = open.len().min(affordable / before);
    let wanted = needed.unwrap_or(before).clamp(before, MOST_TIMES * before);
    let count = affordable.checked_div(cells).unwrap_or(0).min(wanted);
    (&open[..cells], count)
}

/// The same settings for only these cells.
fn only(settings: SweepKeys, cells: &[(String, CellSize)], replicates: usize) -> SweepKeys {
    let rows =
        cells.iter().map(|(engine, size)| SweepRow(engine.clone(), size.batch_size, size.prompt_length));
    let mut settings = SweepKeys {
        engines: None,
        batch_sizes: None,
        prompt_lengths: None,
        rows: Some(Setting::new(rows.collect(), "--budget")),
        ..settings
    };
    settings.procedure.replicates = Some(Setting::new(Whole(replicates as u32), "--budget"));
    settings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_is_as_large_as_its_budget_allows() {
        let open: Vec<_> = [1, 4, 16]
            .map(|batch_size| ("mock".to_owned(), CellSize { batch_size, prompt_length: 16 }))
            .into();
        let planned = |affordable, needed| {
            let (cells, replicates) = plan(&open, affordable, needed, 5);
            (cells.len(), replicates)
        };
        assert_eq!(planned(1000, None), (3, 5));
        assert_eq!(planned(1000, Some(12)), (3, 12));
        assert_eq!(planned(1000, Some(900)), (3, 20), "at most four times as many");
        assert_eq!(planned(24, Some(12)), (3, 8));
        assert_eq!(planned(12, Some(12)), (2, 6), "fewer cells rather than fewer replicates");
        assert_eq!(planned(4, None), (0, 0));
    }
}
