//! Published tables: what is read comes back, byte for byte as markdown and with every text through csv and json; and no
//! rule of the audit is put out by what a table claims.

use proptest::prelude::*;
use results::ResultTable;
use results::hardware::Hardware;
use results::published::{Document, ReadOptions, csv, json, markdown, parse_with};

use crate::{CaseResult, FuzzTarget, sample};

/// The target.
pub const TARGET: FuzzTarget = FuzzTarget { name: "published", samples, words: WORDS, run };

const FIRST: &str = "results/published/llama2-a100.md";
const SECOND: &str = "results/published/llama2-a100-2024.md";

const WORDS: &str = "| --- |---| \\| OOM N/A TIMEOUT Engine FP16 CUDA CPU (1 A100 80GB) ``` <!-- --> 1e10 0.5 ** ~~ ± 0.03 (ms) (s) ms \
     1,336.7 [^1] <sup>1</sup> <summary> </summary> > # === ; sep=; \"schema\":2 null Notes &plusmn; 0 \
     n_prompt n_gen n_depth avg_ns samples_ns avg_ts model_type n_threads batch_size input_len output_len run_name total_latency \
     avg_latency latencies percentiles config report prefill decode generate latency mean unit max_new_tokens num_beams \
     -1 1e309 4294967296 NaN [ ] [] { {} }{ \"\\u001b\"";

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

fn markdown_samples() -> Vec<String> {
    let windows = excerpt(FIRST).replace('\n', "\r\n");
    let decorated = excerpt(SECOND)
        .replace("| onnxruntime ", "| **onnxruntime**[^1] ")
        .replace("Prompt Processing Latency (ms)", "prompt latency [s]")
        .replace(" (tps) |\n|", " (tps) | Notes |\n|---|");
    vec![excerpt(FIRST), windows, excerpt(SECOND), decorated, sample("results/llama2-15m-fp32-cpu/table.md")]
}

fn csv_samples() -> Vec<String> {
    let published = |file| csv::write(&markdown::parse(&excerpt(file), "a.md").unwrap());
    let both = markdown::parse(&(excerpt(FIRST) + "\n" + &excerpt(SECOND)), "a.md").unwrap();
    let summary = sample("results/llama2-15m-fp32-cpu/summary.csv");
    let script =
        sample("crates/cli/tests/tables/benchmark_e2e.csv").replace("Batch Size", "Engine,Batch Size");
    let script = script.replace("\n1,", "\nonnxruntime,1,");
    vec![published(FIRST), published(SECOND), csv::write(&both), summary, script]
}

/// Results of other tools.
const TOOLS: [&str; 8] = [
    "llama-bench.json",
    "llama-bench.jsonl",
    "llama-bench-2023.json",
    "sglang.jsonl",
    "vllm-latency.json",
    "vllm-latency-ascend.json",
    "optimum-benchmark/benchmark.json",
    "optimum-benchmark/benchmark_report.json",
];

fn samples() -> Vec<Vec<u8>> {
    let json = [FIRST, SECOND].map(|file| json::write(&markdown::parse(&excerpt(file), "a.md").unwrap()));
    let tools = TOOLS.map(|file| sample(&format!("crates/results/tests/import/{file}")));
    let texts = markdown_samples().into_iter().chain(csv_samples()).chain(json).chain(tools);
    texts.map(String::into_bytes).collect()
}

/// The same file as each format; results of other tools by what their first record looks like, with and without what their
/// files leave out.
fn run(input: &[u8]) -> CaseResult {
    let text = String::from_utf8_lossy(input);
    if let Ok(document) = markdown::parse(&text, "a.md") {
        prop_assert_eq!(markdown::write(&document), &*text);
        round(&document)?;
    }
    let sizes = ReadOptions {
        batch_size: Some(1),
        prompt_length: Some(16),
        generation_length: Some(1),
        ..ReadOptions::default()
    };
    let others = [
        csv::parse(&text, "a.csv").ok(),
        json::parse(&text, "a.json").ok(),
        parse_with(&text, "a.jsonl", &ReadOptions::default()).ok(),
        parse_with(&text, "a.jsonl", &sizes).ok(),
    ];
    others.iter().flatten().try_for_each(round)
}
