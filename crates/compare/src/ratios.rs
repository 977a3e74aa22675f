//! How many times as fast an engine is as the others of the same run.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use protocol::CellSize;
use results::one_line;
use results::published::layout::escape;
use serde_json::{Value, json};
use stats::{Interval, Summary};

use crate::sides::launches;
use crate::subject::{Cell, Grid, Launch};
use crate::{CellName, Metric, Subject};

/// Decode latencies, of which the first that both engines have is compared.
const DECODE: [Metric; 3] = [Metric::First256, Metric::First128, Metric::Token];

/// What the figures are.
const WHAT: &str = "How many times as fast, of each launch's median prefill and decode forward (of the first 256 where there are as many, of the \
    first 128, or of all), or of published figures; above 1 the first engine is the faster one; in brackets 95 % intervals.\n";

/// Why there is nothing to hold against each other.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoRatios {
    /// It lacks one of the engines.
    #[error("{subject} has no engine {engine}: it has {}", known.join(", "))]
    NoSuchEngine {
        /// The run, or the file.
        subject: String,
        /// What was asked for.
        engine: String,
        /// What it has.
        known: Vec<String>,
    },
    /// No cell is of both.
    #[error("{subject}: no cell is of {engine} and of another engine that it is held against")]
    NoCommonCell {
        /// The run, or the file.
        subject: String,
        /// What was asked for.
        engine: String,
    },
    /// It has no other engine.
    #[error("{subject} has no other engine than {engine}")]
    NoOther {
        /// The run, or the file.
        subject: String,
        /// Its only engine.
        engine: String,
    },
}

/// One engine against others, table by table.
#[derive(Debug)]
pub struct Ratios {
    engine: String,
    tables: Vec<Lines>,
}

/// Of one table of the subject's.
#[derive(Debug)]
struct Lines {
    heading: String,
    lines: Vec<Line>,
    /// Median seconds from a worker's start to its model being ready, of the engine and the others.
    loads: Vec<(String, f64)>,
}

#[derive(Debug)]
struct Line {
    other: String,
    size: CellSize,
    prefill: Ratio,
    decode: Ratio,
    /// Launches of both that were compared; nothing is known of published figures.
    launches: Option<usize>,
}

/// The other's latency over the engine's: above 1 the engine is faster.
#[derive(Debug)]
enum Ratio {
    Of {
        metric: Metric,
        ratio: f64,
        interval: Option<Interval>,
    },
    /// One of them was not measured, or not in this metric.
    Missing(String),
}

impl Ratios {
    /// `engine` against `others`, or against all that the subject has where none is named, in every cell of both. Launch by
    /// launch, as those of one replicate are neighbours in time: what the machine does to both is not in the ratio. Its
    /// interval is Student's, of the logarithms.
    ///
    /// # Errors
    /// Where the subject lacks one of the engines, has no other, or no cell of both.
    pub fn of(subject: &Subject, engine: &str, others: &[String]) -> Result<Self, NoRatios> {
        let mut known: Vec<String> = Vec::new();
        for (name, _) in subject.grids.iter().flat_map(|grid| &grid.cells) {
            if !known.contains(&name.engine) {
                known.push(name.engine.clone());
            }
        }
        let is_missing = |one: &&str| !known.iter().any(|name| name == one);
        if let Some(missing) = [engine].into_iter().chain(others.iter().map(String::as_str)).find(is_missing)
        {
            let (subject, engine) = (subject.name.clone(), missing.into());
            return Err(NoRatios::NoSuchEngine { subject, engine, known });
        }
        let others: Vec<String> = if others.is_empty() {
            known.into_iter().filter(|name| name != engine).collect()
        } else {
            others.to_vec()
        };
        if others.is_empty() {
            return Err(NoRatios::NoOther { subject: subject.name.clone(), engine: engine.into() });
        }
        let tables = subject.grids.iter().map(|grid| Lines {
            heading: grid.heading.clone(),
            lines: lines(grid, engine, &others, subject.run.is_some()),
            loads: loads(grid, [engine].into_iter().chain(others.iter().map(String::as_str))),
        });
        let tables: Vec<Lines> = tables.filter(|table| !table.lines.is_empty()).collect();
        if tables.is_empty() {
            return Err(NoRatios::NoCommonCell { subject: subject.name.clone(), engine: engine.into() });
        }
        Ok(Self { engine: engine.into(), tables })
    }

    /// Markdown: a table for each of the subject's.
    pub fn to_markdown(&self) -> String {
        let mut text = String::new();
        for Lines { heading, lines, loads } in &self.tables {
            let _ = writeln!(text, "## {}\n", of_cell(heading));
            let engine = of_cell(&self.engine);
            let _ = writeln!(
                text,
                "| {engine} against | Batch Size | Prompt Length | prefill | decode | launches |"
            );
            let _ = writeln!(text, "| --- | ---: | ---: | ---: | ---: | ---: |");
            for Line { other, size: CellSize { batch_size, prompt_length }, prefill, decode, launches } in
                lines
            {
                let (other, prefill, decode) = (of_cell(other), prefill.to_text(), decode.to_text());
                let launches = launches.map_or_else(|| "published".into(), |launches| launches.to_string());
                let _ = writeln!(
                    text,
                    "| {other} | {batch_size} | {prompt_length} | {prefill} | {decode} | {launches} |"
                );
            }
            if !loads.is_empty() {
                let loads = loads.iter().map(|(engine, seconds)| format!("{} {seconds:.2}", of_cell(engine)));
                let loads = loads.collect::<Vec<_>>().join(", ");
                let _ = writeln!(text, "\nStart to model ready, median seconds: {loads}.");
            }
            text.push('\n');
        }
        text.push_str(WHAT);
        text
    }

    /// One object.
    pub fn to_json(&self) -> String {
        let line = |line: &Line| {
            json!({
                "other": line.other,
                "batch_size": line.size.batch_size,
                "prompt_length": line.size.prompt_length,
                "prefill": line.prefill.to_json(),
                "decode": line.decode.to_json(),
                "launches": line.launches,
            })
        };
        let table = |Lines { heading, lines, loads }: &Lines| {
            let loads: BTreeMap<_, _> = loads.iter().cloned().collect();
            let lines: Value = lines.iter().map(line).collect();
            json!({ "heading": heading, "lines": lines, "load_seconds": loads })
        };
        let tables: Value = self.tables.iter().map(table).collect();
        let value = json!({ "engine": self.engine, "tables": tables });
        results::escaped_json(&format!("{value:#}\n"))
    }
}

fn lines(grid: &Grid, engine: &str, others: &[String], is_run: bool) -> Vec<Line> {
    let of_engine = || grid.cells.iter().filter(|(name, _)| name.engine == engine);
    let line = |other: &String, (name, ours): &(CellName, Cell)| {
        let theirs = grid.get(&CellName { engine: other.clone(), size: name.size })?;
        let ratio = |metrics: &[Metric]| ratio((engine, ours), (other, theirs), metrics);
        let compared = match (ours, theirs) {
            (Cell::Launches(ours), Cell::Launches(theirs)) => Some(pairs(ours, theirs).count()),
            _ => is_run.then_some(0),
        };
        let (prefill, decode) = (ratio(&[Metric::Prompt]), ratio(&DECODE));
        Some(Line { other: other.clone(), size: name.size, prefill, decode, launches: compared })
    };
    others.iter().flat_map(|other| of_engine().filter_map(move |cell| line(other, cell))).collect()
}

/// Of the first metric in which both have figures.
fn ratio(ours: (&str, &Cell), theirs: (&str, &Cell), metrics: &[Metric]) -> Ratio {
    for (engine, cell) in [ours, theirs] {
        if let Cell::Ended(end) = cell {
            return Ratio::Missing(format!("{engine}: {end}"));
        }
    }
    let ratio = metrics.iter().find_map(|metric| match (ours.1, theirs.1) {
        (Cell::Launches(ours), Cell::Launches(theirs)) => {
            let side = |which: usize| launches(pairs(ours, theirs).map(|pair| pair[which]), *metric);
            let over = side(1)?.over(&side(0)?)?;
            Some(Ratio::Of { metric: *metric, ratio: over.centre(), interval: over.interval() })
        }
        (Cell::Figures(ours), Cell::Figures(theirs)) => {
            let of = |figures: &[(Metric, f64)]| Some(figures.iter().find(|(of, _)| of == metric)?.1);
            Some(Ratio::Of { metric: *metric, ratio: of(theirs)? / of(ours)?, interval: None })
        }
        _ => None,
    });
    ratio.unwrap_or_else(|| Ratio::Missing("N/A".into()))
}

/// A text of markdown, on one line.
fn of_cell(text: &str) -> String {
    escape(&one_line(text))
}

/// Launches of one replicate.
fn pairs<'a>(ours: &'a [Launch], theirs: &'a [Launch]) -> impl Iterator<Item = [&'a Launch; 2]> {
    ours.iter()
        .filter_map(|ours| Some([ours, theirs.iter().find(|theirs| theirs.replicate == ours.replicate)?]))
}

fn loads<'a>(grid: &Grid, engines: impl Iterator<Item = &'a str>) -> Vec<(String, f64)> {
    let median = |engine: &'a str| {
        let cells = grid.cells.iter().filter(|(name, _)| name.engine == engine);
        let launches = cells.filter_map(|(_, cell)| match cell {
            Cell::Launches(launches) => Some(launches),
            _ => None,
        });
        let seconds: Vec<f64> = launches.flatten().filter_map(|launch| launch.load_seconds).collect();
        Some((engine.to_owned(), Summary::of(&seconds)?.median))
    };
    engines.filter_map(median).collect()
}

impl Ratio {
    /// `1.24 (1.16–1.33)`.
    fn to_text(&self) -> String {
        match self {
            Self::Of { ratio, interval: Some(Interval { low, high }), .. } => {
                format!("{ratio:.2} ({low:.2}–{high:.2})")
            }
            Self::Of { ratio, interval: None, .. } => format!("{ratio:.2}"),
            Self::Missing(why) => of_cell(why),
        }
    }

    fn to_json(&self) -> Value {
        match self {
            Self::Of { metric, ratio, interval } => json!({
                "metric": metric.name(),
                "ratio": ratio,
                "interval": interval.map(|interval| [interval.low, interval.high]),
            }),
            Self::Missing(why) => json!({ "none": why }),
        }
    }
}
