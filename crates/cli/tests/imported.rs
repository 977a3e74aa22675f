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
    place
        .bench(&arguments)
        .assert()
        .code(2)
        .stderr(contains("error: --batch-size: all files here already state this: leave the flag out"));
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
    // 130 tokens and 128 are generations of different lengths, by more than one token in a hundred.
    let notes = report["notes"].to_string();
    assert!(
        notes.contains("wall-clock latencies are not compared where generation lengths differ"),
        "{notes}"
    );
}

/// Tests of llama-bench: prompt, tokens and context, and milliseconds.
fn llama_bench(tests: &[([u32; 3], f64)]) -> String {
    let record = |([n_prompt, n_gen, n_depth], milliseconds): &([u32; 3], f64)| {
        let nanoseconds = milliseconds * 1e6;
        format!(
            "{{\"model_type\": \"llama 7B F16\", \"cpu_info\": \"c\", \"n_prompt\": {n_prompt}, \"n_gen\": {n_gen}, \"n_depth\": {n_depth}, \
             \"avg_ns\": {nanoseconds}, \"samples_ns\": [{nanoseconds}]}}\n"
        )
    };
    tests.iter().map(record).collect()
}

#[test]
fn tables_of_the_same_generation_length_are_compared() {
    let place = Place::new();
    let prompt = ([256, 0, 0], 40.0);
    let before = [
        prompt,
        ([0, 64, 256], 640.0),
        ([0, 128, 256], 1280.0),
        ([256, 64, 0], 700.0),
        ([256, 128, 0], 1400.0),
    ];
    let after = [prompt, ([0, 128, 256], 1700.0), ([256, 128, 0], 1800.0)];
    place.write("before.jsonl", &llama_bench(&before));
    place.write("after.jsonl", &llama_bench(&after));
    for (files, ratio) in [
        (["before.jsonl", "after.jsonl"], 1700.0 / 1280.0),
        (["after.jsonl", "before.jsonl"], 1280.0 / 1700.0),
    ] {
        let arguments =
            [&["compare"], &files[..], &["--threshold", "5%", "--allow-missing", "--format", "json"]]
                .concat();
        let report = stdout(&place, &arguments, i32::from(ratio > 1.0));
        let report: Value = serde_json::from_str(&report).unwrap();
        let sections = report["tables"][0]["sections"].as_array().unwrap();
        let metrics: Vec<&str> = sections.iter().map(|one| one["metric"].as_str().unwrap()).collect();
        assert_eq!(metrics, ["prompt", "first-128", "wall"]);
        assert!((sections[1]["cells"][0]["ratio"].as_f64().unwrap() / ratio - 1.0).abs() < 1e-9, "{report}");
    }
    // Prompts of a file with tables for several lengths are counted once.
    let twice = stdout(&place, &["compare", "before.jsonl", "before.jsonl", "--format", "json"], 0);
    let twice: Value = serde_json::from_str(&twice).unwrap();
    assert_eq!(twice["counts"]["total"], 5, "{twice}");
}

/// Engines and figures of one heading may stand in several tables of a file.
#[test]
fn tables_below_one_heading_are_compared_as_one() {
    let place = Place::new();
    let heading = "## LLaMA-2 7B FP16 CUDA (1 A100 80GB)\n\n";
    let table = |engine: &str, column: &str, figure: &str| {
        format!(
            "| Engine | Batch Size | Prompt Length | {column} |\n|---|---|---|---|\n| {engine} | 1 | 16 | {figure} |\n\n"
        )
    };
    let file = |prompt: &str| {
        let tables = [
            table("a", "Prompt Latency (ms)", prompt),
            table("b", "Prompt Latency (ms)", "20.5"),
            table("a", "Wall-Clock Latency (s)", "3.25"),
            table("b", "Wall-Clock Latency (s)", "4.25"),
        ];
        heading.to_owned() + &tables.concat()
    };
    place.write("one.md", &file("10.5"));
    place.write("other.md", &file("21.5"));
    let arguments = ["compare", "one.md", "other.md", "--threshold", "5%", "--format", "json"];
    let report: Value = serde_json::from_str(&stdout(&place, &arguments, 1)).unwrap();
    assert_eq!(report["tables"].as_array().unwrap().len(), 1, "{report}");
    let counts = &report["counts"];
    assert_eq!(
        (&counts["inconclusive"], &report["missing"]),
        (&0.into(), &Value::Array(Vec::new())),
        "{report}"
    );
    let cells = |section: usize| report["tables"][0]["sections"][section]["cells"].as_array().unwrap().len();
    assert_eq!([cells(0), cells(1)], [2, 2], "{report}");
}

#[test]
fn times_per_output_token_are_compared_and_wall_clocks_of_other_lengths_are_not() {
    let place = Place::new();
    place.write("sweep.toml", MOCK);
    for (run, length) in [("long", "128"), ("short", "16")] {
        let lengths =
            ["--batch-size", "1", "--prompt-length", "64", "--generation-length", length, "--out", run];
        place.bench(&["run", "sweep.toml"]).args(lengths).assert().success();
    }
    let sglang = |tokens: u32| {
        format!(
            "{{\"run_name\": \"a\", \"batch_size\": 1, \"input_len\": 64, \"output_len\": {tokens}, \"prefill_latency\": 0.002, \
             \"prefill_throughput\": 32000, \"total_latency\": 0.2, \"overall_throughput\": 640}}\n"
        )
    };
    place.write("long.jsonl", &sglang(128));
    place.write("short.jsonl", &sglang(16));
    for (run, file, metrics) in [
        ("long", "long.jsonl", &["prompt", "tpot", "wall"][..]),
        ("short", "short.jsonl", &["prompt", "tpot"]),
    ] {
        let table = std::fs::read_to_string(place.path(&format!("{run}/table.md"))).unwrap();
        let heading = table.lines().next().unwrap().trim_start_matches("## ");
        let arguments = [
            "compare",
            run,
            file,
            "--heading",
            heading,
            "--engine",
            "mock",
            "--format",
            "json",
            "--allow-missing",
        ];
        let report: Value = serde_json::from_str(&stdout(&place, &arguments, 0)).unwrap();
        let sections = report["tables"][0]["sections"].as_array().unwrap();
        let found: Vec<&str> = sections.iter().map(|one| one["metric"].as_str().unwrap()).collect();
        assert_eq!(found, metrics, "{report}");
        let is_noted = report["notes"].to_string().contains("mock 1×64: 16 and 15 tokens");
        assert_eq!(is_noted, run == "short", "{report}");
    }
}

/// What a run's cells of batch size 1 are in llama-bench's format is the same to the nanosecond when it is read again.
#[test]
fn a_run_comes_back_through_llama_benchs_format() {
    let place = Place::new();
    place.write("sweep.toml", MOCK);
    let two = ["--engine", "mock", "--batch-size", "1", "--replicates", "2", "--out", "run"];
    place.bench(&["run", "sweep.toml"]).args(two).assert().success();
    for (format, file) in [("llama-bench", "run.json"), ("llama-bench-jsonl", "run.jsonl")] {
        place.write(file, &stdout(&place, &["table", "run", "--format", format], 0));
        let report = stdout(&place, &["compare", "run", file, "--format", "json"], 0);
        let report: Value = serde_json::from_str(&report).unwrap();
        let sections = report["tables"][0]["sections"].as_array().unwrap();
        let metrics: Vec<&str> = sections.iter().map(|one| one["metric"].as_str().unwrap()).collect();
        assert_eq!(metrics, ["prompt", "first-128", "first-256", "wall"]);
        for section in sections {
            let cells = section["cells"].as_array().unwrap();
            assert_eq!(cells.len(), 3, "{section}");
            for cell in cells {
                assert!((cell["ratio"].as_f64().unwrap() - 1.0).abs() < 1e-6, "{cell}");
            }
        }
        assert_eq!(report["missing"].as_array().unwrap().len(), 0, "{report}");
    }
}

#[test]
fn settings_of_one_file_are_held_against_each_other() {
    let place = place();
    let other = LLAMA_BENCH.replace("\"n_threads\": 2", "\"n_threads\": 1");
    place.write("both.jsonl", &format!("{LLAMA_BENCH}\n{other}"));
    let ratios = stdout(&place, &["ratios", "both.jsonl", "llama-cpp (n_threads=2)"], 0);
    assert!(ratios.contains("| llama-cpp (n_threads=1) | 1 | 64 | 1.00 | 1.00 |"), "{ratios}");
}
