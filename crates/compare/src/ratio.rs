//! One row's figures over another's, replicate by replicate.

use protocol::Measurement;
use results::{Column, Metric, ResultRow};
use serde_json::{Value, json};
use stats::{Interval, Replicates};

use crate::sides::{Side, measured, side};

/// Decode latencies, of which the first that both rows have is compared.
const DECODE: [Metric; 3] = [Metric::First256, Metric::First128, Metric::Token];

/// The ratios of two rows.
#[derive(Debug)]
pub(crate) struct RowRatios {
    pub(crate) prefill: Ratio,
    pub(crate) decode: Ratio,
    /// Time per output token, which includes choosing the token.
    pub(crate) tpot: Ratio,
    pub(crate) memory: Ratio,
    /// Replicates that both have; `None` where the figures are published.
    pub(crate) replicates: Option<usize>,
}

/// A figure of one row over the other's.
#[derive(Debug)]
pub(crate) enum Ratio {
    Of {
        metric: Metric,
        ratio: f64,
        interval: Option<Interval>,
    },
    /// One of the rows has no figure.
    Missing(String),
}

/// A row and what it is called.
pub(crate) type NamedRow<'t> = (&'t str, &'t ResultRow<'t>);

impl RowRatios {
    /// Latencies of `other` over `row`'s, so that above 1 the row is faster; memory of the row over the other's. Replicates are compared with
    /// those of the same number: these are close in time, so that what the machine does to both cancels out. Intervals are Student's, of
    /// the logarithms.
    pub(crate) fn new(row: NamedRow<'_>, other: NamedRow<'_>, is_run: bool) -> Self {
        let latency = |metrics: &[Metric]| Ratio::new(other, row, metrics);
        Self {
            prefill: latency(&[Metric::Prompt]),
            decode: latency(&DECODE),
            tpot: latency(&[Metric::Tpot]),
            memory: Ratio::new(row, other, &[Metric::Memory]),
            replicates: is_run.then(|| pairs(row.1, other.1).len()),
        }
    }

    /// The same without intervals: of rows that were not measured close in time.
    pub(crate) fn without_intervals(mut self) -> Self {
        for ratio in [&mut self.prefill, &mut self.decode, &mut self.tpot, &mut self.memory] {
            if let Ratio::Of { interval, .. } = ratio {
                *interval = None;
            }
        }
        self
    }
}

impl Ratio {
    /// The ratio in the first metric in which both have figures.
    fn new(over: NamedRow<'_>, under: NamedRow<'_>, metrics: &[Metric]) -> Self {
        let pairs = pairs(over.1, under.1);
        for (name, row) in [under, over] {
            if let Some(kind) = row.ended().filter(|_| pairs.is_empty()) {
                return Self::Missing(format!("{name}: {}", kind.table_word()));
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
            let ratio: Replicates = side(0)?.over(&side(1)?)?;
            Some(Self::Of { metric, ratio: ratio.centre(), interval: ratio.interval() })
        };
        let published = |metric| {
            let figure = |row| published_figure(row, metric);
            Some(Self::Of { metric, ratio: figure(over.1)? / figure(under.1)?, interval: None })
        };
        let ratio = metrics.iter().find_map(|metric| measured(*metric).or_else(|| published(*metric)));
        ratio.unwrap_or_else(|| Self::Missing("N/A".into()))
    }

    /// `1.24 (1.16–1.33)`.
    pub(crate) fn to_text(&self) -> String {
        match self {
            Self::Of { ratio, interval: Some(Interval { low, high }), .. } => {
                format!("{ratio:.2} ({low:.2}–{high:.2})")
            }
            Self::Of { ratio, interval: None, .. } => format!("{ratio:.2}"),
            Self::Missing(why) => why.clone(),
        }
    }

    pub(crate) fn to_json(&self) -> Value {
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

/// A published figure in seconds; `None` where the cell has none above 0. A latency that is not printed is that of the throughput; a time
/// per output token else what the wall clock leaves beside the mean prefill, a token.
fn published_figure(row: &ResultRow<'_>, metric: Metric) -> Option<f64> {
    let seconds =
        |column| row.seconds(column).filter(|_| row.replicates.is_empty()).map(|figure| figure.value);
    let column = |is_latency: bool| {
        let is_it = |column: &Column| column.is_latency() == is_latency && column.metric() == metric;
        seconds(Column::ALL.into_iter().find(is_it)?)
    };
    let by_throughput = || {
        let rows = f64::from(row.size.batch_size);
        let tokens = match metric {
            Metric::Prompt => rows * f64::from(row.size.prompt_length),
            Metric::Wall | Metric::Memory => return None,
            _ => rows,
        };
        Some(tokens / column(false)?)
    };
    let by_wall_clock = || {
        let beside_prefill = seconds(Column::WallLatency)? - seconds(Column::PromptLatency)?;
        (metric == Metric::Tpot).then(|| beside_prefill / f64::from(row.generation_length.tokens))
    };
    let figure = column(true).or_else(by_throughput).or_else(by_wall_clock)?;
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
