//! A run of LLaMA-2 7B of one cell, made up.

use std::collections::BTreeMap;

use audit::{AuditReport, audit};
use protocol::{
    CellKey, Device, Environment, Generation, Gpu, Measured, MeasuredCell, MeasuredPeak, MeasuredPeaks,
    Measurement, Memory, ModelFacts, Outcome, Precision, ProgramVersion, Ranks, SCHEMA,
};
use results::hardware::Hardware;
use results::{ResultTable, tables};

const MODEL: &str = "llama2-7b";
const CONFIG: &str = include_str!("../../../../configs/models/llama2-7b.json");
const GPU: &str =
    r#"{"name": "NVIDIA A100-SXM4-80GB", "memory_bytes": 84987740160, "driver_version": "580"}"#;
const TOKENS: u32 = 256;

/// A batch of 1 and a prompt of 16 tokens; every token takes as long.
pub(crate) struct Run {
    pub(crate) precision: Precision,
    pub(crate) device: Device,
    pub(crate) token_seconds: f64,
}

impl Run {
    /// What an audit finds, if the run measured that its device reads so many bytes a second.
    pub(crate) fn report(&self, read_bytes: f64) -> AuditReport {
        let peak = MeasuredPeak { per_second: read_bytes, by: "onnxruntime".into() };
        let peaks = MeasuredPeaks { read_bytes: Some(peak), ..MeasuredPeaks::best(self.device, []) };
        let tables = tables(vec![self.record()], &[], &[environment()]);
        let table = ResultTable { measured_peaks: Some(&peaks), ..ResultTable::measured("run", &tables[0]) };
        audit(&[table], &Hardware::built_in())
    }

    fn record(&self) -> Measurement {
        let token_seconds = vec![self.token_seconds; TOKENS as usize];
        let prompt_seconds = 2.0 * self.token_seconds;
        let wall_seconds = (prompt_seconds + token_seconds.iter().sum::<f64>()) * 1.0001;
        let series = Measured {
            prompt_seconds: vec![prompt_seconds],
            generations: vec![Generation { prompt_seconds, token_seconds, wall_seconds }],
            device_seconds: None,
            memory: Memory { weights_bytes: None, kv_cache_bytes: None, peak_bytes: None },
            ranks: Vec::new(),
            collectives: None,
            tokens_sha256: "aa".into(),
        };
        let key = CellKey {
            model: MODEL.into(),
            precision: self.precision,
            device: self.device,
            ranks: Ranks::ONE,
            engine: "onnxruntime".into(),
            batch_size: 1,
            prompt_length: 16,
            generation_length: TOKENS,
        };
        Measurement {
            schema: SCHEMA,
            key,
            replicate: 0,
            part: 1,
            device_memory_limit_bytes: None,
            procedure: None,
            read_bytes_per_second: None,
            machine_load: None,
            gpu: None,
            outcome: Outcome::Ok(Box::new(MeasuredCell { load_seconds: None, notes: Vec::new(), series })),
        }
    }
}

fn environment() -> Environment {
    let facts = ModelFacts { fingerprint: String::new(), config: serde_json::from_str(CONFIG).unwrap() };
    let gpu: Gpu = serde_json::from_str(GPU).unwrap();
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
        gpus: vec![gpu],
        peaks: None,
        engines: BTreeMap::new(),
        programs: BTreeMap::new(),
        engines_file: None,
        pair: None,
        shard: None,
        locked_gpu_clocks: None,
        models: BTreeMap::from([(MODEL.to_owned(), facts)]),
        machine: None,
        sweep_sha256: String::new(),
        differs_from_first_part: Vec::new(),
    }
}
