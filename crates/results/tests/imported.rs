//! Results of other tools: each format's real files, figure by figure against what the tool itself printed of the same run.

use std::path::Path;

use results::published::{Document, ReadOptions, csv, json, markdown, parse, parse_with};
use results::{Column, PublishedFile, ResultTable, Source};

const HEADING: &str = "LLaMA-2 15M FP32 CPU (Intel Xeon, 2 cores)";

fn path(name: &str) -> String {
    format!("{}/tests/import/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn text(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap()
}

/// Reads a file of the folder as `options` say, its name without the folder's.
fn read(name: &str, options: &ReadOptions) -> Document {
    let file =
        PublishedFile::read_with(Path::new(&path(name)), options).unwrap_or_else(|error| panic!("{error}"));
    file.document
}

fn lengths(batch_size: u32, prompt_length: u32, generation_length: u32) -> ReadOptions {
    ReadOptions {
        batch_size: Some(batch_size),
        prompt_length: Some(prompt_length),
        generation_length: Some(generation_length),
        ..ReadOptions::default()
    }
}

/// Each file, and what the caller says of it.
fn files() -> [(&'static str, ReadOptions); 8] {
    [
        ("llama-bench.json", ReadOptions::default()),
        ("llama-bench.jsonl", ReadOptions::default()),
        ("llama-bench-2023.json", ReadOptions::default()),
        ("sglang.jsonl", ReadOptions::default()),
        ("vllm-latency.json", lengths(1, 16, 16)),
        ("vllm-latency-ascend.json", lengths(8, 32, 128)),
        ("optimum-benchmark/benchmark.json", ReadOptions::default()),
        ("optimum-benchmark/benchmark_report.json", ReadOptions::default()),
    ]
}

/// Engine, sizes, generation length and figures in seconds or tokens a second.
type Row = (String, u32, u32, Option<u32>, Vec<Option<f64>>);

fn rows(document: &Document) -> Vec<Row> {
    let tables = document.tables().map(|table| ResultTable::published("a", table));
    let row = |row: &results::ResultRow<'_>| {
        let figures = Column::ALL.map(|column| row.seconds(column).map(|figure| figure.value)).to_vec();
        let length = row.generation_length.is_certain().then_some(row.generation_length.tokens);
        (row.engine.to_owned(), row.size.batch_size, row.size.prompt_length, length, figures)
    };
    tables.flat_map(|table| table.rows.iter().map(row).collect::<Vec<_>>()).collect()
}

/// A figure of the cell of one sequence with a prompt of this length, in seconds or tokens a second.
fn figure(document: &Document, prompt_length: u32, generation_length: u32, column: Column) -> f64 {
    let found = rows(document).into_iter().find(|(_, batch, prompt, length, figures)| {
        (*batch, *prompt) == (1, prompt_length)
            && *length == Some(generation_length)
            && figures[column as usize].is_some()
    });
    let (.., figures) = found.unwrap_or_else(|| panic!("{prompt_length} {generation_length} {column:?}"));
    figures[column as usize].unwrap()
}

#[test]
fn each_tools_files() {
    let all = files().map(|(name, options)| {
        let document = read(name, &options);
        let remarks: Vec<&str> =
            document.tables().flat_map(|table| &table.remarks).map(String::as_str).collect();
        let remarks = remarks.join("\n").replace(&path(name), name);
        format!("{remarks}\n\n{}", markdown::write(&document))
    });
    insta::assert_snapshot!("each_tools_files", all.join("\n----\n\n"));
}

#[test]
fn what_is_read_comes_back_through_every_format() {
    for (name, options) in files() {
        let document = read(name, &options);
        let text = markdown::write(&document);
        let expected = rows(&document);
        assert_eq!(rows(&parse(&text, "a.md").unwrap()), expected, "{name}");
        assert_eq!(rows(&csv::parse(&csv::write(&document), "a.csv").unwrap()), expected, "{name}");
        assert_eq!(rows(&json::parse(&json::write(&document), "a.json").unwrap()), expected, "{name}");
    }
}

/// llama-bench's own table of the run: a line for each test, `pp64+tg128 | 609.93 ± 16.46`.
#[test]
fn llama_bench_printed_the_same_throughputs() {
    let document = read("llama-bench.json", &ReadOptions::default());
    let table = text("llama-bench.md");
    let mut compared = 0;
    for line in table.lines().filter(|line| line.starts_with("| llama ")) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let (test, printed) = (cells[6], cells[7].split(' ').next().unwrap().parse::<f64>().unwrap());
        let (test, depth) = test.split_once(" @ d").map_or((test, "0"), |(test, depth)| (test, depth));
        let (prompt, column, length) = match (test.strip_prefix("pp"), depth) {
            (Some("64+tg128"), "0") => ("64", "pg (t/s)", "128"),
            (Some(prompt), "0") => (prompt, "pp (t/s)", "128"),
            // A prompt behind a context is no column.
            (Some(_), _) => continue,
            (None, depth) => (depth, "tg (t/s)", test.strip_prefix("tg").unwrap()),
        };
        let read: f64 = cell(&document, prompt, length, column).parse().unwrap();
        assert!((read - printed).abs() <= 0.005 + 1e-9, "{line}: {read}");
        compared += 1;
    }
    assert_eq!(compared, 7);
    // 128 forwards take avg_ns; a repetition is not one of them.
    let whole: f64 = 1e-9 * average(&text("llama-bench.json"), "\"n_gen\": 128,\n    \"n_depth\": 64");
    let token = figure(&document, 64, 128, Column::First128Latency);
    assert!((128.0 * token / whole - 1.0).abs() < 1e-8, "{token} {whole}");
}

/// The text of a cell, by its column's name.
fn cell(document: &Document, prompt_length: &str, generation_length: &str, column: &str) -> String {
    let json: serde_json::Value = serde_json::from_str(&json::write(document)).unwrap();
    let pieces = json["pieces"].as_array().unwrap();
    let mut rows = pieces.iter().flat_map(|piece| piece["rows"].as_array().unwrap());
    let row = rows.find(|row| {
        let has = |column: &str, length: &str| row[column].as_u64() == length.parse().ok();
        has("Prompt Length", prompt_length) && has("Generation Length", generation_length)
    });
    row.unwrap()[column].as_str().unwrap().to_owned()
}

/// The `avg_ns` behind the first test that has these lengths and no prompt.
fn average(text: &str, lengths: &str) -> f64 {
    let at = text.find(&format!("\"n_prompt\": 0,\n    {lengths}")).unwrap();
    let rest = text[at..].split_once("\"avg_ns\": ").unwrap().1;
    rest.split(',').next().unwrap().parse().unwrap()
}

/// optimum-benchmark's own text of the run, which has six decimals.
#[test]
fn optimum_benchmark_printed_the_same_means() {
    let report = text("optimum-benchmark/benchmark_report.txt");
    let printed = |target: &str, name: &str| -> f64 {
        let part = report.split(&format!("+ {target}:\n")).nth(1).unwrap();
        let rest = part.split_once(&format!("+ {name}: ")).unwrap().1;
        rest.split(' ').next().unwrap().parse().unwrap()
    };
    for name in ["benchmark.json", "benchmark_report.json"] {
        let document = read(&format!("optimum-benchmark/{name}"), &ReadOptions::default());
        let read = |column| figure(&document, 16, 15, column);
        for (read, printed, digits) in [
            (read(Column::PromptLatency), printed("prefill", "mean"), 1e-6),
            (15.0 * read(Column::Tpot), printed("decode", "mean"), 1e-6),
            (read(Column::WallLatency), printed("generate", "mean"), 1e-6),
            (
                cell(&document, "16", "15", "decode (tokens/s)").parse().unwrap(),
                printed("decode", "throughput"),
                1e-2,
            ),
        ] {
            assert!((read - printed).abs() <= 0.51 * digits, "{name}: {read} {printed}");
        }
    }
}

#[test]
fn vllm_printed_the_same_mean() {
    let document = read("vllm-latency.json", &lengths(1, 16, 16));
    let read = figure(&document, 16, 15, Column::WallLatency);
    assert!((read / 0.089_927_227_399_311_96 - 1.0).abs() < 1e-9, "{read}");
}

#[test]
fn sglangs_tokens_take_what_the_total_leaves() {
    let document = read("sglang.jsonl", &ReadOptions::default());
    let (engine, batch, prompt, length, figures) = rows(&document).swap_remove(0);
    assert_eq!((engine.as_str(), batch, prompt, length), ("sglang", 16, 40, Some(511)));
    let expected = (1.645_049_856_982_950_6 - 0.012_022_975_999_570_917) / 511.0;
    assert!((figures[Column::Tpot as usize].unwrap() / expected - 1.0).abs() < 1e-9);
    assert_eq!(figures[Column::TokenLatency as usize], None);
}

/// A record of llama-bench.
fn test(lengths: [u32; 3], settings: &str, nanoseconds: f64) -> String {
    let [n_prompt, n_gen, n_depth] = lengths;
    format!(
        "{{\"model_filename\": \"a/b.gguf\", \"model_type\": \"llama 7B F16\", \"cpu_info\": \"c\", \"gpu_info\": \"\", {settings} \
         \"n_prompt\": {n_prompt}, \"n_gen\": {n_gen}, \"n_depth\": {n_depth}, \"avg_ns\": {nanoseconds}, \
         \"samples_ns\": [{nanoseconds}]}}\n"
    )
}

#[test]
fn settings_that_differ_make_engines() {
    let of_threads =
        |threads: u32| test([0, 128, 16], &format!("\"n_threads\": {threads}, \"poll\": 50,"), 128e6);
    let text = of_threads(1) + &of_threads(2) + &test([16, 0, 0], "\"n_threads\": 2, \"poll\": 50,", 5e6);
    let engines = |options: &ReadOptions| {
        let document = parse_with(&text, "a.jsonl", options).unwrap();
        rows(&document).into_iter().map(|(engine, ..)| engine).collect::<Vec<_>>()
    };
    assert_eq!(engines(&ReadOptions::default()), ["llama-cpp (n_threads=1)", "llama-cpp (n_threads=2)"]);
    let named = ReadOptions { engine: Some("ours".into()), ..ReadOptions::default() };
    assert_eq!(engines(&named), ["ours (n_threads=1)", "ours (n_threads=2)"]);
    // A prefill and the tokens behind as many are one cell.
    let document = parse(&text, "a.jsonl").unwrap();
    let (.., figures) = rows(&document).swap_remove(1);
    assert_eq!(figures[Column::PromptLatency as usize], Some(0.005));
    assert_eq!(figures[Column::First128Latency as usize], Some(0.001));
}

#[test]
fn what_a_file_does_not_say_is_asked_for_by_its_flag() {
    let nothing = ReadOptions::default();
    let given = |text: &str| ReadOptions { heading: Some(text.into()), ..ReadOptions::default() };
    let pp = test([16, 0, 0], "", 5e6);
    let other = pp.replace("b.gguf", "c.gguf");
    let vllm = r#"{"avg_latency": 1.5, "latencies": [1, 2]}"#;
    let report = text("optimum-benchmark/benchmark_report.json");
    let mixture = pp.replace("F16", "Q4_K - Medium");
    for (text, options, error) in [
        (
            mixture.as_str(),
            &given("LLaMA-2 7B FP16 CPU (c, 2 cores)"),
            "a.json:1: --heading says FP16, and this record is of Q4_K weights: write INT4, INT8 or FP8",
        ),
        (
            vllm,
            &nothing,
            "a.json: the file does not say its lengths: give --batch-size, --prompt-length, --generation-length as",
        ),
        (
            vllm,
            &ReadOptions { prompt_length: None, ..lengths(1, 16, 16) },
            "a.json: the file does not say its lengths: give --prompt-length as",
        ),
        (
            &report,
            &nothing,
            "a.json: neither this file nor a benchmark_config.json beside it says all sizes: give --batch-size, ",
        ),
        (
            &report,
            &lengths(1, 16, 16),
            "a.json:1: the backend is in benchmark_config.json, which is not beside this file: give --engine NAME",
        ),
        (
            &format!("{pp}{other}"),
            &given(HEADING),
            "a.json: --heading: the file is of several models or devices, and a heading names one: llama 7B F16, b: c, llama 7B F16, c: c",
        ),
        (&pp, &given(HEADING), "a.json:1: --heading says FP32, and this record is of FP16 weights"),
    ] {
        let found = parse_with(text, "a.json", options).unwrap_err().to_string();
        assert!(found.starts_with(error), "{found}\n{error}");
    }
    let document = parse_with(&pp, "a.json", &given("LLaMA-2 7B FP16 CPU (c, 2 cores)")).unwrap();
    assert!(document.tables().all(|table| table.heading == "LLaMA-2 7B FP16 CPU (c, 2 cores)"));
}

#[test]
fn what_no_tool_writes_is_refused_with_its_place() {
    let pp = test([16, 0, 0], "", 5e6);
    let vllm = r#"{"avg_latency": 1.5, "latencies": [1, 2]}"#;
    let sglang = text("sglang.jsonl");
    let report = text("optimum-benchmark/benchmark.json");
    for (text, error) in [
        (pp.repeat(2) + vllm, "a.jsonl:3: not a record of llama-bench, as the first one of the file is"),
        (format!("{pp}{{\"n_prompt\""), "a.jsonl:2: not JSON: EOF while parsing an object"),
        (format!("[{pp},\n"), "a.jsonl:3: not JSON: EOF while parsing a value"),
        (pp.replace("5000000", "-5000000"), "a.jsonl:1: avg_ns: expected a number above 0, found -5000000"),
        (
            pp.replace("[5000000]", "[4000000]"),
            "a.jsonl:1: avg_ns: 5000000 is not the mean of samples_ns, 4000000",
        ),
        (
            pp.replace("\"n_prompt\": 16", "\"n_prompt\": -16"),
            "a.jsonl:1: n_prompt: invalid value: integer `-16`, expected a whole number",
        ),
        (pp.replace("\"n_prompt\": 16", "\"n_prompt\": 0"), "a.jsonl:1: n_prompt and n_gen are both 0"),
        (test([16, 0, 64], "", 5e6), "a.jsonl: no test of a prompt or of generated tokens"),
        (vllm.replace("1.5", "1.6"), "a.jsonl:1: avg_latency: 1.6 is not the mean of latencies, 1.5"),
        (vllm.repeat(2), "a.jsonl: several records of different lengths: split them"),
        (
            sglang.replace("\"batch_size\": 8", "\"batch_size\": 0"),
            "a.jsonl:2: Batch Size: expected a whole number from 1",
        ),
        (
            sglang.replace("overall_throughput", "total_throughput"),
            "a.jsonl:1: overall_throughput: missing, as before sglang 0.3.6",
        ),
        (
            sglang.replace("\"total_latency\": 1.645", "\"total_latency\": 0.000"),
            "a.jsonl:1: total_latency − prefill_latency: expected a number above 0",
        ),
        (
            report.replace("\"max_new_tokens\"", "\"num_beams\": 4, \"max_new_tokens\""),
            "a.jsonl:1: num_beams: expected 1, found 4",
        ),
        (
            "{\"a\": 1}\n{\"a\": 2}\n".into(),
            "a.jsonl: not results of a tool that this program reads: llama-bench, ",
        ),
    ] {
        let found = parse_with(&text, "a.jsonl", &lengths(1, 16, 16)).unwrap_err().to_string();
        assert!(found.starts_with(error), "{found}\n{error}");
    }
}

#[test]
fn a_file_of_a_tool_may_have_any_name() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["llama-bench.log", "result", "out.JSON"] {
        let file = folder.path().join(name);
        std::fs::write(&file, text("llama-bench.json")).unwrap();
        let source = Source::read(&file).unwrap();
        assert_eq!(source.tables().len(), 2, "{name}");
    }
}
