//! The published tables: everything that is found in them, and nothing else; and honest tables of others.

use std::collections::BTreeSet;
use std::path::Path;

use audit::{AuditReport, Severity, audit};
use results::PublishedFile;
use results::hardware::Hardware;
use results::published::Edition;

fn report() -> AuditReport {
    audit(&PublishedFile::built_in().tables(), &Hardware::built_in())
}

/// What is found in a file of this crate's tests.
fn report_of(path: &Path) -> AuditReport {
    audit(&PublishedFile::read(path).unwrap().tables(), &Hardware::built_in())
}

/// The lines of findings of a severity in a table whose heading has `table`.
fn lines(report: &AuditReport, severity: Severity, table: &str, rules: &[&str]) -> Vec<usize> {
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

#[test]
fn the_second_edition() {
    let file = PublishedFile::from_edition(Edition::Second);
    let report = audit(&file.tables(), &Hardware::built_in());
    // What was measured anew is no more impossible, and what was kept is.
    assert_eq!(lines(&report, Severity::Impossible, "13B", &PHYSICS), (68..=79).collect::<Vec<_>>());
    assert_eq!(lines(&report, Severity::Impossible, "13B", &["throughput-as-latency"]), [104]);
    insta::assert_snapshot!("text_2024", report.to_string());
}

/// HF optimum-benchmark's and gpt-fast's published tables, our own H100 run with means of throughputs and median latencies, and sound
/// tables of 32, 256 and 512 tokens with three to ten digits and one or four prompt lengths. Of other conventions (queued batches, one
/// slow start, other lengths for some rows, weights in the host's memory, medians beside means) some are remarkable.
#[test]
fn no_honest_table_is_accused() {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tables"));
    let paths = |folder: &Path| {
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        entries.filter(|path| path.is_file()).collect::<Vec<_>>()
    };
    let folders = [folder.to_owned(), folder.join("generation-length"), folder.join("conventions")];
    let paths: Vec<_> = folders.iter().flat_map(|folder| paths(folder)).collect();
    assert_eq!(paths.len(), 51);
    for path in paths {
        let report = report_of(&path);
        let is_of_other_convention = path.parent().is_some_and(|folder| folder.ends_with("conventions"));
        let accused = if is_of_other_convention || path.ends_with("mean-of-throughputs.md") {
            report.is_impossible()
        } else {
            !report.findings.is_empty()
        };
        assert!(!accused, "{}: {report}", path.display());
    }
}
