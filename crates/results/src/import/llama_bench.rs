//! `llama-bench -o json` and `-o jsonl` of llama.cpp: a record for each test.
//!
//! A test is `n_prompt` tokens (pp), `n_gen` tokens one after the other (tg), or both (pg), behind a context of `n_depth` tokens that is
//! filled beforehand and not timed (`tools/llama-bench/llama-bench.cpp`, `main`). A sample of `samples_ns` is a whole repetition, of one
//! sequence. No token is chosen: `n_gen` random ones are decoded, so that a tg test's time over `n_gen` is a decode forward's latency,
//! and the context behind which it starts is this program's prompt.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use protocol::{CellSize, Precision};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Column, ImportError, Imported, ImportedRow, ImportedWeights, Importer, Record, RecordKeys};
use crate::published::ReadOptions;
use crate::{HeadingPrecision, format_g10};

pub(super) struct LlamaBenchImporter;

#[derive(Deserialize)]
struct TestRecord {
    /// The engine that ran the test, and the heading of its table, in files of this program.
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

/// The last words of `model_type` that are precisions of headings.
const PRECISIONS: [(&str, HeadingPrecision); 6] = [
    ("F32", HeadingPrecision::Of(Precision::Fp32)),
    ("F16", HeadingPrecision::Of(Precision::Fp16)),
    ("BF16", HeadingPrecision::Of(Precision::Bf16)),
    ("Q8_0", HeadingPrecision::Of(Precision::Int8)),
    ("Q4_0", HeadingPrecision::Of(Precision::Int4)),
    ("Q4_1", HeadingPrecision::Of(Precision::Int4)),
];

/// How the words of other quantized types start, of which no one precision is known: `Q4_K - Medium`, `IQ3_S mix`.
const QUANTIZED: [&str; 5] = ["Q", "IQ", "TQ", "MXFP", "NVFP"];

/// A mean in whole nanoseconds is cut off.
const SAME_MEAN: f64 = 1e-6;

impl Importer for LlamaBenchImporter {
    fn name(&self) -> &'static str {
        "llama-bench"
    }

    fn recognises(&self, keys: &RecordKeys) -> bool {
        keys.has(&["n_prompt", "n_gen", "avg_ns"])
    }

    fn read(
        &self,
        records: &[Record<'_>],
        _beside: Option<&str>,
        options: &ReadOptions,
    ) -> Result<Imported, ImportError> {
        let tests: Vec<TestRecord> = records.iter().map(Record::read).collect::<Result<_, _>>()?;
        let settings: Vec<TestSettings<'_>> = records.iter().map(Record::read).collect::<Result<_, _>>()?;
        let varying = varying(&settings);
        // A prefill, and first tokens, stand beside the longest generations of their model.
        let mut longest: HashMap<String, u32> = HashMap::new();
        for test in tests.iter().filter(|test| test.has_own_length()) {
            let longest = longest.entry(test.title()).or_default();
            *longest = test.n_gen.max(*longest);
        }
        let (mut rows, mut behind_context) = (Vec::new(), 0);
        for ((place, test), settings) in records.iter().zip(&tests).zip(&settings) {
            let seconds = test.seconds(place)?;
            let Some(TestFigure { prompt_length, column, seconds }) = test.figure(place, seconds)? else {
                behind_context += 1;
                continue;
            };
            let title = test.title();
            // Not beside the wall clocks of fewer tokens.
            let longest = longest.get(&title).filter(|longest| **longest >= test.n_gen).copied();
            rows.push(ImportedRow {
                line: place.line,
                weights: test.weights(),
                engine: test.engine(settings, &varying, options),
                size: CellSize { batch_size: 1, prompt_length },
                generation_length: if test.has_own_length() { Some(test.n_gen) } else { longest },
                figures: vec![(column, seconds)],
                more: test.throughput(place)?.into_iter().collect(),
                title,
            });
        }
        if rows.is_empty() {
            let what = "no test of a prompt or of generated tokens that this program has a column for: prompts behind a context \
                        (n_depth) are none";
            return Err(ImportError::of_file(what));
        }
        let mut remarks = if tests.iter().all(|test| test.engine.is_some()) {
            // This program wrote it.
            vec!["each figure is the mean of all samples, and its throughput the mean of theirs".to_owned()]
        } else {
            let what = "each figure is the mean of a test's repetitions in one process, no token is chosen, and the throughputs in t/s are \
                        not compared";
            vec![what.to_owned()]
        };
        if behind_context > 0 {
            let (tests, are) = if behind_context == 1 { ("test", "is") } else { ("tests", "are") };
            remarks.push(format!(
                "{behind_context} {tests} of a prompt behind a context (n_prompt and n_depth above 0) {are} not read"
            ));
        }
        Ok(Imported { rows, remarks })
    }
}

/// A figure of a test, in seconds.
struct TestFigure {
    prompt_length: u32,
    column: Column,
    seconds: f64,
}

/// What a test was run with, as JSON.
type TestSettings<'a> = BTreeMap<String, &'a RawValue>;

/// The settings that are not the same in all tests.
fn varying<'a>(settings: &'a [TestSettings<'_>]) -> BTreeSet<&'a str> {
    let Some(first) = settings.first() else { return BTreeSet::new() };
    let keys = settings.iter().flat_map(|one| one.keys()).map(String::as_str).collect::<BTreeSet<_>>();
    let differs = |key: &&str| {
        let value = first.get(*key).map(|value| value.get());
        settings.iter().any(|one| one.get(*key).map(|value| value.get()) != value)
    };
    keys.into_iter().filter(|key| !NO_SETTINGS.contains(key)).filter(differs).collect()
}

impl TestRecord {
    /// `llama 7B Q4_0, ggml-model-q4_0: NVIDIA GeForce RTX 3090 Ti (CUDA)`.
    fn title(&self) -> String {
        if let Some(heading) = self.heading.as_ref().filter(|heading| !heading.trim().is_empty()) {
            return heading.clone();
        }
        let file = self.model_filename.rsplit(['/', '\\']).next().unwrap_or_default();
        let file = file.strip_suffix(".gguf").unwrap_or(file).trim();
        let device = if self.gpu_info.trim().is_empty() { &self.cpu_info } else { &self.gpu_info };
        let given = |texts: &[&str], separator: &str| {
            let texts: Vec<&str> = texts.iter().copied().filter(|text| !text.is_empty()).collect();
            texts.join(separator)
        };
        let backends = if self.backends.is_empty() { String::new() } else { format!("({})", self.backends) };
        given(
            &[&given(&[self.model_type.trim(), file], ", "), &given(&[device.trim(), &backends], " ")],
            ": ",
        )
    }

    /// Whether what it measured is of a generation of `n_gen` tokens, and not of a prompt or of the first tokens of any.
    fn has_own_length(&self) -> bool {
        self.n_gen > 0 && (self.n_prompt > 0 || ![128, 256].contains(&self.n_gen))
    }

    /// The weights, where the type says them: `llama 7B mostly Q4_0`.
    fn weights(&self) -> Option<ImportedWeights> {
        let words = || self.model_type.split_whitespace();
        let last = words().last().filter(|_| !self.model_type.contains("(guessed)"))?;
        if let Some((_, precision)) = PRECISIONS.iter().find(|(word, _)| *word == last) {
            return Some(ImportedWeights::Of(*precision));
        }
        let is_quantized = |word: &&str| {
            let digit = QUANTIZED
                .iter()
                .find_map(|start| word.strip_prefix(start))
                .and_then(|rest| rest.chars().next());
            digit.is_some_and(|c| c.is_ascii_digit())
        };
        words().find(is_quantized).map(|word| ImportedWeights::Quantized(word.to_owned()))
    }

    /// The engine, with the settings that make it one of several in the file.
    fn engine(&self, settings: &TestSettings<'_>, varying: &BTreeSet<&str>, options: &ReadOptions) -> String {
        let name = self.engine.as_deref().or(options.engine.as_deref()).unwrap_or("llama-cpp");
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
            own => Ok(own.unwrap_or(mean) * 1e-9),
        }
    }

    /// What the test measured; `None` where that is no figure of this program.
    fn figure(&self, place: &Record<'_>, seconds: f64) -> Result<Option<TestFigure>, ImportError> {
        let (prompt_length, column, forwards) = match (self.n_prompt, self.n_gen, self.n_depth) {
            (0, 0, _) => return Err(place.error("n_prompt and n_gen are both 0")),
            (0, 128, depth) => (depth, Column::First128Latency, 128),
            (0, 256, depth) => (depth, Column::First256Latency, 256),
            (0, tokens, depth) => (depth, Column::TokenLatency, tokens),
            (prompt_length, 0, 0) => (prompt_length, Column::PromptLatency, 1),
            (prompt_length, _, 0) => (prompt_length, Column::WallLatency, 1),
            _ => return Ok(None),
        };
        Ok(Some(TestFigure { prompt_length, column, seconds: seconds / f64::from(forwards) }))
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
