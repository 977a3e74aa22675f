//! A run's folder: `sweep.toml`, `environment.json`, `verification.json` and `measurements.jsonl`.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, Permissions, TryLockError};
use std::io::{BufReader, BufWriter, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use protocol::{Environment, Measurement, Share, Verification};

use super::error::{StoreError, at};
use super::files::{
    MEASUREMENTS, VERIFICATION, environment_file, open, read_json, refuse_later_parts, refuse_non_empty,
    sweep_file,
};
use super::provenance::{
    RowOrder, RunPart, expected_records, in_order_of, lost_environment, read_parts, sweep_values,
};
use super::records::{Checker, KnownRecords, LONGEST, RecordReader};

/// How the name of a folder ends that is not whole yet.
const PARTIAL: &str = ".partial";

/// An open run's folder; nobody else can write to it meanwhile.
#[derive(Debug)]
pub struct RunFolder {
    pub(super) dir: PathBuf,
    pub(super) measurements: File,
    /// Bytes of whole records.
    pub(super) length: u64,
    pub(super) parts: Vec<RunPart>,
    verifications: Vec<Verification>,
    /// The part that is being measured, from 1.
    part: u32,
    known: KnownRecords,
}

impl RunFolder {
    /// Creates the folder of a new run. Refused where there is a run already: then nobody looks for the `environment`.
    pub fn create(
        dir: &Path,
        sweep: &str,
        environment: impl FnOnce() -> Environment,
    ) -> Result<Self, StoreError> {
        std::fs::create_dir_all(dir).map_err(at(dir))?;
        let path = dir.join(MEASUREMENTS);
        refuse_non_empty(dir, &[])?;
        refuse_later_parts(dir)?;
        let mut folder = Self::lock(dir)?;
        let is_empty = folder.measurements.metadata().map_err(at(&path))?.len() == 0;
        if !is_empty && !dir.join(environment_file(1)).exists() {
            return Err(lost_environment(dir));
        }
        // The last file that is written here: without it a run was killed before it began.
        if dir.join(environment_file(1)).exists() {
            let dir = dir.display();
            return Err(StoreError::Refused(format!(
                "{dir}: there is a run already: --resume {dir} measures its missing cells, --out writes elsewhere"
            )));
        }
        folder.add_part(sweep, environment())?;
        Ok(folder)
    }

    /// Creates the folder of a run that was measured already, in `parts`: whole, or not at all.
    pub(super) fn create_merged(
        dir: &Path,
        parts: Vec<RunPart>,
        verifications: Vec<Verification>,
        records: &[Measurement],
    ) -> Result<Self, StoreError> {
        let is_there = dir.is_dir();
        // What a merge that was killed left is nothing.
        let is_left = |entry: std::io::Result<std::fs::DirEntry>| {
            entry.is_ok_and(|entry| entry.file_name().to_string_lossy().ends_with(PARTIAL))
        };
        if std::fs::read_dir(dir).is_ok_and(|entries| !entries.into_iter().all(is_left)) {
            let is_run = dir.join(MEASUREMENTS).symlink_metadata().is_ok();
            let what = if is_run { "there is a run already" } else { "not an empty folder" };
            return Err(StoreError::Refused(format!("{}: {what}: --out names a new one", dir.display())));
        }
        let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let place = if is_there { dir } else { parent };
        std::fs::create_dir_all(place).map_err(at(place))?;
        let new = tempfile::Builder::new()
            .prefix(".merge.")
            .suffix(PARTIAL)
            .permissions(Permissions::from_mode(0o777))
            .tempdir_in(place)
            .map_err(at(dir))?;
        let mut folder = Self { parts, verifications, ..Self::lock(new.path())? };
        let mut lines = BufWriter::new(&folder.measurements);
        for record in records {
            let line = line(record);
            lines.write_all(&line).map_err(at(dir))?;
            folder.length += line.len() as u64;
            folder.known.add(record);
        }
        lines.flush().and_then(|()| folder.measurements.sync_all()).map_err(at(dir))?;
        drop(lines);
        folder.write_all_but_records()?;
        if is_there {
            let entries = std::fs::read_dir(new.path()).and_then(Iterator::collect::<Result<Vec<_>, _>>);
            let mut names: Vec<_> =
                entries.map_err(at(dir))?.iter().map(std::fs::DirEntry::file_name).collect();
            // A run without its first environment is none.
            names.sort_by_key(|name| *name == *environment_file(1));
            let rename = |name| std::fs::rename(new.path().join(name), dir.join(name));
            names.iter().try_for_each(rename).map_err(at(dir))?;
        } else {
            std::fs::rename(new.path(), dir).map_err(at(dir))?;
            // It has another name now.
            let _ = new.keep();
        }
        folder.dir = dir.into();
        Ok(folder)
    }

    /// Writes what the folder has beside its records. The first environment is written last: without it a run is none.
    pub(super) fn write_all_but_records(&self) -> Result<(), StoreError> {
        if !self.verifications.is_empty() {
            self.write_json(VERIFICATION, &self.verifications)?;
        }
        for (index, RunPart { sweep, environment }) in self.parts.iter().enumerate().rev() {
            let part = index as u32 + 1;
            self.write_readable(&sweep_file(part), sweep.as_bytes(), llama::LARGEST_SETTINGS)?;
            self.write_json(&environment_file(part), environment)?;
        }
        Ok(())
    }

    /// The share of the sweep's cells that this run measures; `None` where it is all of them.
    pub fn shard(&self) -> Option<Share> {
        self.parts.get(self.part as usize - 1)?.environment.shard
    }

    /// Opens the folder of an earlier run, to go on with it; also gives a warning where its last record was torn.
    pub fn open(dir: &Path) -> Result<(Self, Option<String>), StoreError> {
        // Nothing is made where no run is.
        let sweep = dir.join(sweep_file(1));
        open(&sweep)?;
        let path = dir.join(MEASUREMENTS);
        let mut folder = Self::lock(dir)?;
        let is_empty = folder.measurements.metadata().map_err(at(&path))?.len() == 0;
        if !is_empty && !dir.join(environment_file(1)).exists() {
            return Err(lost_environment(dir));
        }
        folder.parts = read_parts(dir)?;
        // Whatever is damaged is found before anything more is measured.
        folder.verifications = read_verifications(dir)?;
        let known = &mut folder.known;
        let (length, lost) = each_record(&path, folder.parts.len(), &mut |record| known.add(&record))?;
        folder.length = length;
        if lost == 0 {
            return Ok((folder, None));
        }
        folder.measurements.set_len(folder.length).map_err(at(&path))?;
        let path = path.display();
        let warning = format!(
            "{path}: the last record was incomplete ({lost} bytes) and is dropped; its cell is measured again"
        );
        Ok((folder, Some(warning)))
    }

    /// What `sweep.toml` of the last part says, and the file's path.
    pub fn last_sweep(&self) -> (&str, PathBuf) {
        let number = self.parts.len() as u32;
        (&self.parts[self.parts.len() - 1].sweep, self.dir.join(sweep_file(number)))
    }

    /// What the last part was measured with.
    pub fn last_environment(&self) -> &Environment {
        &self.parts[self.parts.len() - 1].environment
    }

    /// Goes on with the part that is of this sweep and environment; says what can't be checked because an earlier version did
    /// not record it.
    ///
    /// # Errors
    /// Where there is none, and `allow_mixed` does not let another part begin.
    pub fn resume(
        &mut self,
        sweep: &str,
        environment: Environment,
        allow_mixed: bool,
    ) -> Result<Option<String>, StoreError> {
        let differences: Vec<Vec<String>> =
            self.parts.iter().map(|part| part.differences(sweep, &environment)).collect();
        if let Some(index) = differences.iter().position(Vec::is_empty) {
            self.part = index as u32 + 1;
            let unrecorded = self.parts[index].unrecorded(&environment);
            return Ok((!unrecorded.is_empty()).then(|| {
                format!(
                    "{}: an earlier version did not record {}: can't check whether they are the same now",
                    self.dir.display(),
                    unrecorded.join(", ")
                )
            }));
        }
        if !allow_mixed {
            let fewest = differences.iter().min_by_key(|lines| lines.len()).expect("a first part");
            return Err(StoreError::Refused(format!(
                "{}: existing cells were measured with different settings: {}: --allow-mixed measures the missing cells \
                 anyway and names them under the table",
                self.dir.display(),
                fewest.join("; ")
            )));
        }
        let differs_from_first_part = differences.into_iter().next().unwrap_or_default();
        self.add_part(sweep, Environment { differs_from_first_part, ..environment })?;
        Ok(None)
    }

    fn add_part(&mut self, sweep: &str, environment: Environment) -> Result<(), StoreError> {
        let part = self.parts.len() as u32 + 1;
        let environment = Environment { sweep_sha256: llama::sha256_hex(sweep.as_bytes()), ..environment };
        self.write_readable(&sweep_file(part), sweep.as_bytes(), llama::LARGEST_SETTINGS)?;
        self.write_json(&environment_file(part), &environment)?;
        self.parts.push(RunPart { sweep: sweep.into(), environment });
        self.part = part;
        Ok(())
    }

    pub(super) fn lock(dir: &Path) -> Result<Self, StoreError> {
        let path = dir.join(MEASUREMENTS);
        if path.symlink_metadata().is_ok() {
            open(&path)?;
        }
        let measurements = OpenOptions::new()
            .create(true)
            .append(true)
            .read(true)
            .custom_flags(libc::O_NOFOLLOW)
            .open(&path)
            .map_err(at(&path))?;
        measurements.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => {
                StoreError::Refused(format!("{}: another run is writing to this folder", dir.display()))
            }
            TryLockError::Error(error) => StoreError::Io { path: path.clone(), error },
        })?;
        Ok(Self {
            dir: dir.into(),
            measurements,
            length: 0,
            parts: Vec::new(),
            verifications: Vec::new(),
            part: 1,
            known: KnownRecords::default(),
        })
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The part that is being measured, from 1.
    pub fn part(&self) -> u32 {
        self.part
    }

    /// What the part that is being measured is measured with.
    pub fn environment(&self) -> &Environment {
        &self.parts[self.part as usize - 1].environment
    }

    /// What is known of the records so far.
    pub fn known(&self) -> &KnownRecords {
        &self.known
    }

    /// Whether nothing is measured yet.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Whether a cell ended otherwise than measured or out of memory.
    pub fn has_failed(&self) -> bool {
        self.known.failed() > 0
    }

    /// Appends a record. It is on the disk when this returns; where it can't be, nothing of it is left there.
    pub fn append(&mut self, record: &Measurement) -> Result<(), StoreError> {
        let line = line(record);
        if line.len() as u64 >= LONGEST {
            return Err(StoreError::Refused(format!(
                "{}: a record of {} bytes, which could not be read again (at most {LONGEST})",
                self.dir.display(),
                line.len()
            )));
        }
        let written = self.measurements.write_all(&line).and_then(|()| self.measurements.sync_data());
        if let Err(error) = written {
            // Where this fails, too, the next reader drops the torn line.
            let _ = self.measurements.set_len(self.length);
            return Err(at(&self.dir.join(MEASUREMENTS))(error));
        }
        self.length += line.len() as u64;
        self.known.add(record);
        Ok(())
    }

    /// What `verification.json` says; nothing where there is none.
    pub fn verifications(&self) -> &[Verification] {
        &self.verifications
    }

    /// Writes what this part's engines compute with a model into `verification.json`, unless what is there knows of further
    /// engines; that of other parts, models and precisions stays.
    pub fn write_verification(&mut self, verification: &Verification) -> Result<(), StoreError> {
        let verification = &Verification { part: self.part, ..verification.clone() };
        let is_earlier = |old: &Verification| old.is_of_same(verification);
        let new: Vec<&str> = verification.engines().collect();
        let knows_more = |old: &Verification| is_earlier(old) && old.engines().any(|old| !new.contains(&old));
        if self.verifications.iter().any(knows_more) {
            return Ok(());
        }
        let others = self.verifications.iter().filter(|old| !is_earlier(old)).cloned();
        self.verifications = others.chain([verification.clone()]).collect();
        self.write_json(VERIFICATION, &self.verifications)
    }

    fn write_json<T: serde::Serialize + ?Sized>(&self, name: &str, value: &T) -> Result<(), StoreError> {
        let mut text = serde_json::to_string_pretty(value).expect("plain JSON");
        text.push('\n');
        self.write_readable(name, text.as_bytes(), llama::LARGEST_INDEX)
    }

    /// Writes a file that has to be read again: nothing larger than is read.
    fn write_readable(&self, name: &str, content: &[u8], largest: u64) -> Result<(), StoreError> {
        if content.len() as u64 > largest {
            let (path, length) = (self.dir.join(name), content.len());
            return Err(StoreError::Refused(format!(
                "{}: {length} bytes, which could not be read again (at most {largest})",
                path.display()
            )));
        }
        self.write(name, content)
    }

    /// Writes a file of the folder: whole, or not at all.
    pub fn write(&self, name: &str, content: &[u8]) -> Result<(), StoreError> {
        let path = self.dir.join(name);
        llama::write_whole(&path, content).map_err(at(&path))
    }
}

fn line(record: &Measurement) -> Vec<u8> {
    let mut line = serde_json::to_vec(record).expect("a record is plain JSON");
    line.push(b'\n');
    line
}

/// What an earlier run was measured with.
#[derive(Debug)]
pub(super) struct RunFacts {
    /// Those of its parts.
    pub(super) environments: Vec<Environment>,
    /// Each part's sweep: its settings by dotted key.
    pub(super) settings: Vec<BTreeMap<String, String>>,
    pub(super) verifications: Vec<Verification>,
    /// How many records its last sweep asks for.
    pub(super) expected: usize,
}

/// Reads an earlier run. A torn last record is left out.
pub(super) fn read_run(dir: &Path) -> Result<(RunFacts, Vec<Measurement>), StoreError> {
    let measurements = dir.join(MEASUREMENTS);
    open(&measurements)?;
    let parts = read_parts(dir)?;
    let verifications = read_verifications(dir)?;
    let mut records = Vec::new();
    each_record(&measurements, parts.len(), &mut |record| records.push(record))?;
    let orders: Vec<RowOrder> = parts.iter().map(|part| RowOrder::new(&part.sweep)).collect();
    let records = in_order_of(&orders, records);
    let settings = parts.iter().map(|part| sweep_values(&part.sweep)).collect();
    let expected = parts.last().map_or(0, |part| expected_records(&part.sweep));
    let environments = parts.into_iter().map(|part| part.environment).collect();
    Ok((RunFacts { environments, settings, verifications, expected }, records))
}

/// Reads the checked records of a run; bytes of its whole records, and of a last one that was cut off.
fn each_record(
    path: &Path,
    parts: usize,
    on_record: &mut dyn FnMut(Measurement),
) -> Result<(u64, usize), StoreError> {
    let file = open(path)?;
    let mut reader = RecordReader::new(BufReader::with_capacity(1 << 20, file), path);
    let mut checker = Checker::new(parts);
    while let Some(record) = reader.next() {
        let record = record?;
        checker.check(&record).map_err(|what| reader.error(what))?;
        on_record(record);
    }
    Ok(reader.lengths())
}

fn read_verifications(dir: &Path) -> Result<Vec<Verification>, StoreError> {
    let path = dir.join(VERIFICATION);
    if path.symlink_metadata().is_ok() { read_json(&path) } else { Ok(Vec::new()) }
}
