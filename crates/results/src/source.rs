//! What a path names: a run's folder, or a file with published tables.

use std::io;
use std::path::Path;

use protocol::MeasuredPeaks;

use crate::published::{self, Document, Edition, PublishedError, ReadOptions};
use crate::{Heading, ResultTable, Run, StoreError, Table};

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
    /// Reads a run's folder, or what [`PublishedFile::read`] reads.
    ///
    /// # Errors
    /// Where it is neither.
    pub fn read(path: &Path) -> Result<Self, SourceError> {
        Self::read_with(path, &ReadOptions::default())
    }

    /// Reads as [`Source::read`] does, with what the caller says of a file's tables that do not say it.
    ///
    /// # Errors
    /// Where it is neither.
    pub fn read_with(path: &Path, options: &ReadOptions) -> Result<Self, SourceError> {
        if PublishedFile::is_named(path) {
            PublishedFile::read_with(path, options).map(Self::File)
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
            let measured_peaks = self.measured_peaks(table);
            ResultTable { lists_rows, measured_peaks, ..ResultTable::measured(&self.dir, table) }
        };
        self.tables.iter().map(measured).collect()
    }

    /// The peaks that the run measured of the device of one of its tables.
    fn measured_peaks(&self, table: &Table) -> Option<&MeasuredPeaks> {
        let mut measured = self.environments.iter().filter_map(|environment| environment.peaks.as_ref());
        measured.find(|peaks| peaks.device == table.key.device)
    }
}

impl PublishedFile {
    /// Whether a path names a file, or a built-in edition where nothing of that name is there.
    pub fn is_named(path: &Path) -> bool {
        path.is_file() || Self::edition(path).is_some()
    }

    /// The edition that a path names.
    fn edition(path: &Path) -> Option<Edition> {
        Edition::ALL.into_iter().find(|edition| Path::new(edition.name()) == path).filter(|_| !path.exists())
    }

    /// Reads a file of tables, or a built-in edition by its name: `llama2-a100-2024`.
    ///
    /// # Errors
    /// Where it can't be read, or has no table of this program's kind.
    pub fn read(path: &Path) -> Result<Self, SourceError> {
        Self::read_with(path, &ReadOptions::default())
    }

    /// Reads as [`PublishedFile::read`] does, with what the caller says of tables that do not say it.
    ///
    /// # Errors
    /// Where it can't be read, or has no table of this program's kind.
    pub fn read_with(path: &Path, options: &ReadOptions) -> Result<Self, SourceError> {
        if let Some(edition) = Self::edition(path) {
            return Ok(Self::from_edition(edition));
        }
        let name = path.display().to_string();
        match llama::read_text_up_to(path, llama::LARGEST_TABLES) {
            Ok(text) => {
                let beside = |name: &str| {
                    llama::read_text_up_to(&path.with_file_name(name), llama::LARGEST_TABLES).ok()
                };
                Ok(Self { document: published::parse_beside(&text, &name, options, &beside)?, name })
            }
            Err(error) => Err(SourceError::Io { name, error }),
        }
    }

    /// The first edition of the published LLaMA-2 tables, which is what this program compares with where nothing else is named.
    pub fn built_in() -> Self {
        Self::from_edition(Edition::default())
    }

    /// An edition of the published LLaMA-2 tables, which are compiled in.
    pub fn from_edition(edition: Edition) -> Self {
        Self { name: edition.file().into(), document: edition.document() }
    }

    /// What of it was not read, one line each with its place.
    pub fn remarks(&self) -> impl Iterator<Item = &str> {
        self.document.tables().flat_map(|table| &table.remarks).map(String::as_str)
    }

    /// The headings that do not say model, precision and device, one line each with its place.
    pub fn unreadable_headings(&self) -> impl Iterator<Item = String> {
        let unreadable = self.document.tables().filter(|table| Heading::parse(&table.heading).is_err());
        unreadable.map(|table| {
            let found = match table.heading.as_str() {
                "" => "no heading".to_owned(),
                heading => format!(
                    "the heading \"{heading}\" is none of a run, with one of the precisions FP32, FP16, BF16, FP8, INT8 and INT4"
                ),
            };
            let (name, line) = (&self.name, table.line);
            format!("{name}:{line}: {found}: --heading TEXT says model, precision and device")
        })
    }

    /// Its tables.
    pub fn tables(&self) -> Vec<ResultTable<'_>> {
        self.document.tables().map(|table| ResultTable::published(&self.name, table)).collect()
    }
}
