//! Answers of engines at their verification, kept for later runs in which nothing has changed.

use std::collections::BTreeMap;
use std::fs::{self, DirEntry};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use machine::gpu::Gpus;
use protocol::{Device, Generated, Hello, ModelSource, Precision};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::run::cache::{Stamp, cache_folder, libraries, stamp, variables, whole, with_hash};
use crate::{EngineCommand, Setup};

/// Version of the kept files and of the question.
const FORMAT: u32 = 1;
/// The longest file: an answer of two rows, eight steps and 128k logits takes 25 MB.
const LONGEST: u64 = 64 << 20;
const MOST_BYTES: u64 = 256 << 20;
/// Extensions of an answer's file, and of one that is being written.
const ENDINGS: [&str; 2] = ["answer", "partial"];

/// The question to every engine.
#[derive(Debug, Clone)]
pub(crate) struct Question {
    /// The model's identity; `None` where it can't be read.
    pub(crate) model: Option<ModelIdentity>,
    pub(crate) precision: Precision,
    pub(crate) prompt_ids: Vec<Vec<u32>>,
    pub(crate) new_tokens: u32,
}

/// The identity of a model's weights.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct ModelIdentity {
    fingerprint: String,
    /// Size and time of each file of a checkpoint, since a fingerprint does not read all of them.
    stamps: BTreeMap<String, Option<Stamp>>,
}

impl ModelIdentity {
    /// Reads the identity; `None` where the model can't be read.
    pub(crate) fn read(source: &ModelSource) -> Option<Self> {
        let fingerprint = llama::fingerprint(source).ok()?;
        let stamps = match source {
            ModelSource::Seeded { .. } => BTreeMap::new(),
            ModelSource::Checkpoint { dir } => {
                let named = |entry: DirEntry| {
                    (entry.file_name().to_string_lossy().into_owned(), stamp(&entry.path()))
                };
                fs::read_dir(dir).ok()?.flatten().map(named).collect()
            }
        };
        Some(Self { fingerprint, stamps })
    }
}

/// Everything that an engine's answer depends on, as JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AnswerKey(String);

impl AnswerKey {
    /// Collects the key; `None` where the engine's program or the model can't be read.
    pub(crate) fn new(
        command: &EngineCommand,
        hello: &Hello,
        setup: &Setup,
        question: &Question,
    ) -> Option<Self> {
        let gpus = match setup.device {
            Device::Cpu => Vec::new(),
            Device::Cuda(_) => Gpus::find().map(|gpus| gpus.facts()).unwrap_or_default(),
        };
        Some(Self(
            json!({
                "format": FORMAT,
                "program": command.facts().ok()?,
                "arguments": command.arguments,
                "engine": hello.engine,
                "libraries": libraries(hello),
                "hosts": hello.ranks.iter().map(|rank| &rank.host).collect::<Vec<_>>(),
                "environment": variables(),
                "cpu": machine::cpu_model(),
                "cores": std::thread::available_parallelism().map_or(1, usize::from),
                "gpus": gpus.iter().map(|gpu| [&gpu.name, &gpu.driver_version]).collect::<Vec<_>>(),
                "device": setup.device,
                "precision": question.precision,
                "threads": setup.threads,
                "world_size": setup.processes().world_size,
                "one_rank_of": setup.one_rank_of(),
                "memory_limit": setup.memory_limit,
                "device_memory_limit": setup.device_memory_limit,
                "options": setup.options_of(&command.engine),
                "model": question.model.as_ref()?,
                "prompt_ids": question.prompt_ids,
                "new_tokens": question.new_tokens,
            })
            .to_string(),
        ))
    }
}

#[derive(Serialize, Deserialize)]
struct KeptAnswer<G> {
    key: String,
    /// UTC.
    computed: String,
    generated: G,
}

/// The folder of kept answers.
#[derive(Debug, Clone)]
pub(crate) struct KeptAnswers {
    /// `None` where nothing is kept.
    dir: Option<PathBuf>,
    is_read: bool,
}

impl KeptAnswers {
    /// The folder `answers` of the user's cache; nothing is kept where there is no cache. With `again`, what is kept is not read,
    /// but replaced.
    pub(crate) fn of_user(again: bool) -> Self {
        Self { dir: cache_folder("answers"), is_read: !again }
    }

    /// Reads the answer and when it was computed (UTC); `None` where there is none, or its file is damaged.
    pub(crate) fn read(&self, key: &AnswerKey) -> Option<(Generated, String)> {
        let file = llama::open_regular(&self.file(key).filter(|_| self.is_read)?).ok()?;
        let mut text = String::new();
        file.take(LONGEST + 1).read_to_string(&mut text).ok()?;
        let answer: KeptAnswer<Generated> = serde_json::from_str(whole(&text)?).ok()?;
        (answer.key == key.0).then_some((answer.generated, answer.computed))
    }

    /// Keeps an answer if possible, and drops the oldest ones if there are too many.
    pub(crate) fn write(&self, key: &AnswerKey, generated: &Generated) {
        let Some(file) = self.file(key) else { return };
        let answer = KeptAnswer { key: key.0.clone(), computed: machine::utc_now(), generated };
        let Ok(answer) = serde_json::to_string(&answer) else { return };
        let text = with_hash(&answer);
        if text.len() as u64 > LONGEST {
            return;
        }
        // Without the cache, everything is computed again.
        let dir = file.parent().expect("a file in the folder");
        let _ = fs::create_dir_all(dir).and_then(|()| llama::write_whole(&file, text.as_bytes()));
        drop_oldest(dir, MOST_BYTES);
    }

    /// Forgets an answer.
    pub(crate) fn remove(&self, key: &AnswerKey) {
        if let Some(file) = self.file(key) {
            let _ = fs::remove_file(file);
        }
    }

    fn file(&self, key: &AnswerKey) -> Option<PathBuf> {
        let name = llama::sha256_hex(key.0.as_bytes());
        Some(self.dir.as_ref()?.join(name).with_extension(ENDINGS[0]))
    }
}

/// Removes the oldest answers until `most` bytes are left.
fn drop_oldest(dir: &Path, most: u64) {
    let is_ours = |entry: &DirEntry| {
        let path = entry.path();
        path.extension().is_some_and(|ending| ENDINGS.iter().any(|ours| ending == *ours))
    };
    let facts = |entry: DirEntry| {
        let facts = entry.metadata().ok()?;
        Some((facts.modified().unwrap_or(SystemTime::UNIX_EPOCH), facts.len(), entry.path()))
    };
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut files: Vec<_> = entries.filter(is_ours).filter_map(facts).collect();
    files.sort();
    let mut bytes: u64 = files.iter().map(|(_, length, _)| length).sum();
    for (_, length, path) in files {
        if bytes <= most {
            break;
        }
        let _ = fs::remove_file(path);
        bytes -= length;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generated(tokens: u32) -> Generated {
        Generated {
            tokens: vec![vec![tokens]],
            logits_sha256: String::new(),
            logits: Some(vec![vec![vec![0.1]]]),
            product_inputs: None,
        }
    }

    fn kept(dir: &Path) -> KeptAnswers {
        KeptAnswers { dir: Some(dir.join("answers")), is_read: true }
    }

    #[test]
    fn an_answer_is_found_by_its_key_alone() {
        let dir = tempfile::tempdir().unwrap();
        let (kept, key, other) = (kept(dir.path()), AnswerKey("a".into()), AnswerKey("b".into()));
        assert!(kept.read(&key).is_none());
        kept.write(&key, &generated(1));
        assert_eq!(kept.read(&key).unwrap().0, generated(1));
        assert!(kept.read(&other).is_none());
        assert!(KeptAnswers { is_read: false, ..kept.clone() }.read(&key).is_none());
        // One that was put in another's place.
        fs::rename(kept.file(&key).unwrap(), kept.file(&other).unwrap()).unwrap();
        assert!(kept.read(&other).is_none());
        kept.write(&key, &generated(2));
        kept.remove(&key);
        assert!(kept.read(&key).is_none());
        let nowhere = KeptAnswers { dir: None, is_read: true };
        nowhere.write(&key, &generated(1));
        assert!(nowhere.read(&key).is_none());
    }

    #[test]
    fn a_damaged_file_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let (kept, key) = (kept(dir.path()), AnswerKey("a".into()));
        kept.write(&key, &generated(1));
        let file = kept.file(&key).unwrap();
        let whole = fs::read(&file).unwrap();
        for at in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 1;
            for damaged in [&flipped, &whole[..at]] {
                fs::write(&file, damaged).unwrap();
                assert!(kept.read(&key).is_none(), "{at}");
            }
        }
    }

    #[test]
    fn the_oldest_are_dropped() {
        let dir = tempfile::tempdir().unwrap();
        for (second, name) in ["a.answer", "b.1.partial", "c.answer", "mine.txt"].iter().enumerate() {
            let path = dir.path().join(name);
            fs::write(&path, [0; 10]).unwrap();
            let time = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(second as u64);
            fs::File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
        }
        drop_oldest(dir.path(), 15);
        let mut left: Vec<_> =
            fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["c.answer", "mine.txt"]);
    }
}
