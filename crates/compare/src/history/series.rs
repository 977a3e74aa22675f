//! Entries as series: what became of a metric from run to run, and where its level changed.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use indexmap::IndexMap;
use results::{Metric, one_line};
use serde_json::{Value, json};
use stats::{Replicates, shifts};

use super::Entry;
use crate::format::percent;

/// Heights of a run in a small picture.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// One metric of one cell, or of an engine's mean, over the runs of one machine and procedure.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
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
    /// Each run: when it began, what it is of, and its figure in seconds or bytes.
    pub runs: Vec<(String, String, f64)>,
    /// Where the level changed: the first run of the new level, and the new level over the old one.
    pub shifts: Vec<(usize, f64)>,
}

/// The runs of a folder.
#[derive(Debug, Clone, PartialEq)]
pub struct History {
    /// Every series, means first.
    pub series: Vec<Series>,
    runs: usize,
}

type Size = (u32, u32);

/// What runs must share to be one series.
type Group<'a> = (&'a str, &'a str, &'a BTreeMap<String, String>);

/// Each run's replicates by engine, metric and size; a run without the cell has none.
type Cells<'a> = BTreeMap<(&'a str, Metric, Size), Vec<Option<Replicates>>>;

impl History {
    /// Makes series of entries in any order; a change of level counts from `threshold`, a share such as 0.05.
    pub fn of(mut entries: Vec<Entry>, threshold: f64) -> Self {
        entries.sort_by(|a, b| a.started.cmp(&b.started));
        let mut groups: IndexMap<Group<'_>, Vec<&Entry>> = IndexMap::new();
        for entry in &entries {
            for table in entry.tables() {
                let group = (table.heading.as_str(), entry.machine.as_str(), &entry.procedure);
                groups.entry(group).or_default().push(entry);
            }
        }
        let series =
            groups.iter().flat_map(|(group, members)| series_of(*group, members, threshold)).collect();
        Self { series, runs: entries.len() }
    }

    /// Text for a screen: a line a series; those of cells only where asked for.
    pub fn to_text(&self, cells: bool) -> String {
        let mut text = String::new();
        let mut last = None;
        for series in self.series.iter().filter(|series| cells || series.size.is_none()) {
            let head = (&series.heading, &series.machine, series.runs.len());
            if last != Some(head) {
                let (heading, machine, runs) = head;
                let runs = if runs == 1 { "1 run".to_owned() } else { format!("{runs} runs") };
                let gap = if last.is_some() { "\n" } else { "" };
                let _ = writeln!(text, "{gap}{} · machine {} · {runs}", one_line(heading), one_line(machine));
                last = Some(head);
            }
            text.push_str(&series.to_line());
        }
        if self.series.is_empty() {
            let _ = writeln!(text, "{} runs, and no series among them", self.runs);
        }
        text
    }

    /// As JSON.
    pub fn to_json(&self) -> String {
        let series = self.series.iter().map(|series| {
            let run = |(started, revision, value): &(String, String, f64)| {
                json!({"started": started, "revision": revision, "value": value})
            };
            let shift = |(run, ratio): &(usize, f64)| json!({"run": run, "ratio": ratio});
            json!({
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

/// The last runs as bars, from the least figure to the largest.
fn picture(figures: &[f64]) -> String {
    let shown = &figures[figures.len().saturating_sub(40)..];
    let least = shown.iter().copied().fold(f64::INFINITY, f64::min);
    let most = shown.iter().copied().fold(0.0, f64::max);
    // What differs by less than a hundredth is level.
    let range = (most - least).max(least * 0.01);
    let bar = |figure: &f64| BARS[(((figure - least) / range * 7.0).round() as usize).min(7)];
    shown.iter().map(bar).collect()
}

fn series_of(group: Group<'_>, members: &[&Entry], threshold: f64) -> Vec<Series> {
    let (heading, machine, _) = group;
    let mut cells: Cells<'_> = BTreeMap::new();
    for (run, entry) in members.iter().enumerate() {
        let its =
            entry.tables().iter().filter(|table| table.heading == heading).flat_map(|table| &table.cells);
        for cell in its {
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
            heading: heading.to_owned(),
            machine: machine.to_owned(),
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

/// The geometric mean of each engine's cells that every run has.
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
