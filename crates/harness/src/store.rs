//! A run's folder: `sweep.toml`, `environment.json`, `verification.json` and `measurements.jsonl`.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use protocol::{Environment, Measurement, SCHEMA, Verification};

use crate::{Cell, Engines, Sweep};

const SWEEP: &str = "sweep.toml";
const ENVIRONMENT: &str = "environment.json";
const VERIFICATION: &str = "verification.json";
const MEASUREMENTS: &str = "measurements.jsonl";

/// A run's folder that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file can't be read or written.
    #[error("{path}: {error}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A file is not what it should be.
    #[error("{path}{}: {what}", line.map(|line| format!(":{line}")).unwrap_or_default())]
    Content {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: Option<usize>,
        /// What is wrong.
        what: String,
    },
    /// The folder can't be used for this.
    #[error("{0}")]
    Refused(String),
}

/// An open run's folder; nobody else can write to it meanwhile.
#[derive(Debug)]
pub struct RunFolder {
    dir: PathBuf,
    measurements: File,
    records: Vec<Measurement>,
}

impl RunFolder {
    /// Creates the folder of a new run. Refused where there is a run already.
    pub fn create(dir: &Path, sweep: &Sweep, environment: &Environment) -> Result<Self, StoreError> {
        // The last file that is written here: without it a run was killed before it began.
        if dir.join(ENVIRONMENT).exists() {
            let dir = dir.display();
            return Err(StoreError::Refused(format!(
                "{dir}: there is a run already: --resume {dir} measures what it lacks, --out starts elsewhere"
            )));
        }
        std::fs::create_dir_all(dir).map_err(at(dir))?;
        let folder = Self::open(dir, Vec::new())?;
        folder.write(SWEEP, sweep.to_toml().as_bytes())?;
        folder.write_json(ENVIRONMENT, environment)?;
        Ok(folder)
    }

    /// Opens the folder of an earlier run to measure what it lacks; also gives its sweep, and a warning where its last
    /// record was torn.
    pub fn resume(dir: &Path, engines: &Engines) -> Result<(Self, Sweep, Option<String>), StoreError> {
        let path = dir.join(SWEEP);
        let text = std::fs::read_to_string(&path).map_err(at(&path))?;
        let sweep = Sweep::settings(&text, &path.display().to_string(), dir)
            .and_then(|settings| Sweep::resolve(settings, engines))
            .map_err(|error| StoreError::Refused(error.to_string()))?;

        let path = dir.join(MEASUREMENTS);
        let mut folder = Self::open(dir, Vec::new())?;
        let text = std::fs::read(&path).map_err(at(&path))?;
        let whole = whole_lines(&text);
        let warning = (whole.len() < text.len()).then(|| {
            let lost = text.len() - whole.len();
            format!(
                "{}: the last record was cut off ({lost} bytes): dropped, its cell is measured again",
                path.display()
            )
        });
        if warning.is_some() {
            folder.measurements.set_len(whole.len() as u64).map_err(at(&path))?;
        }
        folder.records = parse_records(whole, &path)?;
        Ok((folder, sweep, warning))
    }

    fn open(dir: &Path, records: Vec<Measurement>) -> Result<Self, StoreError> {
        let path = dir.join(MEASUREMENTS);
        let measurements =
            OpenOptions::new().create(true).append(true).read(true).open(&path).map_err(at(&path))?;
        measurements.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => {
                StoreError::Refused(format!("{}: another run is writing to this folder", dir.display()))
            }
            TryLockError::Error(error) => StoreError::Io { path: path.clone(), error },
        })?;
        Ok(Self { dir: dir.into(), measurements, records })
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The records so far.
    pub fn records(&self) -> &[Measurement] {
        &self.records
    }

    /// Whether a record of this cell is there.
    pub fn has(&self, cell: &Cell<'_>) -> bool {
        self.records.iter().any(|record| {
            record.model == cell.model.name
                && record.engine == cell.engine
                && record.batch_size == cell.batch_size
                && record.prompt_length == cell.prompt_length
                && record.replicate == cell.replicate
        })
    }

    /// Appends a record. It is on the disk when this returns.
    pub fn append(&mut self, record: Measurement) -> Result<&Measurement, StoreError> {
        let mut line = serde_json::to_vec(&record).expect("a record is plain JSON");
        line.push(b'\n');
        let path = self.dir.join(MEASUREMENTS);
        self.measurements.write_all(&line).and_then(|()| self.measurements.sync_data()).map_err(at(&path))?;
        self.records.push(record);
        Ok(&self.records[self.records.len() - 1])
    }

    /// Refuses to add to a run that was begun on another machine, or with other libraries: its figures are of one kind.
    pub fn check_environment(&self, now: &Environment) -> Result<(), StoreError> {
        let path = self.dir.join(ENVIRONMENT);
        let then: Environment = read_json(&path)?;
        let facts = |environment: &Environment| {
            let libraries = environment.engines.values().flat_map(|hello| &hello.libraries);
            let libraries: Vec<String> =
                libraries.map(|library| format!("{} {}", library.name, library.version)).collect();
            let gpus: Vec<&str> = environment.gpus.iter().map(|gpu| gpu.name.as_str()).collect();
            [
                ("processor", environment.cpu.clone()),
                ("cores", environment.cores.to_string()),
                ("GPUs", gpus.join(", ")),
                ("libraries", libraries.join(", ")),
            ]
        };
        for ((what, then), (_, now)) in facts(&then).into_iter().zip(facts(now)) {
            if then != now {
                let path = path.display();
                return Err(StoreError::Refused(format!(
                    "{path}: the run was begun with {what} \"{then}\", here are \"{now}\""
                )));
            }
        }
        Ok(())
    }

    /// What `verification.json` says; nothing where there is none.
    pub fn verifications(&self) -> Result<Vec<Verification>, StoreError> {
        read_verifications(&self.dir)
    }

    /// Writes `verification.json`.
    pub fn write_verifications(&self, verifications: &[Verification]) -> Result<(), StoreError> {
        self.write_json(VERIFICATION, verifications)
    }

    fn write_json<T: serde::Serialize + ?Sized>(&self, name: &str, value: &T) -> Result<(), StoreError> {
        let mut text = serde_json::to_string_pretty(value).expect("plain JSON");
        text.push('\n');
        self.write(name, text.as_bytes())
    }

    /// Writes a file of the folder: whole, or not at all.
    pub fn write(&self, name: &str, content: &[u8]) -> Result<(), StoreError> {
        let path = self.dir.join(name);
        let partial = self.dir.join(format!(".{name}.partial"));
        let written = File::create(&partial).and_then(|mut file| {
            file.write_all(content)?;
            file.sync_data()
        });
        written.and_then(|()| std::fs::rename(&partial, &path)).map_err(at(&path))
    }
}

/// Reads an earlier run: its environment, verifications and records. A torn last record is left out.
pub fn read_run(dir: &Path) -> Result<(Environment, Vec<Verification>, Vec<Measurement>), StoreError> {
    let path = dir.join(MEASUREMENTS);
    let text = std::fs::read(&path).map_err(at(&path))?;
    let records = parse_records(whole_lines(&text), &path)?;
    let environment = read_json(&dir.join(ENVIRONMENT))?;
    Ok((environment, read_verifications(dir)?, records))
}

fn read_verifications(dir: &Path) -> Result<Vec<Verification>, StoreError> {
    let path = dir.join(VERIFICATION);
    if path.exists() { read_json(&path) } else { Ok(Vec::new()) }
}

fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, StoreError> {
    let text = std::fs::read_to_string(path).map_err(at(path))?;
    serde_json::from_str(&text).map_err(|error| StoreError::Content {
        path: path.into(),
        line: Some(error.line()),
        what: error.to_string(),
    })
}

/// Without a torn last line.
fn whole_lines(text: &[u8]) -> &[u8] {
    &text[..text.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1)]
}

fn parse_records(text: &[u8], path: &Path) -> Result<Vec<Measurement>, StoreError> {
    let record = |(index, line): (usize, &str)| {
        let fail = |what: String| StoreError::Content { path: path.into(), line: Some(index + 1), what };
        let record: Measurement = serde_json::from_str(line).map_err(|error| fail(error.to_string()))?;
        if record.schema != SCHEMA {
            return Err(fail(format!("schema: expected {SCHEMA}, found {}", record.schema)));
        }
        Ok(record)
    };
    String::from_utf8_lossy(text).lines().enumerate().map(record).collect()
}

fn at(path: &Path) -> impl Fn(io::Error) -> StoreError {
    move |error| StoreError::Io { path: path.into(), error }
}
