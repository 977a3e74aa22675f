//! Results of other tools, read into the columns that this program knows.
//!
//! An [`Importer`] reads the records of one tool. What a figure is there (of which forwards, of one run or of several) its file says,
//! with the tool's source; a figure that is none of [`Column`]'s is kept under its own name.

mod llama_bench;
mod optimum_benchmark;
mod record;
mod rows;
mod sglang;
mod vllm_latency;

use std::collections::{BTreeMap, HashSet};

use serde::de::IgnoredAny;

pub(crate) use record::{ImportError, Record};
pub(crate) use rows::{ImportedRow, ImportedTable, ImportedWeights};

use crate::Column;
use crate::published::ReadOptions;

/// Reads the results of one tool.
trait Importer: Sync {
    /// The tool's name.
    fn name(&self) -> &'static str;

    /// Whether a record with these keys is one of the tool's.
    fn recognises(&self, keys: &RecordKeys) -> bool;

    /// The name of a file that the tool writes beside this one, with what this one does not say.
    fn beside(&self) -> Option<&'static str> {
        None
    }

    /// Reads the tool's records; `beside` is the text of [`Importer::beside`], where there is one.
    ///
    /// # Errors
    /// Where a record lacks something, or can't be what the tool writes.
    fn read(
        &self,
        records: &[Record<'_>],
        beside: Option<&str>,
        options: &ReadOptions,
    ) -> Result<Imported, ImportError>;
}

const IMPORTERS: [&dyn Importer; 4] = [
    &llama_bench::LlamaBenchImporter,
    &sglang::Sglang,
    &vllm_latency::VllmLatency,
    &optimum_benchmark::OptimumBenchmark,
];

/// The keys of a record.
struct RecordKeys(HashSet<String>);

impl RecordKeys {
    fn has(&self, keys: &[&str]) -> bool {
        keys.iter().all(|key| self.0.contains(*key))
    }
}

/// What an importer makes of a file.
struct Imported {
    rows: Vec<ImportedRow>,
    /// What its figures are, and what of the file is not read, a sentence each.
    remarks: Vec<String>,
}

/// The tables of a tool's file.
pub(crate) struct ImportedFile {
    /// The tool.
    pub(crate) tool: &'static str,
    pub(crate) tables: Vec<ImportedTable>,
    pub(crate) remarks: Vec<String>,
}

/// Reads a tool's file; `None` where it is no tool's. `beside` reads a file of the same folder by its name.
pub(crate) fn read(
    text: &str,
    options: &ReadOptions,
    beside: &dyn Fn(&str) -> Option<String>,
) -> Option<Result<ImportedFile, ImportError>> {
    let records = Record::all(text);
    let first = match &records {
        Ok(records) => *records.first()?,
        Err(_) => Record::first(text)?,
    };
    let importer = importer(&first)?;
    Some(records.and_then(|records| {
        let other = records.iter().find(|record| !is_of(importer, record));
        if let Some(other) = other {
            let what = format!("not a record of {}, as the first one of the file is", importer.name());
            return Err(other.error(what));
        }
        let beside = importer.beside().and_then(beside);
        let Imported { rows, remarks } = importer.read(&records, beside.as_deref(), options)?;
        let tables = rows::tables(rows, options)?;
        Ok(ImportedFile { tool: importer.name(), tables, remarks })
    }))
}

fn importer(record: &Record<'_>) -> Option<&'static dyn Importer> {
    IMPORTERS.into_iter().find(|importer| is_of(*importer, record))
}

fn is_of(importer: &dyn Importer, record: &Record<'_>) -> bool {
    let keys = record.read::<BTreeMap<String, IgnoredAny>>();
    keys.is_ok_and(|keys| importer.recognises(&RecordKeys(keys.into_keys().collect())))
}

/// The tools that can be read.
pub(crate) fn tools() -> String {
    IMPORTERS.map(Importer::name).join(", ")
}
