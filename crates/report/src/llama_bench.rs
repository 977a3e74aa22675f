//! The records of llama.cpp's `llama-bench -o json` and `-o jsonl` (tools/llama-bench/llama-bench.cpp): one a test.
//!
//! A cell is a prefill (`pp`: `n_prompt` = P), decode forwards behind the prompt (`tg`: `n_gen` of 128, of 256, or as many as a shorter generation
//! has, `n_depth` = P), and a whole generation (`pg`). Each has a key `engine` and a key `heading` that llama-bench has not; its own tools skip them.
//! `backends` is the engine, too: scripts/compare-llama-bench.py averages what does not differ in a key of its own.

use protocol::{Device, Dtype};
use results::{DeviceKind, Exported, Exporter, Metric, escaped_json};
use serde_json::{Map, Value, json};
use stats::Summary;

use crate::ExportInput;
use crate::cells::{CellFigure, CellTable, ExportedCell, FigureKind, cell_tables};

/// Keys that compare-llama-bench.py asks for, and that are settings of llama.cpp alone. An empty text says so: its SQL finds no row
/// with `null`, and any number would be made up.
const OTHER_KEYS: [&str; 18] = [
    "n_cpu_moe",
    "n_batch",
    "n_ubatch",
    "n_threads",
    "cpu_mask",
    "cpu_strict",
    "poll",
    "split_mode",
    "main_gpu",
    "no_kv_offload",
    "flash_attn",
    "tensor_split",
    "tensor_buft_overrides",
    "use_mmap",
    "load_mode",
    "embeddings",
    "fit_target",
    "fit_min_ctx",
];

/// llama-bench's records, as one JSON array or as a line each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LlamaBench {
    /// `-o json`.
    Json,
    /// `-o jsonl`.
    JsonLines,
}

impl Exporter<ExportInput<'_>> for LlamaBench {
    fn name(&self) -> &'static str {
        match self {
            Self::Json => "llama-bench",
            Self::JsonLines => "llama-bench-jsonl",
        }
    }

    fn write(&self, input: &ExportInput<'_>) -> Exported {
        let (mut records, mut remarks, mut has_measured) = (Vec::new(), Vec::new(), false);
        for table in &cell_tables(input) {
            remarks.extend(table.remarks(FigureKind::Latencies));
            let (single, batches): (Vec<_>, Vec<_>) =
                table.cells.iter().partition(|cell| cell.row.size.batch_size == 1);
            if !batches.is_empty() {
                let (title, left_out, all) = (&table.title, batches.len(), table.cells.len());
                remarks
                    .push(format!("{title}: llama-bench has no batches: {left_out} of {all} cells left out"));
            }
            if single.iter().any(|cell| !cell.is_measured()) {
                remarks.push(format!("{}: printed figures have no samples_ns and no stddev_ns", table.title));
            }
            has_measured |= single.iter().any(|cell| cell.is_measured());
            records.extend(single.into_iter().flat_map(|cell| tests(table, cell)));
        }
        if has_measured {
            remarks.push("time per output token and peak memory have no place".into());
        }
        let text = match self {
            Self::Json => format!("{:#}\n", Value::Array(records)),
            Self::JsonLines => records.iter().map(|record| format!("{record}\n")).collect(),
        };
        Exported { text: escaped_json(&text), remarks }
    }
}

/// The records of a cell.
fn tests(table: &CellTable<'_>, cell: &ExportedCell<'_>) -> Vec<Value> {
    let prompt = cell.row.size.prompt_length;
    let generation = cell.row.generation_length.tokens;
    let test = |figure: CellFigure| {
        let (n_prompt, n_gen, n_depth) = match figure.metric {
            Metric::Prompt => (prompt, 0, 0),
            Metric::First128 => (0, 128, prompt),
            Metric::First256 => (0, 256, prompt),
            Metric::Token => (0, generation, prompt),
            Metric::Wall => (prompt, generation, 0),
            Metric::Tpot | Metric::Memory => return None,
        };
        let tokens = n_prompt + n_gen;
        let mut record = settings(table, cell);
        for (key, value) in [("n_prompt", n_prompt), ("n_gen", n_gen), ("n_depth", n_depth)] {
            record.insert(key.into(), json!(value));
        }
        record.insert("test_time".into(), json!(cell.environment.map_or("", |one| one.started.as_str())));
        let times = if cell.is_measured() {
            Times::of_samples(&samples(cell, figure.metric, n_gen), tokens)?
        } else {
            let forwards = if n_prompt == 0 { f64::from(n_gen) } else { 1.0 };
            Times::printed(figure.value * forwards, tokens)
        };
        record.extend(times.fields());
        Some(Value::Object(record))
    };
    cell.figures().into_iter().filter_map(test).collect()
}

/// Seconds of each repetition of a test: of decode forwards the sum of a generation's first `n_gen`.
fn samples(cell: &ExportedCell<'_>, metric: Metric, n_gen: u32) -> Vec<f64> {
    let series = cell.row.replicates.iter().filter_map(|record| record.series());
    match metric {
        Metric::First128 | Metric::First256 | Metric::Token => {
            let generations = series.flat_map(|series| &series.generations);
            generations.map(|one| one.token_seconds.iter().take(n_gen as usize).sum()).collect()
        }
        _ => cell.samples(metric).into_iter().flat_map(|(_, samples)| samples).collect(),
    }
}

/// What a record says beside its test: who was measured, on what.
fn settings(table: &CellTable<'_>, cell: &ExportedCell<'_>) -> Map<String, Value> {
    let environment = cell.environment;
    let heading = table.heading.as_ref();
    let is_cuda = heading.is_some_and(|heading| heading.kind == DeviceKind::Cuda);
    let device = heading.map_or("", |heading| heading.device.as_str());
    let cpu = environment.map_or(if is_cuda { "" } else { device }, |one| one.cpu.as_str());
    let key = cell.row.replicates.first().map(|record| &record.key);
    let cache = key.map_or("", |key| match key.precision.activations(key.device) {
        Dtype::Fp32 => "f32",
        Dtype::Fp16 => "f16",
        Dtype::Bf16 => "bf16",
    });
    let model = heading.map_or(table.title.as_str(), |heading| heading.model.as_str());
    let model_type =
        heading.map_or_else(|| model.to_owned(), |heading| format!("{model} {}", heading.precision));
    // As llama-bench says it where it was built outside of git.
    let revision = environment.and_then(|one| one.program.git_revision.as_deref()).unwrap_or("unknown");
    let mut record = Map::from_iter(
        [
            ("engine", json!(cell.row.engine)),
            ("heading", json!(table.title)),
            ("build_commit", json!(revision)),
            ("cpu_info", json!(cpu)),
            (
                "gpu_info",
                json!(if is_cuda { gpus(cell).unwrap_or_else(|| device.to_owned()) } else { String::new() }),
            ),
            ("backends", json!(cell.row.engine)),
            ("model_filename", json!(model)),
            ("model_type", json!(model_type)),
            ("type_k", json!(cache)),
            ("type_v", json!(cache)),
            // More than a model has: all of them.
            ("n_gpu_layers", json!(if is_cuda { 99 } else { 0 })),
        ]
        .map(|(key, value)| (key.to_owned(), value)),
    );
    record.extend(OTHER_KEYS.map(|key| (key.to_owned(), json!(""))));
    if cell.is_scripted {
        record.insert("scripted".into(), json!(true));
    }
    record
}

/// The names of a measured cell's GPUs.
fn gpus(cell: &ExportedCell<'_>) -> Option<String> {
    let key = &cell.row.replicates.first()?.key;
    let Device::Cuda(first) = key.device else { return None };
    let gpus = cell.environment?.gpus.iter().skip(first as usize).take(key.ranks.measured() as usize);
    Some(gpus.map(|gpu| gpu.name.as_str()).collect::<Vec<_>>().join(", "))
}

/// The times of a test's repetitions, in the words of llama-bench.
struct Times {
    avg_ns: u64,
    /// Tokens a second: the mean over repetitions.
    avg_ts: f64,
    /// `None` of a printed figure.
    samples: Option<Samples>,
}

struct Samples {
    ns: Vec<u64>,
    /// Tokens a second.
    ts: Vec<f64>,
    stddev_ns: u64,
    stddev_ts: f64,
}

impl Times {
    /// `None` where there is none, or one is no nanosecond long.
    fn of_samples(seconds: &[f64], tokens: u32) -> Option<Self> {
        let ns: Vec<u64> = seconds.iter().map(|seconds| (seconds * 1e9).round() as u64).collect();
        let ts: Vec<f64> = ns.iter().map(|&ns| 1e9 * f64::from(tokens) / ns as f64).collect();
        let ns_summary = Summary::from_series(&ns.iter().map(|&ns| ns as f64).collect::<Vec<_>>())?;
        let ts_summary = Summary::from_series(&ts)?;
        // llama-bench computes stddev_ns in whole numbers, which overflow from 4.3 s on.
        let samples =
            Samples { ns, ts, stddev_ns: ns_summary.deviation as u64, stddev_ts: ts_summary.deviation };
        let times = Self { avg_ns: ns_summary.mean as u64, avg_ts: ts_summary.mean, samples: Some(samples) };
        times.avg_ts.is_finite().then_some(times)
    }

    fn printed(seconds: f64, tokens: u32) -> Self {
        let avg_ns = (seconds * 1e9).round() as u64;
        Self { avg_ns, avg_ts: f64::from(tokens) / seconds, samples: None }
    }

    fn fields(self) -> Map<String, Value> {
        let mut fields = Map::new();
        fields.insert("avg_ns".into(), json!(self.avg_ns));
        if let Some(samples) = &self.samples {
            fields.insert("stddev_ns".into(), json!(samples.stddev_ns));
        }
        fields.insert("avg_ts".into(), json!(self.avg_ts));
        if let Some(samples) = self.samples {
            fields.insert("stddev_ts".into(), json!(samples.stddev_ts));
            fields.insert("samples_ns".into(), json!(samples.ns));
            fields.insert("samples_ts".into(), json!(samples.ts));
        }
        fields
    }
}
