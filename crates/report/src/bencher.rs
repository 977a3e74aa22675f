//! Bencher Metric Format (<https://bencher.dev/docs/reference/bencher-metric-format>): a value and its bounds by benchmark and
//! measure.
//!
//! Each metric of a cell is a benchmark of its own, because one measure, `latency`, is in nanoseconds by definition, and a measure of another
//! name would have no unit. Throughputs are left out: they are the same figures turned around, and a change would alert twice.

use results::{Exported, Exporter, Metric, escaped_json};
use serde_json::{Map, Value, json};

use crate::ExportInput;
use crate::benchmarks::{Benchmark, benchmarks};
use crate::cells::{CellFigure, FigureKind, scaled};

/// The longest name of a benchmark that Bencher takes, in bytes (`bencher_valid`, `MAX_BENCHMARK_NAME_LEN`).
const LONGEST_NAME: usize = 1024;

/// Bencher Metric Format.
#[derive(Debug, Clone, Copy)]
pub struct Bencher;

impl Exporter<ExportInput<'_>> for Bencher {
    fn name(&self) -> &'static str {
        "bencher"
    }

    fn write(&self, input: &ExportInput<'_>) -> Exported {
        let (benchmarks, mut remarks) = benchmarks(input, FigureKind::Latencies);
        let mut object = Map::new();
        for Benchmark { name, figure, .. } in benchmarks {
            if name.len() > LONGEST_NAME {
                remarks.push(format!("{name}: longer than {LONGEST_NAME} bytes, left out"));
                continue;
            }
            let (measure, metric) = metric(&figure);
            object.insert(name, json!({ measure: metric }));
        }
        let text = escaped_json(&format!("{:#}\n", Value::Object(object)));
        Exported { text, remarks }
    }
}

/// The measure of a figure, and its value and bounds in the measure's unit.
fn metric(figure: &CellFigure) -> (&'static str, Value) {
    let (measure, factor) =
        if figure.metric == Metric::Memory { ("peak-memory", 1.0) } else { ("latency", 1e9) };
    let mut metric = Map::from_iter([("value".to_owned(), json!(scaled(figure.value, factor)))]);
    if let Some(interval) = figure.interval {
        metric.insert("lower_value".into(), json!(scaled(interval.low, factor)));
        metric.insert("upper_value".into(), json!(scaled(interval.high, factor)));
    }
    (measure, Value::Object(metric))
}
