//! Go's benchmark format (<https://go.dev/design/14313-benchmark-format>), for `benchstat`: one line a replicate.

use std::fmt::Write as _;

use protocol::CellSize;
use results::{DeviceKind, Exported, Exporter, Heading, Metric, one_line};

use crate::ExportInput;
use crate::cells::{CellTable, ExportedCell, FigureKind, cell_tables, percent_encoded, scaled};

/// Keys of the configuration, which `benchstat` makes a table of each of.
const KEYS: [&str; 4] = ["model", "precision", "device", "heading"];

/// Go's benchmark format.
#[derive(Debug, Clone, Copy)]
pub struct GoBenchmark;

impl Exporter<ExportInput<'_>> for GoBenchmark {
    fn name(&self) -> &'static str {
        "go"
    }

    fn write(&self, input: &ExportInput<'_>) -> Exported {
        let mut text = String::from("Unit ns/op better=lower\nUnit peak-B better=lower\n");
        let mut remarks = Vec::new();
        let mut known = [const { String::new() }; KEYS.len()];
        for table in &cell_tables(input) {
            text.push('\n');
            remarks.extend(table.remarks(FigureKind::Latencies));
            for ((key, known), value) in KEYS.iter().zip(&mut known).zip(configuration(table)) {
                // A key without a value is unset.
                if *known != value {
                    let _ = writeln!(text, "{}", format!("{key}: {value}").trim_end());
                    *known = value;
                }
            }
            // No configuration: what differs there is in different tables of benchstat, so that A could not be compared with B.
            for comment in comments(table) {
                let _ = writeln!(text, "# {comment}");
            }
            if table.cells.iter().any(|cell| !cell.is_measured()) {
                remarks.push(format!("{}: printed figures are lines of 1 iteration", table.title));
            }
            table.cells.iter().for_each(|cell| write_cell(&mut text, cell));
        }
        Exported { text, remarks }
    }
}

/// The values of [`KEYS`]; an empty one says nothing.
fn configuration(table: &CellTable<'_>) -> [String; KEYS.len()] {
    let none = String::new;
    match &table.heading {
        Some(heading) => {
            [one_line(&heading.model), heading.precision.to_string(), device(heading, &table.title), none()]
        }
        None => [none(), none(), none(), table.title.trim().to_owned()],
    }
}

/// A heading's text from the kind of device on: `CUDA (1 A100 80GB)`.
fn device(heading: &Heading, title: &str) -> String {
    let kind = match heading.kind {
        DeviceKind::Cuda => "CUDA (",
        DeviceKind::Cpu => "CPU (",
    };
    title.rfind(kind).map_or_else(String::new, |at| title[at..].to_owned())
}

/// What lines of measurements can't say, each on one line.
fn comments(table: &CellTable<'_>) -> Vec<String> {
    let mut comments: Vec<String> = Vec::new();
    let programs = table.cells.iter().filter_map(|cell| Some(&cell.environment?.program));
    for program in programs {
        let revision = program.git_revision.as_deref().unwrap_or("unknown");
        let comment = one_line(&format!("measured by llama2-bench {} ({revision})", program.version));
        if !comments.contains(&comment) {
            comments.push(comment);
        }
    }
    comments.extend(table.scripted());
    comments.extend(table.ended.iter().map(|ended| format!("no figures: {ended}")));
    comments
}

/// A line for each metric and replicate: the replicate's mean, and how many samples it is of.
fn write_cell(text: &mut String, cell: &ExportedCell<'_>) {
    for figure in cell.figures() {
        let metric = figure.metric;
        let name = name(cell, metric);
        let (unit, factor) = if metric == Metric::Memory { ("peak-B", 1.0) } else { ("ns/op", 1e9) };
        let mut line = |count: usize, value: f64| {
            let _ = writeln!(text, "{name} {count} {} {unit}", scaled(value, factor));
        };
        if cell.is_measured() {
            for (_, samples) in cell.samples(metric) {
                line(samples.len(), stats::mean(&samples).unwrap_or(figure.value));
            }
        } else {
            line(1, figure.value);
        }
    }
}

/// `BenchmarkPrefill/engine=onnxruntime/batch=1/prompt=16`. The last part ends in `=` and digits, never in the `-` and digits that Go reads as
/// its number of threads.
fn name(cell: &ExportedCell<'_>, metric: Metric) -> String {
    let (base, depends_on_generation) = match metric {
        Metric::Prompt => ("Prefill", false),
        Metric::First128 => ("DecodeFirst128", false),
        Metric::First256 => ("DecodeFirst256", false),
        Metric::Token => ("Decode", true),
        Metric::Tpot => ("TPOT", true),
        Metric::Wall => ("WallClock", true),
        Metric::Memory => ("PeakMemory", true),
    };
    let CellSize { batch_size, prompt_length } = cell.row.size;
    let is_kept = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let engine = percent_encoded(cell.row.engine, is_kept);
    let mut name = format!("Benchmark{base}/engine={engine}/batch={batch_size}/prompt={prompt_length}");
    if depends_on_generation {
        let _ = write!(name, "/generation={}", cell.row.generation_length.tokens);
    }
    name
}
