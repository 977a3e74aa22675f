//! A comparison as JUnit's XML, as GitLab and Jenkins read it: what regressed is a failure, what is inconclusive is skipped.

use std::slice;

use quick_junit::{NonSuccessKind, TestCase, TestCaseStatus, TestSuite};
use results::{Exported, Exporter, Metric, one_line};
use stats::Verdict;

use crate::statement::{Statement, headings};
use crate::{Report, format};

/// A suite for each metric of each table, one for the cells of each table of which replicates failed, and one for what is on one side
/// alone.
#[derive(Debug, Clone, Copy)]
pub struct Junit;

impl Exporter<Report> for Junit {
    fn name(&self) -> &'static str {
        "junit"
    }

    fn write(&self, report: &Report) -> Exported {
        let headings = headings(report);
        let several = headings.len() > 1;
        let mut document =
            quick_junit::Report::new(text(&format!("{} → {}", report.baseline, report.candidate)));
        for (table, heading) in report.tables.iter().zip(&headings) {
            for section in &table.sections {
                let lines = section.cells.iter().chain(&section.means);
                let cases =
                    lines.map(|line| case(several, &Statement::from_figure(heading, section.metric, line)));
                document.add_test_suite(suite(&format!("{heading}: {}", section.metric.title()), cases));
            }
            if !table.ends.is_empty() {
                let cases = table.ends.iter().map(|end| case(several, &Statement::from_end(heading, end)));
                document.add_test_suite(suite(&format!("{heading}: replicates that failed"), cases));
            }
        }
        let missing = report.tables.iter().flat_map(|table| &table.missing).chain(&report.missing);
        let mut missing = missing.flat_map(|one| format::missing(slice::from_ref(one))).peekable();
        if missing.peek().is_some() {
            let cases = missing.map(|what| {
                let status =
                    if report.missing_counts { TestCaseStatus::skipped() } else { TestCaseStatus::success() };
                with_message("missing", &what, status, &what)
            });
            document.add_test_suite(suite("on one side alone", cases));
        }
        document.to_string().expect("memory takes every document").into()
    }
}

fn suite(name: &str, cases: impl Iterator<Item = TestCase>) -> TestSuite {
    let mut suite = TestSuite::new(text(name));
    suite.add_test_cases(cases);
    suite
}

/// GitLab knows a case by its class and name alone: of several tables the class says which.
fn case(several: bool, statement: &Statement) -> TestCase {
    let engine = &statement.engine;
    let class = if several { format!("{}: {engine}", statement.heading) } else { engine.clone() };
    let name = format!("{} {}", statement.size, statement.metric.map_or("outcome", Metric::name));
    let mut status = match statement.verdict {
        None | Some(Verdict::Improved | Verdict::Unchanged) => TestCaseStatus::success(),
        Some(Verdict::Regressed) => TestCaseStatus::non_success(NonSuccessKind::Failure),
        Some(Verdict::Inconclusive | Verdict::Provisional) => TestCaseStatus::skipped(),
    };
    if statement.verdict == Some(Verdict::Regressed) {
        status.set_type(statement.verdict_word());
    }
    with_message(&class, &name, status, &statement.sentence())
}

/// A case whose message, if it has one, is an attribute for Jenkins and the element's text for GitLab.
fn with_message(class: &str, name: &str, mut status: TestCaseStatus, message: &str) -> TestCase {
    status.set_message(text(message)).set_description(text(message));
    let mut case = TestCase::new(text(name), status);
    case.set_classname(text(class));
    case
}

/// Characters that XML 1.0 allows; the crate leaves U+FFFE and U+FFFF.
fn text(text: &str) -> String {
    one_line(text).replace(['\u{fffe}', '\u{ffff}'], "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_markup_or_forbidden() {
        let hostile = "a<b>&\"'\0\u{1f}\u{1b}[31m\u{202e}\u{ffff}]]>";
        let case = with_message(hostile, "", TestCaseStatus::skipped(), hostile);
        let mut document = quick_junit::Report::unnamed();
        document.add_test_suite(suite("", [case].into_iter()));
        let escaped = "a&lt;b&gt;&amp;&quot;&apos;   [31m \u{fffd}]]&gt;";
        assert_eq!(document.to_string().unwrap().matches(escaped).count(), 3);
    }
}
