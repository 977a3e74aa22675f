//! Do the figures of a table hold together?
//!
//! [`audit`] checks every cell against arithmetic and physics: published tables, and those of our own runs. A rule is one
//! function in [`rules`]; a [`Finding`] says which figure breaks it, and the limit. *Impossible* is what can't be true
//! whoever measured it, so each limit is the most generous that the heading allows; *remarkable* is what a reader must know.

mod context;
mod finding;
mod floor;
mod hardware;
mod models;
pub mod rules;

use llama::LlamaConfig;
use results::published::{Document, PublishedTable};

pub use finding::{Finding, NotChecked, Report, Severity};
pub use floor::{Floor, Step, Work};
pub use hardware::{Ceiling, Ceilings, DEFAULT_HARDWARE, Hardware, HardwareError};

/// A table, and what is known of it beyond what it says.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditedTable {
    /// The file that it stands in, for findings.
    pub file: String,
    /// The table.
    pub table: PublishedTable,
    /// Decode forwards of a generation; `None` takes it from the wall-clock columns, 256 where they do not say.
    pub generation_length: Option<u32>,
    /// The model's config; `None` takes that of the model which the heading names.
    pub config: Option<LlamaConfig>,
    /// What the device can do; `None` takes the peaks of the device that the heading names.
    pub ceilings: Option<Ceilings>,
    /// Its rows were asked for one by one: none is missing.
    pub lists_rows: bool,
}

impl AuditedTable {
    /// A table of `file` of which nothing more is known.
    pub fn new(file: &str, table: PublishedTable) -> Self {
        Self {
            file: file.into(),
            table,
            generation_length: None,
            config: None,
            ceilings: None,
            lists_rows: false,
        }
    }

    /// The tables of a document.
    pub fn of(file: &str, document: &Document) -> Vec<Self> {
        document.tables().map(|table| Self::new(file, table.clone())).collect()
    }
}

/// Checks every table by every rule. Findings stand in the order of the files, then of their lines.
pub fn audit(tables: &[AuditedTable], hardware: &Hardware) -> Report {
    let tables: Vec<_> = tables.iter().map(|table| context::Table::new(table, hardware)).collect();
    let mut findings: Vec<Finding> = rules::RULES.iter().flat_map(|rule| (rule.check)(&tables)).collect();
    let mut files: Vec<&str> = Vec::new();
    for table in &tables {
        if !files.contains(&table.file) {
            files.push(table.file);
        }
    }
    findings.sort_by_cached_key(|finding| {
        (files.iter().position(|file| *file == finding.file), finding.line, finding.severity)
    });
    Report {
        findings,
        not_checked: tables.iter().flat_map(context::Table::not_checked).collect(),
        tables: tables.len(),
        rows: tables.iter().map(|table| table.rows.len()).sum(),
    }
}
