//! What an audit says.

use std::collections::{BTreeSet, HashMap};
use std::fmt;

use results::one_line;
use serde::Serialize;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Can't be true.
    Impossible,
    /// Can be true, and a reader must know.
    Remarkable,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Impossible => "impossible",
            Self::Remarkable => "remarkable",
        })
    }
}

/// A figure, row or table that breaks a rule.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Finding {
    /// The table's place among those that were audited, from 0.
    #[serde(skip)]
    pub table_index: usize,
    /// How bad it is.
    pub severity: Severity,
    /// The rule's name.
    pub rule: &'static str,
    /// The file.
    pub file: String,
    /// The line in it, from 1; 0 for a table that is in no file.
    pub line: usize,
    /// The table's heading.
    pub table: String,
    /// The engine, where it is about one.
    pub engine: Option<String>,
    /// The row's batch size, where it is about one row.
    pub batch_size: Option<u32>,
    /// The row's prompt length, where it is about one row.
    pub prompt_length: Option<u32>,
    /// The column's header, where it is about one.
    pub column: Option<&'static str>,
    /// The figure that breaks the rule, in the column's unit; where there is no column, the rule's own measure: bytes of
    /// memory, a ratio, a count of cells.
    pub figure: Option<f64>,
    /// The limit that it breaks, in the same unit.
    pub limit: Option<f64>,
    /// The figure as a multiple of [`crate::rules::Rule::measure`].
    pub times: Option<f64>,
    /// What is wrong, in words and with the figures.
    pub message: String,
}

/// A check that was not possible, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NotChecked {
    /// The file.
    pub file: String,
    /// The table's line.
    pub line: usize,
    /// The table's heading.
    pub table: String,
    /// What was not checked, and why.
    pub what: String,
}

/// The result of an audit. Its `Display` is one line a group of findings, one a table that could not be checked whole, and a
/// summary.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct AuditReport {
    /// The findings, in the order of files and lines.
    pub findings: Vec<Finding>,
    /// What could not be checked.
    pub not_checked: Vec<NotChecked>,
    /// Tables that were checked.
    pub tables: usize,
    /// Their rows.
    pub rows: usize,
    /// Cells with figures, by the table's place and engine.
    #[serde(skip)]
    pub(crate) cells: HashMap<(usize, String), usize>,
}

impl AuditReport {
    /// Findings of a severity.
    pub fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|finding| finding.severity == severity).count()
    }

    /// Whether a figure is impossible.
    pub fn is_impossible(&self) -> bool {
        self.count(Severity::Impossible) > 0
    }

    /// One line a finding, ungrouped, and the rest as in the `Display`.
    pub fn details(&self) -> String {
        self.lines(&self.findings)
    }

    fn lines(&self, findings: &[impl fmt::Display]) -> String {
        let findings = findings.iter().map(|finding| format!("{finding}\n"));
        let not_checked = self.not_checked.iter().map(|not_checked| format!("{not_checked}\n"));
        findings.chain(not_checked).chain([format!("{}\n", self.summary())]).collect()
    }

    /// JSON for programs: the findings, their groups, what was not checked, and a summary.
    pub fn to_json(&self) -> String {
        let summary = serde_json::json!({
            "tables": self.tables,
            "rows": self.rows,
            "impossible": self.count(Severity::Impossible),
            "remarkable": self.count(Severity::Remarkable),
        });
        let report = serde_json::json!({
            "summary": summary,
            "groups": self.groups(),
            "findings": self.findings,
            "not_checked": self.not_checked,
        });
        format!("{report:#}\n")
    }

    /// `108 rows in 3 tables: 23 figures impossible in 13 rows, 10 remarkable`.
    pub fn summary(&self) -> String {
        let count = |number: usize, what: &str| match number {
            1 => format!("1 {what}"),
            _ => format!("{number} {what}s"),
        };
        let impossible = self.findings.iter().filter(|finding| finding.severity == Severity::Impossible);
        let rows: BTreeSet<_> = impossible.map(|finding| (finding.table_index, finding.line)).collect();
        let words = match (self.count(Severity::Impossible), self.count(Severity::Remarkable)) {
            (0, 0) => "no findings".to_owned(),
            (0, remarkable) => format!("nothing impossible, {remarkable} remarkable"),
            (impossible, remarkable) => {
                let rows = count(rows.len(), "row");
                format!("{} impossible in {rows}, {remarkable} remarkable", count(impossible, "figure"))
            }
        };
        format!("{} in {}: {words}", count(self.rows, "row"), count(self.tables, "table"))
    }
}

impl Finding {
    /// The text below its table: without the table's place and name.
    pub fn words(&self) -> String {
        let place = self.place();
        let place = if place.is_empty() { place } else { format!("{place}: ") };
        format!("{}: {place}{}: {}", self.severity, self.rule, one_line(&self.message))
    }

    /// Cell, column and message, below a heading that says rule and engine.
    pub fn detail(&self) -> String {
        let place = self.cell_and_column("");
        let place = if place.is_empty() { place } else { format!("{place}: ") };
        format!("{place}{}", one_line(&self.message))
    }

    /// Engine, cell and column, as far as it is about one.
    fn place(&self) -> String {
        let engine = self.engine.as_deref().map(one_line);
        let place = Some(self.cell_and_column("")).filter(|place| !place.is_empty());
        let separator = if self.batch_size.is_some() { " " } else { ", " };
        engine.into_iter().chain(place).collect::<Vec<_>>().join(separator)
    }

    /// Cell and column, as far as it is about one, with `after` behind the cell.
    pub(crate) fn cell_and_column(&self, after: &str) -> String {
        let cell = self.batch_size.zip(self.prompt_length);
        let cell = cell.map(|(batch, prompt)| format!("{batch}×{prompt}{after}"));
        cell.into_iter().chain(self.column.map(str::to_owned)).collect::<Vec<_>>().join(", ")
    }

    /// The distance from its limit, upwards or downwards.
    pub(crate) fn distance(&self) -> f64 {
        self.times.map_or(0.0, |times| times.ln().abs())
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        place(f, &self.file, self.line)?;
        let parts: Vec<String> =
            [one_line(&self.table), self.place()].into_iter().filter(|part| !part.is_empty()).collect();
        write!(f, ": {}: {}: {}: {}", self.severity, parts.join(", "), self.rule, one_line(&self.message))
    }
}

impl fmt::Display for NotChecked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        place(f, &self.file, self.line)?;
        write!(f, ": {}: not checked: {}", one_line(&self.table), one_line(&self.what))
    }
}

impl fmt::Display for AuditReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines(&self.groups()))
    }
}

pub(crate) fn place(f: &mut fmt::Formatter<'_>, file: &str, line: usize) -> fmt::Result {
    match line {
        0 => f.write_str(&one_line(file)),
        _ => write!(f, "{}:{line}", one_line(file)),
    }
}
