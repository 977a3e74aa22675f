//! Hugging Face optimum-benchmark: `benchmark_report.json` beside its `benchmark_config.json`, or both in `benchmark.json`.
//!
//! `prefill` is, with pytorch, a generation up to the first token's logits and `decode` its rest; with other backends they are a generation
//! of one token, and a whole one less the mean of those. `generate`, since 0.6, is the generation itself
//! (`optimum_benchmark/scenarios/inference/scenario.py`). `max_new_tokens - 1` decode forwards follow the prefill, by which the tool
//! divides, too. `per_token` is not read: since 0.5 it repeats earlier generations and has prefills in it
//! (`optimum_benchmark/trackers/latency.py`, whose session never clears its events).

use protocol::{CellSize, Precision};
use serde::Deserialize;

use super::{Column, ImportError, Imported, ImportedRow, ImportedWeights, Importer, Record, RecordKeys};
use crate::published::ReadOptions;
use crate::{HeadingPrecision, format_g10};

pub(super) struct OptimumBenchmark;

#[derive(Deserialize)]
struct OptimumFile {
    config: Config,
    report: OptimumReport,
}

#[derive(Deserialize)]
struct OptimumReport {
    prefill: Target,
    decode: Option<Target>,
    generate: Option<Target>,
}

#[derive(Deserialize)]
struct Target {
    latency: Option<OptimumLatency>,
    throughput: Option<Throughput>,
    memory: Option<OptimumMemory>,
}

#[derive(Deserialize)]
struct OptimumLatency {
    unit: Option<String>,
    mean: f64,
    p50: Option<f64>,
    count: Option<u64>,
}

#[derive(Deserialize)]
struct Throughput {
    unit: String,
    value: f64,
}

#[derive(Deserialize)]
struct OptimumMemory {
    unit: Option<String>,
    max_ram: Option<f64>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Config {
    backend: Backend,
    scenario: Scenario,
    environment: OptimumEnvironment,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Backend {
    name: Option<String>,
    model: Option<String>,
    device: Option<String>,
    torch_dtype: Option<String>,
    quantization_scheme: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Scenario {
    input_shapes: InputShapes,
    new_tokens: Option<u32>,
    generate_kwargs: OptimumGenerateArgs,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct InputShapes {
    batch_size: Option<u32>,
    sequence_length: Option<u32>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct OptimumGenerateArgs {
    max_new_tokens: Option<u32>,
    num_beams: Option<u32>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct OptimumEnvironment {
    cpu: Option<String>,
    gpu: Option<Vec<String>>,
}

impl Importer for OptimumBenchmark {
    fn name(&self) -> &'static str {
        "optimum-benchmark"
    }

    fn recognises(&self, keys: &RecordKeys) -> bool {
        keys.has(&["config", "report"]) || keys.has(&["prefill", "decode"])
    }

    fn beside(&self) -> Option<&'static str> {
        Some("benchmark_config.json")
    }

    fn read(
        &self,
        records: &[Record<'_>],
        beside: Option<&str>,
        options: &ReadOptions,
    ) -> Result<Imported, ImportError> {
        let mut rows = Vec::new();
        for place in records {
            let (config, report) = if place.has("report") {
                let OptimumFile { config, report } = place.read()?;
                (config, report)
            } else {
                (beside.map(read_config).transpose()?.unwrap_or_default(), place.read()?)
            };
            rows.push(row(place, &config, &report, options)?);
        }
        let remark = "the time per output token is decode / (max_new_tokens − 1), choosing the token included; a generation length is \
                      max_new_tokens − 1; medians, memory and the throughput of decode are not compared, per_token is not read";
        Ok(Imported { rows, remarks: vec![remark.to_owned()] })
    }
}

fn read_config(text: &str) -> Result<Config, ImportError> {
    serde_json::from_str(text)
        .map_err(|error| ImportError::of_file(format!("benchmark_config.json beside it: {error}")))
}

fn row(
    place: &Record<'_>,
    config: &Config,
    report: &OptimumReport,
    options: &ReadOptions,
) -> Result<ImportedRow, ImportError> {
    let Config { backend, scenario, .. } = config;
    if let Some(beams) = scenario.generate_kwargs.num_beams.filter(|beams| *beams != 1) {
        return Err(
            place.error(format!("num_beams: expected 1, found {beams}: a beam is a sequence of its own"))
        );
    }
    let batch_size = scenario.input_shapes.batch_size.or(options.batch_size);
    let prompt_length = scenario.input_shapes.sequence_length.or(options.prompt_length);
    let new_tokens = scenario.generate_kwargs.max_new_tokens.or(scenario.new_tokens);
    let new_tokens = new_tokens.or(options.generation_length);
    let (Some(batch_size), Some(prompt_length), Some(new_tokens)) = (batch_size, prompt_length, new_tokens)
    else {
        let missing = [
            (batch_size, "--batch-size"),
            (prompt_length, "--prompt-length"),
            (new_tokens, "--generation-length (max_new_tokens; the tool's default is 100)"),
        ];
        let missing: Vec<&str> =
            missing.iter().filter(|(size, _)| size.is_none()).map(|(_, flag)| *flag).collect();
        return Err(ImportError::of_file(format!(
            "neither this file nor a benchmark_config.json beside it says all sizes: give {}",
            missing.join(", ")
        )));
    };
    let steps = new_tokens.saturating_sub(1);
    let prefill = report.prefill.latency.as_ref();
    let prefill = prefill.ok_or_else(|| place.error("prefill.latency: expected latencies, found none"))?;
    let mut figures = vec![(Column::PromptLatency, prefill.seconds(place, "prefill")?)];
    figures.extend(report.prefill.throughput(place, "prefill")?.map(|rate| (Column::PromptThroughput, rate)));
    let (mut more, mut decode_rate) = (Vec::new(), None);
    let mut keep = |name, latency: &OptimumLatency, scale: f64| {
        more.extend(latency.p50.map(|median| (name, format_g10(median * scale))));
    };
    keep("Prompt Latency Median (ms)", prefill, 1e3);
    if let Some(decode @ Target { latency: Some(latency), .. }) = report.decode.as_ref().filter(|_| steps > 0)
    {
        figures.push((Column::Tpot, latency.seconds(place, "decode")? / f64::from(steps)));
        keep("TPOT Median (ms)", latency, 1e3 / f64::from(steps));
        decode_rate = decode.throughput(place, "decode")?;
    }
    if let Some(Target { latency: Some(latency), .. }) = report.generate.as_ref().filter(|_| steps > 0) {
        figures.push((Column::WallLatency, latency.seconds(place, "generate")?));
        keep("Wall-Clock Latency Median (s)", latency, 1.0);
    }
    let runs = prefill.count.map(|count| ("Prompt Runs", count.to_string()));
    let memory = report.prefill.memory.as_ref().filter(|memory| memory.unit.as_deref() == Some("MB"));
    let memory = memory.and_then(|memory| memory.max_ram).map(|ram| ("Peak RAM (MB)", format_g10(ram)));
    let rate = decode_rate.map(|rate| ("decode (tokens/s)", format_g10(rate)));
    more.extend(rate.into_iter().chain(runs).chain(memory));
    let engine = options.engine.clone().or_else(|| backend.name.clone());
    let engine = engine.ok_or_else(|| {
        place.error(
            "the backend is in benchmark_config.json, which is not beside this file: give --engine NAME",
        )
    })?;
    Ok(ImportedRow {
        line: place.line,
        title: config.title(),
        weights: config.precision().map(ImportedWeights::Of),
        engine,
        size: CellSize { batch_size, prompt_length },
        generation_length: (steps > 0).then_some(steps),
        figures,
        more,
    })
}

impl Target {
    /// The throughput, where it is in tokens. Earlier versions have prefills in tokens a second, later ones in samples.
    fn throughput(&self, place: &Record<'_>, target: &str) -> Result<Option<f64>, ImportError> {
        let in_tokens = self.throughput.as_ref().filter(|throughput| throughput.unit == "tokens/s");
        let rate = in_tokens.map(|one| place.positive(&format!("{target}.throughput.value"), one.value));
        rate.transpose()
    }
}

impl OptimumLatency {
    /// The mean, in seconds.
    fn seconds(&self, place: &Record<'_>, target: &str) -> Result<f64, ImportError> {
        match self.unit.as_deref() {
            Some("s") | None => place.positive(&format!("{target}.latency.mean"), self.mean),
            Some(other) => {
                let other = crate::one_line(other);
                Err(place.error(format!("{target}.latency.unit: expected s, found {other}")))
            }
        }
    }
}

impl Config {
    /// `meta-llama/Llama-3.1-8B-Instruct bfloat16: NVIDIA A100-SXM4-80GB`.
    fn title(&self) -> String {
        let Self { backend, environment, .. } = self;
        let is_gpu = backend.device.as_deref() == Some("cuda");
        let gpu = environment.gpu.as_ref().and_then(|gpus| gpus.first()).filter(|_| is_gpu);
        let device = gpu.or(environment.cpu.as_ref()).or(backend.device.as_ref());
        let model = [&backend.model, &backend.torch_dtype, &backend.quantization_scheme];
        let model: Vec<&str> = model.into_iter().flatten().map(String::as_str).collect();
        let device = device.map(|device| format!(": {}", device.trim())).unwrap_or_default();
        crate::one_line(&format!("{}{device}", model.join(" ")))
    }

    fn precision(&self) -> Option<HeadingPrecision> {
        let whole = match self.backend.torch_dtype.as_deref()? {
            "float32" => Precision::Fp32,
            "float16" => Precision::Fp16,
            "bfloat16" => Precision::Bf16,
            _ => return None,
        };
        self.backend.quantization_scheme.is_none().then_some(whole.into())
    }
}
