//! A run's files, and the tables that are made of them.

use std::path::Path;

use proptest::prelude::*;
use protocol::{
    CellFailure, CellSize, Environment, FailureKind, Measurement, Outcome as CellOutcome, Phase, Verification,
};
use report::{csv, json, markdown, terminal};
use results::published::layout;
use results::{Grid, RecordReader, StoreError, Table, tables};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::{CaseResult, FuzzTarget, Sections, one_line, sample};

/// The target.
pub const TARGET: FuzzTarget = FuzzTarget { name: "records", samples, words: WORDS, run };

const RUN: &str = "results/llama2-15m-fp32-cpu";
const WORDS: &str = r#""ok" "out_of_memory" "crashed" "skipped" "load" "decode" "cuda:1" "fp16" "part" "inferred_from"
    {"batch_size":1,"prompt_length":16} "mock" "llama2-\n7b" "llama2-15m" 256 1e-320"#;

/// Three lines, one of each kind: measured, failed, inferred. Their series are short, so that edits find the rest.
fn records() -> String {
    let first = sample(&format!("{RUN}/measurements.jsonl")).lines().next().unwrap().to_owned();
    let mut measured = Measurement::from_json(first.as_bytes()).unwrap();
    measured.key.generation_length = 3;
    let CellOutcome::Ok(cell) = &mut measured.outcome else { panic!("the first was measured") };
    cell.series.prompt_seconds.truncate(3);
    cell.series.generations[0].token_seconds.truncate(3);
    cell.notes = vec!["KV cache in place".into(), "without flash attention".into()];
    let failed = |kind, phase, inferred_from| {
        let error = "signal 11".to_owned();
        CellOutcome::Failed(CellFailure { kind, phase, error, inferred_from })
    };
    let mut bad = measured.clone();
    (bad.part, bad.key.engine) = (2, "mock".into());
    bad.outcome = failed(FailureKind::Crashed, Some(Phase::Decode), None);
    let mut inferred = measured.clone();
    inferred.key.batch_size = 4;
    let from = Some(CellSize { batch_size: 1, prompt_length: 16 });
    inferred.outcome = failed(FailureKind::OutOfMemory, None, from);
    let line = |record: &Measurement| serde_json::to_string(record).unwrap() + "\n";
    [measured, bad, inferred].iter().map(line).collect()
}

/// The first line of a run that was written in schema 1.
fn old_record() -> String {
    let text = sample("results/llama2-15m-peers-fp32-cpu/measurements.jsonl");
    let mut record: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    record["prompt_seconds"].as_array_mut().unwrap().truncate(3);
    record["generations"][0]["token_seconds"].as_array_mut().unwrap().truncate(3);
    format!("{record}\n")
}

fn environment() -> String {
    let mut environment: Value = serde_json::from_str(&sample(&format!("{RUN}/environment.json"))).unwrap();
    environment["gpus"] =
        json!([{"name": "NVIDIA A100-SXM4-80GB", "memory_bytes": 85_899_345_920_u64, "driver_version": "1"}]);
    environment["differs_from_first_part"] = json!(["seed: 0, here 1"]);
    environment["engines"].as_object_mut().unwrap().retain(|name, _| name == "onnxruntime");
    let peak = json!({"per_second": 4e10, "by": "onnxruntime"});
    environment["peaks"] = json!({"device": "cpu", "read_bytes": peak, "flops": {"fp32": peak}});
    environment.to_string()
}

fn verification() -> String {
    let mut verifications: Value =
        serde_json::from_str(&sample(&format!("{RUN}/verification.json"))).unwrap();
    verifications[0]["agreements"][1]["largest_error"] = json!(1.5);
    verifications[0]["agreements"][2]["error"] = json!("none");
    verifications.to_string()
}

fn parse_records(text: &[u8], path: &Path) -> Result<Vec<Measurement>, StoreError> {
    RecordReader::new(text, path).collect()
}

fn reads_what_it_writes<T: DeserializeOwned + Serialize + PartialEq + std::fmt::Debug>(
    input: &[u8],
) -> CaseResult {
    if let Ok(value) = serde_json::from_slice::<T>(input) {
        let text = serde_json::to_string_pretty(&value).unwrap();
        prop_assert_eq!(serde_json::from_str::<T>(&text).ok(), Some(value));
    }
    Ok(())
}

fn without_control_characters(text: &str) -> CaseResult {
    let found = text.chars().find(|c| c.is_control() && *c != '\n');
    prop_assert_eq!(found, None);
    Ok(())
}

/// Cells of a row: what stands between bars that are not escaped.
fn cells(line: &str) -> usize {
    let mut escaped = false;
    let bars = line.chars().filter(|&c| {
        let bar = c == '|' && !escaped;
        escaped = c == '\\' && !escaped;
        bar
    });
    bars.count() - 1
}

fn check_markdown(tables: &[Table]) -> CaseResult {
    let text = markdown::write(tables);
    without_control_characters(&text)?;
    let mut lines = text.split('\n');
    for (index, table) in tables.iter().enumerate() {
        let mut next = || lines.next().unwrap_or_default();
        if index > 0 {
            prop_assert_eq!(next(), "");
        }
        prop_assert!(next().starts_with("## "));
        prop_assert_eq!(next(), "");
        let columns = table.columns();
        prop_assert_eq!(next(), layout::header_of(&columns));
        prop_assert_eq!(next(), layout::separator_of(&columns));
        for _ in &table.rows {
            let line = next();
            let is_whole = cells(line) == 3 + columns.len();
            prop_assert!(line.starts_with('|') && line.ends_with('|') && is_whole, "{}", line);
        }
        if !table.notes.is_empty() {
            prop_assert_eq!(next(), "");
        }
        for _ in &table.notes {
            prop_assert!(next().starts_with("- "));
        }
        let Some(grid) = Grid::efficiency(table) else { continue };
        prop_assert_eq!(next(), "");
        prop_assert!(next().starts_with("**Efficiency"));
        prop_assert_eq!(next(), "");
        for _ in 0..grid.rows.len() + 2 {
            prop_assert_eq!(cells(next()), grid.names().len());
        }
    }
    prop_assert_eq!(lines.collect::<Vec<_>>(), [""]);
    Ok(())
}

fn check_csv(tables: &[Table]) -> CaseResult {
    let text = csv::write(tables);
    let mut reader = ::csv::Reader::from_reader(text.as_bytes());
    let mut rows = 0;
    for record in reader.records() {
        let record = record.map_err(|error| TestCaseError::fail(error.to_string()))?;
        rows += 1;
        let formula = record.iter().find(|cell| {
            cell.starts_with(['=', '+', '@', '\t', '\r'])
                || (cell.starts_with('-') && cell.parse::<f64>().is_err())
        });
        prop_assert_eq!(formula, None);
    }
    prop_assert_eq!(rows, tables.iter().map(|table| table.rows.len()).sum::<usize>());
    Ok(())
}

fn check_outputs(tables: &[Table]) -> CaseResult {
    check_markdown(tables)?;
    check_csv(tables)?;
    let written: Value = serde_json::from_str(&json::write(tables)).unwrap();
    prop_assert_eq!(written["pieces"].as_array().map(Vec::len), Some(tables.len()));
    for width in [None, Some(0), Some(80)] {
        without_control_characters(&terminal::write(tables, width))?;
    }
    Ok(())
}

fn read_and_written_back(input: &[u8]) -> CaseResult {
    let path = Path::new("m.jsonl");
    let Ok(records) = parse_records(input, path) else { return Ok(()) };
    let lines: String = records.iter().map(|record| serde_json::to_string(record).unwrap() + "\n").collect();
    prop_assert_eq!(parse_records(lines.as_bytes(), path).unwrap(), records);
    Ok(())
}

const FILES: [&str; 3] = ["measurements.jsonl", "environment.json", "verification.json"];

fn samples() -> Vec<Vec<u8>> {
    let (environment, verification) = (environment(), one_line(&verification()));
    let input = |records: &str| {
        let files = [records.as_bytes(), environment.as_bytes(), verification.as_bytes()];
        Sections::write(&[0, 1, 2].map(|number| (FILES[number], files[number])))
    };
    vec![input(&records()), input(&old_record())]
}

/// Each of the run's files is read and written, then the tables are made of those that could be read.
fn run(input: &[u8]) -> CaseResult {
    let sections = Sections::parse(input);
    let [records, environment, verification] = FILES.map(|name| sections.get(name).unwrap_or_default());
    read_and_written_back(records)?;
    reads_what_it_writes::<Environment>(environment)?;
    reads_what_it_writes::<Vec<Verification>>(verification)?;
    let Ok(records) = parse_records(records, Path::new("m.jsonl")) else { return Ok(()) };
    let environments: Vec<Environment> = serde_json::from_slice(environment).into_iter().collect();
    let verifications: Vec<Verification> = serde_json::from_slice(verification).unwrap_or_default();
    let environments = [environments.clone(), environments].concat();
    check_outputs(&tables(records, &verifications, &environments))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_samples_are_a_run() {
        let records = parse_records(records().as_bytes(), Path::new("m.jsonl")).unwrap();
        assert_eq!(records.len(), 3);
        let environment: Environment = serde_json::from_str(&environment()).unwrap();
        let verifications: Vec<Verification> = serde_json::from_str(&verification()).unwrap();
        check_outputs(&tables(records, &verifications, &[environment.clone(), environment])).unwrap();
    }
}
