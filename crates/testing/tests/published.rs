//! Published tables: what is read comes back, byte for byte as markdown and with every text through csv and json; and no
//! rule of the audit is put out by what a table claims.

use proptest::prelude::*;
use results::ResultTable;
use results::hardware::Hardware;
use results::published::{Document, csv, json, markdown};
use testing::fuzz::{BoundedAllocator, Corpus, Outcome, check, sample};

#[global_allocator]
static ALLOCATOR: BoundedAllocator = BoundedAllocator;

const WORDS: &str =
    "| --- |---| \\| OOM N/A TIMEOUT Engine FP16 CUDA CPU (1 A100 80GB) ``` <!-- --> 1e10 0.5";

/// The published file's headings and a row or two of each table.
fn excerpt() -> String {
    let text = sample("results/published/llama2-a100.md");
    let kept = text.lines().enumerate().filter(|(index, line)| {
        let is_row = ["| onnxruntime", "| pytorch"].iter().any(|start| line.starts_with(start));
        !is_row || index % 23 == 10
    });
    kept.map(|(_, line)| format!("{line}\n")).collect()
}

fn texts(document: &Document) -> Vec<(String, Vec<[String; 11]>)> {
    let rows = |table: &results::published::PublishedTable| {
        table.rows.iter().map(results::published::PublishedRow::texts).collect()
    };
    document.tables().map(|table| (table.heading.clone(), rows(table))).collect()
}

fn round(document: &Document) -> Outcome {
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
    let windows = excerpt().replace('\n', "\r\n");
    let corpus = Corpus::new([excerpt(), windows, sample("results/llama2-15m-fp32-cpu/table.md")], WORDS);
    check(300, corpus.inputs(), |input| {
        let Ok(document) = markdown::parse(&input.text(), "a.md") else { return Ok(()) };
        prop_assert_eq!(markdown::write(&document), input.text());
        round(&document)
    });
}

#[test]
fn any_csv() {
    let published = markdown::parse(&excerpt(), "a.md").unwrap();
    let summary = sample("results/llama2-15m-fp32-cpu/summary.csv");
    check(300, Corpus::new([csv::write(&published), summary], WORDS).inputs(), |input| {
        csv::parse(&input.text(), "a.csv").map_or(Ok(()), |document| round(&document))
    });
}

#[test]
fn any_json() {
    let published = markdown::parse(&excerpt(), "a.md").unwrap();
    check(300, Corpus::new([json::write(&published)], WORDS).inputs(), |input| {
        json::parse(&input.text(), "a.json").map_or(Ok(()), |document| round(&document))
    });
}
