//! A folder that is moved or deleted while its run goes on: the records go where it is now, or into a new one.

use std::fs::{File, Metadata};
use std::io::{ErrorKind, Seek, SeekFrom, copy};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use protocol::Environment;

use super::error::{StoreError, at};
use super::files::{MEASUREMENTS, OTHERS, environment_file, read_json, refuse_foreign, refuse_later_parts};
use super::folder::RunFolder;

impl RunFolder {
    /// Goes after the folder where it was moved, or makes a new one where it was deleted: its records are still open here. Says what
    /// happened; `None` where the folder is in its place.
    ///
    /// # Errors
    /// Where it was deleted, and no new folder can be made; where another program wrote to the records.
    pub fn follow(&mut self) -> Result<Option<String>, StoreError> {
        let own = self.measurements.metadata().map_err(at(&self.dir))?;
        if own.len() != self.length {
            let path = self.dir.join(MEASUREMENTS);
            return Err(StoreError::Refused(format!(
                "{}: another program wrote to it while the run went on: {} bytes, and {} were written here",
                path.display(),
                own.len(),
                self.length
            )));
        }
        if self.is_in_place() {
            return Ok(None);
        }
        let (was, is_there) = (self.dir.display().to_string(), self.dir.is_dir());
        if let Some(dir) = self.place_of_records(&own) {
            self.dir = dir;
            return Ok(Some(format!(
                "{was}: moved while its run went on: its records go to {}",
                self.dir.display()
            )));
        }
        let written = self.write_anew();
        written.map_err(|error| {
            StoreError::Refused(format!(
                "{was}: deleted while its run went on, and can't be made anew: {} records are lost: {error}",
                self.known().len()
            ))
        })?;
        let (now, count) = (self.dir.display(), self.known().len());
        let records = if count == 1 { "record is" } else { "records are" };
        Ok(Some(if is_there {
            format!(
                "{was}: its {MEASUREMENTS} was deleted or replaced while its run went on: {count} {records} written again in {now}"
            )
        } else {
            format!("{was}: deleted while its run went on: {count} {records} in a new folder, {now}")
        }))
    }

    /// Whether its records are where it is.
    pub fn is_in_place(&self) -> bool {
        let own = self.measurements.metadata();
        own.is_ok_and(|own| is_file(&self.dir.join(MEASUREMENTS), &own))
    }

    /// The folder in which the file of records is now, where it still has a name.
    fn place_of_records(&self, own: &Metadata) -> Option<PathBuf> {
        let path = std::fs::read_link(format!("/proc/self/fd/{}", self.measurements.as_raw_fd())).ok()?;
        let is_there = path.ends_with(MEASUREMENTS) && is_file(&path, own);
        is_there.then(|| path.parent().map(Path::to_path_buf))?
    }

    /// Writes all of the run into a folder of the old one's name; where that is another run's or can't be, into a new one beside it or
    /// among the temporary files.
    fn write_anew(&mut self) -> Result<(), StoreError> {
        let name = self.dir.file_name().unwrap_or_default().to_os_string();
        let beside = self.dir.parent().map(Path::to_path_buf);
        let elsewhere = [beside, Some(std::env::temp_dir())].into_iter().flatten();
        let recovered = elsewhere.flat_map(|parent| {
            let name = name.clone();
            (1..=20).map(move |number| {
                let mut name = name.clone();
                name.push(if number == 1 { "-recovered".into() } else { format!("-recovered-{number}") });
                parent.join(name)
            })
        });
        let own = self.dir.clone();
        let mut written = if self.may_write_into(&own) {
            std::fs::create_dir_all(&own).map_err(at(&own)).and_then(|()| self.write_into(&own))
        } else {
            Err(StoreError::Refused(format!("{}: another run's", own.display())))
        };
        for dir in recovered {
            if written.is_ok() {
                break;
            }
            // Only one that nobody else made.
            if let Err(error) = std::fs::create_dir(&dir) {
                written = Err(at(&dir)(error));
                continue;
            }
            written = self.write_into(&dir);
            if written.is_err() {
                let _ = std::fs::remove_dir_all(&dir);
            }
        }
        written
    }

    /// Whether there is no folder, nothing of a run in it, or this run without its records.
    fn may_write_into(&self, dir: &Path) -> bool {
        if dir.symlink_metadata().is_err() {
            return true;
        }
        let is_own = || {
            let environment = read_json::<Environment>(&dir.join(environment_file(1)));
            environment.is_ok_and(|there| self.parts.first().is_some_and(|part| part.environment == there))
        };
        let is_empty = || refuse_foreign(dir, &OTHERS).and_then(|()| refuse_later_parts(dir)).is_ok();
        dir.is_dir() && refuse_foreign(dir, &[MEASUREMENTS]).is_ok() && (is_own() || is_empty())
    }

    fn write_into(&mut self, dir: &Path) -> Result<(), StoreError> {
        let mut records = Self::lock(dir)?.measurements;
        let copied = copy_start(&mut self.measurements, self.length, &mut records);
        copied.map_err(at(&dir.join(MEASUREMENTS)))?;
        let before = std::mem::replace(&mut self.dir, dir.into());
        if let Err(error) = self.write_all_but_records() {
            self.dir = before;
            return Err(error);
        }
        self.measurements = records;
        Ok(())
    }
}

fn is_file(path: &Path, own: &Metadata) -> bool {
    let identity = |file: &Metadata| (file.dev(), file.ino());
    match path.symlink_metadata() {
        Ok(there) => identity(&there) == identity(own),
        // Where the way there is closed, nothing is gone.
        Err(error) => !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory),
    }
}

fn copy_start(from: &mut File, length: u64, to: &mut File) -> std::io::Result<()> {
    use std::io::Read;
    from.seek(SeekFrom::Start(0))?;
    copy(&mut from.take(length), to)?;
    to.sync_all()
}

#[cfg(test)]
mod tests {
    use protocol::Measurement;

    use super::*;
    use crate::Run;

    const RUN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../results/llama2-15m-fp32-cpu");

    fn environment() -> Environment {
        let text = std::fs::read_to_string(Path::new(RUN).join("environment.json")).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    fn records() -> Vec<Measurement> {
        let text = std::fs::read_to_string(Path::new(RUN).join("measurements.jsonl")).unwrap();
        text.lines().take(3).map(|line| Measurement::from_json(line.as_bytes()).unwrap()).collect()
    }

    /// A folder with the first of [`records`].
    fn begun(dir: &Path) -> RunFolder {
        let sweep = std::fs::read_to_string(Path::new(RUN).join("sweep.toml")).unwrap();
        let mut folder = RunFolder::create(dir, &sweep, environment).unwrap();
        folder.append(&records()[0]).unwrap();
        assert_eq!(folder.follow().unwrap(), None);
        folder
    }

    /// Goes on with the run, and finds all of it in `dir`.
    fn goes_on(mut folder: RunFolder, dir: &Path) {
        records()[1..].iter().for_each(|record| folder.append(record).unwrap());
        assert_eq!(folder.follow().unwrap(), None);
        drop(folder);
        assert_eq!(Run::read(dir).unwrap().records().count(), 3);
        assert!(RunFolder::open(dir).unwrap().1.is_none());
    }

    #[test]
    fn a_folder_that_is_moved_is_followed() {
        let place = tempfile::tempdir().unwrap();
        let [run, other] = ["run", "other"].map(|name| place.path().join(name));
        let mut folder = begun(&run);
        std::fs::rename(&run, &other).unwrap();
        // Another run of the old name is not touched.
        drop(begun(&run));
        let told = folder.follow().unwrap().unwrap();
        assert!(
            told.ends_with(&format!("moved while its run went on: its records go to {}", other.display()))
        );
        goes_on(folder, &other);
        assert_eq!(Run::read(&run).unwrap().records().count(), 1);
    }

    #[test]
    fn a_folder_that_is_deleted_is_written_anew() {
        let place = tempfile::tempdir().unwrap();
        let run = place.path().join("runs/run");
        let mut folder = begun(&run);
        std::fs::remove_dir_all(place.path().join("runs")).unwrap();
        let told = folder.follow().unwrap().unwrap();
        assert!(told.ends_with(&format!("1 record is in a new folder, {}", run.display())), "{told}");
        goes_on(folder, &run);

        let mut folder = RunFolder::open(&run).unwrap().0;
        std::fs::remove_dir_all(&run).unwrap();
        drop(begun(&run));
        let told = folder.follow().unwrap().unwrap();
        assert!(told.ends_with("run-recovered"), "{told}");
        assert_eq!(Run::read(&run).unwrap().records().count(), 1);
        assert_eq!(Run::read(&place.path().join("runs/run-recovered")).unwrap().records().count(), 3);
    }

    #[test]
    fn records_alone_that_are_deleted_are_written_again() {
        let place = tempfile::tempdir().unwrap();
        let run = place.path().join("run");
        let mut folder = begun(&run);
        std::fs::remove_file(run.join(MEASUREMENTS)).unwrap();
        let told = folder.follow().unwrap().unwrap();
        let end = format!(
            "was deleted or replaced while its run went on: 1 record is written again in {}",
            run.display()
        );
        assert!(told.ends_with(&end), "{told}");
        goes_on(folder, &run);
    }

    #[test]
    fn another_folder_of_the_same_name_is_left_alone() {
        let place = tempfile::tempdir().unwrap();
        let run = place.path().join("run");
        let mut folder = begun(&run);
        std::fs::remove_dir_all(&run).unwrap();
        std::fs::create_dir(&run).unwrap();
        std::fs::write(place.path().join("mine"), "mine").unwrap();
        std::os::unix::fs::symlink("../mine", run.join("table.md")).unwrap();
        assert!(folder.follow().unwrap().unwrap().ends_with("run-recovered"));
        assert_eq!(std::fs::read_dir(&run).unwrap().count(), 1);
        goes_on(folder, &place.path().join("run-recovered"));
    }

    #[test]
    fn records_that_another_program_changes_end_the_run() {
        for text in ["", "garbage"] {
            let place = tempfile::tempdir().unwrap();
            let run = place.path().join("run");
            let mut folder = begun(&run);
            std::fs::write(run.join(MEASUREMENTS), text).unwrap();
            let error = folder.follow().unwrap_err().to_string();
            assert!(error.contains("another program wrote to it while the run went on"), "{error}");
        }
    }

    #[test]
    fn where_its_place_is_gone_for_good_it_is_written_among_the_temporary_files() {
        let place = tempfile::tempdir().unwrap();
        let name = place.path().file_name().unwrap().to_str().unwrap();
        let run = place.path().join("runs").join(name);
        let mut folder = begun(&run);
        std::fs::remove_dir_all(place.path().join("runs")).unwrap();
        std::fs::write(place.path().join("runs"), "a file").unwrap();
        let told = folder.follow().unwrap().unwrap();
        let new = std::env::temp_dir().join(format!("{name}-recovered"));
        assert!(told.ends_with(&format!("1 record is in a new folder, {}", new.display())), "{told}");
        goes_on(folder, &new);
        std::fs::remove_dir_all(new).unwrap();
    }
}
