//! The runs of a folder, found and read anew for each request. What the list and the history need of a run is kept until its files
//! change.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use anyhow::{Context, Result};
use compare::Subject;
use compare::history::Entry;
use indexmap::IndexMap;
use page::{ListedRun, UnreadableFolder};
use results::{Run, one_line};

use crate::printer::in_our_words;
use crate::{folders, history_folder};

/// Folders are searched this deep: `run --against` and `noise` put two runs into one folder.
const DEPTH: usize = 3;

/// A folder of runs.
pub(crate) struct RunsFolder {
    dir: PathBuf,
    /// Another folder of `run --history`.
    history: Option<PathBuf>,
    known: Mutex<BTreeMap<PathBuf, (FileStamps, Arc<KnownRun>)>>,
}

/// A run's folder.
pub(super) struct FoundRun {
    /// Its path below the folder of runs.
    pub(super) name: String,
    pub(super) path: PathBuf,
}

/// What a folder holds.
#[derive(Default)]
pub(super) struct FoundFolders {
    pub(super) runs: Vec<FoundRun>,
    pub(super) unreadable: Vec<UnreadableFolder>,
}

/// The entries of a history.
pub(super) struct KeptHistory {
    pub(super) entries: Vec<Entry>,
    /// The run's name for each entry, where it is in the folder.
    pub(super) names: Vec<Option<String>>,
    pub(super) unreadable: Vec<UnreadableFolder>,
}

/// The size and the time of the last change of each file of a run.
type FileStamps = BTreeMap<OsString, (u64, Option<SystemTime>)>;

/// What the list and the history need of a run.
struct KnownRun {
    summary: ListedRun,
    /// Or why it is not in the history.
    entry: Result<Entry, String>,
}

impl RunsFolder {
    /// Takes a folder of runs, and another one of `run --history`.
    ///
    /// # Errors
    /// Where one is no folder, or is a run itself.
    pub(crate) fn new(dir: &Path, history: Option<&Path>) -> Result<Self> {
        folders::check_runs(dir)?;
        if let Some(history) = history {
            folders::check_history(history)?;
            std::fs::read_dir(history).with_context(|| history.display().to_string())?;
        }
        Ok(Self { dir: dir.into(), history: history.map(Into::into), known: Mutex::default() })
    }

    /// The folder's own name.
    pub(super) fn title(&self) -> String {
        let whole = self.dir.canonicalize().ok();
        let name = whole.as_deref().and_then(Path::file_name);
        name.map_or_else(|| self.dir.display().to_string(), |name| name.to_string_lossy().into_owned())
    }

    /// Finds its runs, in the order of their names.
    pub(super) fn find(&self) -> Result<FoundFolders> {
        let mut found = FoundFolders::default();
        find_in(&self.dir, "", DEPTH, &mut found).with_context(|| self.dir.display().to_string())?;
        Ok(found)
    }

    /// Its runs, newest first, and the folders that can't be read.
    pub(super) fn list(&self) -> Result<(Vec<ListedRun>, Vec<UnreadableFolder>)> {
        let FoundFolders { runs, mut unreadable } = self.find()?;
        let revisions = self.kept(&mut Vec::new())?;
        let revisions: BTreeMap<&str, &str> = revisions
            .iter()
            .filter_map(|entry| Some((entry.run.as_deref()?, entry.revision.as_str())))
            .collect();
        let mut summaries = Vec::new();
        for (run, facts) in self.read(&runs) {
            match facts {
                Ok(facts) => {
                    let mut summary = facts.summary.clone();
                    let id = facts.entry.as_ref().ok().and_then(|entry| entry.run.as_deref());
                    if let Some(revision) = id.and_then(|id| revisions.get(id)) {
                        summary.revision = (*revision).to_owned();
                    }
                    summaries.push(summary);
                }
                Err(reason) => unreadable.push(UnreadableFolder { name: run.name.clone(), reason }),
            }
        }
        summaries.sort_by(|one, other| (&other.started, &other.name).cmp(&(&one.started, &one.name)));
        unreadable.sort_by(|one, other| one.name.cmp(&other.name));
        Ok((summaries, unreadable))
    }

    /// The entries of its runs, and those that `run --history` kept; each run once. An incomplete run has no mean, and without
    /// `single_cells` is not among them.
    pub(super) fn history(&self, single_cells: bool) -> Result<KeptHistory> {
        let found = self.find()?;
        let mut unreadable = found.unreadable;
        // Runs of the same second stay in the order of their files.
        let mut entries: IndexMap<String, (Entry, Option<String>)> = IndexMap::new();
        for entry in self.kept(&mut unreadable)? {
            entries.insert(entry.identity(), (entry, None));
        }
        for (run, facts) in self.read(&found.runs) {
            let entry = facts.and_then(|facts| Ok((facts.entry.clone()?, facts.summary.incomplete())));
            match entry {
                Ok((entry, Some(incomplete))) if !single_cells => {
                    entries.shift_remove(&entry.identity());
                    let reason = format!("{incomplete}; its cells are among those of every cell");
                    unreadable.push(UnreadableFolder { name: run.name.clone(), reason });
                }
                Ok((mut entry, _)) => {
                    let name = Some(run.name.clone());
                    match entries.entry(entry.identity()) {
                        // The run's folder has the records, and what was kept may have the name of a revision.
                        indexmap::map::Entry::Occupied(mut kept) => {
                            entry.revision.clone_from(&kept.get().0.revision);
                            kept.insert((entry, name));
                        }
                        indexmap::map::Entry::Vacant(place) => {
                            place.insert((entry, name));
                        }
                    }
                }
                Err(reason) => unreadable.push(UnreadableFolder { name: run.name.clone(), reason }),
            }
        }
        unreadable.sort_by(|one, other| one.name.cmp(&other.name));
        let (entries, names) = entries.into_values().unzip();
        Ok(KeptHistory { entries, names, unreadable })
    }

    /// The entries that `run --history` kept. Files that are none go to `unreadable`.
    fn kept(&self, unreadable: &mut Vec<UnreadableFolder>) -> Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for dir in [Some(&self.dir), self.history.as_ref()].into_iter().flatten() {
            let files = history_folder::read_files(dir)?;
            entries.extend(files.entries);
            unreadable.extend(files.skipped.into_iter().map(|(path, error)| UnreadableFolder {
                name: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
                reason: in_our_words(&format!("{error:#}")),
            }));
        }
        Ok(entries)
    }

    /// The facts of each run, or why it can't be read.
    fn read<'a>(&self, runs: &'a [FoundRun]) -> Vec<(&'a FoundRun, Result<Arc<KnownRun>, String>)> {
        let paths: BTreeSet<&PathBuf> = runs.iter().map(|run| &run.path).collect();
        self.known().retain(|path, _| paths.contains(path));
        runs.iter().map(|run| (run, self.facts(run))).collect()
    }

    fn facts(&self, run: &FoundRun) -> Result<Arc<KnownRun>, String> {
        // Taken before the files are read: a file that changes meanwhile is read again by the next request.
        let stamps = stamps(&run.path);
        if let Some((known, facts)) = self.known().get(&run.path)
            && stamps.as_ref().is_some_and(|stamps| stamps == known)
        {
            return Ok(Arc::clone(facts));
        }
        let facts = Arc::new(KnownRun::read(run).map_err(|error| without_path(&error, &run.path))?);
        if let Some(stamps) = stamps {
            self.known().insert(run.path.clone(), (stamps, Arc::clone(&facts)));
        }
        Ok(facts)
    }

    fn known(&self) -> std::sync::MutexGuard<'_, BTreeMap<PathBuf, (FileStamps, Arc<KnownRun>)>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FoundFolders {
    /// The run of this name. A name is only compared, and never becomes part of a path.
    pub(super) fn run(&self, name: &str) -> Option<&FoundRun> {
        self.runs.iter().find(|run| run.name == name)
    }
}

impl KnownRun {
    fn read(found: &FoundRun) -> Result<Self> {
        let run = Run::read(&found.path)?;
        let entry = Subject::from_run(&run).and_then(|subject| Entry::from_subject(&subject, None));
        let entry = entry.map_err(|refused| without_path(&refused.into(), &found.path));
        Ok(Self { summary: ListedRun::new(&found.name, &run), entry })
    }
}

/// Adds the runs below `dir`, whose names begin with `prefix`; whether there is one.
fn find_in(dir: &Path, prefix: &str, depth: usize, found: &mut FoundFolders) -> std::io::Result<bool> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        paths.push(entry?.path());
    }
    paths.sort();
    let mut has_run = false;
    for path in paths.into_iter().filter(|path| path.is_dir()) {
        let own = path.file_name().unwrap_or_default();
        let name = format!("{prefix}{}", own.to_string_lossy());
        let unreadable = |reason: String| UnreadableFolder { name: name.clone(), reason };
        if own.to_str().is_none_or(|own| one_line(own) != own) {
            found.unreadable.push(unreadable("its name has characters that are not text: rename it".into()));
        } else if folders::is_run(&path) {
            has_run = true;
            found.runs.push(FoundRun { name, path });
        } else {
            let mut inner = FoundFolders::default();
            let has_inner = match depth {
                1 => Ok(false),
                _ => find_in(&path, &format!("{name}/"), depth - 1, &mut inner),
            };
            match has_inner {
                Ok(true) => {
                    has_run = true;
                    found.runs.append(&mut inner.runs);
                    found.unreadable.append(&mut inner.unreadable);
                }
                Ok(false) => {
                    let reason = folders::check(&[&path]).err();
                    let reason = reason.map_or_else(String::new, |error| without_path(&error, &path));
                    found.unreadable.push(unreadable(reason));
                }
                Err(error) => found.unreadable.push(unreadable(in_our_words(&error.to_string()))),
            }
        }
    }
    Ok(has_run)
}

/// The error's text, which begins with the path that the list shows anyway.
fn without_path(error: &anyhow::Error, path: &Path) -> String {
    let text = in_our_words(&format!("{error:#}"));
    let start = path.display().to_string();
    let rest = text.strip_prefix(&start).and_then(|rest| rest.strip_prefix([':', '/']));
    rest.map_or_else(|| text.clone(), |rest| rest.trim_start().to_owned())
}

/// `None` where the folder can't be read.
fn stamps(dir: &Path) -> Option<FileStamps> {
    let stamp = |file: std::io::Result<std::fs::DirEntry>| {
        let file = file.ok()?;
        let metadata = file.metadata().ok()?;
        Some((file.file_name(), (metadata.len(), metadata.modified().ok())))
    };
    std::fs::read_dir(dir).ok()?.map(stamp).collect()
}
