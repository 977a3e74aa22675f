//! What a path names: a run's folder, or a file with published tables.

use std::io;
use std::path::Path;

use protocol::MeasuredCeilings;

use crate::published::{self, Document, PublishedError};
use crate::{ResultTable, Run, StoreError, Table};

/// Results, and where they come from.
#[derive(Debug)]
pub enum Source {
    /// A run of our own, with its series.
    Run(Run),
    /// A file of tables.
    File(PublishedFile),
}

/// A file of published tables.
#[derive(Debug)]
pub struct PublishedFile {
    /// The file, as the user named it.
    pub name: String,
    /// What it holds.
    pub document: Document,
}

/// A path that can't be read as results.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// It is no run.
    #[error(transparent)]
    Run(#[from] StoreError),
    /// It is no file of tables.
    #[error(transparent)]
    Published(#[from] PublishedError),
    /// It can't be read.
    #[error("{name}: {error}")]
    Io {
        /// The file.
        name: String,
        /// Why.
        error: io::Error,
    },
}

impl Source {
    /// Reads a run's folder, or a markdown, csv or json file with tables of the published schema.
    ///
    /// # Errors
    /// Where it is neither.
    pub fn read(path: &Path) -> Result<Self, SourceError> {
        if path.is_file() {
            PublishedFile::read(path).map(Self::File)
        } else {
            Ok(Self::Run(Run::read(path)?))
        }
    }

    /// What the user called it.
    pub fn name(&self) -> &str {
        match self {
            Self::Run(run) => &run.dir,
            Self::File(file) => &file.name,
        }
    }

    /// Its tables.
    pub fn tables(&self) -> Vec<ResultTable<'_>> {
        match self {
            Self::Run(run) => run.result_tables(),
            Self::File(file) => file.tables(),
        }
    }

    /// The run; `None` where it is a file.
    pub fn run(&self) -> Option<&Run> {
        match self {
            Self::Run(run) => Some(run),
            Self::File(_) => None,
        }
    }
}

impl Run {
    /// Its tables, as published ones are read.
    pub fn result_tables(&self) -> Vec<ResultTable<'_>> {
        let lists_rows = self.lists_rows();
        let measured = |table| {
            let measured_ceilings = self.measured_ceilings(table);
            ResultTable { lists_rows, measured_ceilings, ..ResultTable::measured(&self.dir, table) }
        };
        self.tables.iter().map(measured).collect()
    }

    /// The peaks that the run measured of the device of one of its tables.
    fn measured_ceilings(&self, table: &Table) -> Option<&MeasuredCeilings> {
        let mut measured = self.environments.iter().filter_map(|environment| environment.ceilings.as_ref());
        measured.find(|ceilings| ceilings.device == table.key.device)
    }
}

impl PublishedFile {
    /// Reads a file of tables.
    ///
    /// # Errors
    /// Where it can't be read, or has no table of the published schema.
    pub fn read(path: &Path) -> Result<Self, SourceError> {
        let name = path.display().to_string();
        match llama::read_text(path) {
            Ok(text) => Ok(Self { document: published::parse(&text, &name)?, name }),
            Err(error) => Err(SourceError::Io { name, error }),
        }
    }

    /// The published LLaMA-2 tables that are compiled in.
    pub fn built_in() -> Self {
        Self { name: published::LLAMA2_A100_FILE.into(), document: published::built_in() }
    }

    /// Its tables.
    pub fn tables(&self) -> Vec<ResultTable<'_>> {
        self.document.tables().map(|table| ResultTable::published(&self.name, table)).collect()
    }
}
