//! A comparison for a screen.

mod grid;

use std::fmt::Write as _;

use indexmap::{IndexMap, IndexSet};
use results::screen::{left_out_note, wrapped};
use results::{Exported, Exporter, Metric, Terminal, one_line};
use stats::Verdict;

use crate::format;
use crate::{ComparedFigure, ComparedTable, EndLine, Report, Section};
use grid::{Paint, ScreenRow};

/// Differences and notes, then each table metric by metric, then how often each verdict was given. What regressed and what improved is
/// coloured.
impl Exporter<Report> for Terminal {
    fn name(&self) -> &'static str {
        "terminal"
    }

    fn write(&self, report: &Report) -> Exported {
        let mut screen = Screen { text: String::new(), left_out: IndexSet::new(), terminal: *self };
        screen.line(&format!("{} → {}", one_line(&report.baseline), one_line(&report.candidate)));
        report.differences.iter().for_each(|difference| screen.line(&format::difference(difference)));
        for note in &report.notes {
            screen.text.push_str(&wrapped("! ", &one_line(note), self.width));
        }
        report.tables.iter().for_each(|table| screen.table(table));
        screen.text.push('\n');
        format::missing(&report.missing).iter().for_each(|missing| screen.line(missing));
        let has = |verdicts: &[Verdict]| report.lines().any(|(_, line)| verdicts.contains(&line.verdict));
        let needs = |line: &ComparedFigure| line.replicates_needed.is_some();
        let legend = [
            (has(&[Verdict::Unchanged]), "~ unchanged"),
            (has(&[Verdict::Inconclusive, Verdict::Provisional]), "? inconclusive or provisional"),
            (
                report.lines().any(|(_, line)| needs(line)),
                "needs N: replicates per side for a verdict (estimate)",
            ),
        ];
        let legend: Vec<&str> =
            legend.into_iter().filter(|(occurs, _)| *occurs).map(|(_, text)| text).collect();
        screen.line(&legend.join(", "));
        let left_out: Vec<String> = screen.left_out.iter().cloned().collect();
        screen.text.push_str(&left_out_note(&left_out, "all columns: --format markdown", self.width));
        screen.line(&report.counts().to_string());
        screen.text.into()
    }
}

/// What is written so far, and the columns that the screen has no room for.
struct Screen {
    text: String,
    left_out: IndexSet<String>,
    terminal: Terminal,
}

impl Screen {
    fn line(&mut self, text: &str) {
        self.text.push_str(&wrapped("", text, self.terminal.width));
    }

    fn grid(&mut self, rows: &[ScreenRow]) {
        let (grid, left_out) = grid::write(rows, self.terminal);
        self.text.push_str(&grid);
        self.left_out.extend(left_out);
    }

    fn table(&mut self, table: &ComparedTable) {
        self.text.push('\n');
        self.line(&format::heading(&table.baseline, &table.candidate));
        for section in &table.sections {
            let threshold = format::threshold(section.threshold);
            let _ = writeln!(self.text, "\n{}, threshold {threshold}", section.metric.title());
            let lines = section.cells.iter().chain(&section.means);
            self.grid(&lines.map(|line| row(section.metric, line)).collect::<Vec<_>>());
            remarks(section).iter().for_each(|remark| self.line(remark));
        }
        if !table.ends.is_empty() {
            self.text.push_str("\nReplicates that failed\n");
            self.grid(&table.ends.iter().map(end_row).collect::<Vec<_>>());
        }
        format::missing(&table.missing).iter().for_each(|missing| self.line(missing));
    }
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

/// Remarks on the rows of a section, each with the rows that it is about; how many replicates they need stands beside them.
fn remarks(section: &Section) -> Vec<String> {
    let mut remarks: IndexMap<String, Vec<String>> = IndexMap::new();
    for line in section.cells.iter().chain(&section.means) {
        let name = format!("{} {}", one_line(&line.engine), format::size_or_mean(line));
        for remark in format::remarks(line).into_iter().filter(|remark| !remark.starts_with("needs ")) {
            remarks.entry(remark).or_default().push(name.clone());
        }
    }
    let line = |(text, names): (String, Vec<String>)| match text.split_once(": ") {
        Some((kind @ ("drift" | "tail" | "median"), text)) => {
            format!("{kind} of {}: {text}", format::first_few(&names))
        }
        _ => format!("{}: {text}", format::first_few(&names)),
    };
    remarks.into_iter().map(line).collect()
}
