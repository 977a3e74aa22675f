//! A comparison as a comment on a pull request.

mod page;

use results::{Exported, Exporter, Markdown, Metric, escape_html_in_markdown, escape_markdown, one_line};
use stats::Verdict;

use crate::format;
use crate::statement::{Statement, headings};
use crate::{Counts, Report, Section};
use page::{Block, LIMIT, MarkdownPage};

/// The first line, by which a comment written before is found again.
const MARKER: &str = "<!-- llama2-bench:compare -->";

/// What the lists above the verdicts may take of the page, each.
const LIST: usize = LIMIT / 8;

/// More characters of one text than this are cut off.
const LONGEST: usize = 400;

/// What changed, then what is not known, then every table; never longer than the 65,536 characters of GitHub's comments.
impl Exporter<Report> for Markdown {
    fn name(&self) -> &'static str {
        "markdown"
    }

    fn write(&self, report: &Report) -> Exported {
        let [baseline, candidate] = [&report.baseline, &report.candidate].map(|name| escape(name));
        let mut page = MarkdownPage::new(format!(
            "{MARKER}\n## llama2-bench: {baseline} → {candidate}\n\n{}.\n",
            sentence(&report.counts())
        ));
        let headings = headings(report);
        let differences = report.differences.iter().map(format::difference);
        page.push(list("\nDifferences besides the figures:\n\n", differences));
        page.push(list("\nNotes:\n\n", report.notes.iter().cloned()));
        let only = report.tables.iter().zip(&headings).flat_map(|(table, heading)| {
            let texts = format::missing(&table.missing);
            texts.into_iter().map(move |text| format!("{heading}: {text}"))
        });
        page.push(list("\nNot on both sides:\n\n", format::missing(&report.missing).into_iter().chain(only)));

        let statements: Vec<Statement> = Statement::all(report, &headings).collect();
        let of = |verdict| statements.iter().filter(move |statement| statement.verdict == Some(verdict));
        let several = headings.len() > 1;
        let changed = of(Verdict::Regressed).chain(of(Verdict::Improved));
        page.push(table("\n### Regressed and improved\n\n", "", several, changed));
        let inconclusive: Vec<&Statement> = of(Verdict::Inconclusive).collect();
        let provisional: Vec<&Statement> = of(Verdict::Provisional).collect();
        page.push(details(&format!("{} provisional", provisional.len()), several, provisional.into_iter()));
        page.push(details(
            &format!("{} inconclusive", inconclusive.len()),
            several,
            inconclusive.into_iter(),
        ));
        for (of_table, heading) in report.tables.iter().zip(&headings) {
            for section in &of_table.sections {
                let lines = section.cells.iter().chain(&section.means);
                let statements: Vec<Statement> =
                    lines.map(|line| Statement::from_figure(heading, section.metric, line)).collect();
                page.push(details(&summary(heading, section), false, statements.iter()));
            }
            let ends: Vec<Statement> =
                of_table.ends.iter().map(|end| Statement::from_end(heading, end)).collect();
            page.push(details(&format!("{heading}: replicates that failed"), false, ends.iter()));
        }
        page.finish().into()
    }
}

fn escape(text: &str) -> String {
    escape_markdown(&short(text))
}

fn short(text: &str) -> String {
    let text = one_line(text);
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

fn sentence(counts: &Counts) -> String {
    match counts.regressed {
        0 => counts.to_string(),
        _ => format!("**{counts}**"),
    }
}

fn summary(heading: &str, section: &Section) -> String {
    let verdicts = section.cells.iter().chain(&section.means).map(|line| line.verdict);
    let threshold = format::threshold(section.threshold);
    format!(
        "{heading}: {}, threshold {threshold}: {}",
        section.metric.title(),
        Counts::from_verdicts(verdicts)
    )
}

fn list(before: &str, texts: impl Iterator<Item = String>) -> Block {
    let rows = texts.map(|text| format!("- {}\n", escape(&text))).collect();
    Block { before: before.into(), rows, after: "", most: LIST }
}

fn details<'a>(
    summary: &str,
    with_heading: bool,
    statements: impl Iterator<Item = &'a Statement<'a>>,
) -> Block {
    let before = format!("\n<details><summary>{}</summary>\n\n", escape_html_in_markdown(&short(summary)));
    table(&before, "\n</details>\n", with_heading, statements)
}

fn table<'a>(
    before: &str,
    after: &'static str,
    with_heading: bool,
    statements: impl Iterator<Item = &'a Statement<'a>>,
) -> Block {
    let (table, rule) = if with_heading { ("| Table ", "|---") } else { ("", "") };
    let head = "| Engine | Cell | Metric | Baseline | Candidate | Change | 95 % CI | Basis | Verdict |\n";
    let rules = "|---|---:|---|---:|---:|---:|---:|---|---|\n";
    Block {
        before: format!("{before}{table}{head}{rule}{rules}"),
        rows: statements.map(|statement| row(statement, with_heading)).collect(),
        after,
        most: LIMIT,
    }
}

fn row(statement: &Statement, with_heading: bool) -> String {
    let heading = with_heading.then_some(statement.heading);
    let verdict = match statement.remark.as_str() {
        "" => statement.verdict_word().to_owned(),
        remark => format!("{}; {remark}", statement.verdict_word()),
    };
    let texts = [
        statement.engine.as_str(),
        &statement.size,
        statement.metric.map_or("Outcome", Metric::title),
        &statement.baseline,
        &statement.candidate,
        &statement.change,
        &statement.interval,
        &statement.basis,
        &verdict,
    ];
    let cells = heading.into_iter().chain(texts).map(|text| format!("| {} ", escape(text)));
    format!("{}|\n", cells.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let text = escape(&"±".repeat(500));
        assert_eq!((text.chars().count(), text.ends_with("±…")), (LONGEST + 1, true));
    }
}
