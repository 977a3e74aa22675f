//! A run: its folder, and what it holds.

mod error;
mod files;
mod folder;
mod merge;
mod moved;
mod provenance;
mod records;

use std::collections::BTreeMap;
use std::path::Path;

use protocol::{Environment, Measurement, Verification};

use crate::{Table, tables};
pub use error::StoreError;
pub use files::{refuse_foreign, refuse_non_empty};
pub use folder::RunFolder;
pub use merge::{Merged, merge};
pub use provenance::{Differing, differing};
pub use records::{KnownRecords, RecordReader};

/// An earlier run.
#[derive(Debug)]
pub struct Run {
    /// Its folder, as the user named it.
    pub dir: String,
    /// What readers know it by: the folder's own name.
    pub name: String,
    /// Its tables, with all records.
    pub tables: Vec<Table>,
    /// The environment of each of its parts.
    pub environments: Vec<Environment>,
    /// Each part's sweep: its settings by dotted key.
    pub settings: Vec<BTreeMap<String, String>>,
    /// How its engines agreed.
    pub verifications: Vec<Verification>,
    /// How many records its last sweep asks for.
    pub expected: usize,
}

impl Run {
    /// Reads the run in `dir`. A torn last record is left out.
    ///
    /// # Errors
    /// Where a file of it can't be read, or is not what it should be.
    pub fn read(dir: &Path) -> Result<Self, StoreError> {
        let kind = dir.metadata().map_err(error::at(dir))?;
        if !kind.is_dir() {
            let what =
                if kind.is_file() { "no run's folder" } else { "not a regular file, and no run's folder" };
            return Err(error::at(dir)(std::io::Error::other(what)));
        }
        let (facts, records) = folder::read_run(dir)?;
        let folder::RunFacts { environments, settings, verifications, expected } = facts;
        let own_name =
            dir.canonicalize().ok().and_then(|dir| Some(dir.file_name()?.to_string_lossy().into_owned()));
        let dir = dir.display().to_string();
        let mut tables = tables(records, &verifications, &environments);
        if settings.iter().any(|settings| settings.get("isolation").is_some_and(|value| value == "\"turn\""))
        {
            tables.iter_mut().for_each(Table::note_turns);
        }
        Ok(Self {
            name: own_name.unwrap_or_else(|| dir.clone()),
            dir,
            tables,
            environments,
            settings,
            verifications,
            expected,
        })
    }

    /// All its records, table by table and cell by cell.
    pub fn records(&self) -> impl Iterator<Item = &Measurement> {
        self.tables.iter().flat_map(Table::records)
    }

    /// How many records its sweep asks for and it lacks.
    pub fn missing(&self) -> usize {
        self.expected.saturating_sub(self.records().count())
    }

    /// Whether its rows were asked for one by one, and not as a grid.
    pub fn lists_rows(&self) -> bool {
        self.settings.iter().any(|sweep| sweep.contains_key("rows"))
    }
}
