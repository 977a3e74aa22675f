//! The files of github-action-benchmark's `customSmallerIsBetter` and `customBiggerIsBetter`
//! (<https://github.com/benchmark-action/github-action-benchmark>).

use results::{Exported, Exporter, Metric, escaped_json, format_short};
use serde_json::{Map, Value, json};

use crate::ExportInput;
use crate::benchmarks::{Benchmark, benchmarks};
use crate::cells::{CellFigure, FigureKind, scaled};

/// A file of github-action-benchmark, by what is better in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GithubActionBenchmark {
    /// Latencies and peak memory.
    SmallerIsBetter,
    /// Throughputs.
    BiggerIsBetter,
}

impl Exporter<ExportInput<'_>> for GithubActionBenchmark {
    fn name(&self) -> &'static str {
        match self {
            Self::SmallerIsBetter => "github-action-smaller",
            Self::BiggerIsBetter => "github-action-bigger",
        }
    }

    fn write(&self, input: &ExportInput<'_>) -> Exported {
        let kind = match self {
            Self::SmallerIsBetter => FigureKind::Latencies,
            Self::BiggerIsBetter => FigureKind::Throughputs,
        };
        let (benchmarks, remarks) = benchmarks(input, kind);
        let entries: Value = benchmarks.into_iter().map(|benchmark| self.entry(benchmark)).collect();
        Exported { text: escaped_json(&format!("{entries:#}\n")), remarks }
    }
}

impl GithubActionBenchmark {
    /// Milliseconds, MiB or tokens a second; `range` and `extra` where the interval is known.
    fn entry(self, benchmark: Benchmark) -> Value {
        let Benchmark { name, figure, is_scripted } = benchmark;
        let (unit, factor) = match figure.metric {
            _ if self == Self::BiggerIsBetter => ("tokens/s", 1.0),
            Metric::Memory => ("MiB", 1.0 / f64::from(1 << 20)),
            _ => ("ms", 1e3),
        };
        let CellFigure { value, interval, replicates, .. } = figure;
        let value = scaled(value, factor);
        let mut entry = Map::from_iter([
            ("name".to_owned(), json!(name)),
            ("unit".to_owned(), json!(unit)),
            ("value".to_owned(), json!(value)),
        ]);
        let mut extra = Vec::new();
        if let Some(interval) = interval {
            let (low, high) = (interval.low * factor, interval.high * factor);
            // Its charts have room for one number, and the interval of logarithms is longer above.
            entry.insert(
                "range".into(),
                json!(format!("± {}", format_short((high - value).max(value - low)))),
            );
            let [low, high] = [low, high].map(format_short);
            extra.push(format!("95 % interval of {replicates} replicates: {low} to {high} {unit}"));
        }
        if is_scripted {
            extra.push("latencies are scripted, not measured".to_owned());
        }
        if !extra.is_empty() {
            entry.insert("extra".into(), json!(extra.join("\n")));
        }
        Value::Object(entry)
    }
}
