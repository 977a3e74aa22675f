//! How many times as fast an engine is as the others of its run, or of published tables.

mod common;

use common::{MOCK, Place};
use serde_json::Value;

/// Two engines, of which a test slows one.
const ENGINES: &str =
    "[mock]\ncommand = [\"llama2-bench-mock\"]\n[other]\ncommand = [\"llama2-bench-mock\"]\n";

/// A run of both engines in the folder `both`.
fn run_with_the_other_twice_as_slow(place: &Place, replicates: &str) {
    place.write("sweep.toml", &MOCK.replace("engines = [\"mock\"]", "engines = [\"mock\", \"other\"]"));
    place.write("engines.toml", ENGINES);
    let measured = ["run", "sweep.toml", "--engines-file", "engines.toml", "--out", "both"];
    let options = ["--replicates", replicates, "--option", "other.slowdown=2.0"];
    place.bench(&measured).args(options).assert().success();
}

#[test]
fn an_engine_is_as_many_times_as_fast_as_the_other_of_its_run_is_slower() {
    let place = Place::new();
    run_with_the_other_twice_as_slow(&place, "3");
    let lines = place.bench(&["ratios", "both", "mock"]).assert().success();
    insta::assert_snapshot!("ratios", of_any_machine(&String::from_utf8_lossy(&lines.get_output().stdout)));
    let json = place.bench(&["ratios", "both", "other", "mock", "--json"]).assert().success();
    let json: Value = serde_json::from_slice(&json.get_output().stdout).unwrap();
    let line = &json["tables"][0]["lines"][0];
    assert_eq!((&line["other"], &line["replicates"]), (&"mock".into(), &3.into()));
    for part in ["prefill", "decode", "tpot"] {
        assert!((line[part]["ratio"].as_f64().unwrap() - 0.5).abs() < 1e-6, "{line}");
    }
    assert!(json["tables"][0]["load_seconds"]["mock"].as_f64().unwrap() > 0.0);
}

#[test]
fn launches_of_one_replicate_are_held_against_each_other() {
    let place = Place::new();
    run_with_the_other_twice_as_slow(&place, "4");
    // A machine that becomes slower hits both engines; and one of them lacks its first replicate.
    let records = std::fs::read_to_string(place.path("both/measurements.jsonl")).unwrap();
    let slower =
        records.lines().map(|line| serde_json::from_str(line).unwrap()).filter_map(|mut record: Value| {
            let replicate = record["replicate"].as_f64().unwrap();
            let slow =
                |seconds: &mut Value| *seconds = (seconds.as_f64().unwrap() * (1.0 + replicate)).into();
            let series = &mut record["outcome"]["ok"]["series"];
            series["prompt_seconds"].as_array_mut().unwrap().iter_mut().for_each(slow);
            series["generations"][0]["token_seconds"].as_array_mut().unwrap().iter_mut().for_each(slow);
            (record["key"]["engine"] == "other" || replicate > 0.0).then(|| format!("{record}\n"))
        });
    place.write("both/measurements.jsonl", &slower.collect::<String>());
    let printed = place.bench(&["ratios", "both", "mock"]).assert().success();
    let printed = String::from_utf8_lossy(&printed.get_output().stdout).into_owned();
    assert!(
        printed
            .contains("| other | 4 | 256 | 2.00 (2.00–2.00) | 2.00 (2.00–2.00) | 2.00 (2.00–2.00) | 3 |\n"),
        "{printed}"
    );
}

/// The heading names the machine, and the seconds of loading are the clock's.
fn of_any_machine(text: &str) -> String {
    let is_same =
        |line: &&str| !line.starts_with("## ") && !line.starts_with("Median time from worker start");
    text.lines().filter(is_same).map(|line| format!("{line}\n")).collect()
}

#[test]
fn an_engine_of_published_tables_is_held_against_their_others() {
    let place = Place::new();
    let table = "## LLaMA-2 7B FP16 CUDA\n\n\
        | Engine | Batch Size | Prompt Length | Prompt Latency (ms) | Prompt Throughput (tps) \
        | First 128 Tokens Generated Avg Latency (ms) | First 128 Tokens Generated Avg Throughput (tps) \
        | First 256 Tokens Generated Avg Latency (ms) | First 256 Tokens Generated Avg Throughput (tps) \
        | Wall-Clock Latency (s) | Wall-Clock Throughput (tps) |\n|---|---|---|---|---|---|---|---|---|---|---|\n\
        | a | 1 | 16 | 10 | 1600 | 5 | 200 | 5 | 200 | 1.29 | 210.8527132 |\n\
        | b | 1 | 16 | 40 | 400 | 10 | 100 | 10 | 100 | 2.6 | 104.6153846 |\n\
        | b | 1 | 32 | OOM | OOM | OOM | OOM | OOM | OOM | OOM | OOM |\n\
        | a | 1 | 32 | 10 | 3200 | 5 | 200 | 5 | 200 | 1.29 | 223.255814 |\n";
    place.write("tables.md", table);
    let printed = place.bench(&["ratios", "tables.md", "a"]).assert().success();
    insta::assert_snapshot!("ratios_published", String::from_utf8_lossy(&printed.get_output().stdout));
    let refused = |arguments: &[&str], told: &'static str| {
        place.bench(arguments).assert().code(2).stderr(told);
    };
    refused(&["ratios", "tables.md", "c"], "error: tables.md has no engine c; it has a, b\n");
    let alone: String =
        table.lines().filter(|line| !line.starts_with("| b")).map(|line| format!("{line}\n")).collect();
    place.write("alone.md", &alone);
    refused(&["ratios", "alone.md", "a"], "error: alone.md has only one engine: a\n");
}

#[test]
fn precisions_of_published_tables_are_compared_with_the_one_of_the_most_bits() {
    let place = Place::new();
    place.write("gptfast.md", include_str!("../../audit/tests/tables/gptfast.md"));
    let ratios = ["ratios", "gptfast.md", "gpt-fast"];
    let printed = place.bench(&ratios).assert().success();
    insta::assert_snapshot!("ratios_gptfast", String::from_utf8_lossy(&printed.get_output().stdout));
    let json = place.bench(&ratios).arg("--json").assert().success();
    let json: Value = serde_json::from_slice(&json.get_output().stdout).unwrap();
    let one = &json["precisions"][0];
    let decode = |at: usize| one["lines"][at]["decode"]["ratio"].as_f64().unwrap();
    assert_eq!(one["compared_with"], "BF16");
    assert!((decode(0) - 155.58 / 104.9).abs() < 1e-9 && (decode(1) - 196.8 / 104.9).abs() < 1e-9, "{one}");
    let csv = place.bench(&ratios).args(["--format", "csv"]).assert().success();
    let csv = String::from_utf8(csv.get_output().stdout.clone()).unwrap();
    assert!(csv.lines().nth(1).unwrap().contains(",BF16,,INT8,1,5,"), "{csv}");
}
