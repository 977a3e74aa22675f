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
    if report.lines().any(|(_, line)| line.verdict == Verdict::Inconclusive) {
        text.push_str("~ unchanged, ? inconclusive, needs N: launches a side that would do\n");
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
        text.push_str(&drifts(section));
    }
    if !table.ends.is_empty() {
        let rows: Vec<ScreenRow> = table.ends.iter().map(end_row).collect();
        let _ = write!(text, "\nNot measured on a side\n{}", grid::write(&rows, width, colour));
    }
    for cells in format::only(&table.only_baseline, &table.only_candidate) {
        let _ = writeln!(text, "{cells}");
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
            format::spread(&line.baseline),
            metric.format(line.candidate.value),
            format::spread(&line.candidate),
            change,
            format!("({})", format::basis(line)),
            mark(line),
        ],
    }
}

fn mark(line: &ComparedFigure) -> String {
    let word = match (line.verdict, line.launches_needed) {
        (Verdict::Improved | Verdict::Regressed, _) => Some(format::verdict(line.verdict).to_owned()),
        (Verdict::Inconclusive, Some(launches)) => Some(format!("needs {launches}")),
        _ => None,
    };
    let drift = (!line.drift.is_empty()).then(|| "drift".to_owned());
    word.into_iter().chain(drift).collect::<Vec<_>>().join(", ")
}

fn end_row(end: &EndLine) -> ScreenRow {
    let word = format::verdict(end.verdict);
    let none = String::new;
    ScreenRow {
        paint: paint(end.verdict, word),
        texts: [
            one_line(&end.engine),
            end.size.batch_size.to_string(),
            end.size.prompt_length.to_string(),
            end.baseline.into(),
            none(),
            end.candidate.into(),
            none(),
            none(),
            none(),
            word.into(),
        ],
    }
}

fn paint(verdict: Verdict, from: &str) -> Option<Paint> {
    let escape = match verdict {
        Verdict::Regressed => "\u{1b}[31m",
        Verdict::Improved => "\u{1b}[32m",
        Verdict::Unchanged | Verdict::Inconclusive => return None,
    };
    Some(Paint { from: from.into(), escape })
}

/// What drifted, each with the cells of which it is said.
fn drifts(section: &Section) -> String {
    let mut drifts: IndexMap<&str, Vec<String>> = IndexMap::new();
    for line in section.cells.iter().chain(&section.means) {
        let name = format!("{} {}", one_line(&line.engine), format::size_or_mean(line));
        for drift in &line.drift {
            drifts.entry(drift).or_default().push(name.clone());
        }
    }
    let line = |(text, names): (&str, Vec<String>)| {
        format!("drift of {}: {}\n", format::first_few(&names), one_line(text))
    };
    drifts.into_iter().map(line).collect()
}
