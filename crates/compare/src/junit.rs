//! A comparison as JUnit's XML, as GitLab and Jenkins read it: what regressed is a failure, what is inconclusive is skipped.

use std::fmt::Write as _;

use results::{Metric, one_line};
use stats::Verdict;

use crate::format;
use crate::statement::{Statement, headings};
use crate::{Counts, Report};

/// A suite for each metric of each table, one for the cells of each table of which replicates failed, and one for what is on one side
/// alone.
pub fn write(report: &Report) -> String {
    let name = format!("{} → {}", report.baseline, report.candidate);
    let headings = headings(report);
    let all = report.tables.iter().flat_map(|table| &table.missing).chain(&report.missing);
    let missing: Vec<String> = all.flat_map(|one| format::missing(std::slice::from_ref(one))).collect();
    let skipped = if report.missing_counts { missing.len() } else { 0 };
    let counts =
        Counts::from_verdicts(Statement::all(report, &headings).filter_map(|statement| statement.verdict));
    let cases = Statement::all(report, &headings).count() + missing.len();
    let counts = Counts { inconclusive: counts.inconclusive + skipped, ..counts };
    let counts = attributes(&name, cases, &counts);
    let mut text = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites {counts}>\n");
    let several = headings.len() > 1;
    for (table, heading) in report.tables.iter().zip(&headings) {
        for section in &table.sections {
            let lines = section.cells.iter().chain(&section.means);
            let statements: Vec<Statement> =
                lines.map(|line| Statement::from_figure(heading, section.metric, line)).collect();
            suite(&mut text, &format!("{heading}: {}", section.metric.title()), several, &statements);
        }
        if !table.ends.is_empty() {
            let statements: Vec<Statement> =
                table.ends.iter().map(|end| Statement::from_end(heading, end)).collect();
            suite(&mut text, &format!("{heading}: replicates that failed"), several, &statements);
        }
    }
    if !missing.is_empty() {
        let counts = Counts { inconclusive: skipped, ..Counts::default() };
        let _ = writeln!(text, "  <testsuite {}>", attributes("on one side alone", missing.len(), &counts));
        for what in &missing {
            let name = escape(what);
            let _ = match report.missing_counts {
                true => writeln!(
                    text,
                    "    <testcase classname=\"missing\" name=\"{name}\">\n      <skipped message=\"{name}\">{name}</skipped>\n    </testcase>"
                ),
                false => writeln!(text, "    <testcase classname=\"missing\" name=\"{name}\"/>"),
            };
        }
        text.push_str("  </testsuite>\n");
    }
    text.push_str("</testsuites>\n");
    text
}

fn suite(text: &mut String, name: &str, several: bool, statements: &[Statement]) {
    let counts = Counts::from_verdicts(statements.iter().filter_map(|statement| statement.verdict));
    let _ = writeln!(text, "  <testsuite {}>", attributes(name, statements.len(), &counts));
    for statement in statements {
        case(text, several, statement);
    }
    text.push_str("  </testsuite>\n");
}

fn attributes(name: &str, cases: usize, counts: &Counts) -> String {
    format!(
        "name=\"{}\" tests=\"{}\" failures=\"{}\" errors=\"0\" skipped=\"{}\"",
        escape(name),
        cases,
        counts.regressed,
        counts.inconclusive + counts.provisional
    )
}

/// GitLab knows a case by its class and name alone: of several tables the class says which. It shows an element's text,
/// Jenkins its message.
fn case(text: &mut String, several: bool, statement: &Statement) {
    let engine = escape(&statement.engine);
    let class = if several { format!("{}: {engine}", escape(statement.heading)) } else { engine };
    let metric = statement.metric.map_or("outcome", Metric::name);
    let _ = write!(text, "    <testcase classname=\"{class}\" name=\"{} {metric}\"", statement.size);
    let message = escape(&statement.sentence());
    let _ = match statement.verdict {
        None | Some(Verdict::Improved | Verdict::Unchanged) => writeln!(text, "/>"),
        Some(Verdict::Regressed) => writeln!(
            text,
            ">\n      <failure message=\"{message}\" type=\"{}\">{message}</failure>\n    </testcase>",
            statement.verdict_word()
        ),
        Some(Verdict::Inconclusive | Verdict::Provisional) => {
            writeln!(text, ">\n      <skipped message=\"{message}\">{message}</skipped>\n    </testcase>")
        }
    };
}

/// Text that is no markup, of characters that XML 1.0 allows.
fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for c in one_line(text).chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&apos;"),
            '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_markup_or_forbidden() {
        assert_eq!(escape("a<b>&\"'\0\u{1f}\u{ffff}]]>"), "a&lt;b&gt;&amp;&quot;&apos;  \u{fffd}]]&gt;");
    }
}
