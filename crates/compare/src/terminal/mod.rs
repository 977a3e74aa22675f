//! A comparison for a screen.

mod grid;

use std::fmt::Write as _;

use results::one_line;
use stats::Verdict;

use crate::words;
use crate::{CellName, ComparedTable, EndLine, Line, Metric, Report, Section};
use grid::{Paint, ScreenRow};

/// What differs, then each table metric by metric, then how often each verdict was given. Without a width, every column;
/// with `colour`, ANSI escapes for what regressed and what improved.
pub fn write(report: &Report, width: Option<u16>, colour: bool) -> String {
    let mut text = format!("{} → {}\n", one_line(&report.baseline), one_line(&report.candidate));
    for difference in &report.differences {
        let _ = writeln!(text, "{}", words::difference(difference));
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
    let mut text = format!("{}\n", words::heading(&table.baseline, &table.candidate));
    for section in &table.sections {
        let threshold = words::threshold(section.threshold);
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
    for cells in words::only(&table.only_baseline, &table.only_candidate) {
        let _ = writeln!(text, "{cells}");
    }
    text
}

fn row(metric: Metric, line: &Line) -> ScreenRow {
    let engine = one_line(&line.engine);
    let [head, batch_size, prompt_length] = match line.size {
        Some(size) => [engine, size.batch_size.to_string(), size.prompt_length.to_string()],
        None => [format!("geomean {engine}"), String::new(), String::new()],
    };
    let change = words::change(line);
    ScreenRow {
        paint: paint(line.verdict, &change),
        texts: [
            head,
            batch_size,
            prompt_length,
            metric.format(line.baseline.value),
            words::spread(&line.baseline),
            metric.format(line.candidate.value),
            words::spread(&line.candidate),
            change,
            format!("({})", words::basis(line)),
            mark(line),
        ],
    }
}

fn mark(line: &Line) -> String {
    let word = match (line.verdict, line.launches_needed) {
        (Verdict::Improved | Verdict::Regressed, _) => Some(words::verdict(line.verdict).to_owned()),
        (Verdict::Inconclusive, Some(launches)) => Some(format!("needs {launches}")),
        _ => None,
    };
    let drift = (!line.drift.is_empty()).then(|| "drift".to_owned());
    word.into_iter().chain(drift).collect::<Vec<_>>().join(", ")
}

fn end_row(end: &EndLine) -> ScreenRow {
    let word = words::verdict(end.verdict);
    let CellName { engine, size } = &end.cell;
    let none = String::new;
    ScreenRow {
        paint: paint(end.verdict, word),
        texts: [
            one_line(engine),
            size.batch_size.to_string(),
            size.prompt_length.to_string(),
            one_line(&end.baseline),
            none(),
            one_line(&end.candidate),
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
    let mut drifts: Vec<(&str, Vec<String>)> = vec![];
    for line in section.cells.iter().chain(&section.means) {
        let name = format!("{} {}", one_line(&line.engine), words::size_or_mean(line));
        for drift in &line.drift {
            match drifts.iter_mut().find(|(text, _)| text == drift) {
                Some((_, names)) => names.push(name.clone()),
                None => drifts.push((drift, vec![name.clone()])),
            }
        }
    }
    let line = |(text, names): &(&str, Vec<String>)| {
        format!("drift of {}: {}\n", words::first_few(names), one_line(text))
    };
    drifts.iter().map(line).collect()
}
