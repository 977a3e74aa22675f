//! Runs to make pages of.

#![allow(dead_code)]

use std::collections::BTreeMap;
use std::path::Path;

use page::AuditedRun;
use protocol::{
    CellFailure, CellKey, Device, Environment, FailureKind, Generation, GpuPhase, GpuSeries, Measured,
    MeasuredCell, MeasuredPeak, MeasuredPeaks, Measurement, Memory, ModelFacts, Outcome, Phase, Precision,
    ProgramVersion, Ranks, SCHEMA, Throttle,
};
use results::Run;

const MODEL: &str = include_str!("../../../../configs/models/llama2-15m.json");

/// A text that no page may take for anything but text.
pub(crate) const HOSTILE: &str = "<script>alert(1)</script>\"'&<img src=x onerror=alert(2)>";
/// Longer than any place for it.
pub(crate) const LONG: &str = "an-engine-with-a-name-that-nobody-would-give-it-but-somebody-did-and-it-goes-on-and-on-without-a-single-space-to-break-it-at";
/// Read from right to left, with a character that turns around what follows.
pub(crate) const RIGHT_TO_LEFT: &str = "מנוע\u{202e}gnireenigne עברית";

/// SplitMix64: the same numbers on every machine.
pub(crate) struct Noise(pub(crate) u64);

impl Noise {
    /// Around 1, by `share` at most.
    pub(crate) fn near_one(&mut self, share: f64) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        1.0 + share * (((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64 * 2.0 - 1.0)
    }
}

/// A measured cell: `token_seconds` for a decode forward of one sequence.
pub(crate) fn measured(
    engine: &str,
    batch: u32,
    prompt: u32,
    replicate: u32,
    token_seconds: f64,
) -> Measurement {
    let seed = engine.bytes().map(u64::from).sum::<u64>();
    let mut noise = Noise(seed + u64::from(batch) * 1000 + u64::from(prompt) * 7 + u64::from(replicate));
    let mut series = |count: usize, seconds: f64| -> Vec<f64> {
        (0..count).map(|_| (seconds * noise.near_one(0.06) * 1e9).round() / 1e9).collect()
    };
    let prompt_seconds = token_seconds * f64::from(batch * prompt) / 40.0;
    let mut tokens = series(256, token_seconds * (1.0 + 0.05 * f64::from(batch)));
    tokens[0] *= 1.7;
    let wall = prompt_seconds + tokens.iter().sum::<f64>() * 1.01;
    let series = Measured {
        prompt_seconds: series(100, prompt_seconds),
        generations: vec![Generation { prompt_seconds, token_seconds: tokens, wall_seconds: wall }],
        device_seconds: None,
        memory: Memory { peak_bytes: Some(100 << 20), ..Memory::default() },
        ranks: Vec::new(),
        collectives: None,
        tokens_sha256: String::new(),
    };
    Measurement {
        schema: SCHEMA,
        key: CellKey {
            model: "llama2-15m".into(),
            precision: Precision::Fp32,
            device: Device::Cpu,
            ranks: Ranks::ONE,
            engine: engine.into(),
            batch_size: batch,
            prompt_length: prompt,
            generation_length: 256,
        },
        replicate,
        part: 1,
        device_memory_limit_bytes: None,
        procedure: None,
        read_bytes_per_second: None,
        machine_load: None,
        gpu: None,
        outcome: Outcome::Ok(Box::new(MeasuredCell { load_seconds: None, notes: Vec::new(), series })),
    }
}

/// A cell without figures.
pub(crate) fn ended(engine: &str, batch: u32, prompt: u32, kind: FailureKind, error: &str) -> Measurement {
    let outcome = Outcome::Failed(CellFailure::new(kind, Phase::Prompt, error.into()));
    Measurement { outcome, ..measured(engine, batch, prompt, 0, 0.001) }
}

/// The series of a measured cell, to change.
pub(crate) fn series(record: &mut Measurement) -> &mut Measured {
    let Outcome::Ok(cell) = &mut record.outcome else { panic!("not measured") };
    &mut cell.series
}

/// The same on a GPU of 400 W, whose clocks sank.
pub(crate) fn on_gpu(record: Measurement) -> Measurement {
    let steps = || (0..40).map(|step| f64::from(step) * 0.1);
    let gpu = GpuSeries {
        seconds: 4.0,
        energy_joules: Some(1200.0),
        phases: vec![
            GpuPhase { phase: Phase::Prompt, seconds: 0.4, energy_joules: Some(100.0) },
            GpuPhase { phase: Phase::Decode, seconds: 1.5, energy_joules: Some(500.0) },
        ],
        sample_seconds: steps().collect(),
        power_watts: steps().map(|at| 250.0 + 100.0 * (at * 3.0).sin()).collect(),
        temperature_celsius: steps().map(|at| 50 + at as u32).collect(),
        sm_clock_mhz: steps().map(|at| 1980 - (at * 90.0) as u32).collect(),
        memory_clock_mhz: steps().map(|_| 2619).collect(),
        throttled_samples: BTreeMap::from([(Throttle::SwThermalSlowdown, 12)]),
        ..GpuSeries::default()
    };
    Measurement { gpu: Some(gpu), ..record }
}

pub(crate) fn environment() -> Environment {
    let peak = |per_second| MeasuredPeak { per_second, by: "onnxruntime".into() };
    Environment {
        id: None,
        started: "2026-11-23T08:00:20Z".into(),
        program: ProgramVersion { version: "0.1.0".into(), git_revision: Some("0123456789ab".into()) },
        kernel: "Linux 6.1".into(),
        cpu: "AMD EPYC 7763 64-Core Processor".into(),
        cores: 2,
        cpu_governor: None,
        processor: None,
        memory_bytes: 8 << 30,
        load_average: 0.1,
        gpus: Vec::new(),
        peaks: Some(MeasuredPeaks {
            device: Device::Cpu,
            read_bytes: Some(peak(40e9)),
            flops: BTreeMap::from([(protocol::Dtype::Fp32, peak(300e9))]),
            sustained_flops: BTreeMap::new(),
            machine_load: None,
            measured_at: None,
        }),
        engines: BTreeMap::new(),
        programs: BTreeMap::new(),
        engines_file: None,
        models: BTreeMap::from([(
            "llama2-15m".to_owned(),
            ModelFacts { fingerprint: "f".into(), config: serde_json::from_str(MODEL).unwrap() },
        )]),
        machine: None,
        sweep_sha256: String::new(),
        pair: None,
        shard: None,
        locked_gpu_clocks: None,
        differs_from_first_part: Vec::new(),
    }
}

pub(crate) fn run(name: &str, records: Vec<Measurement>) -> AuditedRun {
    let environments = vec![environment()];
    let run = Run {
        dir: name.into(),
        name: name.into(),
        expected: records.len(),
        tables: results::tables(records, &[], &environments),
        environments,
        settings: vec![BTreeMap::new()],
        verifications: Vec::new(),
    };
    AuditedRun { run, audit: audit::AuditReport::default() }
}

/// Two engines over 3 × 2 cells, of which the last ran out of memory.
pub(crate) fn small() -> AuditedRun {
    let mut records = Vec::new();
    for (engine, token) in [("onnxruntime", 0.002), ("pytorch-eager", 0.008)] {
        for batch in [1, 4, 16] {
            for prompt in [16, 256] {
                records.push(match (engine, batch, prompt) {
                    ("pytorch-eager", 16, 256) => {
                        ended(engine, batch, prompt, FailureKind::OutOfMemory, "std::bad_alloc")
                    }
                    _ => measured(engine, batch, prompt, 0, token),
                });
            }
        }
    }
    run("small", records)
}

/// Engines whose names are none, on a GPU.
pub(crate) fn hostile(name: &str, factor: f64) -> AuditedRun {
    let mut records = Vec::new();
    for replicate in 0..5 {
        for (engine, token) in [(HOSTILE, 0.002), (LONG, 0.003), (RIGHT_TO_LEFT, 0.004)] {
            for batch in [1, 8] {
                for prompt in [16, 128] {
                    let record = measured(engine, batch, prompt, replicate, token * factor);
                    records.push(on_gpu(record));
                }
            }
        }
    }
    records.push(ended(HOSTILE, 64, 128, FailureKind::Failed, HOSTILE));
    run(name, records)
}

/// 3 engines × 15 batch sizes × 12 prompt lengths, with 100 prefills and 256 tokens each.
pub(crate) fn large() -> AuditedRun {
    let mut records = Vec::new();
    for (engine, token) in [("onnxruntime", 0.002), ("pytorch-eager", 0.008), ("pytorch-compile", 0.007)] {
        for batch in [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 256] {
            for prompt in [1, 16, 32, 64, 128, 256, 512, 1024, 1536, 2048, 3072, 3840] {
                records.push(measured(engine, batch, prompt, 0, token));
            }
        }
    }
    run("large", records)
}

/// 4 engines × 25 batch sizes × 20 prompt lengths: 2,000 cells with 10 prefills and one or two generations of 256 tokens each. The
/// largest cells of one engine ran out of memory.
pub(crate) fn two_thousand() -> AuditedRun {
    let engines =
        [("builtin", 0.004), ("onnxruntime", 0.002), ("pytorch-eager", 0.008), ("pytorch-compile", 0.007)];
    let batches: Vec<u32> = (0..25).map(|step| 1 + step * (step + 1) / 2).collect();
    let prompts: Vec<u32> = (0..20).map(|step| 16 + 200 * step).collect();
    let mut records = Vec::new();
    for (engine, token) in engines {
        for &batch in &batches {
            for &prompt in &prompts {
                if engine == "pytorch-eager" && batch * prompt > 700_000 {
                    records.push(ended(engine, batch, prompt, FailureKind::OutOfMemory, "std::bad_alloc"));
                    continue;
                }
                let mut record = measured(engine, batch, prompt, 0, token);
                let series = series(&mut record);
                series.prompt_seconds.truncate(10);
                if batch % 2 == 0 {
                    let mut second = series.generations[0].clone();
                    second.token_seconds.rotate_left(7);
                    series.generations.push(second);
                }
                records.push(record);
            }
        }
    }
    run("two-thousand", records)
}

/// The run that is kept in the repository.
pub(crate) fn kept() -> AuditedRun {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../results/llama2-15m-fp32-cpu");
    AuditedRun { run: Run::read(&dir).unwrap(), audit: audit::AuditReport::default() }
}

/// Compares the second of two runs with the first.
pub(crate) fn comparison(baseline: &AuditedRun, candidate: &AuditedRun) -> page::Comparison {
    let [baseline, candidate] = [&baseline.run, &candidate.run];
    let [first, second] = [baseline, candidate].map(|run| compare::Subject::from_run(run).unwrap());
    let criteria = compare::Criteria::new(compare::Thresholds::all(0.05));
    page::Comparison {
        result: compare::compare(&first, &second, &criteria).map_err(|refused| refused.to_string()),
        baseline: baseline.name.clone(),
        candidate: candidate.name.clone(),
    }
}
