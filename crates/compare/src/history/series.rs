//! Series of a history: a metric from run to run, and where its level changed.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use results::{Metric, one_line};
use serde_json::{Value, json};
use stats::{Replicates, shifts};

use super::Entry;
use super::groups::{RunGroup, differences, groups};
use crate::format::percent;

/// Bars of a run, from low to high.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// One metric of one cell, or of an engine's mean, over the runs of a group.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// The group of runs with cells in common, from 1.
    pub group: usize,
    /// The table.
    pub heading: String,
    /// The machine.
    pub machine: String,
    /// The metric.
    pub metric: Metric,
    /// The engine.
    pub engine: String,
    /// Batch size and prompt length; `None` for the geometric mean of the cells that all runs have.
    pub size: Option<(u32, u32)>,
    /// Each run: its start, its revision, and its figure in seconds or bytes.
    pub runs: Vec<(String, String, f64)>,
    /// Changes of level: the first run of the new level, and the ratio of the new to the old level.
    pub shifts: Vec<(usize, f64)>,
}

/// The runs of a folder.
#[derive(Debug, Clone, PartialEq)]
pub struct History {
    /// Every series, means first.
    pub series: Vec<Series>,
    runs: usize,
    /// Keys in which the groups of runs differ, with the value of each group.
    differences: Vec<(String, Vec<String>)>,
}

type Size = (u32, u32);

/// Each run's replicates by engine, metric and size; `None` for a run without the cell.
type Cells<'a> = BTreeMap<(&'a str, Metric, Size), Vec<Option<Replicates>>>;

impl History {
    /// Makes series of entries in any order; runs of the same second keep theirs. A change of level counts from `threshold`, a share
    /// such as 0.05.
    pub fn of(mut entries: Vec<Entry>, threshold: f64) -> Self {
        entries.sort_by(|a, b| a.started.cmp(&b.started));
        let groups = groups(&entries);
        let series =
            (1..).zip(&groups).flat_map(|(number, group)| series_of(number, group, threshold)).collect();
        Self { series, runs: entries.len(), differences: differences(&groups) }
    }

    /// Text for a terminal: one line per series; with `cells`, also the series of single cells.
    pub fn to_text(&self, cells: bool) -> String {
        let mut text = String::new();
        let mut last = None;
        let has_groups = self.series.iter().any(|series| series.group > 1);
        for series in self.series.iter().filter(|series| cells || series.size.is_none()) {
            let head = (series.group, series.runs.len());
            if last != Some(head) {
                let gap = if last.is_some() { "\n" } else { "" };
                let number = if has_groups { format!("({}) ", series.group) } else { String::new() };
                let (heading, machine) = (one_line(&series.heading), one_line(&series.machine));
                let _ = writeln!(text, "{gap}{number}{heading} · machine {machine} · {}", runs(head.1));
                last = Some(head);
            }
            text.push_str(&series.to_line());
        }
        if has_groups {
            text.push_str("\nThese runs are not one series. They differ in:\n");
        }
        for (key, values) in &self.differences {
            let values = (1..).zip(values).map(|(number, value)| format!("({number}) {value}"));
            let _ =
                writeln!(text, "  {}: {}", one_line(key), one_line(&values.collect::<Vec<_>>().join(", ")));
        }
        match self.runs {
            0 => text.push_str(
                "no runs are kept here: `run --history DIR` and `history DIR --add RUN` keep them\n",
            ),
            count if self.series.is_empty() => {
                let _ = writeln!(text, "{} and no measured cell", runs(count));
            }
            _ => {}
        }
        text
    }

    /// The history as JSON.
    pub fn to_json(&self) -> String {
        let series = self.series.iter().map(|series| {
            let run = |(started, revision, value): &(String, String, f64)| {
                json!({"started": started, "revision": revision, "value": value})
            };
            let shift = |(run, ratio): &(usize, f64)| json!({"run": run, "ratio": ratio});
            json!({
                "group": series.group,
                "heading": series.heading,
                "machine": series.machine,
                "metric": series.metric.name(),
                "engine": series.engine,
                "batch_size": series.size.map(|size| size.0),
                "prompt_length": series.size.map(|size| size.1),
                "runs": series.runs.iter().map(run).collect::<Vec<Value>>(),
                "shifts": series.shifts.iter().map(shift).collect::<Vec<Value>>(),
            })
        });
        let value = json!({"schema": 1, "series": series.collect::<Vec<Value>>()});
        let text = serde_json::to_string_pretty(&value).expect("plain JSON") + "\n";
        results::escaped_json(&text)
    }
}

impl Series {
    fn to_line(&self) -> String {
        let figures: Vec<f64> = self.runs.iter().map(|run| run.2).collect();
        let (first, last) = (figures[0], figures[figures.len() - 1]);
        let name = match self.size {
            Some((batch, prompt)) => format!("{} {batch}×{prompt}", one_line(&self.engine)),
            None => one_line(&self.engine),
        };
        let shifts = self.shifts.iter().map(|(run, ratio)| {
            let (started, revision, _) = &self.runs[*run];
            let day = started.get(..10).unwrap_or(started);
            format!("  {} at {} ({day})", percent(*ratio), one_line(revision))
        });
        format!(
            "{:<10} {name:<24} {:>11} → {:>11}  {:>8}  {}{}\n",
            self.metric.name(),
            self.metric.format(first),
            self.metric.format(last),
            percent(last / first),
            picture(&figures),
            shifts.collect::<String>()
        )
    }
}

/// The last runs as bars, from the smallest to the largest figure.
fn picture(figures: &[f64]) -> String {
    let shown = &figures[figures.len().saturating_sub(40)..];
    let least = shown.iter().copied().fold(f64::INFINITY, f64::min);
    let most = shown.iter().copied().fold(0.0, f64::max);
    // Differences below a hundredth look flat.
    let range = (most - least).max(least * 0.01);
    let bar = |figure: &f64| BARS[(((figure - least) / range * 7.0).round() as usize).min(7)];
    shown.iter().map(bar).collect()
}

/// `1 run`, `2 runs`.
fn runs(count: usize) -> String {
    format!("{count} run{}", if count == 1 { "" } else { "s" })
}

fn series_of(number: usize, group: &RunGroup<'_>, threshold: f64) -> Vec<Series> {
    let RunGroup { heading, members, .. } = group;
    let mut cells: Cells<'_> = BTreeMap::new();
    for (run, entry) in members.iter().enumerate() {
        let tables = entry.tables().iter().filter(|table| table.heading == *heading);
        for cell in tables.flat_map(|table| &table.cells) {
            for (metric, medians) in &cell.replicates {
                let Ok(metric) = metric.parse::<Metric>() else { continue };
                let key = (cell.engine.as_str(), metric, (cell.batch_size, cell.prompt_length));
                let replicates = cells.entry(key).or_insert_with(|| vec![None; members.len()]);
                replicates[run] = Replicates::new((0..).zip(medians.iter().copied()));
            }
        }
    }
    let series = |engine: &str, metric, size, runs: Vec<(usize, Replicates)>| {
        let replicates: Vec<Replicates> = runs.iter().map(|(_, replicates)| replicates.clone()).collect();
        let run = |(run, replicates): &(usize, Replicates)| {
            (members[*run].started.clone(), members[*run].revision.clone(), replicates.centre())
        };
        Series {
            group: number,
            heading: (*heading).to_owned(),
            machine: members[0].machine.clone(),
            metric,
            engine: engine.to_owned(),
            size,
            runs: runs.iter().map(run).collect(),
            shifts: shifts(&replicates, threshold).iter().map(|shift| (shift.run, shift.ratio)).collect(),
        }
    };
    let means = means(&cells, members.len());
    let means = means.into_iter().map(|((metric, engine), runs)| series(engine, metric, None, runs));
    let of_cells = cells.iter().map(|(&(engine, metric, size), replicates)| {
        let runs =
            replicates.iter().enumerate().filter_map(|(run, replicates)| Some((run, replicates.clone()?)));
        series(engine, metric, Some(size), runs.collect())
    });
    means.chain(of_cells).filter(|series| !series.runs.is_empty()).collect()
}

/// The geometric mean of each engine over the cells that every run has.
fn means<'a>(cells: &Cells<'a>, runs: usize) -> BTreeMap<(Metric, &'a str), Vec<(usize, Replicates)>> {
    let mut whole: BTreeMap<(Metric, &str), Vec<Vec<&Replicates>>> = BTreeMap::new();
    for (&(engine, metric, _), of_runs) in cells {
        if let Some(of_runs) = of_runs.iter().map(Option::as_ref).collect() {
            whole.entry((metric, engine)).or_default().push(of_runs);
        }
    }
    let mean = |cells: Vec<Vec<&Replicates>>| {
        let of_run = |run: usize| {
            let of_cells: Vec<&Replicates> = cells.iter().map(|cell| cell[run]).collect();
            Some((run, Replicates::geometric_mean(&of_cells)?))
        };
        (0..runs).filter_map(of_run).collect()
    };
    whole.into_iter().map(|(key, cells)| (key, mean(cells))).collect()
}
