//! Series of a history: a metric from run to run, and where its level changed.

use std::collections::BTreeMap;

use protocol::CellSize;
use results::screen::{ScreenTable, wrapped};
use results::{Metric, escape_markdown, one_line};
use serde_json::{Value, json};
use stats::{Replicates, Shift, shifts};

use super::Entry;
use super::groups::{RunGroup, differences, groups};
use crate::format::percent;

/// Bars of a run, from low to high.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// The columns: header, rank and side. The highest rank is left out first.
const COLUMNS: [(&str, u8, bool); 7] = [
    ("metric", 0, true),
    ("engine", 0, true),
    ("first run", 2, false),
    ("last run", 0, false),
    ("change", 0, false),
    ("trend", 3, true),
    ("level changes", 1, true),
];

/// What the figures are; `compare` shows means.
const FIGURES: &str =
    "Figures are medians; an engine's is the geometric mean over the cells that all of its runs have.";

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
    /// The size of its cell; `None` for the geometric mean of the cells that all runs have.
    pub size: Option<CellSize>,
    /// How many cells the mean is over: those that all runs have.
    pub cells: usize,
    /// How many cells any run has.
    pub all_cells: usize,
    /// Whether latencies of a run are scripted, not measured.
    pub is_scripted: bool,
    /// Each run, in the order of time.
    pub runs: Vec<HistoryRun>,
    /// Changes of level, in the order of time.
    pub shifts: Vec<Shift>,
}

/// A run of a series.
#[derive(Debug, Clone, PartialEq)]
pub struct HistoryRun {
    /// The place of its entry among those that the history was made of.
    pub entry: usize,
    /// When it began.
    pub started: String,
    /// The measured revision.
    pub revision: String,
    /// Its figure in seconds or bytes.
    pub value: f64,
}

/// The runs of a folder.
#[derive(Debug, Clone, PartialEq)]
pub struct History {
    /// Every series, means first.
    pub series: Vec<Series>,
    threshold: f64,
    runs: usize,
    /// Keys in which the groups of runs differ, with the value of each group.
    differences: Vec<(String, Vec<String>)>,
}

/// Each run's replicates by engine, metric and size; `None` for a run without the cell.
type ReplicatesByCell<'a> = BTreeMap<(&'a str, Metric, CellSize), Vec<Option<Replicates>>>;

/// The number of cells that a mean is over, and each run that has it.
type MeanOfCells = (usize, Vec<(usize, Replicates)>);

impl History {
    /// Makes series of entries in any order; runs of the same second keep theirs. A change of level is one by more than
    /// `threshold`, a share such as 0.05.
    pub fn from_entries(entries: &[Entry], threshold: f64) -> Self {
        let mut places: Vec<usize> = (0..entries.len()).collect();
        places.sort_by(|a, b| entries[*a].started.cmp(&entries[*b].started));
        let groups = groups(entries, &places);
        let series =
            (1..).zip(&groups).flat_map(|(number, group)| series_of(number, group, threshold)).collect();
        Self { series, threshold, runs: entries.len(), differences: differences(&groups) }
    }

    /// The threshold in words: `5%`.
    pub fn threshold(&self) -> String {
        crate::format::threshold(self.threshold)
    }

    /// Tables as wide as the screen, a row per series; with `cells`, also the series of single cells.
    pub fn to_terminal(&self, cells: bool, width: Option<u16>) -> String {
        let table = |(heading, table): (String, ScreenTable)| {
            wrapped("", &heading, width) + &table.to_screen(width) + "\n"
        };
        let mut text: String = self.tables(cells).into_iter().map(table).collect();
        let (notes, differences) = self.notes();
        notes.iter().for_each(|note| text.push_str(&wrapped("", note, width)));
        differences.iter().for_each(|line| text.push_str(&wrapped("  ", line, width)));
        text
    }

    /// The same as markdown tables.
    pub fn to_markdown(&self, cells: bool) -> String {
        let table = |(heading, table): (String, ScreenTable)| {
            format!("## {}\n\n{}\n", escape_markdown(&heading), table.to_markdown())
        };
        let mut text: String = self.tables(cells).into_iter().map(table).collect();
        let (notes, differences) = self.notes();
        text += &(notes.iter().map(|note| escape_markdown(note)).collect::<Vec<_>>().join(" ") + "\n");
        let items = differences.iter().map(|line| format!("- {}\n", escape_markdown(line)));
        text + if differences.is_empty() { "" } else { "\n" } + &items.collect::<String>()
    }

    /// The series of each group of runs, below its heading.
    fn tables(&self, cells: bool) -> Vec<(String, ScreenTable)> {
        let mut tables: Vec<(String, ScreenTable)> = Vec::new();
        let has_groups = self.has_groups();
        let mut last = None;
        for series in self.series.iter().filter(|series| cells || series.size.is_none()) {
            let head = (series.group, series.runs.len());
            if last.replace(head) != Some(head) {
                let number = if has_groups { format!("({}) ", series.group) } else { String::new() };
                let (heading, machine) = (one_line(&series.heading), one_line(&series.machine));
                let heading = format!("{number}{heading} · machine {machine} · {}", runs(head.1));
                tables.push((heading, ScreenTable::new(&COLUMNS, Vec::new())));
            }
            if let Some((_, table)) = tables.last_mut() {
                table.rows.push(series.to_row());
            }
        }
        tables
    }

    /// What keeps the groups of runs apart, a line per key; empty for a single group.
    pub fn difference_lines(&self) -> Vec<String> {
        self.notes().1
    }

    fn has_groups(&self) -> bool {
        self.series.iter().any(|series| series.group > 1)
    }

    /// Sentences below the tables, and the keys in which the groups of runs differ.
    fn notes(&self) -> (Vec<String>, Vec<String>) {
        let mut notes = Vec::new();
        match self.runs {
            0 => notes.push(
                "no runs are kept here: `run --history DIR` and `history DIR --add RUN` keep them".into(),
            ),
            count if self.series.is_empty() => notes.push(format!("{} and no measured cell", runs(count))),
            _ => notes.push(FIGURES.into()),
        }
        if self.has_groups() {
            notes.push("These runs are not one series. They differ in:".into());
        }
        let difference = |(key, values): &(String, Vec<String>)| {
            let values = (1..).zip(values).map(|(number, value)| format!("({number}) {value}"));
            format!("{}: {}", one_line(key), one_line(&values.collect::<Vec<_>>().join(", ")))
        };
        (notes, self.differences.iter().map(difference).collect())
    }

    /// The history as JSON.
    pub fn to_json(&self) -> String {
        let series = self.series.iter().map(|series| {
            let run = |run: &HistoryRun| {
                json!({"started": run.started, "revision": run.revision, "value": run.value})
            };
            let shift = |shift: &Shift| json!({"run": shift.run, "ratio": shift.ratio});
            json!({
                "group": series.group,
                "heading": series.heading,
                "machine": series.machine,
                "metric": series.metric.name(),
                "engine": series.engine,
                "batch_size": series.size.map(|size| size.batch_size),
                "prompt_length": series.size.map(|size| size.prompt_length),
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
    /// The engine, with the size of a single cell: `onnxruntime 1×256`.
    pub fn name(&self) -> String {
        match self.size {
            Some(size) => format!("{} {size}", one_line(&self.engine)),
            None => one_line(&self.engine),
        }
    }

    /// A text for each of [`COLUMNS`].
    fn to_row(&self) -> Vec<String> {
        let figures: Vec<f64> = self.runs.iter().map(|run| run.value).collect();
        let (first, last) = (figures[0], figures[figures.len() - 1]);
        let shifts = self.shifts.iter().map(|shift| {
            let HistoryRun { started, revision, .. } = &self.runs[shift.run];
            let day = started.get(..10).unwrap_or(started);
            format!("{} at {} ({day})", percent(shift.ratio), one_line(revision))
        });
        vec![
            self.metric.name().into(),
            self.name(),
            self.metric.format(first),
            self.metric.format(last),
            percent(last / first),
            picture(&figures),
            shifts.collect::<Vec<_>>().join(", "),
        ]
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
    let mut cells: ReplicatesByCell<'_> = BTreeMap::new();
    for (run, (_, entry)) in members.iter().enumerate() {
        let tables = entry.tables().iter().filter(|table| table.heading == *heading);
        for cell in tables.flat_map(|table| &table.cells) {
            for (metric, medians) in &cell.replicates {
                let Ok(metric) = metric.parse::<Metric>() else { continue };
                let key = (cell.engine.as_str(), metric, cell.size());
                let replicates = cells.entry(key).or_insert_with(|| vec![None; members.len()]);
                replicates[run] = Replicates::new((0..).zip(medians.iter().copied()));
            }
        }
    }
    let series =
        |engine: &str, metric, size, [cells, all_cells]: [usize; 2], runs: Vec<(usize, Replicates)>| {
            let replicates: Vec<Replicates> = runs.iter().map(|(_, replicates)| replicates.clone()).collect();
            let run = |(run, replicates): &(usize, Replicates)| {
                let (entry, member) = members[*run];
                let (started, revision) = (member.started.clone(), member.revision.clone());
                HistoryRun { entry, started, revision, value: replicates.centre() }
            };
            Series {
                group: number,
                heading: (*heading).to_owned(),
                machine: members[0].1.machine.clone(),
                metric,
                engine: engine.to_owned(),
                size,
                cells,
                all_cells,
                is_scripted: runs.iter().any(|(run, _)| members[*run].1.scripted.contains(engine)),
                runs: runs.iter().map(run).collect(),
                shifts: shifts(&replicates, threshold),
            }
        };
    let cells_of_runs = &cells;
    let means = means(&cells, members.len());
    let means = means.into_iter().map(|((metric, engine), (cells, runs))| {
        let is_of = |key: &&(&str, Metric, CellSize)| (key.0, key.1) == (engine, metric);
        series(engine, metric, None, [cells, cells_of_runs.keys().filter(is_of).count()], runs)
    });
    let of_cells = cells.iter().map(|(&(engine, metric, size), replicates)| {
        let runs =
            replicates.iter().enumerate().filter_map(|(run, replicates)| Some((run, replicates.clone()?)));
        series(engine, metric, Some(size), [1, 1], runs.collect())
    });
    means.chain(of_cells).filter(|series| !series.runs.is_empty()).collect()
}

/// The geometric mean of each engine over the cells that every run has, and their number.
fn means<'a>(cells: &ReplicatesByCell<'a>, runs: usize) -> BTreeMap<(Metric, &'a str), MeanOfCells> {
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
        (cells.len(), (0..runs).filter_map(of_run).collect())
    };
    whole.into_iter().map(|(key, cells)| (key, mean(cells))).collect()
}
