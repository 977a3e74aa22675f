//! Exports for other tools, checked against what their parsers accept.

use std::collections::{BTreeMap, HashSet};

use protocol::{Environment, FailureKind, Hello, Measurement, ProgramVersion};
use report::{Bencher, ExportInput, GithubActionBenchmark, GoBenchmark, LlamaBench, TableExporter};
use results::published::{self, Document};
use results::{Column, Exported, Exporter, Run, tables};
use serde_json::Value;

mod measured;
use measured::{ended, environment, measured, with_cell};

const FORMATS: [&TableExporter; 6] = [
    &LlamaBench::Json,
    &LlamaBench::JsonLines,
    &Bencher,
    &GithubActionBenchmark::SmallerIsBetter,
    &GithubActionBenchmark::BiggerIsBetter,
    &GoBenchmark,
];

/// A run of these records; `mock` is scripted.
fn run(records: Vec<Measurement>) -> Run {
    let scripted = Hello { virtual_clock: true, ..Hello::default() };
    let program = ProgramVersion { version: "0.1.0".into(), git_revision: Some("0123456789ab".into()) };
    let engines = BTreeMap::from([("mock".to_owned(), scripted)]);
    let environments = vec![Environment { program, engines, ..environment() }];
    Run {
        dir: "run".into(),
        name: "run".into(),
        tables: tables(records, &[], &environments),
        environments,
        settings: Vec::new(),
        verifications: Vec::new(),
        expected: 0,
    }
}

/// Replicates of a cell, each 1 % slower than the one before.
fn replicates(engine: &str, batch_size: u32, generation_length: u32, count: u32) -> Vec<Measurement> {
    let replicate = |replicate: u32| {
        let slower = 1.0 + 0.01 * f64::from(replicate);
        let record = with_cell(measured(engine, batch_size, 16, generation_length), |cell| {
            cell.series.prompt_seconds.iter_mut().for_each(|seconds| *seconds *= slower);
            for generation in &mut cell.series.generations {
                generation.prompt_seconds *= slower;
                generation.wall_seconds *= slower;
                generation.token_seconds.iter_mut().for_each(|seconds| *seconds *= slower);
            }
        });
        Measurement { replicate, ..record }
    };
    (0..count).map(replicate).collect()
}

/// A cell of two replicates, one of a larger batch, one without figures, one of short generations, and a scripted one.
fn records() -> Vec<Measurement> {
    let mut records = replicates("onnxruntime", 1, 256, 2);
    records.extend(replicates("onnxruntime", 4, 256, 1));
    records.push(ended("pytorch-eager", 1, 16, FailureKind::OutOfMemory, "no memory"));
    records.extend(replicates("mock", 1, 256, 1));
    records.extend(replicates("onnxruntime", 1, 100, 2));
    records
}

fn write(exporter: &TableExporter, records: Vec<Measurement>) -> Exported {
    exporter.write(&ExportInput::Runs(&[run(records)]))
}

fn published() -> Document {
    let text = "## LLaMA-2 7B FP16 CUDA (1 A100 80GB)\n\n\
        | Engine | Batch Size | Prompt Length | Prompt Latency (ms) | First 128 Tokens Generated Avg Latency (ms) | Wall-Clock Latency (s) | Wall-Clock Throughput (tps) | Note |\n\
        |---|---|---|---|---|---|---|---|\n\
        | onnxruntime | 1 | 16 | 11.967659 | 10.52479073 | 3.08197999 | 88.25495327 | a |\n\
        | onnxruntime | 4 | 16 | OOM | OOM | OOM | OOM | b |\n";
    published::parse(text, "table.md").unwrap()
}

#[test]
fn every_format() {
    for exporter in FORMATS {
        let Exported { text, remarks } = write(exporter, records());
        insta::assert_snapshot!(exporter.name(), format!("{text}\n{}", remarks.join("\n")));
        let Exported { text, remarks } = exporter.write(&ExportInput::Document(&published()));
        insta::assert_snapshot!(
            format!("{}_published", exporter.name()),
            format!("{text}\n{}", remarks.join("\n"))
        );
    }
}

#[test]
fn figures_are_the_table_s() {
    let run = run(replicates("onnxruntime", 4, 256, 3));
    let figures = run.tables[0].rows[0].figures.clone().unwrap();
    let entries = |exporter: GithubActionBenchmark| {
        let text = exporter.write(&ExportInput::Runs(std::slice::from_ref(&run))).text;
        serde_json::from_str::<Vec<Value>>(&text).unwrap()
    };
    let (smaller, bigger) =
        (entries(GithubActionBenchmark::SmallerIsBetter), entries(GithubActionBenchmark::BiggerIsBetter));
    for column in Column::PUBLISHED {
        let entries = if column.is_latency() { &smaller } else { &bigger };
        let ending = format!(" / {}", column.metric());
        let entry = entries.iter().find(|entry| entry["name"].as_str().unwrap().ends_with(&ending)).unwrap();
        let in_unit = if column == Column::WallLatency { 1e-3 } else { 1.0 };
        let figure = entry["value"].as_f64().unwrap() * in_unit;
        assert!((figure / figures.get(column).unwrap() - 1.0).abs() < 1e-12, "{column:?}: {entry}");
    }
}

#[test]
fn a_single_replicate_has_no_bounds() {
    for exporter in FORMATS {
        let text = write(exporter, replicates("onnxruntime", 1, 256, 1)).text;
        assert!(!["lower_value", "upper_value", "range"].iter().any(|word| text.contains(word)), "{text}");
    }
}

/// Bencher's own types (`lib/bencher_json/src/project/metric/mod.rs`, `JsonNewMetric`; its schema, <https://bencher.dev/bmf.json>, says
/// the same), which take no other key here.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct NewMetric {
    value: f64,
    lower_value: Option<f64>,
    upper_value: Option<f64>,
}

#[test]
fn bencher_takes_it() {
    let text = write(&Bencher, records()).text;
    let results: BTreeMap<String, BTreeMap<String, NewMetric>> = serde_json::from_str(&text).unwrap();
    // A slug, a UUID and these endings mean something else to Bencher.
    for (name, measures) in &results {
        assert!((1..=1024).contains(&name.len()) && name.contains(" / ") && !name.ends_with("ignore"));
        let (measure, NewMetric { value, lower_value, upper_value }) = measures.first_key_value().unwrap();
        assert!(measures.len() == 1 && ["latency", "peak-memory"].contains(&measure.as_str()));
        assert!(
            lower_value.is_none_or(|lower| lower <= *value)
                && upper_value.is_none_or(|upper| *value <= upper)
        );
        assert_eq!(lower_value.is_some(), upper_value.is_some());
    }
    // Student's t of one degree of freedom, of the logarithms of two means of which the second is 1 % more.
    let [prompt] = ["LLaMA-2 15M FP32 CPU (AMD EPYC, 2 cores) / onnxruntime / 1x16 / prompt"]
        .map(|name| &results[name]["latency"]);
    let half_width = (12.706_204_736 * 1.01_f64.ln() / 2.0).exp();
    assert!((prompt.value / 16.08e6 - 1.0).abs() < 1e-9, "{}", prompt.value);
    let centre = 16e6 * 1.01_f64.sqrt();
    assert!((prompt.upper_value.unwrap() / (centre * half_width) - 1.0).abs() < 1e-9);
    assert!((prompt.lower_value.unwrap() / (centre / half_width) - 1.0).abs() < 1e-9);
}

#[test]
fn the_same_benchmark_twice_is_said() {
    let runs = [run(replicates("mock", 1, 256, 1)), run(replicates("mock", 1, 256, 1))];
    let Exported { text, remarks } = Bencher.write(&ExportInput::Runs(&runs));
    assert_eq!(text.matches("/ prompt\"").count(), 1);
    assert!(
        remarks
            .iter()
            .any(|remark| remark.ends_with("/ 1x16 / prompt: appears twice, the second is left out"))
    );
}

/// The rules of github-action-benchmark (`src/extract.ts`): required texts and a finite number, no `null`; names that its markdown bears.
#[test]
fn github_action_benchmark_takes_it() {
    for exporter in [GithubActionBenchmark::SmallerIsBetter, GithubActionBenchmark::BiggerIsBetter] {
        let mut records = records();
        records.extend(replicates("a`b|c%7C\n", 1, 256, 1));
        records.extend(replicates("a`b%7Cc%7C\n", 1, 256, 1));
        let entries: Vec<Value> = serde_json::from_str(&write(&exporter, records).text).unwrap();
        let mut names = HashSet::new();
        for entry in &entries {
            let entry = entry.as_object().unwrap();
            let name = entry["name"].as_str().unwrap();
            assert!(names.insert(name) && !name.contains(['`', '|', '\n']), "{name}");
            assert!(entry["value"].as_f64().unwrap() > 0.0 && entry["unit"].is_string());
            for key in entry.keys().skip(3) {
                assert!(["range", "extra"].contains(&key.as_str()) && entry[key].is_string(), "{key}");
            }
            if let Some(range) = entry.get("range") {
                let number = range.as_str().unwrap().strip_prefix("± ").unwrap();
                assert!(number.parse::<f64>().unwrap() > 0.0);
            }
        }
        assert!(!entries.is_empty());
    }
}

/// A line of Go's benchmark format.
#[derive(Debug, PartialEq)]
enum Line<'t> {
    Ignored,
    Unit,
    /// `key: value`; an empty value unsets the key.
    Configuration(&'t str, &'t str),
    /// Parts of the name, then iterations, values and units.
    Result(Vec<&'t str>, u64, Vec<(f64, &'t str)>),
}

/// The format's specification (<https://go.dev/design/14313-benchmark-format>) and golang.org/x/perf's reader.
fn parse(line: &str) -> Line<'_> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    if let Some(name) = line.strip_prefix("Benchmark") {
        assert!(name.starts_with(|c: char| c.is_ascii_uppercase()), "{line}");
        let [name, iterations, values @ ..] = &fields[..] else { panic!("{line}") };
        // GOMAXPROCS: `-` and digits at the end.
        let before_digits = name.trim_end_matches(|c: char| c.is_ascii_digit());
        assert!(!before_digits.ends_with('-') || before_digits.len() == name.len(), "{line}");
        let values: Vec<(f64, &str)> =
            values.chunks(2).map(|pair| (pair[0].parse().unwrap(), pair[1])).collect();
        assert!(!values.is_empty() && values.iter().all(|(value, _)| value.is_finite() && *value > 0.0));
        return Line::Result(name.split('/').collect(), iterations.parse().unwrap(), values);
    }
    match (fields.first(), line.split_once(':')) {
        (Some(&"Unit"), _) => Line::Unit,
        (_, Some((key, value)))
            if key.starts_with(char::is_lowercase)
                && !key.contains(|c: char| c.is_whitespace() || c.is_uppercase()) =>
        {
            assert!(value.is_empty() || value.starts_with(' '), "{line}");
            Line::Configuration(key, value.trim_start())
        }
        _ => Line::Ignored,
    }
}

#[test]
fn go_text_has_a_line_for_each_replicate() {
    let text = write(&GoBenchmark, records()).text;
    let lines: Vec<Line<'_>> = text.lines().map(parse).collect();
    let of = |parts: &[&str]| {
        let is_of = |line: &&Line<'_>| matches!(line, Line::Result(name, ..) if name == parts);
        lines.iter().filter(is_of).collect::<Vec<_>>()
    };
    let prefill = of(&["BenchmarkPrefill", "engine=onnxruntime", "batch=1", "prompt=16"]);
    // Two of each generation length, in a table each.
    assert_eq!(prefill.len(), 4);
    let Line::Result(_, iterations, values) = prefill[1] else { panic!("{prefill:?}") };
    assert_eq!((*iterations, values[0].1), (3, "ns/op"));
    assert!((values[0].0 / 16.16e6 - 1.0).abs() < 1e-9, "{values:?}");
    assert_eq!(
        of(&["BenchmarkDecode", "engine=onnxruntime", "batch=1", "prompt=16", "generation=100"]).len(),
        2
    );
    assert_eq!(of(&["BenchmarkPrefill", "engine=pytorch-eager", "batch=1", "prompt=16"]).len(), 0);
    let configuration: Vec<_> = lines.iter().filter(|line| matches!(line, Line::Configuration(..))).collect();
    assert_eq!(configuration.len(), 3, "the second table's is the same: {configuration:?}");
}

#[test]
fn engine_names_forge_no_line_and_stay_distinct() {
    let names = [
        "a b",
        "a%20b",
        "a/batch=9",
        "a=b",
        "a-8",
        "a\nBenchmarkX 1 2 ns/op",
        "é",
        "",
        "a\u{a0}b",
        "a\u{2028}b",
    ];
    let records = names.iter().flat_map(|name| replicates(name, 1, 100, 1)).collect::<Vec<_>>();
    let text = write(&GoBenchmark, records.clone()).text;
    let mut engines = HashSet::new();
    for line in text.lines() {
        if let Line::Result(parts, ..) = parse(line) {
            assert!(
                parts[1].starts_with("engine=") && parts[2] == "batch=1" && parts[3] == "prompt=16",
                "{parts:?}"
            );
            engines.insert(parts[1].to_owned());
        }
    }
    assert_eq!(engines.len(), names.len());
    // A model's name and a heading, too.
    let key =
        |record: Measurement| measured::with_key(record, |key| key.model = "m\nBenchmarkX 1 2 ns/op".into());
    let text = write(&GoBenchmark, replicates("a", 1, 100, 1).into_iter().map(key).collect()).text;
    assert!(!text.contains("\nBenchmarkX"), "{text}");
    for exporter in FORMATS {
        let text = write(exporter, records.clone()).text;
        assert!(!text.contains('\u{2028}') && !text.contains('\u{1b}'));
        match exporter.name() {
            "go" => {}
            "llama-bench-jsonl" => {
                assert!(text.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()));
            }
            _ => assert!(serde_json::from_str::<Value>(&text).is_ok()),
        }
    }
}

#[test]
fn a_table_that_is_not_of_the_kind_before_it_unsets_its_configuration() {
    let mut document = published();
    let mut other = document.tables().next().unwrap().clone();
    other.heading = "Our numbers".into();
    document.pieces.push(published::Piece::Table(other));
    let text = GoBenchmark.write(&ExportInput::Document(&document)).text;
    let configuration: Vec<_> =
        text.lines().map(parse).filter(|line| matches!(line, Line::Configuration(..))).collect();
    let expected = [
        ("model", "llama2-7b"),
        ("precision", "FP16"),
        ("device", "CUDA (1 A100 80GB)"),
        ("model", ""),
        ("precision", ""),
        ("device", ""),
        ("heading", "Our numbers"),
    ];
    assert_eq!(configuration, expected.map(|(key, value)| Line::Configuration(key, value)));
}

/// What scripts/compare-llama-bench.py of llama.cpp 0c1e5709 asks for (`LLAMA_BENCH_KEY_PROPERTIES` and three more), and of 2025.
const COMPARED: &str = "cpu_info gpu_info backends n_gpu_layers n_cpu_moe tensor_buft_overrides model_filename model_type n_batch \
    n_ubatch embeddings cpu_mask cpu_strict poll n_threads type_k type_v load_mode no_kv_offload split_mode main_gpu tensor_split \
    flash_attn n_prompt n_gen n_depth fit_target fit_min_ctx build_commit test_time avg_ts use_mmap";

#[test]
fn llama_bench_records_are_complete() {
    let text = write(&LlamaBench::JsonLines, records()).text;
    let array = write(&LlamaBench::Json, records()).text;
    let records: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(Value::Array(records.clone()), serde_json::from_str::<Value>(&array).unwrap());
    for record in &records {
        for key in COMPARED.split_whitespace() {
            assert!(record.get(key).is_some_and(|value| !value.is_null()), "{key}: {record}");
        }
        assert_eq!(record["engine"], record["backends"]);
        let numbers = |key: &str| -> Vec<f64> {
            record[key].as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
        };
        let tokens = record["n_prompt"].as_f64().unwrap() + record["n_gen"].as_f64().unwrap();
        let (ns, ts) = (numbers("samples_ns"), numbers("samples_ts"));
        assert!(ns.iter().zip(&ts).all(|(ns, ts)| *ts == 1e9 * tokens / ns));
        assert_eq!(record["avg_ns"].as_f64().unwrap(), stats::mean(&ns).unwrap().floor());
        assert_eq!(record["avg_ts"].as_f64(), stats::mean(&ts));
    }
    let tests: Vec<_> = records
        .iter()
        .filter(|record| record["engine"] == "onnxruntime")
        .map(|record| {
            let number = |key: &str| record[key].as_u64().unwrap();
            let samples = record["samples_ns"].as_array().unwrap().len();
            (number("n_prompt"), number("n_gen"), number("n_depth"), samples)
        })
        .collect();
    let of_256 = [(16, 0, 0, 6), (0, 128, 16, 2), (0, 256, 16, 2), (16, 256, 0, 2)];
    let of_100 = [(16, 0, 0, 6), (0, 100, 16, 2), (16, 100, 0, 2)];
    assert_eq!(tests, [&of_256[..], &of_100].concat());
}

#[test]
fn figures_of_no_clock_are_left_out() {
    let mut document = published();
    for table in document.tables_mut() {
        table.rows[0].cells[0] = published::PrintedFigure::parse("0.00").unwrap();
        table.rows[0].cells[7] = published::PrintedFigure::parse("1e300").unwrap();
    }
    for exporter in FORMATS {
        let Exported { text, remarks } = exporter.write(&ExportInput::Document(&document));
        assert!(
            !["null", "Prefill", "/ prompt", "e300", "e+300"].iter().any(|word| text.contains(word)),
            "{text}"
        );
        assert!(remarks.iter().any(|remark| remark.ends_with("not positive, left out: 1")), "{remarks:?}");
    }
    // Replicates that differ by more than a number can say have no interval.
    let mut records = replicates("onnxruntime", 1, 256, 2);
    records[1] = with_cell(records[1].clone(), |cell| cell.series.prompt_seconds = vec![1e60]);
    let results: Value = serde_json::from_str(&write(&Bencher, records).text).unwrap();
    let prompt =
        &results["LLaMA-2 15M FP32 CPU (AMD EPYC, 2 cores) / onnxruntime / 1x16 / prompt"]["latency"];
    assert_eq!(prompt.as_object().unwrap().keys().collect::<Vec<_>>(), ["value"]);
}

#[test]
fn decode_samples_are_sums_of_forwards() {
    let record = measured("onnxruntime", 1, 16, 256);
    let sum: f64 = record.series().unwrap().generations[0].token_seconds[..128].iter().sum();
    let text = write(&LlamaBench::JsonLines, vec![record]).text;
    let decode: Value = serde_json::from_str(text.lines().nth(1).unwrap()).unwrap();
    assert_eq!(decode["samples_ns"][0].as_f64().unwrap(), (sum * 1e9).round());
    assert_eq!(decode["n_gen"], 128);
}

#[test]
fn nothing_is_written_of_no_figures_and_that_is_said() {
    let failed = || vec![ended("onnxruntime", 1, 16, FailureKind::TimedOut, "slow")];
    for exporter in FORMATS {
        let Exported { text, remarks } = write(exporter, failed());
        assert!(!text.contains("Benchmark") && !text.contains("value"), "{text}");
        assert!(remarks.iter().any(|remark| remark.contains("onnxruntime 1×16: TIMEOUT")), "{remarks:?}");
    }
}

/// The inputs of `benchstat/output.txt`, which golang.org/x/perf's benchstat at 712aea8b wrote.
#[test]
fn what_benchstat_was_given_is_what_is_written() {
    let text = |slower: f64| {
        let engines = [("onnxruntime", slower), ("pytorch eager", 1.3)];
        let records = engines.iter().flat_map(|(engine, slower)| {
            replicates(engine, 1, 256, 6).into_iter().map(move |record| {
                with_cell(record, |cell| {
                    cell.series.prompt_seconds.iter_mut().for_each(|seconds| *seconds *= slower);
                    let generation = &mut cell.series.generations[0];
                    generation.wall_seconds *= slower;
                    generation.token_seconds.iter_mut().for_each(|seconds| *seconds *= slower);
                })
            })
        });
        write(&GoBenchmark, records.collect()).text
    };
    assert_eq!(include_str!("benchstat/before.txt"), text(1.0));
    assert_eq!(include_str!("benchstat/after.txt"), text(0.9));
}
