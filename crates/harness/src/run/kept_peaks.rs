//! Peaks that an earlier run measured with the same program on the same machine, for a day.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use protocol::{Device, Environment, Hello, MeasuredPeaks, ProcessorState};
use results::busy_machine_words;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::run::cache::{cache_folder, libraries, variables, whole, with_hash};
use crate::{Sweep, Variant};

/// The version of what is kept, and of how peaks are measured.
const FORMAT: u32 = 1;
/// Peaks take a few hundred bytes, and their key some kilobytes.
const LONGEST: u64 = 1 << 20;
/// A machine that was changed since is another one, and a day is as long as nobody notices it.
const LONGEST_KEPT: Duration = Duration::from_secs(24 * 3600);

#[derive(Serialize, Deserialize)]
struct KeptPeaksEntry {
    key: String,
    /// UTC.
    measured_at: String,
    peaks: MeasuredPeaks,
}

/// The place of a run's peaks in the user's cache.
pub(crate) struct KeptPeaks {
    /// `None` where there is no cache.
    file: Option<PathBuf>,
    key: String,
}

impl KeptPeaks {
    /// The place of the peaks of these engines, as their workers describe themselves, in this environment. `None` on a GPU, whose peaks
    /// depend on its temperature and on who else uses it.
    pub(crate) fn new(
        variant: &Variant,
        hellos: &BTreeMap<String, Hello>,
        environment: &Environment,
    ) -> Option<Self> {
        let setup = &variant.sweep.setup;
        if setup.device != Device::Cpu {
            return None;
        }
        let engines = hellos.iter().map(|(engine, hello)| {
            json!([engine, environment.programs.get(engine), libraries(hello), setup.options_of(engine)])
        });
        // The frequency at the moment of the start is another one every time.
        let processor =
            environment.processor.clone().map(|processor| ProcessorState { mhz: None, ..processor });
        let key = json!({
            "format": FORMAT,
            "machine": environment.machine,
            "cpu": environment.cpu,
            "cores": environment.cores,
            "processor": processor,
            "governor": environment.cpu_governor,
            "kernel": environment.kernel,
            "memory": environment.memory_bytes,
            "program": environment.program,
            "environment": variables(),
            "engines": engines.collect::<Vec<_>>(),
            "device": setup.device,
            "precisions": variant.sweep.dtypes(),
            "threads": setup.threads,
        });
        Some(Self::in_folder(cache_folder("peaks"), key.to_string()))
    }

    fn in_folder(dir: Option<PathBuf>, key: String) -> Self {
        let name = llama::sha256_hex(key.as_bytes());
        Self { file: dir.map(|dir| dir.join(name).with_extension("peaks")), key }
    }

    /// The peaks, with the time at which they were measured; `None` where there are none, or they are too old.
    ///
    /// # Errors
    /// Why the file that should hold them does not.
    pub(crate) fn read(&self) -> Result<Option<MeasuredPeaks>, String> {
        let Some(path) = self.file.as_ref().filter(|path| path.symlink_metadata().is_ok()) else {
            return Ok(None);
        };
        let damaged = |what: &str| format!("{}: {what}", path.display());
        let Some(entry) = read_entry(path).map_err(|what| damaged(&what))? else { return Ok(None) };
        if entry.key != self.key {
            return Err(damaged("peaks of something else"));
        }
        Ok(Some(MeasuredPeaks { measured_at: Some(entry.measured_at), ..entry.peaks }))
    }

    /// Keeps peaks, where that can be done; not those of a busy machine.
    pub(crate) fn write(&self, peaks: &MeasuredPeaks) {
        let is_busy = peaks.machine_load.is_some_and(|load| !busy_machine_words(&load).is_empty());
        let Some(file) = self.file.as_ref().filter(|_| !is_busy) else { return };
        let entry =
            KeptPeaksEntry { key: self.key.clone(), measured_at: machine::utc_now(), peaks: peaks.clone() };
        let Ok(entry) = serde_json::to_string(&entry) else { return };
        let text = with_hash(&entry);
        // The folder is a cache: without it, everything is measured anew.
        let dir = file.parent().expect("a file in the folder");
        let _ = fs::create_dir_all(dir).and_then(|()| llama::write_whole(file, text.as_bytes()));
        drop_old(dir);
    }
}

/// The latest peaks of this machine that are kept, of any engines that are not scripted: an estimate of what it can do in the
/// sweep's number formats with as many threads.
pub fn latest_kept_peaks(sweep: &Sweep) -> Option<MeasuredPeaks> {
    let (setup, dtypes) = (&sweep.setup, sweep.dtypes());
    let own = json!([machine::machine_id(), machine::cpu_model(), setup.threads]);
    let files = fs::read_dir(cache_folder("peaks")?).ok()?.flatten().map(|entry| entry.path());
    let read = |path: PathBuf| {
        let written = path.metadata().ok()?.modified().ok()?;
        let entry = read_entry(&path).ok()??;
        let key: Value = serde_json::from_str(&entry.key).ok()?;
        let is_of_here = json!([key["machine"], key["cpu"], key["threads"]]) == own;
        // The load of a machine is not read while scripted engines are asked.
        let is_real = entry.peaks.machine_load.is_some();
        let has_all = entry.peaks.read_bytes.is_some()
            && dtypes.iter().all(|dtype| entry.peaks.flops.contains_key(dtype));
        (is_of_here && is_real && has_all)
            .then_some((written, MeasuredPeaks { measured_at: Some(entry.measured_at), ..entry.peaks }))
    };
    files.filter_map(read).max_by_key(|(written, _)| *written).map(|(_, peaks)| peaks)
}

/// Reads a file of peaks; `None` where it is too old.
fn read_entry(path: &Path) -> Result<Option<KeptPeaksEntry>, String> {
    if !is_fresh(path) {
        return Ok(None);
    }
    let text = llama::read_text_up_to(path, LONGEST).map_err(|error| error.to_string())?;
    let entry = whole(&text).ok_or("not what was written")?;
    serde_json::from_str(entry).map(Some).map_err(|error| error.to_string())
}

/// Whether a file was written within the last day.
fn is_fresh(path: &Path) -> bool {
    let age = path.metadata().and_then(|facts| facts.modified()).map(|time| time.elapsed());
    matches!(age, Ok(Ok(age)) if age <= LONGEST_KEPT)
}

/// Removes peaks that nobody will read any more.
fn drop_old(dir: &Path) {
    let files = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let is_old = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "peaks") && !is_fresh(path);
    for path in files.filter(is_old) {
        let _ = fs::remove_file(path);
    }
}

#[cfg(test)]
mod tests {
    use protocol::{MachineLoad, MeasuredPeak};

    use super::*;

    fn peaks() -> MeasuredPeaks {
        MeasuredPeaks {
            read_bytes: Some(MeasuredPeak { per_second: 4e10, by: "a".into() }),
            ..MeasuredPeaks::best(Device::Cpu, [])
        }
    }

    #[test]
    fn peaks_are_found_by_their_key_for_a_day() {
        let dir = tempfile::tempdir().unwrap();
        let place = |key: &str| KeptPeaks::in_folder(Some(dir.path().join("peaks")), key.into());
        assert_eq!(place("a").read(), Ok(None));
        place("a").write(&peaks());
        let kept = place("a").read().unwrap().unwrap();
        assert!(kept.measured_at.is_some());
        assert_eq!(MeasuredPeaks { measured_at: None, ..kept }, peaks());
        assert_eq!(place("b").read(), Ok(None));

        let file = place("a").file.unwrap();
        let opened = fs::File::options().write(true).open(&file).unwrap();
        let written = opened.metadata().unwrap().modified().unwrap();
        opened.set_modified(written - LONGEST_KEPT - Duration::from_secs(60)).unwrap();
        assert_eq!(place("a").read(), Ok(None), "too old");
        place("b").write(&peaks());
        assert!(!file.exists(), "what is too old is removed");
        let nowhere = KeptPeaks::in_folder(None, "a".into());
        nowhere.write(&peaks());
        assert_eq!(nowhere.read(), Ok(None));
    }

    #[test]
    fn peaks_of_a_busy_machine_are_not_kept() {
        let dir = tempfile::tempdir().unwrap();
        let place = KeptPeaks::in_folder(Some(dir.path().into()), "a".into());
        let load =
            |other_share| MachineLoad { seconds: 4.0, processors: 2, other_share, ..MachineLoad::default() };
        place.write(&MeasuredPeaks { machine_load: Some(load(Some(0.5))), ..peaks() });
        assert_eq!(place.read(), Ok(None));
        place.write(&MeasuredPeaks { machine_load: Some(load(Some(0.01))), ..peaks() });
        assert!(place.read().unwrap().is_some());
    }

    #[test]
    fn a_damaged_file_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let place = KeptPeaks::in_folder(Some(dir.path().into()), "a".into());
        place.write(&peaks());
        let file = place.file.clone().unwrap();
        let whole = fs::read(&file).unwrap();
        for at in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 1;
            for damaged in [&flipped, &whole[..at]] {
                fs::write(&file, damaged).unwrap();
                assert!(place.read().is_err(), "{at}");
            }
        }
        // One that was put in another's place.
        place.write(&peaks());
        let other = KeptPeaks::in_folder(Some(dir.path().into()), "b".into());
        fs::rename(&file, other.file.as_ref().unwrap()).unwrap();
        assert!(other.read().unwrap_err().ends_with(": peaks of something else"));
    }
}
