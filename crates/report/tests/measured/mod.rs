//! Records as a run would have them.

#![allow(dead_code)]

use std::collections::BTreeMap;

use protocol::{
    Device, Environment, Generation, Measurement, Memory, Outcome, Phase, Precision, ProgramVersion, SCHEMA,
};

pub(crate) fn environment() -> Environment {
    Environment {
        started: "2026-11-23T00:00:00Z".into(),
        program: ProgramVersion { version: "0.1.0".into(), git_revision: None },
        kernel: "Linux 6".into(),
        cpu: "AMD EPYC".into(),
        cores: 2,
        cpu_governor: None,
        memory_bytes: 24 << 30,
        load_average: 0.0,
        gpus: Vec::new(),
        ceilings: None,
        engines: BTreeMap::new(),
        programs: BTreeMap::new(),
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
    Measurement {
        schema: SCHEMA,
        engine: engine.into(),
        model: "llama2-15m".into(),
        precision: Precision::Fp32,
        device: Device::Cpu,
        world_size: 1,
        batch_size,
        prompt_length,
        generation_length,
        replicate: 0,
        outcome: Outcome::Ok,
        phase: None,
        error: None,
        inferred_from: None,
        part: 1,
        load_seconds: Some(0.5),
        notes: Vec::new(),
        prompt_seconds: vec![prompt, prompt * 1.1, prompt * 0.9],
        generations: vec![Generation { prompt_seconds: prompt, token_seconds, wall_seconds }],
        memory: Memory {
            weights_bytes: Some(60 << 20),
            kv_cache_bytes: Some(1 << 20),
            peak_bytes: Some(100 << 20),
        },
        procedure: None,
        device_seconds: None,
        ranks: Vec::new(),
        collectives: None,
        tokens_sha256: Some("aa".into()),
        one_rank: false,
        device_memory_limit_bytes: None,
        read_bytes_per_second: None,
        gpu: None,
    }
}

pub(crate) fn ended(
    engine: &str,
    batch_size: u32,
    prompt_length: u32,
    outcome: Outcome,
    error: &str,
) -> Measurement {
    Measurement {
        outcome,
        phase: Some(Phase::Prompt),
        error: Some(error.into()),
        prompt_seconds: Vec::new(),
        generations: Vec::new(),
        memory: Memory::default(),
        tokens_sha256: None,
        ..measured(engine, batch_size, prompt_length, 256)
    }
}
