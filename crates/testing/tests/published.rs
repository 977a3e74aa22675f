//! Published tables: what is read comes back, byte for byte as markdown and with every text through csv and json; and no
//! rule of the audit is put out by what a table claims.

use proptest::prelude::*;
use results::ResultTable;
use results::hardware::Hardware;
use results::published::{Document, ReadOptions, csv, json, markdown, parse_with};
use testing::fuzz::{BoundedAllocator, CaseResult, Corpus, check, sample};

#[global_allocator]
static ALLOCATOR: BoundedAllocator = BoundedAllocator;

const FIRST: &str = "results/published/llama2-a100.md";
const SECOND: &str = "results/published/llama2-a100-2024.md";

const WORDS: &str = "| --- |---| \\| OOM N/A TIMEOUT Engine FP16 CUDA CPU (1 A100 80GB) ``` <!-- --> 1e10 0.5 ** ~~ ± 0.03 (ms) (s) ms \
     1,336.7 [^1] <sup>1</sup> <summary> </summary> > # === ; sep=; \"schema\":2 null Notes &plusmn; 0";

/// A published file's headings and a row or two of each table.
fn excerpt(file: &str) -> String {
    let text = sample(file);
    let kept = text.lines().enumerate().filter(|(index, line)| {
        let is_row = ["| onnxruntime", "| pytorch"].iter().any(|start| line.starts_with(start));
        !is_row || index % 11 == 6
    });
    kept.map(|(_, line)| format!("{line}\n")).collect()
}

fn texts(document: &Document) -> Vec<(String, Vec<[String; 11]>)> {
    let rows = |table: &results::published::PublishedTable| {
        table.rows.iter().map(results::published::PublishedRow::texts).collect()
    };
    document.tables().map(|table| (table.heading.clone(), rows(table))).collect()
}

fn round(document: &Document) -> CaseResult {
    let again = [
        csv::parse(&csv::write(document), "a.csv").map_err(|error| error.to_string()),
        json::parse(&json::write(document), "a.json").map_err(|error| error.to_string()),
    ];
    for again in again {
        prop_assert_eq!(again.map(|again| texts(&again)), Ok(texts(document)));
    }
    let tables: Vec<ResultTable<'_>> =
        document.tables().map(|table| ResultTable::published("a", table)).collect();
    let report = audit::audit(&tables, &Hardware::built_in());
    prop_assert!(report.details().lines().count() == report.findings.len() + report.not_checked.len() + 1);
    Ok(())
}

#[test]
fn any_markdown() {
    let windows = excerpt(FIRST).replace('\n', "\r\n");
    let decorated = excerpt(SECOND)
        .replace("| onnxruntime ", "| **onnxruntime**[^1] ")
        .replace("Prompt Processing Latency (ms)", "prompt latency [s]")
        .replace(" (tps) |\n|", " (tps) | Notes |\n|---|");
    let samples =
        [excerpt(FIRST), windows, excerpt(SECOND), decorated, sample("results/llama2-15m-fp32-cpu/table.md")];
    let corpus = Corpus::new(samples, WORDS);
    check(300, corpus.inputs(), |input| {
        let Ok(document) = markdown::parse(&input.text(), "a.md") else { return Ok(()) };
        prop_assert_eq!(markdown::write(&document), input.text());
        round(&document)
    });
}

#[test]
fn any_csv() {
    let published = |file| csv::write(&markdown::parse(&excerpt(file), "a.md").unwrap());
    let both = markdown::parse(&(excerpt(FIRST) + "\n" + &excerpt(SECOND)), "a.md").unwrap();
    let summary = sample("results/llama2-15m-fp32-cpu/summary.csv");
    let script =
        sample("crates/cli/tests/tables/benchmark_e2e.csv").replace("Batch Size", "Engine,Batch Size");
    let script = script.replace("\n1,", "\nonnxruntime,1,");
    let samples = [published(FIRST), published(SECOND), csv::write(&both), summary, script];
    check(300, Corpus::new(samples, WORDS).inputs(), |input| {
        csv::parse(&input.text(), "a.csv").map_or(Ok(()), |document| round(&document))
    });
}

/// Results of other tools, each read by what its first record looks like; `options` say what the files leave out.
fn any_tools(files: &[&str], words: &str, options: &ReadOptions) {
    let samples = files.iter().map(|file| sample(&format!("crates/results/tests/import/{file}")));
    check(300, Corpus::new(samples, words).inputs(), |input| {
        parse_with(&input.text(), "a.jsonl", options).map_or(Ok(()), |document| round(&document))
    });
}

#[test]
fn any_llama_bench() {
    let words = "n_prompt n_gen n_depth avg_ns samples_ns avg_ts model_type n_threads null -1 1e309 4294967296 0 NaN [ ] }{";
    any_tools(
        &["llama-bench.json", "llama-bench.jsonl", "llama-bench-2023.json"],
        words,
        &ReadOptions::default(),
    );
}

#[test]
fn any_sglang() {
    let words =
        "batch_size input_len output_len run_name total_latency null -1 1e309 4294967296 0 \"\\u001b\" }{";
    any_tools(&["sglang.jsonl"], words, &ReadOptions::default());
}

#[test]
fn any_vllm_latency() {
    let options = ReadOptions {
        batch_size: Some(1),
        prompt_length: Some(16),
        generation_length: Some(1),
        ..ReadOptions::default()
    };
    let words = "avg_latency latencies percentiles null -1 1e309 0 [] {";
    any_tools(&["vllm-latency.json", "vllm-latency-ascend.json"], words, &options);
}

#[test]
fn any_optimum_benchmark() {
    let words = "config report prefill decode generate latency mean unit max_new_tokens num_beams null -1 1e309 4294967296 0 {}";
    let files = ["optimum-benchmark/benchmark.json", "optimum-benchmark/benchmark_report.json"];
    any_tools(&files, words, &ReadOptions::default());
}

#[test]
fn any_json() {
    let published = |file| json::write(&markdown::parse(&excerpt(file), "a.md").unwrap());
    check(300, Corpus::new([published(FIRST), published(SECOND)], WORDS).inputs(), |input| {
        json::parse(&input.text(), "a.json").map_or(Ok(()), |document| round(&document))
    });
}
