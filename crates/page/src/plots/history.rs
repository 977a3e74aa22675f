//! A metric of an engine or of a cell from run to run, with the levels between which it changed.

use compare::history::{HistoryRun, Series};
use compare::percent;
use results::{Metric, one_line};
use stats::Shift;

use crate::plot::palette::ENGINES;
use crate::plot::{Anchor, Axis, ChosenUnit, FigureQuantity, Frame, MarkLabel, Panel, PlotArea};

/// The most runs of a panel: the last ones.
pub(crate) const RUNS: usize = 200;

/// Characters of a revision below the axis.
const REVISION: usize = 7;
/// The share of the axis that such a label needs, or one of a change.
const LABEL_SHARE: f64 = 0.19;
/// Rows of labels of changes, and their height in pixels.
const LABEL_ROWS: usize = 3;
const LABEL_LINE: f64 = 13.0;

/// The unit in which the figures of these series are shown.
pub(crate) fn history_unit(metric: Metric, series: &[&Series]) -> ChosenUnit {
    let quantity = if metric == Metric::Memory { FigureQuantity::Memory } else { FigureQuantity::Time };
    quantity.unit(series.iter().flat_map(|one| &one.runs).map(|run| run.value))
}

/// The engine with the size of its cell, or over how many cells its mean is.
pub(crate) fn series_name(series: &Series) -> String {
    let name = series.name();
    match (series.size, series.cells, series.all_cells) {
        (Some(_), ..) => name,
        (None, cells, all) if cells == all => format!("{name}, {}", results::counted(cells, "cell")),
        (None, cells, all) => format!("{name}, {cells} of {}", results::counted(all, "cell")),
    }
}

/// The panel of a series, whose engine has this slot. `link` is the address of a run's report.
pub(crate) fn history_panel(
    series: &Series,
    slot: usize,
    unit: ChosenUnit,
    link: impl Fn(&HistoryRun) -> Option<String>,
) -> Panel {
    let first = series.runs.len().saturating_sub(RUNS);
    let runs = &series.runs[first..];
    let levels = levels(series);
    let values = runs.iter().map(|run| run.value).chain(levels.iter().map(|level| level.value));
    let name = series_name(series);
    let points: Vec<(f64, f64)> =
        (0..).zip(runs).map(|(place, run)| (middle(place), unit.scale(run.value))).collect();
    let last = runs.last().map_or(0.0, |run| run.value);
    let frame = Frame {
        title: name.clone(),
        description: format!(
            "{} of {name} over {}, last {}; {}",
            series.metric.title(),
            results::counted(runs.len(), "run"),
            unit.text(last),
            results::counted(series.shifts.len(), "level change")
        ),
        unit: unit.name,
        below: "revision",
        x: revisions(series, first),
        y: Axis::around(values.map(|value| unit.scale(value))),
        size: (350, 130),
        has_columns: false,
        has_rows: true,
    };
    let colour = format!("e{}", slot % ENGINES);
    frame.draw(|area| {
        for level in levels.iter().filter(|level| level.end > first) {
            let [from, to] = [level.begin.max(first), level.end].map(|run| (run - first) as f64);
            let value = unit.scale(level.value);
            area.line("one d1", &[(from + 0.1, value), (to - 0.1, value)]);
        }
        area.line(&format!("l thin {colour}"), &points);
        for (run, point) in runs.iter().zip(&points) {
            draw_run(area, run, *point, link(run), &format!("p full {colour}"), slot, unit);
        }
        let changes: Vec<&Shift> = series.shifts.iter().filter(|change| change.run > first).collect();
        let shares: Vec<f64> =
            changes.iter().map(|change| (change.run - first) as f64 / runs.len() as f64).collect();
        for (change, row) in changes.into_iter().zip(label_rows(&shares)) {
            let at = (change.run - first) as f64;
            let class = if change.ratio < 1.0 { "better" } else { "worse" };
            let [(_, low), (_, high)] = area.ends();
            area.line(&format!("change {class}"), &[(at, low), (at, high)]);
            // The table says it where there is no room.
            let Some(row) = row else { continue };
            let down = 4.0 + LABEL_LINE * row as f64;
            let (moved, anchor) = match is_left(at / runs.len() as f64) {
                true => ((-4.0, down), Anchor::End),
                false => ((4.0, down), Anchor::Start),
            };
            area.note(&format!("change-words {class}"), &percent(change.ratio), (at, high), moved, anchor);
        }
    })
}

/// Whether the label of a change at this share of the axis is left of its line.
fn is_left(share: f64) -> bool {
    share > 1.0 - LABEL_SHARE
}

/// The row of each change's label, so that none covers another; `None` where all rows are taken. `shares` ascend.
fn label_rows(shares: &[f64]) -> Vec<Option<usize>> {
    let mut ends = [0.0; LABEL_ROWS];
    let row = |share: &f64| {
        let begin = if is_left(*share) { share - LABEL_SHARE } else { *share };
        let row = ends.iter().position(|end| *end <= begin)?;
        ends[row] = begin + LABEL_SHARE;
        Some(row)
    };
    shares.iter().map(row).collect()
}

fn draw_run(
    area: &mut PlotArea,
    run: &HistoryRun,
    point: (f64, f64),
    link: Option<String>,
    class: &str,
    slot: usize,
    unit: ChosenUnit,
) {
    let title = format!("{}, {}: {}", one_line(&run.revision), one_line(&run.started), unit.text(run.value));
    let label = MarkLabel { class, title: &title, cell: None };
    match link {
        Some(link) => area.link(&link, |area| area.shape_mark(&label, slot, point)),
        None => area.shape_mark(&label, slot, point),
    }
}

/// Runs between two changes.
struct HistoryLevel {
    begin: usize,
    end: usize,
    value: f64,
}

/// The levels of a series; none if it has one only.
fn levels(series: &Series) -> Vec<HistoryLevel> {
    let ends = series.shifts.iter().map(|change| (change.run, change.before));
    let last = series.shifts.last().map(|change| (series.runs.len(), change.before * change.ratio));
    let mut begin = 0;
    let level = |(end, value)| HistoryLevel { begin: std::mem::replace(&mut begin, end), end, value };
    ends.chain(last).map(level).collect()
}

fn middle(place: usize) -> f64 {
    place as f64 + 0.5
}

/// An axis of runs. The first, the last and those of changes have their revisions below, then as many others as have room.
fn revisions(series: &Series, first: usize) -> Axis {
    let count = series.runs.len() - first;
    let changes = series.shifts.iter().filter(|change| change.run > first).map(|change| change.run - first);
    let mut chosen: Vec<usize> = Vec::new();
    for place in [0, count - 1].into_iter().chain(changes).chain(0..count) {
        let share = |other: &usize| place.abs_diff(*other) as f64 / count as f64;
        if chosen.iter().all(|other| share(other) >= LABEL_SHARE) {
            chosen.push(place);
        }
    }
    let revision = |place: usize| {
        one_line(&series.runs[first + place].revision.chars().take(REVISION).collect::<String>())
    };
    let ticks = chosen.into_iter().map(|place| (middle(place), revision(place)));
    Axis::with_ticks(0.0, count as f64, false, ticks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_of_changes_do_not_overlap() {
        assert_eq!(label_rows(&[0.1, 0.4, 0.7]), [Some(0); 3]);
        assert_eq!(label_rows(&[0.1, 0.15, 0.2, 0.25, 0.3]), [Some(0), Some(1), Some(2), None, Some(0)]);
        // The last one is left of its line, where another begins.
        assert_eq!(label_rows(&[0.7, 0.95]), [Some(0), Some(1)]);
    }
}
