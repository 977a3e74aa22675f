//! How many times as fast an engine is as the others of the same run.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use protocol::CellSize;
use report::markdown::escape;
use report::one_line;
use serde_json::{Value, json};
use stats::{Interval, Launches, Summary};

use crate::subject::{Cell, Grid, Launch};
use crate::{CellName, Metric, Subject};

/// Decode latencies, of which the first that both engines have is compared.
const DECODE: [Metric; 3] = [Metric::First256, Metric::First128, Metric::Token];

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
    tables: Vec<(String, Vec<Line>)>,
    /// Median seconds from a worker's start to its model being ready, of the engine and the others.
    loads: Vec<(String, f64)>,
}

#[derive(Debug)]
struct Line {
    other: String,
    size: CellSize,
    prefill: Ratio,
    decode: Ratio,
    /// Launches of both that were compared; none where figures are published.
    launches: Option<usize>,
}

/// The other's latency over the engine's: above 1 the engine is faster.
#[derive(Debug)]
enum Ratio {
    Of {
        ratio: f64,
        interval: Option<Interval>,
    },
    /// One of them was not measured, or not in this metric.
    None(String),
}

impl Ratios {
    /// `engine` against `others`, or against all that the subject has where none is named, in every cell of both. Launch by
    /// launch, as those of one replicate are neighbours in time: what the machine does to both is not in the ratio. Its
    /// interval is Student's, of the logarithms.
    ///
    /// # Errors
    /// Where the subject lacks one of the engines, or has no other.
    pub fn of(subject: &Subject, engine: &str, others: &[String]) -> Result<Self, NoRatios> {
        let mut known: Vec<String> = Vec::new();
        for (name, _) in subject.grids.iter().flat_map(|grid| &grid.cells) {
            if !known.contains(&name.engine) {
                known.push(name.engine.clone());
            }
        }
        let is_missing = |one: &&str| !known.iter().any(|name| name == one);
        if let Some(missing) = others.iter().map(String::as_str).chain([engine]).find(is_missing) {
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
        let tables = subject.grids.iter().map(|grid| (grid.heading.clone(), lines(grid, engine, &others)));
        let load = |engine: &String| Some((engine.clone(), median_load(subject, engine)?));
        Ok(Self {
            engine: engine.into(),
            tables: tables.filter(|(_, lines)| !lines.is_empty()).collect(),
            loads: [engine.to_owned()].iter().chain(&others).filter_map(load).collect(),
        })
    }

    /// Markdown: a table for each of the subject's.
    pub fn to_markdown(&self) -> String {
        let mut text = String::new();
        for (heading, lines) in &self.tables {
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
            text.push('\n');
        }
        text.push_str("How many times as fast; above 1 the first engine is the faster one; in brackets 95 % intervals.\n");
        let loads: Vec<String> =
            self.loads.iter().map(|(engine, seconds)| format!("{} {seconds:.2}", of_cell(engine))).collect();
        if !loads.is_empty() {
            let _ = writeln!(text, "\nStart to model ready, median seconds: {}.", loads.join(", "));
        }
        text
    }

    /// One object.
    pub fn to_json(&self) -> String {
        let lines = |lines: &[Line]| -> Value {
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
            lines.iter().map(line).collect()
        };
        let tables: Vec<Value> = self
            .tables
            .iter()
            .map(|(heading, of)| json!({ "heading": heading, "lines": lines(of) }))
            .collect();
        let loads: BTreeMap<_, _> = self.loads.iter().cloned().collect();
        let value = json!({ "engine": self.engine, "tables": tables, "load_seconds": loads });
        report::escaped_json(&format!("{value:#}\n"))
    }
}

fn lines(grid: &Grid, engine: &str, others: &[String]) -> Vec<Line> {
    let of_engine = || grid.cells.iter().filter(|(name, _)| name.engine == engine);
    let line = |other: &String, (name, ours): &(CellName, Cell)| {
        let theirs = grid.get(&CellName { engine: other.clone(), size: name.size })?;
        let ratio = |metrics: &[Metric]| ratio((engine, ours), (other, theirs), metrics);
        let launches = match (ours, theirs) {
            (Cell::Launches(ours), Cell::Launches(theirs)) => Some(pairs(ours, theirs).count()),
            _ => None,
        };
        let (prefill, decode) = (ratio(&[Metric::Prompt]), ratio(&DECODE));
        Some(Line { other: other.clone(), size: name.size, prefill, decode, launches })
    };
    others.iter().flat_map(|other| of_engine().filter_map(move |cell| line(other, cell))).collect()
}

/// Of the first metric in which both have figures.
fn ratio(ours: (&str, &Cell), theirs: (&str, &Cell), metrics: &[Metric]) -> Ratio {
    for (engine, cell) in [ours, theirs] {
        if let Cell::Ended(end) = cell {
            return Ratio::None(format!("{engine}: {end}"));
        }
    }
    let ratio = metrics.iter().find_map(|metric| match (ours.1, theirs.1) {
        (Cell::Launches(ours), Cell::Launches(theirs)) => {
            let both = pairs(ours, theirs).map(|pair| pair.map(|launch| launch.series(*metric)));
            let (ours, theirs): (Vec<_>, Vec<_>) = both.map(|[ours, theirs]| (ours, theirs)).unzip();
            let side = |series: &[Vec<f64>]| Launches::of(series.iter().map(Vec::as_slice));
            let over = side(&theirs)?.over(&side(&ours)?)?;
            Some(Ratio::Of { ratio: over.centre(), interval: over.interval() })
        }
        (Cell::Figures(ours), Cell::Figures(theirs)) => {
            let of = |figures: &[(Metric, f64)]| Some(figures.iter().find(|(of, _)| of == metric)?.1);
            Some(Ratio::Of { ratio: of(theirs)? / of(ours)?, interval: None })
        }
        _ => None,
    });
    ratio.unwrap_or_else(|| Ratio::None("N/A".into()))
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

fn median_load(subject: &Subject, engine: &str) -> Option<f64> {
    let cells = subject.grids.iter().flat_map(|grid| &grid.cells).filter(|(name, _)| name.engine == engine);
    let launches = cells.filter_map(|(_, cell)| match cell {
        Cell::Launches(launches) => Some(launches),
        _ => None,
    });
    let seconds: Vec<f64> = launches.flatten().filter_map(|launch| launch.load_seconds).collect();
    Some(Summary::of(&seconds)?.median)
}

impl Ratio {
    /// `1.24 (1.16–1.33)`.
    fn to_text(&self) -> String {
        match self {
            Self::Of { ratio, interval: Some(Interval { low, high }) } => {
                format!("{ratio:.2} ({low:.2}–{high:.2})")
            }
            Self::Of { ratio, interval: None } => format!("{ratio:.2}"),
            Self::None(why) => of_cell(why),
        }
    }

    fn to_json(&self) -> Value {
        match self {
            Self::Of { ratio, interval } => {
                json!({ "ratio": ratio, "interval": interval.map(|interval| [interval.low, interval.high]) })
            }
            Self::None(why) => json!({ "none": why }),
        }
    }
}
