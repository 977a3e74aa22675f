//! `llama-bench -o json` and `-o jsonl` of llama.cpp: a record for each test.
//!
//! A test is `n_prompt` tokens (pp), `n_gen` tokens one after the other (tg), or both (pg), behind a context of `n_depth` tokens that is
//! filled beforehand and not timed (`tools/llama-bench/llama-bench.cpp`, `main`). A sample of `samples_ns` is a whole repetition, of one
//! sequence. No token is chosen: `n_gen` random ones are decoded, so that a tg test's time over `n_gen` is a decode forward's latency,
//! and the context behind which it starts is this program's prompt.

use std::collections::{BTreeMap, BTreeSet};

use indexmap::{IndexMap, IndexSet};
use protocol::{CellSize, Precision};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Column, ImportError, Imported, ImportedRow, Importer, Keys, Record};
use crate::published::ReadOptions;
use crate::{HeadingPrecision, format_g10};

pub(super) struct LlamaBench;

#[derive(Deserialize)]
struct TestRecord {
    /// In files of this program: the engine that ran the test, and the heading of its table.
    #[serde(default)]
    engine: Option<String>,
    #[serde(default)]
    heading: Option<String>,
    #[serde(default)]
    model_filename: String,
    #[serde(default)]
    model_type: String,
    #[serde(default)]
    cpu_info: String,
    #[serde(default)]
    gpu_info: String,
    #[serde(default)]
    backends: String,
    n_prompt: u32,
    n_gen: u32,
    #[serde(default)]
    n_depth: u32,
    avg_ns: f64,
    #[serde(default)]
    avg_ts: Option<f64>,
    #[serde(default)]
    samples_ns: Vec<f64>,
}

/// The keys of what was measured, and of the model and machine; all others are settings.
const NO_SETTINGS: [&str; 20] = [
    "engine",
    "heading",
    "scripted",
    "model_filename",
    "model_type",
    "model_size",
    "model_n_params",
    "cpu_info",
    "gpu_info",
    "backends",
    "n_prompt",
    "n_gen",
    "n_depth",
    "test_time",
    "avg_ns",
    "stddev_ns",
    "avg_ts",
    "stddev_ts",
    "samples_ns",
    "samples_ts",
];

/// The last words of `model_type` that are precisions of headings. Of mixtures such as `Q4_K - Medium` no one precision is known.
const PRECISIONS: [(&str, HeadingPrecision); 6] = [
    ("F32", HeadingPrecision::Whole(Precision::Fp32)),
    ("F16", HeadingPrecision::Whole(Precision::Fp16)),
    ("BF16", HeadingPrecision::Whole(Precision::Bf16)),
    ("Q8_0", HeadingPrecision::Int8),
    ("Q4_0", HeadingPrecision::Int4),
    ("Q4_1", HeadingPrecision::Int4),
];

/// More generation lengths than anybody measures, so that a prefill is not in thousands of tables.
const MOST_LENGTHS: usize = 16;

/// A mean in whole nanoseconds is cut off.
const SAME_MEAN: f64 = 1e-6;

impl Importer for LlamaBench {
    fn name(&self) -> &'static str {
        "llama-bench"
    }

    fn recognises(&self, keys: &Keys) -> bool {
        keys.has(&["n_prompt", "n_gen", "avg_ns"])
    }

    fn read(
        &self,
        records: &[Record<'_>],
        _beside: Option<&str>,
        options: &ReadOptions,
    ) -> Result<Imported, ImportError> {
        let tests: Vec<TestRecord> = records.iter().map(Record::read).collect::<Result<_, _>>()?;
        let settings: Vec<Settings<'_>> = records.iter().map(Record::read).collect::<Result<_, _>>()?;
        let varying = varying(&settings);
        // A prefill stands in the tables of all generation lengths of its model.
        let mut lengths: IndexMap<String, IndexSet<u32>> = IndexMap::new();
        for test in tests.iter().filter(|test| test.n_gen > 0) {
            let lengths = lengths.entry(test.title()).or_default();
            if lengths.len() < MOST_LENGTHS {
                lengths.insert(test.n_gen);
            }
        }
        let (mut rows, mut behind_context) = (Vec::new(), 0);
        for ((place, test), settings) in records.iter().zip(&tests).zip(&settings) {
            let seconds = test.seconds(place)?;
            let Some((prompt_length, figure)) = test.figure(place, seconds)? else {
                behind_context += 1;
                continue;
            };
            let title = test.title();
            let row = ImportedRow {
                line: place.line,
                precision: test.precision(),
                engine: test.engine(settings, &varying, options),
                size: CellSize { batch_size: 1, prompt_length },
                generation_length: Some(test.n_gen).filter(|n_gen| *n_gen > 0),
                figures: vec![figure],
                more: test.throughput(place)?.into_iter().collect(),
                title,
            };
            match lengths.get(&row.title).filter(|_| test.n_gen == 0) {
                Some(lengths) => rows.extend(
                    lengths
                        .iter()
                        .map(|length| ImportedRow { generation_length: Some(*length), ..row.clone() }),
                ),
                None => rows.push(row),
            }
        }
        if rows.is_empty() {
            let what = "no test of a prompt or of generated tokens that this program has a column for: prompts behind a context \
                        (n_depth) are none";
            return Err(ImportError::of_file(what));
        }
        let mut remarks = vec![
            "each figure is the mean of a test's repetitions in one process, of one sequence".to_owned(),
            "no token is chosen: pp is a prefill, tg decode forwards behind n_depth tokens, pg the wall clock of both"
                .to_owned(),
            "avg_ts is the mean of the repetitions' throughputs: it is kept, and not compared".to_owned(),
        ];
        if behind_context > 0 {
            let (tests, are) = if behind_context == 1 { ("test", "is") } else { ("tests", "are") };
            remarks.push(format!(
                "{behind_context} {tests} of a prompt behind a context (n_prompt and n_depth above 0) {are} not read"
            ));
        }
        Ok(Imported { rows, remarks })
    }
}

/// What a test was run with, as JSON.
type Settings<'a> = BTreeMap<String, &'a RawValue>;

/// The settings that are not the same in all tests.
fn varying<'a>(settings: &'a [Settings<'_>]) -> BTreeSet<&'a str> {
    let Some(first) = settings.first() else { return BTreeSet::new() };
    let keys = settings.iter().flat_map(|one| one.keys()).map(String::as_str).collect::<BTreeSet<_>>();
    let differs = |key: &&str| {
        let value = |one: &Settings<'_>| one.get(*key).map(|value| value.get().to_owned());
        settings.iter().any(|one| value(one) != value(first))
    };
    keys.into_iter().filter(|key| !NO_SETTINGS.contains(key)).filter(differs).collect()
}

impl TestRecord {
    /// `llama 7B Q4_0, ggml-model-q4_0: NVIDIA GeForce RTX 3090 Ti (CUDA)`.
    fn title(&self) -> String {
        if let Some(heading) = &self.heading {
            return heading.clone();
        }
        let file = self.model_filename.rsplit(['/', '\\']).next().unwrap_or_default();
        let file = file.strip_suffix(".gguf").unwrap_or(file);
        let device = if self.gpu_info.trim().is_empty() { &self.cpu_info } else { &self.gpu_info };
        let model: Vec<&str> =
            [self.model_type.trim(), file].into_iter().filter(|text| !text.is_empty()).collect();
        let backends = if self.backends.is_empty() { String::new() } else { format!(" ({})", self.backends) };
        crate::one_line(&format!("{}: {}{backends}", model.join(", "), device.trim()))
    }

    fn precision(&self) -> Option<HeadingPrecision> {
        let is_guessed = self.model_type.contains("(guessed)");
        let last = self.model_type.split_whitespace().last().filter(|_| !is_guessed)?;
        PRECISIONS.iter().find(|(word, _)| *word == last).map(|(_, precision)| *precision)
    }

    /// The engine, with the settings that make it one of several in the file.
    fn engine(&self, settings: &Settings<'_>, varying: &BTreeSet<&str>, options: &ReadOptions) -> String {
        let name = options.engine.as_deref().or(self.engine.as_deref()).unwrap_or("llama-cpp");
        let words = varying.iter().filter_map(|key| {
            let value: String = settings.get(*key)?.get().trim_matches('"').chars().take(40).collect();
            Some(format!("{key}={value}"))
        });
        let words: Vec<String> = words.collect();
        if words.is_empty() { name.to_owned() } else { format!("{name} ({})", words.join(", ")) }
    }

    /// The mean of the repetitions.
    fn seconds(&self, place: &Record<'_>) -> Result<f64, ImportError> {
        let mean = place.positive("avg_ns", self.avg_ns)?;
        for sample in &self.samples_ns {
            place.positive("samples_ns", *sample)?;
        }
        match stats::mean(&self.samples_ns) {
            Some(own) if (own - mean).abs() > SAME_MEAN * mean + 1.0 => {
                Err(place.error(format!("avg_ns: {mean} is not the mean of samples_ns, {own}")))
            }
            _ => Ok(mean * 1e-9),
        }
    }

    /// The prompt length, and the time that the test measured; `None` where that is no figure of this program.
    fn figure(&self, place: &Record<'_>, seconds: f64) -> Result<Option<(u32, (Column, f64))>, ImportError> {
        Ok(match (self.n_prompt, self.n_gen, self.n_depth) {
            (0, 0, _) => return Err(place.error("n_prompt and n_gen are both 0")),
            (0, tokens, depth) => Some((depth, (Column::TokenLatency, seconds / f64::from(tokens)))),
            (prompt_length, 0, 0) => Some((prompt_length, (Column::PromptLatency, seconds))),
            (prompt_length, _, 0) => Some((prompt_length, (Column::WallLatency, seconds))),
            _ => None,
        })
    }

    /// The throughput, by the test's name.
    fn throughput(&self, place: &Record<'_>) -> Result<Option<(&'static str, String)>, ImportError> {
        let Some(rate) = self.avg_ts else { return Ok(None) };
        let name = match (self.n_prompt, self.n_gen) {
            (_, 0) => "pp (t/s)",
            (0, _) => "tg (t/s)",
            _ => "pg (t/s)",
        };
        Ok(Some((name, format_g10(place.positive("avg_ts", rate)?))))
    }
}
