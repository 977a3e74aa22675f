//! A comparison for a screen.

mod grid;

use std::fmt::Write as _;

use indexmap::IndexMap;
use results::{Metric, one_line};
use stats::Verdict;

use crate::format;
use crate::{ComparedFigure, ComparedTable, EndLine, Report, Section};
use grid::{Paint, ScreenRow};

/// What differs, then each table metric by metric, then how often each verdict was given. Without a width, every column;
/// with `colour`, ANSI escapes for what regressed and what improved.
pub fn write(report: &Report, width: Option<u16>, colour: bool) -> String {
    let mut text = format!("{} → {}\n", one_line(&report.baseline), one_line(&report.candidate));
    for difference in &report.differences {
        let _ = writeln!(text, "{}", format::difference(difference));
    }
    for note in &report.notes {
        let _ = writeln!(text, "! {}", one_line(note));
    }
    for table in &report.tables {
        text.push('\n');
        text.push_str(&of_table(table, width, colour));
    }
    text.push('\n');
    for missing in format::missing(&report.missing) {
        let _ = writeln!(text, "{missing}");
    }
    let is_open = |verdict| matches!(verdict, Verdict::Inconclusive | Verdict::Provisional);
    if report.lines().any(|(_, line)| is_open(line.verdict)) {
        text.push_str("~ unchanged, ? inconclusive or provisional, needs N: replicates a side for a verdict (estimate)\n");
    }
    let _ = writeln!(text, "{}", report.counts());
    text
}

fn of_table(table: &ComparedTable, width: Option<u16>, colour: bool) -> String {
    let mut text = format!("{}\n", format::heading(&table.baseline, &table.candidate));
    for section in &table.sections {
        let threshold = format::threshold(section.threshold);
        let _ = writeln!(text, "\n{}, threshold {threshold}", section.metric.title());
        let lines = section.cells.iter().chain(&section.means);
        let rows: Vec<ScreenRow> = lines.map(|line| row(section.metric, line)).collect();
        text.push_str(&grid::write(&rows, width, colour));
        text.push_str(&remarks(section));
    }
    if !table.ends.is_empty() {
        let rows: Vec<ScreenRow> = table.ends.iter().map(end_row).collect();
        let _ = write!(text, "\nReplicates that failed\n{}", grid::write(&rows, width, colour));
    }
    for missing in format::missing(&table.missing) {
        let _ = writeln!(text, "{missing}");
    }
    text
}

fn row(metric: Metric, line: &ComparedFigure) -> ScreenRow {
    let engine = one_line(&line.engine);
    let [head, batch_size, prompt_length] = match line.size {
        Some(size) => [engine, size.batch_size.to_string(), size.prompt_length.to_string()],
        None => [format!("geomean {engine}"), String::new(), String::new()],
    };
    let change = format::change(line);
    ScreenRow {
        paint: paint(line.verdict, &change),
        texts: [
            head,
            batch_size,
            prompt_length,
            metric.format(line.baseline.value),
            metric.format(line.candidate.value),
            change,
            format::interval(line),
            format!("({})", format::basis(line)),
            mark(line),
        ],
    }
}

fn mark(line: &ComparedFigure) -> String {
    let word = match (line.verdict, line.replicates_needed) {
        (Verdict::Improved | Verdict::Regressed | Verdict::Provisional, _) => {
            Some(format::verdict(line.verdict).to_owned())
        }
        (Verdict::Inconclusive, Some(replicates)) => Some(format!("needs {replicates}")),
        _ => None,
    };
    let drift = (!line.drift.is_empty()).then(|| "drift".to_owned());
    let median = line.other_median.map(|other| if other.is_tail { "tail" } else { "median" }.to_owned());
    word.into_iter().chain(median).chain(drift).collect::<Vec<_>>().join(", ")
}

fn end_row(end: &EndLine) -> ScreenRow {
    let word = end.verdict.map_or("not significant", format::verdict);
    let none = String::new;
    ScreenRow {
        paint: end.verdict.and_then(|verdict| paint(verdict, word)),
        texts: [
            one_line(&end.engine),
            end.size.batch_size.to_string(),
            end.size.prompt_length.to_string(),
            end.baseline.clone(),
            end.candidate.clone(),
            none(),
            none(),
            match format::end_basis(end).as_str() {
                "" => none(),
                basis => format!("({basis})"),
            },
            word.into(),
        ],
    }
}

fn paint(verdict: Verdict, from: &str) -> Option<Paint> {
    let escape = match verdict {
        Verdict::Regressed => "\u{1b}[31m",
        Verdict::Improved => "\u{1b}[32m",
        Verdict::Unchanged | Verdict::Provisional | Verdict::Inconclusive => return None,
    };
    Some(Paint { from: from.into(), escape })
}

/// What else is said of lines, each with those of which it is said; how many replicates they need stands beside them.
fn remarks(section: &Section) -> String {
    let mut remarks: IndexMap<String, Vec<String>> = IndexMap::new();
    for line in section.cells.iter().chain(&section.means) {
        let name = format!("{} {}", one_line(&line.engine), format::size_or_mean(line));
        for remark in format::remarks(line).into_iter().filter(|remark| !remark.starts_with("needs ")) {
            remarks.entry(remark).or_default().push(name.clone());
        }
    }
    let line = |(text, names): (String, Vec<String>)| match text.split_once(": ") {
        Some((kind @ ("drift" | "tail" | "median"), text)) => {
            format!("{kind} of {}: {text}\n", format::first_few(&names))
        }
        _ => format!("{}: {text}\n", format::first_few(&names)),
    };
    remarks.into_iter().map(line).collect()
}
