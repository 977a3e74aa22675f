//! The JSON Schema of the worker protocol accepts every message of a session with a worker.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use jsonschema::Validator;
use protocol::{
    Device, GenerateRequest, LoadRequest, MeasureRequest, ModelSource, PeaksRequest, Precision, Procedure,
    Reply, Request,
};
use serde_json::{Value, json};

fn schema() -> Validator {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/schemas/protocol.schema.json");
    jsonschema::validator_for(&serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap())
        .unwrap()
}

/// Asks all that the harness can ask.
fn requests() -> Vec<Request> {
    let config = serde_json::from_str(include_str!("../../../configs/models/llama2-15m.json")).unwrap();
    let options = [("peaks", json!(true)), ("device_share", json!(0.5)), ("notes", json!(["scripted"]))];
    let options = options.map(|(name, value)| (name.to_owned(), value));
    let procedure = Procedure { warmup_runs: 1, prompt_runs: 3, generations: 2, ..Procedure::default() };
    let cell = MeasureRequest {
        prompt_ids: vec![vec![1, 2, 3]; 2],
        generation_length: 4,
        procedure: Procedure { until: Some(0.1), min_runs: 2, ..procedure },
        collectives: false,
    };
    let beyond = MeasureRequest { prompt_ids: vec![vec![32_000]], ..cell.clone() };
    vec![
        Request::Peaks(PeaksRequest {
            device: Device::Cpu,
            precisions: vec![protocol::Dtype::Fp32, protocol::Dtype::Bf16],
            threads: None,
            sustained_seconds: Some(1.0),
            options: options.clone().into(),
        }),
        Request::Load(LoadRequest {
            model: ModelSource::Seeded { config, seed: 0 },
            device: Device::Cpu,
            precision: Precision::Fp32,
            threads: Some(2),
            memory_limit_bytes: Some(1 << 30),
            device_memory_limit_bytes: None,
            one_rank_of: Some(2),
            options: options.into(),
        }),
        Request::Measure(MeasureRequest { procedure, ..cell.clone() }),
        Request::Measure(cell.clone()),
        Request::Generate(GenerateRequest { prompt_ids: vec![vec![1]], max_new_tokens: 2, logits: true }),
        Request::Profile(cell),
        Request::Measure(beyond),
        Request::Shutdown,
    ]
}

#[test]
fn the_schema_accepts_a_session_with_a_worker() {
    let schema = schema();
    let mut said = BTreeSet::new();
    let mut hold = |key: &str, line: &str| {
        let value: Value = serde_json::from_str(line).unwrap();
        let errors: Vec<String> = schema.iter_errors(&value).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{line}: {errors:?}");
        said.insert(value[key].as_str().unwrap().to_owned());
    };
    let mut worker = Command::new(env!("CARGO_BIN_EXE_llama2-bench-mock"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = worker.stdin.take().unwrap();
    let mut replies = BufReader::new(worker.stdout.take().unwrap()).lines().map(Result::unwrap);
    let hello = replies.next().unwrap();
    hold("reply", &hello);
    let page = include_str!("../../../docs/reference/engine-options.md");
    let Ok(Reply::Hello(hello)) = serde_json::from_str(&hello) else { panic!("no hello: {hello}") };
    for option in hello.options.keys() {
        assert!(
            page.contains(&format!("\n| `{option}` |")),
            "docs/reference/engine-options.md does not list {option}"
        );
    }
    for request in requests() {
        let line = serde_json::to_string(&request).unwrap();
        hold("request", &line);
        writeln!(stdin, "{line}").unwrap();
        // A request is answered by one line, and progress before it.
        let is_progress = |line: &String| matches!(serde_json::from_str(line), Ok(Reply::Progress(_)));
        if request != Request::Shutdown {
            let answer = replies.by_ref().inspect(|line| hold("reply", line)).find(|line| !is_progress(line));
            assert!(answer.is_some(), "no answer to {line}");
        }
    }
    assert!(worker.wait().unwrap().success());
    let all = "failed generate generated hello load loaded measure measured peaks profile profiled progress shutdown";
    assert_eq!(said.into_iter().collect::<Vec<_>>().join(" "), all);
}
