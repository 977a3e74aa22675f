//! Checks that the figures of a table are consistent and possible.
//!
//! [`audit()`] checks every cell against arithmetic and physics: published tables, and those of our own runs. A rule is one
//! function in [`rules`]; a [`Finding`] says which figure breaks it, and the limit. *Impossible* is what can't be true on
//! any machine, so each limit is the most generous that the heading allows; *remarkable* is what a reader must know.

mod checked_table;
mod costs;
mod finding;
mod floor;
mod group;
pub mod rules;

use std::collections::HashMap;

use indexmap::IndexSet;
use results::ResultTable;
use results::hardware::Hardware;

use checked_table::CheckedTable;
pub use finding::{AuditReport, Finding, NotChecked, Severity};
pub use floor::{Floor, Step, Work};
pub use group::FindingGroup;

/// Checks every table by every rule. Findings come in the order of the files, then of their lines.
pub fn audit(tables: &[ResultTable<'_>], hardware: &Hardware) -> AuditReport {
    let files: IndexSet<&str> = tables.iter().map(|table| table.file).collect();
    let tables = tables.iter().enumerate().map(|(index, table)| CheckedTable::new(index, table, hardware));
    let tables: Vec<CheckedTable<'_>> = tables.collect();
    let mut findings: Vec<Finding> = rules::RULES.iter().flat_map(|rule| (rule.check)(&tables)).collect();
    findings.sort_by_cached_key(|finding| {
        (files.get_index_of(finding.file.as_str()), finding.line, finding.severity)
    });
    let mut cells = HashMap::new();
    for (index, table) in tables.iter().enumerate() {
        let measured =
            table.source.rows.iter().filter(|row| row.values.iter().any(|one| one.figure().is_some()));
        for row in measured {
            *cells.entry((index, row.engine.to_owned())).or_default() += 1;
        }
    }
    AuditReport {
        findings,
        cells,
        not_checked: tables.iter().flat_map(CheckedTable::not_checked).collect(),
        tables: tables.len(),
        rows: tables.iter().map(|table| table.source.rows.len()).sum(),
    }
}
