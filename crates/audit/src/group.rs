//! Groups findings by rule, engine and table.

use std::collections::BTreeSet;
use std::fmt;

use indexmap::IndexMap;
use results::one_line;
use serde::Serialize;

use crate::finding::{AuditReport, Finding, Severity, place};
use crate::rules::RULES;

/// The findings of one rule and severity about one engine of a table, or about the table itself.
#[derive(Debug, Clone, Serialize)]
pub struct FindingGroup<'r> {
    /// How bad they are.
    pub severity: Severity,
    /// The rule's name.
    pub rule: &'static str,
    /// The file.
    pub file: &'r str,
    /// The line of the first.
    pub line: usize,
    /// The table's heading.
    pub table: &'r str,
    /// The engine.
    pub engine: Option<&'r str>,
    /// The number of cells concerned.
    pub cells: usize,
    /// Cells with figures that the engine has in the table.
    pub cells_measured: usize,
    /// The least and the most of [`Finding::times`].
    pub times: Option<[f64; 2]>,
    /// What those are multiples of.
    pub measure: &'static str,
    /// The findings, in the order of their lines.
    #[serde(skip)]
    pub findings: Vec<&'r Finding>,
}

impl AuditReport {
    /// The findings by table, engine, rule and severity, in the order of the first of each.
    pub fn groups(&self) -> Vec<FindingGroup<'_>> {
        let mut groups: IndexMap<_, Vec<&Finding>> = IndexMap::new();
        for finding in &self.findings {
            let key = (finding.table_index, finding.severity, finding.rule, finding.engine.as_deref());
            groups.entry(key).or_default().push(finding);
        }
        groups.into_values().filter_map(|findings| self.group(findings)).collect()
    }

    /// The groups about the table at `index` of those that were audited.
    pub fn groups_of_table(&self, index: usize) -> Vec<FindingGroup<'_>> {
        let of_table = |group: &FindingGroup<'_>| group.findings[0].table_index == index;
        self.groups().into_iter().filter(of_table).collect()
    }

    fn group<'r>(&'r self, findings: Vec<&'r Finding>) -> Option<FindingGroup<'r>> {
        let first = *findings.first()?;
        let sizes: BTreeSet<_> = findings.iter().map(|one| (one.batch_size, one.prompt_length)).collect();
        let times = findings.iter().filter_map(|one| one.times).filter(|times| times.is_finite());
        let times = times.fold(None, |range: Option<[f64; 2]>, times| {
            let [least, most] = range.unwrap_or([times; 2]);
            Some([least.min(times), most.max(times)])
        });
        let engine = first.engine.as_deref();
        let measured = engine.and_then(|engine| self.cells.get(&(first.table_index, engine.to_owned())));
        Some(FindingGroup {
            severity: first.severity,
            rule: first.rule,
            file: &first.file,
            line: first.line,
            table: &first.table,
            engine,
            cells: sizes.len(),
            cells_measured: measured.copied().unwrap_or(sizes.len()),
            times,
            measure: RULES.iter().find(|rule| rule.name == first.rule).map_or("", |rule| rule.measure),
            findings,
        })
    }
}

impl FindingGroup<'_> {
    /// The text below its table: without the table's place and name.
    pub fn words(&self) -> String {
        if let [one] = self.findings[..] {
            return one.words();
        }
        let engine = self.engine.map(|engine| format!("{}: ", one_line(engine))).unwrap_or_default();
        format!("{}: {engine}{}: {}", self.severity, self.rule, self.summary())
    }

    /// The rule, and how many cells by how much: `wall-clock-long: 12 of 18 onnxruntime cells, 1.17–1.54 × the sum of its parts`.
    pub fn lead(&self) -> String {
        let engine = self.engine.map(|engine| format!("{} ", one_line(engine))).unwrap_or_default();
        let cells = match self.cells_measured {
            0 => String::new(),
            measured => format!(": {} of {measured} {engine}cells", self.cells),
        };
        let range = self.range().map(|range| format!(", {range}")).unwrap_or_default();
        format!("{}{cells}{range}", self.rule)
    }

    /// `1.17–1.54 × the sum of its parts`; `None` where the findings are no multiples.
    fn range(&self) -> Option<String> {
        let [least, most] = self.times.filter(|_| !self.measure.is_empty())?.map(multiple);
        let range = if least == most { least } else { format!("{least}–{most}") };
        Some(format!("{range} {}", self.measure))
    }

    /// `12 of 18 cells, 1.17–1.54 × the sum of its parts; worst: 16×2048 (line 55), Wall-Clock Latency (s): 28.3 s is …`.
    fn summary(&self) -> String {
        let figures = self.findings.len();
        let figures = if figures > self.cells { format!("{figures} figures in ") } else { String::new() };
        let mut text = format!("{figures}{} of {} cells", self.cells, self.cells_measured);
        if let Some(range) = self.range() {
            text.push_str(&format!(", {range}"));
        }
        let farthest = self.findings.iter().max_by(|one, other| one.distance().total_cmp(&other.distance()));
        if let Some(farthest) = farthest {
            let line = if farthest.line > 0 { format!(" (line {})", farthest.line) } else { String::new() };
            let place = farthest.cell_and_column(&line);
            text.push_str(&format!("; worst: {place}: {}", one_line(&farthest.message)));
        }
        text
    }
}

impl fmt::Display for FindingGroup<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [one] = self.findings[..] {
            return one.fmt(f);
        }
        place(f, self.file, self.line)?;
        let parts = [self.table, self.engine.unwrap_or("")].map(one_line);
        let parts: Vec<&str> = parts.iter().map(String::as_str).filter(|part| !part.is_empty()).collect();
        write!(f, ": {}: {}: {}: {}", self.severity, parts.join(", "), self.rule, self.summary())
    }
}

/// `1.54`, `12.4`, `1003`.
fn multiple(times: f64) -> String {
    match times {
        _ if times < 10.0 => format!("{times:.2}"),
        _ if times < 100.0 => format!("{times:.1}"),
        _ => format!("{times:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::multiple;

    #[test]
    fn multiples_have_three_digits_or_so() {
        assert_eq!([0.4131, 1.54, 12.44, 1003.2].map(multiple), ["0.41", "1.54", "12.4", "1003"]);
    }
}
