//! A line or an end in words, with the table that it belongs to.

use std::fmt::Write as _;

use results::one_line;
use stats::Verdict;

use crate::words;
use crate::{EndLine, Line, Metric, Report};

/// What is said of one cell or mean. Its texts are on one line, and not escaped for any format.
pub(crate) struct Finding<'a> {
    /// The table's heading.
    pub(crate) heading: &'a str,
    /// The engine.
    pub(crate) engine: String,
    /// `1×16`, or `geomean`.
    pub(crate) size: String,
    /// The metric; `None` for an end.
    pub(crate) metric: Option<Metric>,
    /// The baseline's figure or end.
    pub(crate) baseline: String,
    /// The candidate's figure or end.
    pub(crate) candidate: String,
    /// The candidate's figure over the baseline's; infinite for an end.
    pub(crate) ratio: f64,
    /// The change; empty for an end.
    pub(crate) change: String,
    /// What the verdict rests on; empty for an end.
    pub(crate) basis: String,
    /// What an inconclusive one needs, and what drifted; mostly empty.
    pub(crate) remark: String,
    /// Launches a side that an inconclusive one needs.
    pub(crate) launches_needed: Option<usize>,
    /// Something drifted.
    pub(crate) drifted: bool,
    /// The verdict.
    pub(crate) verdict: Verdict,
}

impl<'a> Finding<'a> {
    pub(crate) fn of_line(heading: &'a str, metric: Metric, line: &Line) -> Self {
        let needed = line.launches_needed.map(|launches| format!("needs {launches} launches a side"));
        let drift = line.drift.iter().map(|drift| format!("drift: {}", one_line(drift)));
        Self {
            heading,
            engine: one_line(&line.engine),
            size: words::size_or_mean(line),
            metric: Some(metric),
            baseline: words::figure(metric, &line.baseline),
            candidate: words::figure(metric, &line.candidate),
            ratio: line.ratio,
            change: words::change(line),
            basis: words::basis(line),
            remark: needed.into_iter().chain(drift).collect::<Vec<_>>().join("; "),
            launches_needed: line.launches_needed,
            drifted: !line.drift.is_empty(),
            verdict: line.verdict,
        }
    }

    pub(crate) fn of_end(heading: &'a str, end: &EndLine) -> Self {
        Self {
            heading,
            engine: one_line(&end.cell.engine),
            size: words::size(end.cell.size),
            metric: None,
            baseline: one_line(&end.baseline),
            candidate: one_line(&end.candidate),
            ratio: f64::INFINITY,
            change: String::new(),
            basis: String::new(),
            remark: String::new(),
            launches_needed: None,
            drifted: false,
            verdict: end.verdict,
        }
    }

    /// All of it but its name: `12.07 ms ± 1% → 13.20 ms ± 1%, +9.4% (p=0.002 n=6+6)`.
    pub(crate) fn sentence(&self) -> String {
        let mut sentence = format!("{} → {}", self.baseline, self.candidate);
        if !self.change.is_empty() {
            let _ = write!(sentence, ", {} ({})", self.change, self.basis);
        }
        if !self.remark.is_empty() {
            let _ = write!(sentence, "; {}", self.remark);
        }
        sentence
    }

    /// Of all tables.
    pub(crate) fn all<'r>(
        report: &'r Report,
        headings: &'a [String],
    ) -> impl Iterator<Item = Finding<'a>> + use<'r, 'a> {
        report.tables.iter().zip(headings).flat_map(|(table, heading)| {
            let lines = table.sections.iter().flat_map(move |section| {
                let lines = section.cells.iter().chain(&section.means);
                lines.map(move |line| Self::of_line(heading, section.metric, line))
            });
            lines.chain(table.ends.iter().map(move |end| Self::of_end(heading, end)))
        })
    }
}

/// The tables' headings, on one line.
pub(crate) fn headings(report: &Report) -> Vec<String> {
    report.tables.iter().map(|table| words::heading(&table.baseline, &table.candidate)).collect()
}
