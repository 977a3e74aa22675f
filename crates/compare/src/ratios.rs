//! How many times as fast an engine is as the others of the same run.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use indexmap::{IndexMap, IndexSet};
use protocol::{CellSize, Measurement};
use results::screen::{ScreenTable, wrapped};
use results::{Column, Metric, ResultRow, ResultTable, escape_markdown, one_line};
use serde_json::{Value, json};
use stats::{Interval, Replicates, Summary};

use crate::sides::{Side, measured, side};
use crate::subject::Subject;

/// Decode latencies, of which the first that both engines have is compared.
const DECODE: [Metric; 3] = [Metric::First256, Metric::First128, Metric::Token];

/// Explains the figures; a replicate is called a `unit`.
fn what(engine: &str, unit: &str) -> String {
    format!(
        "Speedup of {engine}: the other engine's latency over its own, so above 1 {engine} is faster. Ratios are taken {unit} by {unit}, from \
         medians; 95 % intervals are in brackets. Published figures have no interval. Decode is the mean of the first 256 tokens, else of \
         the first 128, else of all. TPOT (time per output token) also includes choosing the token."
    )
}

/// Why there are no ratios.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoRatios {
    /// It lacks one of the engines.
    #[error("{subject} has no engine {engine}; it has {}", known.join(", "))]
    NoSuchEngine {
        /// The run, or the file.
        subject: String,
        /// What was asked for.
        engine: String,
        /// What it has.
        known: Vec<String>,
    },
    /// The engines share no cell.
    #[error("{subject}: no cell was measured with both {engine} and another engine")]
    NoCommonCell {
        /// The run, or the file.
        subject: String,
        /// What was asked for.
        engine: String,
    },
    /// The only engine is the one that was asked for.
    #[error("{subject} has only one engine: {engine}")]
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
    /// What a replicate is called: `replicate` or `turn`.
    unit: &'static str,
    /// That latencies are scripted, where they are.
    scripted: Option<String>,
    tables: Vec<RatioTable>,
}

/// One ratio that is known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KnownRatio<'a> {
    /// The heading of the cell's table.
    pub heading: &'a str,
    /// `prefill`, `decode` or `TPOT`.
    pub phase: &'static str,
    /// The other engine.
    pub other: &'a str,
    /// The cell.
    pub size: CellSize,
    /// The other engine's latency over the engine's.
    pub ratio: f64,
    /// Its 95 % interval, where there are replicates.
    pub interval: Option<Interval>,
}

/// The ratios of one table.
#[derive(Debug)]
struct RatioTable {
    heading: String,
    cells: Vec<EngineRatio>,
    /// Median seconds from a worker's start to its model being ready, by engine.
    loads: Vec<(String, f64)>,
}

/// The ratios of one cell to another engine's.
#[derive(Debug)]
struct EngineRatio {
    other: String,
    size: CellSize,
    prefill: Ratio,
    decode: Ratio,
    /// Time per output token, which includes choosing the token.
    tpot: Ratio,
    /// Replicates that both have; `None` where the figures are published.
    replicates: Option<usize>,
}

/// The other's latency over the engine's: above 1 the engine is faster.
#[derive(Debug)]
enum Ratio {
    Of {
        metric: Metric,
        ratio: f64,
        interval: Option<Interval>,
    },
    /// One of the engines has no figure.
    Missing(String),
}

impl Ratios {
    /// Compares `engine` with `others`, or with all engines of the subject where none is named, in every cell that both have. It compares
    /// replicate by replicate: these are close in time, so that what the machine does to both cancels out. The interval is Student's, of
    /// the logarithms.
    ///
    /// # Errors
    /// Where the subject lacks one of the engines, has no other, or no cell of both.
    pub fn compare(subject: &Subject<'_>, engine: &str, others: &[String]) -> Result<Self, NoRatios> {
        let rows = subject.tables.iter().flat_map(|table| &table.rows);
        let known: IndexSet<&str> = rows.map(|row| row.engine).collect();
        let mut asked = [engine].into_iter().chain(others.iter().map(String::as_str));
        let (name, engine_name) = (|| subject.name.to_owned(), || engine.to_owned());
        if let Some(missing) = asked.find(|one| !known.contains(one)) {
            let known = known.into_iter().map(str::to_owned).collect();
            return Err(NoRatios::NoSuchEngine { subject: name(), engine: missing.into(), known });
        }
        let others: Vec<&str> = if others.is_empty() {
            known.into_iter().filter(|name| *name != engine).collect()
        } else {
            others.iter().map(String::as_str).collect()
        };
        if others.is_empty() {
            return Err(NoRatios::NoOther { subject: name(), engine: engine_name() });
        }
        let engines: Vec<&str> = [engine].into_iter().chain(others.iter().copied()).collect();
        let tables = subject.tables.iter().map(|table| RatioTable {
            heading: table.title.to_string(),
            cells: cells(&table.cells(), engine, &others, subject.run.is_some()),
            loads: loads(table, &engines),
        });
        let tables: Vec<RatioTable> = tables.filter(|table| !table.cells.is_empty()).collect();
        if tables.is_empty() {
            return Err(NoRatios::NoCommonCell { subject: name(), engine: engine_name() });
        }
        let unit = if subject.is_of_turns() { "turn" } else { "replicate" };
        Ok(Self { engine: engine_name(), unit, scripted: subject.scripted(), tables })
    }

    /// Every ratio that is known, table by table.
    pub fn known(&self) -> impl Iterator<Item = KnownRatio<'_>> {
        self.tables.iter().flat_map(|one| {
            one.cells.iter().flat_map(move |cell| {
                let phases = [("prefill", &cell.prefill), ("decode", &cell.decode), ("TPOT", &cell.tpot)];
                phases.into_iter().filter_map(move |(phase, ratio)| match *ratio {
                    Ratio::Of { ratio, interval, .. } => Some(KnownRatio {
                        heading: &one.heading,
                        phase,
                        other: &cell.other,
                        size: cell.size,
                        ratio,
                        interval,
                    }),
                    Ratio::Missing(_) => None,
                })
            })
        })
    }

    /// A markdown table for each of the subject's.
    pub fn to_markdown(&self) -> String {
        let mut text = String::new();
        for table in &self.tables {
            let [engine, units] = self.ends_of_header();
            let _ = writeln!(text, "## {}\n", escape_markdown(&table.heading));
            let _ = writeln!(
                text,
                "| {} | Batch Size | Prompt Length | prefill | decode | TPOT | {units} |",
                escape_markdown(&engine)
            );
            let _ = writeln!(text, "| --- | ---: | ---: | ---: | ---: | ---: | ---: |");
            for cell in &table.cells {
                let texts = cell.texts().map(|text| escape_markdown(&text));
                let _ = writeln!(text, "| {} |", texts.join(" | "));
            }
            if let Some(loads) = table.load_words() {
                let _ = writeln!(text, "\n{}", escape_markdown(&loads));
            }
            text.push('\n');
        }
        if let Some(scripted) = &self.scripted {
            let _ = writeln!(text, "{}.\n", escape_markdown(scripted));
        }
        text + &escape_markdown(&what(&self.engine, self.unit)) + "\n"
    }

    /// A table for each of the subject's, as wide as the screen.
    pub fn to_terminal(&self, width: Option<u16>) -> String {
        let mut text = String::new();
        let [engine, units] = self.ends_of_header().map(|header| one_line(&header));
        for table in &self.tables {
            // On a narrow screen the number of replicates is left out first, then TPOT.
            let columns = [
                (&*engine, 0, true),
                ("batch", 0, false),
                ("prompt", 0, false),
                ("prefill", 0, false),
                ("decode", 0, false),
                ("TPOT", 1, false),
                (&*units, 2, false),
            ];
            let rows = table.cells.iter().map(|cell| cell.texts().map(|text| one_line(&text)).into());
            text.push_str(&wrapped("", &one_line(&table.heading), width));
            text.push_str(&ScreenTable::new(&columns, rows.collect()).to_screen(width));
            if let Some(loads) = table.load_words() {
                text.push_str(&wrapped("", &one_line(&loads), width));
            }
            text.push('\n');
        }
        if let Some(scripted) = &self.scripted {
            text.push_str(&wrapped("! ", &one_line(scripted), width));
        }
        text + &wrapped("", &one_line(&what(&self.engine, self.unit)), width)
    }

    /// The headers of the first and of the last column.
    fn ends_of_header(&self) -> [String; 2] {
        [format!("{} against", self.engine), format!("{}s", self.unit)]
    }

    /// One object.
    pub fn to_json(&self) -> String {
        let cell = |cell: &EngineRatio| {
            json!({
                "other": cell.other,
                "batch_size": cell.size.batch_size,
                "prompt_length": cell.size.prompt_length,
                "prefill": cell.prefill.to_json(),
                "decode": cell.decode.to_json(),
                "tpot": cell.tpot.to_json(),
                "replicates": cell.replicates,
            })
        };
        let table = |RatioTable { heading, cells, loads }: &RatioTable| {
            let loads: BTreeMap<_, _> = loads.iter().cloned().collect();
            let lines: Value = cells.iter().map(cell).collect();
            json!({ "heading": heading, "lines": lines, "load_seconds": loads })
        };
        let tables: Value = self.tables.iter().map(table).collect();
        let value = json!({ "engine": self.engine, "scripted": self.scripted, "tables": tables });
        results::escaped_json(&format!("{value:#}\n"))
    }
}

/// A table's rows by engine and size.
type RowsByCell<'t> = IndexMap<(&'t str, CellSize), &'t ResultRow<'t>>;

fn cells<'t>(cells: &RowsByCell<'t>, engine: &str, others: &[&str], is_run: bool) -> Vec<EngineRatio> {
    let ratio = |other: &str, (size, ours): (CellSize, &ResultRow<'t>)| {
        let theirs = cells.get(&(other, size))?;
        let pairs = pairs(ours, theirs);
        let ratio = |metrics: &[Metric]| ratio((engine, ours), (other, theirs), &pairs, metrics);
        let (prefill, decode, tpot) = (ratio(&[Metric::Prompt]), ratio(&DECODE), ratio(&[Metric::Tpot]));
        Some(EngineRatio {
            other: other.into(),
            size,
            prefill,
            decode,
            tpot,
            replicates: is_run.then_some(pairs.len()),
        })
    };
    let rows = || cells.iter().filter(|((name, _), _)| *name == engine).map(|((_, size), row)| (*size, *row));
    others.iter().flat_map(|other| rows().filter_map(move |row| ratio(other, row))).collect()
}

/// The ratio in the first metric in which both have figures.
fn ratio<'t>(
    ours: (&str, &ResultRow<'t>),
    theirs: (&str, &ResultRow<'t>),
    pairs: &[[&'t Measurement; 2]],
    metrics: &[Metric],
) -> Ratio {
    for (engine, row) in [ours, theirs] {
        if let Some(kind) = row.ended().filter(|_| pairs.is_empty()) {
            return Ratio::Missing(format!("{engine}: {}", kind.table_word()));
        }
    }
    let measured = |metric| {
        let side = |which: usize| {
            let records: Vec<&Measurement> = pairs.iter().map(|pair| pair[which]).collect();
            match side(&records, metric)? {
                Side::Measured { means, medians } => Some(medians.unwrap_or(means)),
                Side::Printed { .. } => None,
            }
        };
        let over: Replicates = side(1)?.over(&side(0)?)?;
        Some(Ratio::Of { metric, ratio: over.centre(), interval: over.interval() })
    };
    let published = |metric| {
        let figure = |row| published_figure(row, metric);
        Some(Ratio::Of { metric, ratio: figure(theirs.1)? / figure(ours.1)?, interval: None })
    };
    let ratio = metrics.iter().find_map(|metric| measured(*metric).or_else(|| published(*metric)));
    ratio.unwrap_or_else(|| Ratio::Missing("N/A".into()))
}

/// A published figure in seconds; `None` where the cell has none above 0. A time per output token that is not printed is what the wall
/// clock leaves beside the mean prefill, a token.
fn published_figure(row: &ResultRow<'_>, metric: Metric) -> Option<f64> {
    let seconds =
        |column| row.seconds(column).filter(|_| row.replicates.is_empty()).map(|figure| figure.value);
    let figure = match metric {
        Metric::Tpot => seconds(Column::Tpot).or_else(|| {
            let beside_prefill = seconds(Column::WallLatency)? - seconds(Column::PromptLatency)?;
            Some(beside_prefill / f64::from(row.generation_length.tokens))
        })?,
        _ => {
            let is_metric = |column: &Column| column.is_latency() && column.metric() == metric;
            seconds(Column::ALL.into_iter().find(is_metric)?)?
        }
    };
    (row.ended().is_none() && figure > 0.0 && figure.is_finite()).then_some(figure)
}

/// Records of one replicate.
fn pairs<'t>(ours: &ResultRow<'t>, theirs: &ResultRow<'t>) -> Vec<[&'t Measurement; 2]> {
    let theirs = measured(theirs);
    let same = |ours: &'t Measurement| {
        Some([ours, *theirs.iter().find(|theirs| theirs.replicate == ours.replicate)?])
    };
    measured(ours).into_iter().filter_map(same).collect()
}

/// Each engine's median seconds from a worker's start to its model being ready.
fn loads(table: &ResultTable<'_>, engines: &[&str]) -> Vec<(String, f64)> {
    let median = |engine: &&str| {
        let records = table.rows.iter().filter(|row| row.engine == *engine).flat_map(measured);
        let seconds: Vec<f64> = records.filter_map(|record| record.measured()?.load_seconds).collect();
        Some(((*engine).to_owned(), Summary::from_series(&seconds)?.median))
    };
    engines.iter().filter_map(median).collect()
}

impl RatioTable {
    /// How long each engine takes to load, in words; `None` where that is not known.
    fn load_words(&self) -> Option<String> {
        let loads = self.loads.iter().map(|(engine, seconds)| format!("{engine} {seconds:.2} s"));
        let loads: Vec<String> = loads.collect();
        (!loads.is_empty())
            .then(|| format!("Median time from worker start to loaded model: {}.", loads.join(", ")))
    }
}

impl EngineRatio {
    /// The other engine, batch size, prompt length, the three ratios, and the number of replicates.
    fn texts(&self) -> [String; 7] {
        let Self { other, size: CellSize { batch_size, prompt_length }, prefill, decode, tpot, replicates } =
            self;
        let [prefill, decode, tpot] = [prefill, decode, tpot].map(Ratio::to_text);
        let replicates = replicates.map_or_else(|| "published".into(), |count| count.to_string());
        [other.clone(), batch_size.to_string(), prompt_length.to_string(), prefill, decode, tpot, replicates]
    }
}

impl Ratio {
    /// `1.24 (1.16–1.33)`.
    fn to_text(&self) -> String {
        match self {
            Self::Of { ratio, interval: Some(Interval { low, high }), .. } => {
                format!("{ratio:.2} ({low:.2}–{high:.2})")
            }
            Self::Of { ratio, interval: None, .. } => format!("{ratio:.2}"),
            Self::Missing(why) => why.clone(),
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
