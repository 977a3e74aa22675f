//! Records as a run would have them.

#![allow(dead_code)]

use std::collections::BTreeMap;

use protocol::{
    CellFailure, CellKey, Device, Environment, FailureKind, Generation, Measured, MeasuredCell, Measurement,
    Memory, Outcome, Phase, Precision, ProgramVersion, Ranks, SCHEMA,
};

pub(crate) fn environment() -> Environment {
    Environment {
        id: None,
        started: "2026-11-23T00:00:00Z".into(),
        program: ProgramVersion { version: "0.1.0".into(), git_revision: None },
        kernel: "Linux 6".into(),
        cpu: "AMD EPYC".into(),
        cores: 2,
        cpu_governor: None,
        processor: None,
        memory_bytes: 24 << 30,
        load_average: 0.0,
        gpus: Vec::new(),
        peaks: None,
        engines: BTreeMap::new(),
        programs: BTreeMap::new(),
        engines_file: None,
        pair: None,
        shard: None,
        locked_gpu_clocks: None,
        models: BTreeMap::new(),
        machine: None,
        sweep_sha256: String::new(),
        differs_from_first_part: Vec::new(),
    }
}

pub(crate) fn measured(
    engine: &str,
    batch_size: u32,
    prompt_length: u32,
    generation_length: u32,
) -> Measurement {
    let prompt = 0.001 * f64::from(batch_size * prompt_length);
    let token = |index: u32| 0.002 + 1e-6 * f64::from(index);
    let token_seconds: Vec<f64> = (0..generation_length).map(token).collect();
    let wall_seconds = (prompt + token_seconds.iter().sum::<f64>()) * 1.001;
    let series = Measured {
        prompt_seconds: vec![prompt, prompt * 1.1, prompt * 0.9],
        generations: vec![Generation { prompt_seconds: prompt, token_seconds, wall_seconds }],
        device_seconds: None,
        memory: Memory {
            weights_bytes: Some(60 << 20),
            kv_cache_bytes: Some(1 << 20),
            peak_bytes: Some(100 << 20),
        },
        ranks: Vec::new(),
        collectives: None,
        tokens_sha256: "aa".into(),
    };
    Measurement {
        schema: SCHEMA,
        key: CellKey {
            model: "llama2-15m".into(),
            precision: Precision::Fp32,
            device: Device::Cpu,
            ranks: Ranks::ONE,
            engine: engine.into(),
            batch_size,
            prompt_length,
            generation_length,
        },
        replicate: 0,
        part: 1,
        device_memory_limit_bytes: None,
        procedure: None,
        read_bytes_per_second: None,
        machine_load: None,
        gpu: None,
        outcome: Outcome::Ok(Box::new(MeasuredCell { load_seconds: Some(0.5), notes: Vec::new(), series })),
    }
}

pub(crate) fn ended(
    engine: &str,
    batch_size: u32,
    prompt_length: u32,
    kind: FailureKind,
    error: &str,
) -> Measurement {
    let outcome = Outcome::Failed(CellFailure::new(kind, Phase::Prompt, error.into()));
    Measurement { outcome, ..measured(engine, batch_size, prompt_length, 256) }
}

/// The record with a change of its key.
pub(crate) fn with_key(mut record: Measurement, change: impl FnOnce(&mut CellKey)) -> Measurement {
    change(&mut record.key);
    record
}

/// The record of a measured cell with a change of what was measured.
pub(crate) fn with_cell(mut record: Measurement, change: impl FnOnce(&mut MeasuredCell)) -> Measurement {
    if let Outcome::Ok(cell) = &mut record.outcome {
        change(cell);
    }
    record
}

/// The texts of a table's notes.
pub(crate) fn texts(table: &results::Table) -> Vec<String> {
    table.notes.iter().map(|note| note.text.clone()).collect()
}
