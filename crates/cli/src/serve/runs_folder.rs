//! The runs of a folder, found and read anew for each request. What the list and the history need of a run is kept until its files
//! change.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

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

/// What `run --history` kept.
#[derive(Default)]
struct KeptEntries {
    entries: Vec<Entry>,
    unreadable_files: Vec<UnreadableFolder>,
    unreadable_folders: Vec<UnreadableFolder>,
}

/// The entries of a history.
pub(super) struct KeptHistory {
    pub(super) entries: Vec<Entry>,
    /// The run's name for each entry, where it is in the folder.
    pub(super) names: Vec<Option<String>>,
    pub(super) unreadable: Vec<UnreadableFolder>,
}

/// The size, the inode and the time of the last status change of each file of a run. Programs such as `rsync` set the modification time
/// back.
type FileStamps = BTreeMap<OsString, (u64, u64, (i64, i64))>;

/// What the list and the history need of a run.
struct KnownRun {
    summary: ListedRun,
    records: usize,
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
        find_runs(&self.dir).with_context(|| self.dir.display().to_string())
    }

    /// Its runs, newest first, and the folders that can't be read.
    pub(super) fn list(&self) -> Result<(Vec<ListedRun>, Vec<UnreadableFolder>)> {
        let FoundFolders { runs, mut unreadable } = self.find()?;
        let kept = self.kept();
        unreadable.extend(kept.unreadable_folders);
        let revisions: BTreeMap<&str, &str> = kept
            .entries
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
        let kept = self.kept();
        unreadable.extend(kept.unreadable_folders.into_iter().chain(kept.unreadable_files));
        // Runs of the same second stay in the order of their files.
        let mut entries: IndexMap<String, (Entry, Option<String>)> = IndexMap::new();
        for entry in kept.entries {
            entries.insert(entry.identity(), (entry, None));
        }
        let runs = self.read(&found.runs);
        // The folder with the most records stands for a run that is in several.
        let mut fullest: BTreeMap<String, (usize, &str)> = BTreeMap::new();
        for (run, facts) in &runs {
            if let Ok(facts) = facts
                && let Ok(entry) = &facts.entry
            {
                let one = fullest.entry(entry.identity()).or_default();
                if one.1.is_empty() || facts.records > one.0 {
                    *one = (facts.records, &run.name);
                }
            }
        }
        for (run, facts) in runs {
            let entry = facts.and_then(|facts| {
                let entry = facts.entry.clone()?;
                match fullest.get(&entry.identity()) {
                    Some((_, name)) if *name != run.name => Err(format!("the same run as {name}")),
                    _ => Ok((entry, facts.summary.incomplete())),
                }
            });
            match entry {
                Ok((entry, Some(incomplete))) if !single_cells => {
                    entries.shift_remove(&entry.identity());
                    let reason = format!("{incomplete}; only \"Show every cell\" has it");
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

    /// The entries that `run --history` kept.
    fn kept(&self) -> KeptEntries {
        let mut kept = KeptEntries::default();
        for dir in [Some(&self.dir), self.history.as_ref()].into_iter().flatten() {
            match history_folder::read_files(dir) {
                Ok(files) => {
                    kept.entries.extend(files.entries);
                    kept.unreadable_files.extend(files.skipped.into_iter().map(|(path, error)| {
                        UnreadableFolder {
                            name: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
                            reason: in_our_words(&format!("{error:#}")),
                        }
                    }));
                }
                Err(error) => kept.unreadable_folders.push(UnreadableFolder {
                    name: dir.display().to_string(),
                    reason: without_path(&error, dir),
                }),
            }
        }
        kept
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
        Ok(Self { summary: ListedRun::new(&found.name, &run), records: run.records().count(), entry })
    }
}

/// Finds the runs below `dir`: each folder once, however many links lead to it, by the name with the fewest folders.
fn find_runs(dir: &Path) -> std::io::Result<FoundFolders> {
    let mut found = FoundFolders::default();
    // Folders that are no runs, each with the reason where it can't be searched.
    let mut others: Vec<(FoundRun, Option<String>)> = Vec::new();
    let mut repeated: Vec<String> = Vec::new();
    let mut seen = BTreeSet::from([folder_identity(&std::fs::metadata(dir)?)]);
    let mut level = vec![(String::new(), folders_in(dir)?)];
    for depth in (0..DEPTH).rev() {
        let mut next = Vec::new();
        for (prefix, path) in level
            .into_iter()
            .flat_map(|(prefix, paths)| paths.into_iter().map(move |path| (prefix.clone(), path)))
        {
            let own = path.file_name().unwrap_or_default();
            let folder = FoundRun { name: format!("{prefix}{}", own.to_string_lossy()), path: path.clone() };
            if !std::fs::metadata(&path).is_ok_and(|metadata| seen.insert(folder_identity(&metadata))) {
                repeated.push(folder.name);
            } else if own.to_str().is_none_or(|own| one_line(own) != own) {
                others.push((folder, Some("its name has characters that are not text: rename it".into())));
            } else if folders::is_run(&path) {
                found.runs.push(folder);
            } else {
                let inner = if depth > 0 { folders_in(&path) } else { Ok(Vec::new()) };
                let inner = inner.map(|inner| next.push((format!("{}/", folder.name), inner)));
                others.push((folder, inner.err().map(|error| in_our_words(&error.to_string()))));
            }
        }
        level = next;
    }
    found.runs.sort_by(|one, other| one.name.cmp(&other.name));
    let has_runs = |name: &str| {
        let names = found.runs.iter().map(|run| &run.name).chain(&repeated);
        names.into_iter().any(|one| one.strip_prefix(name).is_some_and(|rest| rest.starts_with('/')))
    };
    for (FoundRun { name, path }, reason) in others {
        // A folder without runs stands for all below it.
        if has_runs(&name) || name.rsplit_once('/').is_some_and(|(above, _)| !has_runs(above)) {
            continue;
        }
        let why = || folders::check(&[&path]).err().map(|error| without_path(&error, &path));
        let reason = reason.or_else(why).unwrap_or_default();
        found.unreadable.push(UnreadableFolder { name, reason });
    }
    Ok(found)
}

/// The folders in `dir` in the order of their names, links last.
fn folders_in(dir: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut paths = std::fs::read_dir(dir)?
        .map(|entry| Ok(entry?.path()))
        .filter(|path| path.as_ref().is_ok_and(|path| path.is_dir()) || path.is_err())
        .collect::<std::io::Result<Vec<_>>>()?;
    paths.sort_by_cached_key(|path| (path.is_symlink(), path.clone()));
    Ok(paths)
}

/// Device and inode, the same for all names of a folder.
fn folder_identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
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
        let metadata = std::fs::metadata(file.path()).ok()?;
        let changed = (metadata.ctime(), metadata.ctime_nsec());
        Some((file.file_name(), (metadata.len(), metadata.ino(), changed)))
    };
    std::fs::read_dir(dir).ok()?.map(stamp).collect()
}
