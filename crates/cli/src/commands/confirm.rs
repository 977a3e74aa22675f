//! `run --against --budget`: what regressed or is inconclusive is measured again.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use compare::{FEWEST_REPLICATES, Report};
use harness::{Destination, Engines, Setting, SweepKeys, SweepRow, Whole};
use protocol::CellSize;

use crate::args::RunArgs;
use crate::commands::against::{self, SIDES, variants};
use crate::exit_status::ExitStatus;
use crate::session::{begin, measure};
use crate::{comparison, printer};

/// After so many rounds what is open stays so: the level of the next one would be below a thousandth of the first.
const MOST_ROUNDS: usize = 9;

/// A round has at most so many times the replicates of the first measurement.
const MOST_TIMES: usize = 4;

/// What was measured first.
pub(crate) struct Measured {
    /// With these settings.
    pub(crate) settings: SweepKeys,
    /// In this time.
    pub(crate) took: Duration,
}

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
    comparison::read_and_compare(baseline, candidate, &args.judge, None, share)
}

/// Measures what is open in `report` again, round by round, until nothing is or the budget is spent. A round's verdicts are of its own
/// measurement alone, and take the place of the earlier ones.
pub(crate) fn rounds(
    args: &RunArgs,
    engines: &Engines,
    dir: &Path,
    measured: &Measured,
    budget: Duration,
    mut report: Report,
) -> Result<Report> {
    let start = Instant::now();
    let again = against::again(args, dir);
    let replicates = measured
        .settings
        .procedure
        .replicates
        .as_ref()
        .map_or(FEWEST_REPLICATES, |count| count.value.0 as usize);
    let of_one = measured.took.div_f64((report.cell_count() * replicates).max(1) as f64);
    for round in (1..=MOST_ROUNDS).filter(|round| !dir.join(format!("round-{round}")).exists()) {
        let open = report.open_cells();
        let left = budget.saturating_sub(start.elapsed());
        let affordable = (left.as_secs_f64() / of_one.as_secs_f64().max(1e-9)) as usize;
        let (cells, count) = plan(&open, affordable, report.replicates_needed(), replicates);
        if open.is_empty() {
            break;
        }
        if cells.is_empty() {
            report.notes.push(format!(
                "{} cells are open and were not measured again: the budget has {:.0} s left, and {FEWEST_REPLICATES} replicates of a cell take about {:.0} s",
                open.len(),
                left.as_secs_f64(),
                of_one.as_secs_f64() * FEWEST_REPLICATES as f64
            ));
            break;
        }
        printer::line(&format!(
            "round {round}: {} of {} open cells, {count} replicates a side",
            cells.len(),
            open.len()
        ));
        let dir = dir.join(format!("round-{round}"));
        let sides = SIDES.map(|side| {
            let to = Destination::New { dir: dir.join(side), shard: None };
            (only(measured.settings.clone(), cells, count), to)
        });
        let mut session = begin(variants(args, sides, engines)?, &args.measure)?;
        if measure(&mut session, args.measure.watch, &again)? == ExitStatus::Interrupted {
            report
                .notes
                .push(format!("round {round} was interrupted: its cells have the verdicts of before"));
            break;
        }
        let [baseline, candidate] = SIDES.map(|side| dir.join(side));
        report = report.measured_again(compare_round(args, &baseline, &candidate, round)?, round);
    }
    Ok(report)
}

/// The cells of a round and its replicates, of what is open, for which there is time for `affordable` replicates of a cell.
fn plan(
    open: &[(String, CellSize)],
    affordable: usize,
    needed: Option<usize>,
    before: usize,
) -> (&[(String, CellSize)], usize) {
    let cells = open.len().min(affordable / FEWEST_REPLICATES);
    let wanted = needed
        .unwrap_or(before)
        .clamp(before.max(FEWEST_REPLICATES), MOST_TIMES * before.max(FEWEST_REPLICATES));
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
        assert_eq!(planned(12, Some(12)), (2, 6));
        assert_eq!(planned(4, None), (0, 0));
    }
}
