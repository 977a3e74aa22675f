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
    /// Its 95 % interval, where that is known.
    pub(crate) interval: String,
    /// What the verdict rests on.
    pub(crate) basis: String,
    /// What else is said of it, such as what an inconclusive one needs, and what drifted; mostly empty.
    pub(crate) remark: String,
    /// Replicates a side that an inconclusive one needs.
    pub(crate) replicates_needed: Option<usize>,
    /// Something drifted.
    pub(crate) drifted: bool,
    /// The verdict; `None` of an end that decides nothing.
    pub(crate) verdict: Option<Verdict>,
}

impl<'a> Statement<'a> {
    pub(crate) fn from_figure(heading: &'a str, metric: Metric, line: &ComparedFigure) -> Self {
        Self {
            heading,
            engine: one_line(&line.engine),
            size: format::size_or_mean(line),
            metric: Some(metric),
            baseline: format::figure(metric, &line.baseline),
            candidate: format::figure(metric, &line.candidate),
            ratio: line.ratio,
            change: format::change(line),
            interval: format::interval(line),
            basis: format::basis(line),
            remark: format::remarks(line).join("; "),
            replicates_needed: line.replicates_needed,
            drifted: !line.drift.is_empty(),
            verdict: Some(line.verdict),
        }
    }

    pub(crate) fn from_end(heading: &'a str, end: &EndLine) -> Self {
        Self {
            heading,
            engine: one_line(&end.engine),
            size: end.size.to_string(),
            metric: None,
            baseline: end.baseline.clone(),
            candidate: end.candidate.clone(),
            ratio: f64::INFINITY,
            change: String::new(),
            interval: String::new(),
            basis: format::end_basis(end),
            remark: String::new(),
            replicates_needed: None,
            drifted: false,
            verdict: end.verdict,
        }
    }

    /// The verdict in a word; of an end that decides nothing, that.
    pub(crate) fn verdict_word(&self) -> &'static str {
        self.verdict.map_or("not significant", format::verdict)
    }

    /// All of it but its name: `12.07 ms → 13.20 ms, +9.4% (95 % CI +8.1…+10.8%, p=0.002 n=6 pairs)`.
    pub(crate) fn sentence(&self) -> String {
        let mut sentence = format!("{} → {}", self.baseline, self.candidate);
        if !self.change.is_empty() {
            let interval =
                if self.interval.is_empty() { String::new() } else { format!("95 % CI {}, ", self.interval) };
            let _ = write!(sentence, ", {} ({interval}{})", self.change, self.basis);
        } else if !self.basis.is_empty() {
            let _ = write!(sentence, " ({})", self.basis);
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
