//! A line or an end in words, with the table that it belongs to.

use std::fmt::Write as _;

use results::{Metric, one_line};
use stats::Verdict;

use crate::format;
use crate::{ComparedFigure, EndLine, Report};

/// What is said of one cell or mean. Its texts are on one line, and not escaped for any format.
pub(crate) struct Statement<'a> {
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

impl<'a> Statement<'a> {
    pub(crate) fn from_figure(heading: &'a str, metric: Metric, line: &ComparedFigure) -> Self {
        let needed = line.launches_needed.map(|launches| format!("needs {launches} launches a side"));
        let drift = line.drift.iter().map(|drift| format!("drift: {}", one_line(drift)));
        Self {
            heading,
            engine: one_line(&line.engine),
            size: format::size_or_mean(line),
            metric: Some(metric),
            baseline: format::figure(metric, &line.baseline),
            candidate: format::figure(metric, &line.candidate),
            ratio: line.ratio,
            change: format::change(line),
            basis: format::basis(line),
            remark: needed.into_iter().chain(drift).collect::<Vec<_>>().join("; "),
            launches_needed: line.launches_needed,
            drifted: !line.drift.is_empty(),
            verdict: line.verdict,
        }
    }

    pub(crate) fn from_end(heading: &'a str, end: &EndLine) -> Self {
        Self {
            heading,
            engine: one_line(&end.engine),
            size: end.size.to_string(),
            metric: None,
            baseline: end.baseline.into(),
            candidate: end.candidate.into(),
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

    /// The statements of all tables.
    pub(crate) fn all<'r>(
        report: &'r Report,
        headings: &'a [String],
    ) -> impl Iterator<Item = Statement<'a>> + use<'r, 'a> {
        report.tables.iter().zip(headings).flat_map(|(table, heading)| {
            let lines = table.sections.iter().flat_map(move |section| {
                let lines = section.cells.iter().chain(&section.means);
                lines.map(move |line| Self::from_figure(heading, section.metric, line))
            });
            lines.chain(table.ends.iter().map(move |end| Self::from_end(heading, end)))
        })
    }
}

/// The tables' headings, on one line.
pub(crate) fn headings(report: &Report) -> Vec<String> {
    report.tables.iter().map(|table| format::heading(&table.baseline, &table.candidate)).collect()
}
