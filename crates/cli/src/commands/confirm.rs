//! `run --against --budget`: what regressed or is inconclusive is measured again.

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
use crate::{comparison, printer};

/// After so many rounds what is open stays so: the level of the next one would be below a thousandth of the first.
const MOST_ROUNDS: usize = 9;

/// A round has at most so many times the replicates of the first measurement.
const MOST_TIMES: usize = 4;

/// How long may be measured again; `None` where that was not asked for.
pub(crate) fn budget(args: &RunArgs) -> Option<Duration> {
    if args.until_clear { Some(Duration::MAX) } else { args.budget }
}

/// Compares the two sides of a round, 0 the first. Where rounds can follow, each may use half of the level that is left: then the
/// chance of any false alarm in all of them is what it is in one, whenever measuring stops.
pub(crate) fn compare_round(
    args: &RunArgs,
    baseline: &Path,
    candidate: &Path,
    round: usize,
) -> Result<Report> {
    let share = if budget(args).is_some() { 0.5_f64.powi(round as i32 + 1) } else { 1.0 };
    comparison::read_and_compare([baseline, candidate], &ReadArgs::default(), &args.judge, None, share)
}

/// Measures what is open in `report` again, round by round, until nothing is or the budget is spent; whether that was interrupted. A
/// round's verdicts are of its own measurement alone, and take the place of the earlier ones where they say something. `settings` are
/// those of either side. Rounds that are there already, of a session that was interrupted, are gone on with.
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
    // A row of a sweep is measured of each of its models.
    let of_one = seconds_of_a_pair(&SIDES.map(|side| dir.join(side)))? * report.tables.len() as f64;
    for round in 1..=MOST_ROUNDS {
        let folder = dir.join(format!("round-{round}"));
        let sides = if folder.exists() {
            let open = |side: &str| open_earlier(&folder.join(side), None, args.allow_mixed);
            [open(SIDES[0])?, open(SIDES[1])?]
        } else {
            let open = report.open_cells();
            let left = budget.saturating_sub(start.elapsed()).as_secs_f64();
            let (cells, count) = plan(&open, (left / of_one) as usize, report.replicates_needed(), before);
            if open.is_empty() {
                return Ok((report, false));
            }
            if cells.is_empty() {
                report.notes.push(format!(
                    "cells are still open ({}), and the budget has {left:.0} s left: {before} replicates of one take about {:.0} s on both sides",
                    open.len(),
                    of_one * before as f64
                ));
                return Ok((report, false));
            }
            let (some, all) = (cells.len(), open.len());
            printer::line(&format!("round {round}: {some} of {all} open cells, {count} replicates a side"));
            let side = |at: usize| {
                let to = Destination::New { dir: folder.join(SIDES[at]), shard: None };
                (only(settings[at].clone(), cells, count), to)
            };
            [side(0), side(1)]
        };
        let mut session = begin(variants(args, sides, engines)?, &args.measure)?;
        if measure(&mut session, args.measure.watch, &|_| again.clone())? == ExitStatus::Interrupted {
            return Ok((report, true));
        }
        let [baseline, candidate] = [0, 1].map(|side| session.folders()[side].dir());
        report = report.measured_again(compare_round(args, baseline, candidate, round)?, round);
    }
    if !report.open_cells().is_empty() {
        report.notes.push(format!("cells are still open after {MOST_ROUNDS} rounds, which is the most"));
    }
    Ok((report, false))
}

/// About how long a replicate of a cell takes on both sides: half as long again as its timed forwards, for warm-ups and loading.
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

/// The cells of a round and its replicates, of what is open, for which there is time for `affordable` replicates of a cell: no fewer
/// than `before`, since fewer would say less.
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

/// The same settings for these cells alone.
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
            let (cells, count) = plan(&open, affordable, needed, 5);
            (cells.len(), count)
        };
        assert_eq!(planned(1000, None), (3, 5));
        assert_eq!(planned(1000, Some(12)), (3, 12));
        assert_eq!(planned(1000, Some(900)), (3, 20), "at most four times as many");
        assert_eq!(planned(24, Some(12)), (3, 8));
        assert_eq!(planned(12, Some(12)), (2, 6), "fewer cells rather than fewer replicates");
        assert_eq!(planned(4, None), (0, 0));
    }
}
