//! The published file: everything that is found in it, and nothing else.

use std::collections::BTreeSet;

use audit::{Report, Severity, audit};
use results::PublishedFile;
use results::hardware::Hardware;
use results::published::markdown;

const FILE: &str = "results/published/llama2-a100.md";

fn report() -> Report {
    let text = include_str!("../../../results/published/llama2-a100.md");
    let document = markdown::parse(text, FILE).unwrap();
    let file = PublishedFile { name: FILE.into(), document };
    audit(&file.tables(), &Hardware::built_in())
}

/// The lines of findings of a severity in a table whose heading has `table`.
fn lines(report: &Report, severity: Severity, table: &str, rules: &[&str]) -> Vec<usize> {
    let findings = report.findings.iter().filter(|finding| {
        finding.severity == severity && finding.table.contains(table) && rules.contains(&finding.rule)
    });
    let lines: BTreeSet<usize> = findings.map(|finding| finding.line).collect();
    lines.into_iter().collect()
}

const PHYSICS: [&str; 5] =
    ["token-bandwidth", "prompt-bandwidth", "token-compute", "prompt-compute", "memory"];

#[test]
fn the_known_faults_are_found_and_no_other() {
    let report = report();
    let impossible = Severity::Impossible;
    assert_eq!(lines(&report, impossible, "13B", &PHYSICS), (64..=75).collect::<Vec<_>>());
    assert_eq!(lines(&report, impossible, "7B", &["throughput"]), [6]);
    let rows: BTreeSet<usize> =
        report.findings.iter().filter(|one| one.severity == impossible).map(|one| one.line).collect();
    assert_eq!(rows.len(), 13, "no other row is impossible");
    let long = ["wall-clock-long"];
    assert_eq!(lines(&report, Severity::Remarkable, "7B", &long), [33, 34, 38, 51, 52, 56]);
    assert_eq!(lines(&report, Severity::Remarkable, "13B", &long), [86, 98]);
    assert_eq!(report.not_checked, []);
    assert_eq!((report.tables, report.rows), (3, 108));
}

#[test]
fn all_findings() {
    insta::assert_snapshot!("text", report().to_string());
    insta::assert_snapshot!("json", report().to_json());
}
