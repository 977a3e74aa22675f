//! The table under the documents': shares of what the device was measured to do.

use std::collections::BTreeMap;

use llama::{LlamaConfig, cost};
use protocol::{
    Device, Environment, MeasuredCeiling, MeasuredCeilings, Measurement, ModelFacts, Outcome, Precision,
};
use report::tables;

mod measured;
use measured::{ended, environment, measured};

const MODEL: &str = include_str!("../../../configs/models/llama2-15m.json");

fn with_ceilings() -> Environment {
    let ceiling = |per_second| MeasuredCeiling { per_second, by: "onnxruntime".into() };
    let facts = ModelFacts { fingerprint: String::new(), config: serde_json::from_str(MODEL).unwrap() };
    Environment {
        ceilings: Some(MeasuredCeilings {
            device: Device::Cpu,
            read_bytes: Some(ceiling(40e9)),
            flops: BTreeMap::from([(Precision::Fp32, ceiling(300e9))]),
        }),
        models: BTreeMap::from([("llama2-15m".to_owned(), facts)]),
        ..environment()
    }
}

#[test]
fn shares_are_of_work_over_time_and_ceiling() {
    let config = LlamaConfig::parse(MODEL, "llama2-15m.json").unwrap();
    for (batch, prompt) in [(1, 16), (4, 256)] {
        let record = measured("onnxruntime", batch, prompt, 256);
        let tokens = &record.generations[0].token_seconds;
        let of_token = |index: u64| {
            let past = u64::from(prompt) + index;
            cost::decode_read_bytes(&config, Precision::Fp32, batch.into(), past) as f64
        };
        let read: f64 = (0..256).map(of_token).sum();
        let bandwidth = read / tokens.iter().sum::<f64>() / 40e9;
        let seconds = record.prompt_seconds.iter().sum::<f64>() / 3.0;
        let flops = cost::forward_flops(&config, batch.into(), prompt.into(), 0, 1) / seconds / 300e9;

        let tables = tables(&[record], &[], &[with_ceilings()]);
        let efficiency = tables[0].rows[0].efficiency;
        assert!((efficiency.decode_bandwidth.unwrap() / bandwidth - 1.0).abs() < 1e-9);
        assert!((efficiency.prefill_flops.unwrap() / flops - 1.0).abs() < 1e-9);
    }
}

#[test]
fn several_devices_can_do_several_times_as_much() {
    let of = |world_size| {
        let record = Measurement { world_size, ..measured("onnxruntime", 1, 16, 256) };
        tables(&[record], &[], &[with_ceilings()])[0].rows[0].efficiency.decode_bandwidth.unwrap()
    };
    assert!((of(1) / of(4) - 4.0).abs() < 1e-9);
}

#[test]
fn a_second_table_stands_under_the_first() {
    let records = [
        measured("onnxruntime", 1, 16, 256),
        ended("onnxruntime", 16, 2048, Outcome::OutOfMemory, "std::bad_alloc"),
        measured("<b>|", 4, 16, 256),
    ];
    let tables = tables(&records, &[], &[with_ceilings()]);
    insta::assert_snapshot!("efficiency_markdown", report::markdown::write(&tables));
    insta::assert_snapshot!("efficiency_terminal", report::terminal::write(&tables, Some(100)));
    let document = report::published::parse(&report::markdown::write(&tables), "table.md").unwrap();
    assert_eq!(document.tables().count(), 1, "it is none of the documents' tables");
}
