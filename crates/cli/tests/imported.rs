//! Results of other tools where a run's folder may stand.

mod common;

use common::{MOCK, Place};
use predicates::str::contains;
use serde_json::Value;

const LLAMA_BENCH: &str = include_str!("../../results/tests/import/llama-bench.json");
const SGLANG: &str = include_str!("../../results/tests/import/sglang.jsonl");
const VLLM: &str = include_str!("../../results/tests/import/vllm-latency.json");
const OPTIMUM: &str = include_str!("../../results/tests/import/optimum-benchmark/benchmark_report.json");
const OPTIMUM_CONFIG: &str =
    include_str!("../../results/tests/import/optimum-benchmark/benchmark_config.json");
const HEADING: &str = "LLaMA-2 15M FP32 CPU (Intel Xeon, 2 cores)";

/// A place with a file of each tool.
fn place() -> Place {
    let place = Place::new();
    for (name, text) in [
        ("llama-bench.json", LLAMA_BENCH),
        ("sglang.jsonl", SGLANG),
        ("vllm.json", VLLM),
        ("benchmark_report.json", OPTIMUM),
        ("benchmark_config.json", OPTIMUM_CONFIG),
    ] {
        place.write(name, text);
    }
    place
}

fn stdout(place: &Place, arguments: &[&str], code: i32) -> String {
    let assert = place.bench(arguments).assert().code(code);
    String::from_utf8(assert.get_output().stdout.clone()).unwrap()
}

#[test]
fn tables_of_tools_are_printed_and_read_again() {
    let place = place();
    let lengths = ["--batch-size", "1", "--prompt-length", "16", "--generation-length", "16"];
    for (file, flags) in [
        ("llama-bench.json", &[][..]),
        ("sglang.jsonl", &[]),
        ("vllm.json", &lengths),
        ("benchmark_report.json", &[]),
    ] {
        let arguments = [&["table", file, "--heading", HEADING], flags].concat();
        let markdown = stdout(&place, &arguments, 0);
        assert!(markdown.starts_with(&format!("## {HEADING}\n\n| Engine | Batch Size |")), "{markdown}");
        let json = stdout(&place, &[&arguments[..], &["--format", "json"]].concat(), 0);
        place.write("again.json", &json);
        assert_eq!(stdout(&place, &["table", "again.json"], 0), markdown);
        let screen = stdout(&place, &[&arguments[..], &["--format", "terminal"]].concat(), 0);
        assert!(screen.contains(HEADING), "{screen}");
    }
}

#[test]
fn the_audit_asks_for_what_no_tool_says() {
    let place = place();
    place
        .bench(&["audit", "llama-bench.json"])
        .assert()
        .success()
        .stderr(contains("is none of a run, with one of the precisions"))
        .stderr(contains("--heading TEXT says model, precision and device"));
    // 27 GB take longer than 61 MB.
    let heading = "LLaMA-2 7B FP32 CUDA (1 A100 80GB)";
    let found = stdout(&place, &["audit", "llama-bench.json", "--heading", heading, "--details"], 1);
    assert!(found.contains("Tokens Generated Avg Latency (ms): token-bandwidth: "), "{found}");
}

#[test]
fn a_flag_that_no_file_needs_is_refused_by_itself() {
    let place = place();
    let arguments = ["table", "llama-bench.json", "--heading", HEADING, "--batch-size", "4"];
    place.bench(&arguments).assert().code(2).stderr(contains(
        "error: --batch-size: for files that do not say it themselves, and all do here: leave it out",
    ));
    place
        .bench(&["table", "vllm.json"])
        .assert()
        .code(2)
        .stderr(contains("give --batch-size, --prompt-length, --generation-length as"));
}

#[test]
fn a_run_is_compared_with_a_tools_file() {
    let place = place();
    place.write("sweep.toml", MOCK);
    let lengths = ["--batch-size", "1", "--prompt-length", "16,64", "--generation-length", "130"];
    let run = ["run", "sweep.toml", "--out", "run"];
    place.bench(&run).args(lengths).assert().success();
    let table = std::fs::read_to_string(place.path("run/table.md")).unwrap();
    let heading = table.lines().next().unwrap().trim_start_matches("## ");
    let compare = ["compare", "run", "llama-bench.json", "--heading", heading, "--engine", "mock"];
    let output = ["--format", "json", "--allow-missing"];
    let compared = place.bench(&compare).args(output).assert().success();
    let report: Value = serde_json::from_slice(&compared.get_output().stdout).unwrap();
    let lines: Vec<(String, u64)> = report["tables"][0]["sections"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|metric| {
            let cells = metric["cells"].as_array().unwrap().iter();
            cells.map(move |cell| {
                (metric["metric"].as_str().unwrap().to_owned(), cell["prompt_length"].as_u64().unwrap())
            })
        })
        .collect();
    insta::assert_debug_snapshot!(lines);
    // 130 tokens and 128 are generations of different lengths.
    let notes = report["notes"].to_string();
    assert!(notes.contains("wall clocks of generations of different lengths are not compared"), "{notes}");
}

#[test]
fn settings_of_one_file_are_held_against_each_other() {
    let place = place();
    let other = LLAMA_BENCH.replace("\"n_threads\": 2", "\"n_threads\": 1");
    place.write("both.jsonl", &format!("{LLAMA_BENCH}\n{other}"));
    let ratios = stdout(&place, &["ratios", "both.jsonl", "llama-cpp (n_threads=2)"], 0);
    assert!(ratios.contains("| llama-cpp (n_threads=1) | 1 | 64 | 1.00 | 1.00 |"), "{ratios}");
}
